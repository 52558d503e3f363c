//! The leader's side of cosigning: it signs the checkpoint of what is committed and applied, hands
//! it to the approvers that attend, and joins their cosignatures.
//!
//! Nothing here is trusted: an approver folds the leaves itself, and whoever relies on a checkpoint
//! verifies the cosignatures against its own trust file. The leader only collects.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_envelope::{IdentityKey, SigningKey};
use bailiwick_tlog::{
    Checkpoint, NoteSignature, NoteVerifier, SignedCheckpoint, sign_checkpoint, verify_cosignature,
};
use bailiwick_types::{Name, Role, Slot, Threshold};

/// Who may cosign a jurisdiction's log, as its certificate or its plan names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cosigners {
    /// The thresholds.
    pub thresholds: BTreeMap<Role, Threshold>,
    /// The members' names and identity keys.
    pub members: BTreeMap<(Role, Slot), (Name, IdentityKey)>,
}

impl Cosigners {
    /// How many of a role must cosign: t, and more than half. `None` when nobody is named.
    pub fn needed(&self, role: Role) -> Option<usize> {
        let threshold = self.thresholds.get(&role)?;
        let majority = threshold.members() / 2 + 1;
        Some(usize::from(threshold.needed().max(majority)))
    }
}

/// Why a cosignature is not joined: the approver's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CosignError {
    /// Not a member of the jurisdiction's committees.
    #[error("{role} slot {slot} is no cosigner of this log")]
    NoMember {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
    /// The line is no signature line.
    #[error("the cosignature line does not parse")]
    Line,
    /// The signature is not by that member over this checkpoint.
    #[error("the cosignature of {role} slot {slot} does not verify")]
    Signature {
        /// The role.
        role: Role,
        /// The slot.
        slot: Slot,
    },
}

/// A checkpoint that collects cosignatures.
#[derive(Clone, Debug)]
pub struct Collecting {
    signed: SignedCheckpoint,
    cosigned: BTreeSet<(Role, Slot)>,
}

impl Collecting {
    /// Signs a checkpoint with this node's note key.
    ///
    /// # Errors
    /// The note's error when name, key or origin cannot stand in a note.
    pub fn sign(
        name: &Name,
        key: &SigningKey,
        checkpoint: Checkpoint,
    ) -> Result<Self, bailiwick_tlog::SignError> {
        let signature = sign_checkpoint(name.as_str(), key, &checkpoint)?;
        let signed = SignedCheckpoint::new(checkpoint, signature)?;
        Ok(Self {
            signed,
            cosigned: BTreeSet::new(),
        })
    }

    /// The checkpoint's size.
    pub fn size(&self) -> u64 {
        self.signed.checkpoint().size
    }

    /// The note with all signatures so far.
    pub fn note(&self) -> String {
        self.signed.to_text()
    }

    /// Joins a member's cosignature; a second one of the same member changes nothing.
    ///
    /// # Errors
    /// [`CosignError`] when it is not by that member over this checkpoint.
    pub fn join(
        &mut self,
        cosigners: &Cosigners,
        role: Role,
        slot: Slot,
        line: &str,
    ) -> Result<(), CosignError> {
        let (name, key) = cosigners
            .members
            .get(&(role, slot))
            .ok_or(CosignError::NoMember { role, slot })?;
        let signature = NoteSignature::parse(line).map_err(|_| CosignError::Line)?;
        let wrong = CosignError::Signature { role, slot };
        if self.cosigned.contains(&(role, slot)) {
            return Ok(());
        }
        let verifier = cosigner(name, key).ok_or(wrong.clone())?;
        let mut joined = self.signed.clone();
        joined.add_signature(signature).map_err(|_| wrong.clone())?;
        verify_cosignature(&verifier, &joined).map_err(|_| wrong)?;
        self.signed = joined;
        self.cosigned.insert((role, slot));
        Ok(())
    }

    /// Whether t and more than half of each role have cosigned.
    pub fn is_complete(&self, cosigners: &Cosigners) -> bool {
        Role::ALL.into_iter().all(|role| {
            let have = self
                .cosigned
                .iter()
                .filter(|(signer, _)| *signer == role)
                .count();
            cosigners.needed(role).is_some_and(|needed| have >= needed)
        })
    }
}

/// The note verifier of a member's cosignatures.
pub fn cosigner(name: &Name, key: &IdentityKey) -> Option<NoteVerifier> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key.0).ok()?;
    NoteVerifier::cosigner(name.as_str(), key).ok()
}

#[cfg(test)]
mod tests {
    use bailiwick_tlog::cosign;

    use super::*;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    fn slot(number: u8) -> Slot {
        Slot::new(number).expect("a slot")
    }

    fn cosigners() -> Cosigners {
        let mut cosigners = Cosigners::default();
        for role in Role::ALL {
            cosigners
                .thresholds
                .insert(role, Threshold::new(2, 3).expect("2-of-3"));
            for number in 1..=3 {
                let name = format!("{role}-{number}").parse().expect("a name");
                let identity = IdentityKey::of(&key(role.code() * 10 + number));
                cosigners
                    .members
                    .insert((role, slot(number)), (name, identity));
            }
        }
        cosigners
    }

    fn line(role: Role, number: u8, checkpoint: &Checkpoint) -> String {
        let name = format!("{role}-{number}");
        cosign(&name, &key(role.code() * 10 + number), checkpoint, 7)
            .expect("signs")
            .to_line()
    }

    #[test]
    fn complete_at_two_of_each_role_and_not_before() {
        let cosigners = cosigners();
        let checkpoint = Checkpoint::new("bailiwick/FR", 3, [9; 32]).expect("valid");
        let name = "vault-1".parse().expect("a name");
        let mut collecting = Collecting::sign(&name, &key(1), checkpoint.clone()).expect("signs");
        for (role, number) in [
            (Role::Workflow, 1),
            (Role::Workflow, 1),
            (Role::Workflow, 2),
        ] {
            let line = line(role, number, &checkpoint);
            collecting
                .join(&cosigners, role, slot(number), &line)
                .expect("joins");
            assert!(!collecting.is_complete(&cosigners));
        }
        for number in 1..=2 {
            assert!(!collecting.is_complete(&cosigners));
            let line = line(Role::LegalReview, number, &checkpoint);
            collecting
                .join(&cosigners, Role::LegalReview, slot(number), &line)
                .expect("joins");
        }
        assert!(collecting.is_complete(&cosigners));
    }

    #[test]
    fn another_members_or_another_checkpoints_cosignature_is_not_joined() {
        let cosigners = cosigners();
        let checkpoint = Checkpoint::new("bailiwick/FR", 3, [9; 32]).expect("valid");
        let other = Checkpoint::new("bailiwick/FR", 3, [8; 32]).expect("valid");
        let name = "vault-1".parse().expect("a name");
        let mut collecting = Collecting::sign(&name, &key(1), checkpoint.clone()).expect("signs");
        let (role, wrong) = (Role::Workflow, |slot| CosignError::Signature {
            role: Role::Workflow,
            slot,
        });
        let stolen = line(role, 2, &checkpoint);
        assert_eq!(
            collecting.join(&cosigners, role, slot(1), &stolen),
            Err(wrong(slot(1)))
        );
        let forked = line(role, 1, &other);
        assert_eq!(
            collecting.join(&cosigners, role, slot(1), &forked),
            Err(wrong(slot(1)))
        );
        assert_eq!(
            collecting.join(&cosigners, role, slot(1), "x"),
            Err(CosignError::Line)
        );
    }
}
