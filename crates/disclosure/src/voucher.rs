//! Who may say what a jurisdiction's log is: its voters, each by a note key of its own, as the
//! approver's trust file lists them (docs/architecture.md, "Checkpoints"). Any vault can extend a copy
//! of a log; only what a voter signed, and sent itself, is folded.

use bailiwick_tlog::SignedCheckpoint;
use bailiwick_types::Name;

use crate::follower::FollowError;
use crate::trust::JurisdictionTrust;

/// A checkpoint by a voter of the log, which sent it itself. Only [`VouchedCheckpoint::verify`] makes
/// one, and only one of these is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VouchedCheckpoint(SignedCheckpoint);

impl VouchedCheckpoint {
    /// Verifies that `sender`, the vault at the other end of an authenticated connection, is a voter
    /// that the trust file lists and has signed the checkpoint with that voter's key. What a voter
    /// signed and another sends proves nothing about the leaves that come with it.
    ///
    /// # Errors
    /// [`FollowError::UnknownVoter`] and [`FollowError::NotSigned`] name the sender, who is at fault
    /// unless the trust file is out of date.
    pub fn verify(
        signed: SignedCheckpoint,
        trust: &JurisdictionTrust,
        sender: &Name,
    ) -> Result<Self, FollowError> {
        let sender = || sender.clone();
        let voter = trust
            .voters()
            .iter()
            .find(|voter| voter.name() == sender().as_str())
            .ok_or_else(|| FollowError::UnknownVoter { sender: sender() })?;
        match signed.verify_by(voter) {
            Ok(()) => Ok(Self(signed)),
            Err(_) => Err(FollowError::NotSigned { sender: sender() }),
        }
    }

    /// The checkpoint.
    pub fn signed(&self) -> &SignedCheckpoint {
        &self.0
    }
}

/// Two checkpoints of one log that cannot both be true, each signed by a voter: what an operator, and
/// everybody else, can verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkEvidence {
    /// The checkpoint that was offered and does not follow.
    pub offered: SignedCheckpoint,
    /// The last one that was folded, if there was one.
    pub folded: Option<SignedCheckpoint>,
}

impl ForkEvidence {
    /// What to keep of a refusal, if it is a fork.
    pub fn of(error: &FollowError) -> Option<Self> {
        let FollowError::Fork {
            offered,
            remembered,
        } = error
        else {
            return None;
        };
        Some(Self {
            offered: offered.as_ref().clone(),
            folded: remembered.as_deref().cloned(),
        })
    }

    /// Both signed notes as a text, each under a line that says what it is.
    pub fn to_text(&self) -> String {
        let folded = match &self.folded {
            Some(folded) => folded.to_text(),
            None => "none\n".to_owned(),
        };
        let offered = self.offered.to_text();
        format!("== offered, does not follow\n{offered}== folded before\n{folded}")
    }
}
