//! The two committees that share every key: roles, slots, thresholds and holder sets.
//!
//! The sharing is replicated secret sharing (Ito, Saito, Nishizeki 1987): a role with `n` slots and
//! threshold `t` has one key per *holder set*, every subset of `n - t + 1` slots. Any `t` slots
//! together meet every set; `t - 1` slots miss at least one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Role {
    /// The disclosure workflow's approvers.
    Workflow = 1,
    /// The legal reviewers' approvers.
    LegalReview = 2,
}

impl Role {
    /// Both roles in canonical order.
    pub const ALL: [Self; 2] = [Self::Workflow, Self::LegalReview];

    /// The byte that enters a canonical encoding: W = 1, L = 2.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The role of a byte.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }

    /// The word used in APIs, files and certificates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::LegalReview => "legal-review",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text is neither `workflow` nor `legal-review`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a role is 'workflow' or 'legal-review'")]
pub struct ParseRoleError;

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(ParseRoleError)
    }
}

/// A member's place in its role, from 1 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Slot(u8);

impl Slot {
    /// The highest slot.
    pub const LIMIT: u8 = 7;

    /// The slot of a number.
    ///
    /// # Errors
    /// [`SlotError`] outside 1 to 7.
    pub fn new(number: u8) -> Result<Self, SlotError> {
        if (1..=Self::LIMIT).contains(&number) {
            Ok(Self(number))
        } else {
            Err(SlotError(number))
        }
    }

    /// The number, 1 to 7.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl TryFrom<u8> for Slot {
    type Error = SlotError;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::new(number)
    }
}

impl From<Slot> for u8 {
    fn from(slot: Slot) -> Self {
        slot.0
    }
}

/// The number is no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("slot {0} is outside 1 to 7")]
pub struct SlotError(pub u8);

/// A set of slots; bit `slot - 1` stands for the slot.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct SlotMask(pub u8);

impl SlotMask {
    /// The set of one slot.
    pub fn of(slot: Slot) -> Self {
        Self(1 << (slot.number() - 1))
    }

    /// The union with one more slot.
    #[must_use]
    pub fn with(self, slot: Slot) -> Self {
        Self(self.0 | Self::of(slot).0)
    }

    /// Whether the slot is in the set.
    pub fn contains(self, slot: Slot) -> bool {
        self.0 & Self::of(slot).0 != 0
    }

    /// How many slots the set has.
    pub fn count(self) -> u8 {
        self.0.count_ones() as u8
    }

    /// The slots, ascending.
    pub fn slots(self) -> impl Iterator<Item = Slot> {
        (1..=Slot::LIMIT)
            .map(Slot)
            .filter(move |slot| self.contains(*slot))
    }
}

impl FromIterator<Slot> for SlotMask {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        slots.into_iter().fold(Self::default(), Self::with)
    }
}

/// A role's size and threshold: `2 <= t < n <= 7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u8, u8)", into = "(u8, u8)")]
pub struct Threshold {
    needed: u8,
    members: u8,
}

impl Threshold {
    /// `needed` of `members`.
    ///
    /// # Errors
    /// [`ThresholdError`] unless `2 <= needed < members <= 7`; a quorum of 0 or 1 is never one.
    pub fn new(needed: u8, members: u8) -> Result<Self, ThresholdError> {
        if needed >= 2 && needed < members && members <= Slot::LIMIT {
            Ok(Self { needed, members })
        } else {
            Err(ThresholdError { needed, members })
        }
    }

    /// How many members must act (`t`).
    pub fn needed(self) -> u8 {
        self.needed
    }

    /// How many members there are (`n`); slots are 1 to `n`.
    pub fn members(self) -> u8 {
        self.members
    }

    /// All slots of the role, ascending.
    pub fn slots(self) -> impl Iterator<Item = Slot> {
        (1..=self.members).map(Slot)
    }

    /// Whether the slot exists in this role.
    pub fn has(self, slot: Slot) -> bool {
        slot.number() <= self.members
    }

    /// The holder sets in canonical order (mask ascending): every subset of `n - t + 1` slots; at
    /// most 35.
    pub fn holder_sets(self) -> Vec<SlotMask> {
        let size = self.members - self.needed + 1;
        (1..1u16 << self.members)
            .map(|mask| SlotMask(mask as u8))
            .filter(|set| set.count() == size)
            .collect()
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-of-{}", self.needed, self.members)
    }
}

impl TryFrom<(u8, u8)> for Threshold {
    type Error = ThresholdError;

    fn try_from((needed, members): (u8, u8)) -> Result<Self, Self::Error> {
        Self::new(needed, members)
    }
}

impl From<Threshold> for (u8, u8) {
    fn from(threshold: Threshold) -> Self {
        (threshold.needed, threshold.members)
    }
}

/// The pair is no threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{needed} of {members} is no threshold: 2 <= needed < members <= 7")]
pub struct ThresholdError {
    /// The asked quorum.
    pub needed: u8,
    /// The asked size.
    pub members: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_t_members_meet_every_holder_set_and_fewer_miss_one() {
        for members in 3..=7u8 {
            for needed in 2..members {
                let threshold = Threshold::new(needed, members).expect("within bounds");
                let sets = threshold.holder_sets();
                assert!(sets.len() <= 35);
                for mask in 0..1u16 << members {
                    let group = SlotMask(mask as u8);
                    let meets = sets.iter().all(|set| set.0 & group.0 != 0);
                    assert_eq!(meets, group.count() >= needed, "{threshold} {group:?}");
                }
            }
        }
    }

    #[test]
    fn a_quorum_of_zero_or_one_is_refused_at_parse() {
        for (needed, members) in [(0, 3), (1, 3), (3, 3), (4, 3), (2, 8), (2, 2)] {
            assert!(Threshold::new(needed, members).is_err());
        }
    }
}
