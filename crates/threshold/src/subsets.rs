//! The subset search of docs/cryptography.md section 9: which answers open one record.
//!
//! "For subsets of t responders per role (at most 35 x 35; last good pair first) take each v from
//! the lowest slot in A and the subset, derive k, open, recompute rho and alpha; accept only if alpha
//! matches." Subsets that give the same values are tried once, so that with honest answers there is
//! one try; the bound stays.

use bailiwick_envelope::release::RecordValues;
use bailiwick_types::{Digest, Role, Slot, SlotMask, Threshold};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::opening::{OpeningError, SelectedRecord};
use crate::prf::RecordKdf;
use crate::sealing::{RHO, decrypt, record_info};

/// All values of one role in canonical order, 32 bytes each.
pub(crate) type RoleValues = Zeroizing<Vec<u8>>;

/// One role's answers for one record.
pub(crate) struct Side<'a> {
    threshold: Threshold,
    sets: Vec<SlotMask>,
    /// Answers that hold exactly the values a slot must give.
    answers: Vec<(Slot, &'a RecordValues)>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(
        threshold: Threshold,
        answers: impl Iterator<Item = (Slot, &'a RecordValues)>,
    ) -> Self {
        let sets = threshold.holder_sets();
        let whole = |(slot, values): &(Slot, &RecordValues)| {
            let own = sets.iter().copied().filter(|set| set.contains(*slot));
            values.values.iter().map(|(set, _)| *set).eq(own)
        };
        let answers = answers.filter(whole).collect();
        Self {
            threshold,
            sets,
            answers,
        }
    }

    pub(crate) fn check_enough(&self, index: u32, role: Role) -> Result<(), OpeningError> {
        // At most seven slots.
        let (have, need) = (self.answers.len() as u8, self.threshold.needed());
        if have >= need {
            return Ok(());
        }
        Err(OpeningError::NotEnough {
            index,
            role,
            have,
            need,
        })
    }

    pub(crate) fn all_answered(&self) -> bool {
        self.answers.len() == usize::from(self.threshold.members())
    }

    /// Whether an answer differs anywhere from the values that opened the record.
    pub(crate) fn contradicts(&self, answer: &RecordValues, slot: Slot, good: &RoleValues) -> bool {
        let own = self.sets.iter().zip(good.as_chunks::<32>().0);
        let own = own.filter(|(set, _)| set.contains(slot));
        let given = answer.values.iter().map(|(set, value)| (set, value));
        !own.eq(given)
    }

    /// The distinct values that subsets of `t` responders give, `first`'s ahead of the others.
    fn candidates(&self, first: Option<SlotMask>) -> Vec<(SlotMask, RoleValues)> {
        let answered: SlotMask = self.answers.iter().map(|(slot, _)| *slot).collect();
        let subset =
            |mask: &SlotMask| mask.count() == self.threshold.needed() && mask.0 & !answered.0 == 0;
        let all = (1..=answered.0).map(SlotMask).filter(subset);
        let mut candidates: Vec<(SlotMask, RoleValues)> = Vec::new();
        for mask in first.filter(subset).into_iter().chain(all) {
            let values = self.values_of(mask);
            if !candidates.iter().any(|(_, seen)| *seen == values) {
                candidates.push((mask, values));
            }
        }
        candidates
    }

    /// "Take each v from the lowest slot in A and the subset."
    fn values_of(&self, subset: SlotMask) -> RoleValues {
        let mut values = Zeroizing::new(Vec::with_capacity(32 * self.sets.len()));
        for set in &self.sets {
            let chosen = SlotMask(set.0 & subset.0);
            let value = self
                .answers
                .iter()
                .find(|(slot, _)| chosen.contains(*slot))
                .and_then(|(_, answer)| answer.values.iter().find(|(given, _)| given == set));
            let (_, value) = value.expect("any t slots meet every set, and answers are whole");
            values.extend_from_slice(value);
        }
        values
    }
}

/// What opened a record.
pub(crate) struct Found {
    /// The subsets, workflow first.
    pub(crate) subsets: [SlotMask; 2],
    /// The values, workflow first.
    pub(crate) values: [RoleValues; 2],
    /// rho and the padded plaintext.
    pub(crate) opened: Zeroizing<Vec<u8>>,
}

/// The search for one record.
pub(crate) struct Search<'a> {
    pub(crate) x: Digest,
    pub(crate) record: &'a SelectedRecord,
}

impl Search<'_> {
    /// What opens the record, and how many pairs were tried.
    pub(crate) fn run(
        &self,
        workflow: &Side<'_>,
        legal_review: &Side<'_>,
        first: Option<[SlotMask; 2]>,
    ) -> (Option<Found>, u64) {
        let kdf = RecordKdf::new(&self.record.label.sid.0);
        let lefts = workflow.candidates(first.map(|pair| pair[0]));
        let rights = legal_review.candidates(first.map(|pair| pair[1]));
        let mut tried = 0;
        for (left_subset, left) in &lefts {
            for (right_subset, right) in &rights {
                tried += 1;
                let values = Zeroizing::new([left.as_slice(), right.as_slice()].concat());
                let key = kdf.key(&values, &record_info(&self.x));
                if let Some(opened) = self.open_with(&key) {
                    let found = Found {
                        subsets: [*left_subset, *right_subset],
                        values: [left.clone(), right.clone()],
                        opened,
                    };
                    return (Some(found), tried);
                }
            }
        }
        (None, tried)
    }

    /// "Open, recompute alpha; accept only if alpha matches": the AEAD alone commits to no key.
    pub(crate) fn open_with(&self, key: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        let opened = decrypt(key, &self.x, &self.record.ciphertext)?;
        let (rho, padded) = opened.split_first_chunk::<RHO>()?;
        let alpha = self.record.label.alpha(rho, padded);
        bool::from(alpha.0.ct_eq(&self.record.alpha.0)).then_some(opened)
    }
}
