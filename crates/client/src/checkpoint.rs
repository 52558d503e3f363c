//! Verifying a cosigned checkpoint, and a leaf under it, against the caller's own trust file
//! (docs/cryptography.md section 13).

use std::time::Duration;

use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_tlog::{
    NoteVerifier, SignedCheckpoint, leaf_hash, verify_cosignature, verify_inclusion,
};
use bailiwick_types::limits::STAMP_LEAD;
use bailiwick_types::{Digest, Role, Timestamp};

use crate::trust::JurisdictionTrust;

/// Why a checkpoint or a proof is not believed: the vault's fault, or a wrong trust file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// There is none yet.
    #[error("there is no cosigned checkpoint yet")]
    Missing,
    /// The note does not parse.
    #[error("the checkpoint's note does not parse")]
    Note,
    /// Another log's.
    #[error("the checkpoint is of another log than the trust file names")]
    OtherOrigin,
    /// Too few fresh cosignatures of a role.
    #[error("{have} of {need} {role} members have cosigned the checkpoint recently enough")]
    TooFew {
        /// The role.
        role: Role,
        /// Counted.
        have: usize,
        /// Needed.
        need: usize,
    },
    /// The leaf is not in the log.
    #[error("the inclusion proof of leaf {0} does not verify")]
    Inclusion(u64),
}

impl CheckpointError {
    /// Whether the same question may be answered well a moment later: a node that has just come to
    /// lead has no cosigned checkpoint before the approvers have found it.
    pub fn may_pass_later(&self) -> bool {
        matches!(self, Self::Missing | Self::TooFew { .. })
    }
}

/// How long a missing cosigned checkpoint is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Wait between two looks for it.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// A checkpoint that t and more than half of each role of the own trust file have cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    size: u64,
    root: [u8; 32],
    cosigned_at: Timestamp,
}

impl VerifiedCheckpoint {
    /// Verifies a note.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn verify(
        note: Option<&str>,
        trust: &JurisdictionTrust,
        now: Timestamp,
        age: Duration,
    ) -> Result<Self, CheckpointError> {
        let note = note.ok_or(CheckpointError::Missing)?;
        let signed = SignedCheckpoint::parse(note).map_err(|_| CheckpointError::Note)?;
        if signed.checkpoint().origin != trust.origin {
            return Err(CheckpointError::OtherOrigin);
        }
        let mut cosigned_at = now;
        for role in Role::ALL {
            let committee = trust.roster.committee(role);
            let times: Vec<Timestamp> = committee
                .members
                .iter()
                .filter_map(|member| {
                    let key = ed25519_dalek::VerifyingKey::from_bytes(&member.identity.0).ok()?;
                    let verifier = NoteVerifier::cosigner(member.name.as_str(), key).ok()?;
                    verify_cosignature(&verifier, &signed)
                        .ok()
                        .map(Timestamp::from_seconds)
                })
                .filter(|time| now.since(*time) <= age && *time <= now.plus(STAMP_LEAD))
                .collect();
            let majority = committee.members.len() / 2 + 1;
            let need = majority.max(usize::from(committee.needed)).max(2);
            if times.len() < need {
                return Err(CheckpointError::TooFew {
                    role,
                    have: times.len(),
                    need,
                });
            }
            cosigned_at = times.into_iter().fold(cosigned_at, Timestamp::min);
        }
        let checkpoint = signed.checkpoint();
        Ok(Self {
            size: checkpoint.size,
            root: checkpoint.root,
            cosigned_at,
        })
    }

    /// Leaves of the log at this checkpoint.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub fn root(&self) -> Digest {
        Digest(self.root)
    }

    /// The oldest counted cosignature's time.
    pub fn cosigned_at(&self) -> Timestamp {
        self.cosigned_at
    }

    /// Verifies that a leaf stands at an index under this checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError::Inclusion`].
    pub fn includes(
        &self,
        leaf: &OpenedLeaf,
        index: u64,
        proof: &[Digest],
    ) -> Result<(), CheckpointError> {
        let proof: Vec<[u8; 32]> = proof.iter().map(|digest| digest.0).collect();
        verify_inclusion(
            &leaf_hash(&leaf.data()),
            index,
            self.size,
            &self.root,
            &proof,
        )
        .map_err(|_| CheckpointError::Inclusion(index))
    }
}
