//! Step 1: "checkpoint: witness quorum by its own trust policy, at most 10 minutes old, consistent
//! with the one it persisted."

use bailiwick_tlog::{Hash, SignedCheckpoint, verify_cosignature};
use bailiwick_types::limits::{CHECKPOINT_AGE, STAMP_LEAD};
use bailiwick_types::{Jurisdiction, Role, Timestamp};

use crate::follower::LogFollower;
use crate::trust::JurisdictionTrust;

/// Which tree a check was made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointReference {
    /// The jurisdiction whose log it is.
    pub jurisdiction: Jurisdiction,
    /// Leaves.
    pub size: u64,
    /// Root.
    pub root: Hash,
}

/// A checkpoint that this follower recomputed itself and that enough members of both roles cosigned
/// a short time ago. Only [`CosignedCheckpoint::verify`] makes one.
#[derive(Clone, Debug)]
pub struct CosignedCheckpoint {
    reference: CheckpointReference,
    cosigned_at: Timestamp,
}

/// Why a checkpoint authorises nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointRefusal {
    /// The checkpoint or the follower is of another log than the trust file says.
    #[error("the checkpoint or the follower is of another log than the trust file names")]
    OtherOrigin,
    /// The follower has not come so far, or has forgotten that size.
    #[error("the root of {size} leaves is not at hand; {folded} leaves were folded")]
    NotFolded {
        /// The checkpoint's size.
        size: u64,
        /// How many leaves the follower folded.
        folded: u64,
    },
    /// The follower recomputed another root: two trees of one log. Evidence; an alarm.
    #[error("the log is forked: the checkpoint of {size} leaves is not what was recomputed")]
    Fork {
        /// The size of both trees.
        size: u64,
        /// The root recomputed here.
        own: Hash,
        /// The checkpoint.
        offered: Box<SignedCheckpoint>,
    },
    /// Too few members of a role cosigned it within the last ten minutes.
    #[error("{counted} fresh cosignatures of {role} members, {needed} are needed")]
    TooFew {
        /// The role.
        role: Role,
        /// How many count.
        counted: usize,
        /// How many are needed.
        needed: usize,
    },
}

impl CosignedCheckpoint {
    /// Verifies a checkpoint: the trust file's origin, the root that the follower recomputed, and
    /// cosignatures at most [`CHECKPOINT_AGE`] old by at least t and more than half of each role of
    /// the trust file's roster.
    ///
    /// # Errors
    /// [`CheckpointRefusal`] names the first check that fails.
    pub fn verify(
        signed: &SignedCheckpoint,
        trust: &JurisdictionTrust,
        follower: &LogFollower,
        now: Timestamp,
    ) -> Result<Self, CheckpointRefusal> {
        let offered = signed.checkpoint();
        if offered.origin != trust.origin() || follower.origin() != trust.origin() {
            return Err(CheckpointRefusal::OtherOrigin);
        }
        let own = follower.root_at(offered.size);
        let own = own.ok_or(CheckpointRefusal::NotFolded {
            size: offered.size,
            folded: follower.size(),
        })?;
        if own != offered.root {
            return Err(CheckpointRefusal::Fork {
                size: offered.size,
                own,
                offered: Box::new(signed.clone()),
            });
        }
        let mut cosigned_at = now;
        for role in Role::ALL {
            let oldest = count_role(signed, trust, role, now)?;
            cosigned_at = cosigned_at.min(oldest);
        }
        Ok(Self {
            reference: CheckpointReference {
                jurisdiction: trust.jurisdiction(),
                size: offered.size,
                root: offered.root,
            },
            cosigned_at,
        })
    }

    /// The tree.
    pub fn reference(&self) -> CheckpointReference {
        self.reference
    }

    /// Leaves of the tree.
    pub fn size(&self) -> u64 {
        self.reference.size
    }

    /// The time of the oldest cosignature that was counted, by its signer's clock.
    pub fn cosigned_at(&self) -> Timestamp {
        self.cosigned_at
    }
}

/// Counts one role's fresh cosignatures and returns the oldest one's time.
fn count_role(
    signed: &SignedCheckpoint,
    trust: &JurisdictionTrust,
    role: Role,
    now: Timestamp,
) -> Result<Timestamp, CheckpointRefusal> {
    let fresh =
        |time: &Timestamp| now.since(*time) <= CHECKPOINT_AGE && *time <= now.plus(STAMP_LEAD);
    let times: Vec<Timestamp> = trust
        .cosigners()
        .iter()
        .filter(|cosigner| cosigner.seat.role == role)
        .filter_map(|cosigner| verify_cosignature(&cosigner.verifier, signed).ok())
        .map(Timestamp::from_seconds)
        .filter(fresh)
        .collect();
    let committee = trust.roster().committee(role);
    // "at least t, and more than half, of each role" (docs/architecture.md); an empty roster
    // would need 1 of 0 and is nobody.
    let majority = committee.members.len() / 2 + 1;
    let needed = majority.max(usize::from(committee.needed)).max(2);
    match times.iter().min() {
        Some(oldest) if times.len() >= needed => Ok(*oldest),
        _ => Err(CheckpointRefusal::TooFew {
            role,
            counted: times.len(),
            needed,
        }),
    }
}
