//! Re-supply of old sessions to the successor of a slot (docs/cryptography.md section 10): "a holder
//! h of A re-supplies HPKE(new ek; info = E("resupply", sid, H(update), R, m, h); (A, kap)), signed;
//! the receiver checks c."
//!
//! One message carries all sets that hold both the slot and the holder; the messages of any t others
//! cover every set of the slot. What the receiver keeps is a part like any other, sealed to its own
//! key of the session's period, so that it dies with the period.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_envelope::header::{SealedPart, VerifiedHeader};
use bailiwick_envelope::keys::SignatureError;
use bailiwick_envelope::resupply::{Resupply, ResupplyPlace};
use bailiwick_envelope::roster::UpdateInForce;
use bailiwick_envelope::{Encoder, IdentityKey, SigningKey};
use bailiwick_types::{Role, SessionId, Slot, SlotMask, Threshold};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::hpke::{self, DecapsulationKey, SealToError};
use crate::keys::{SessionKey, context};
use crate::member::{PartError, committed_value, open_keys_of, read_keys};
use crate::session::part_info;

/// Why a holder does not re-supply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResupplyError {
    /// The session is of another certificate than the update.
    #[error("the session is of another certificate than the update")]
    OtherCertificate,
    /// The holder is no other slot of the same role, or its own change is under way, or the key is
    /// another's.
    #[error("slot {0} is no holder that may re-supply this slot")]
    NotAHolder(Slot),
    /// The own part does not open.
    #[error("the own part of the session is not usable")]
    Part(#[from] PartError),
    /// The successor's certified key is none.
    #[error("the successor's period key cannot be sealed to")]
    Successor(#[from] SealToError),
}

/// A holder's message for the successor of another slot, about one session.
///
/// `part` is the holder's own: the header's, or what it was re-supplied itself.
///
/// # Errors
/// [`ResupplyError`]; nothing was sealed.
///
/// # Security
/// The keys open their sets' share of the whole session. They leave only to the key of an update that
/// is in force: signed by t of each role and logged a day ago, which [`UpdateInForce`] proves.
pub fn resupply(
    rng: &mut impl CryptoRng,
    update: &UpdateInForce<'_>,
    header: &VerifiedHeader,
    part: &SealedPart,
    key: &DecapsulationKey,
    identity: &SigningKey,
) -> Result<Resupply, ResupplyError> {
    let holder = part.slot;
    let own = update.holder(holder) == Some(IdentityKey::of(identity));
    if part.role != update.role() || holder == update.slot() || !own {
        return Err(ResupplyError::NotAHolder(holder));
    }
    let to = update.period_key(&header.body().kid);
    let to = to.ok_or(ResupplyError::OtherCertificate)?;
    let held = open_keys_of(header, update.certificate(), part, key)?;
    let mut plaintext = Encoder::with_capacity(20 * (5 + 36));
    for (set, key, _) in held
        .iter()
        .filter(|(set, _, _)| set.contains(update.slot()))
    {
        plaintext.u8(set.0).bytes(key.0.as_ref());
    }
    let plaintext = Zeroizing::new(plaintext.finish());
    let place = ResupplyPlace {
        sid: header.sid(),
        update: update.id(),
        role: update.role(),
        slot: update.slot(),
        holder,
    };
    let sealed = hpke::seal(rng, to, &place.info(), &plaintext)?;
    Ok(Resupply::sign(place, sealed, identity))
}

/// Why the successor does not take a message. From [`ResupplyRefusal::Signature`] on the named
/// holder is at fault, or somebody who speaks in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResupplyRefusal {
    /// The message is about another session, update or slot.
    #[error("the message is about another session, update or slot")]
    OtherPlace,
    /// The sender is no other slot of the role, or its own change is under way.
    #[error("slot {0} is no holder that may re-supply this slot")]
    NotAHolder(Slot),
    /// The holder did not sign the message.
    #[error("slot {holder} did not sign the message")]
    Signature {
        /// The holder.
        holder: Slot,
        /// The signature's error.
        source: SignatureError,
    },
    /// The message is not sealed to the successor's key of the period.
    #[error("the message of slot {0} does not open")]
    Sealed(Slot),
    /// The message does not carry exactly the sets that hold both slots.
    #[error("the message of slot {0} does not carry the sets of both slots")]
    Sets(Slot),
    /// A key is not the one that the header commits to. The signed message convicts the holder.
    #[error("slot {holder} sent another key of set {:#b} than the session's", holders.0)]
    NotTheCommittedKey {
        /// The holder.
        holder: Slot,
        /// The set.
        holders: SlotMask,
    },
}

/// What a successor has been re-supplied of one session so far. Keys are zeroed on drop.
pub struct Resupplied<'a> {
    header: &'a VerifiedHeader,
    update: UpdateInForce<'a>,
    threshold: Threshold,
    keys: BTreeMap<SlotMask, SessionKey>,
}

impl<'a> Resupplied<'a> {
    /// Nothing so far; `None` when the session is of another certificate than the update.
    pub fn new(header: &'a VerifiedHeader, update: UpdateInForce<'a>) -> Option<Self> {
        update.period_key(&header.body().kid)?;
        let threshold = update
            .certificate()
            .body()
            .committee(update.role())
            .threshold;
        Some(Self {
            header,
            update,
            threshold,
            keys: BTreeMap::new(),
        })
    }

    /// The session.
    pub fn sid(&self) -> SessionId {
        self.header.sid()
    }

    /// Takes a holder's message.
    ///
    /// # Errors
    /// [`ResupplyRefusal`] names the holder where it is at fault; what was taken before stays.
    pub fn take(
        &mut self,
        message: &Resupply,
        key: &DecapsulationKey,
    ) -> Result<(), ResupplyRefusal> {
        let place = &message.place;
        let (role, slot, holder) = (self.update.role(), self.update.slot(), place.holder);
        let expected = ResupplyPlace {
            sid: self.header.sid(),
            update: self.update.id(),
            role,
            slot,
            holder,
        };
        if *place != expected {
            return Err(ResupplyRefusal::OtherPlace);
        }
        let identity = self.update.holder(holder).filter(|_| holder != slot);
        let identity = identity.ok_or(ResupplyRefusal::NotAHolder(holder))?;
        message
            .verify(&identity)
            .map_err(|source| ResupplyRefusal::Signature { holder, source })?;
        let plaintext = hpke::open(key, &place.info(), &message.sealed)
            .map_err(|_| ResupplyRefusal::Sealed(holder))?;
        let sets = self.sets().filter(|set| set.contains(holder));
        let sets: Vec<SlotMask> = sets.collect();
        let keys = read_keys(&plaintext, &sets).ok_or(ResupplyRefusal::Sets(holder))?;
        for (holders, key) in sets.iter().zip(&keys) {
            if !self.is_committed(role, *holders, key) {
                let holders = *holders;
                return Err(ResupplyRefusal::NotTheCommittedKey { holder, holders });
            }
        }
        self.keys.extend(sets.into_iter().zip(keys));
        Ok(())
    }

    /// "The receiver checks c."
    fn is_committed(&self, role: Role, holders: SlotMask, key: &SessionKey) -> bool {
        let body = self.header.body();
        let context = context(&body.kid, &body.nonce, Some((role, holders)));
        let committed = committed_value(body, role, holders);
        committed.is_some_and(|c| bool::from(key.commitment(&context).ct_eq(c)))
    }

    /// The sets that hold the slot, ascending.
    fn sets(&self) -> impl Iterator<Item = SlotMask> {
        let slot = self.update.slot();
        let sets = self.threshold.holder_sets().into_iter();
        sets.filter(move |set| set.contains(slot))
    }

    /// The sets whose key nobody has re-supplied yet.
    pub fn missing(&self) -> Vec<SlotMask> {
        self.sets()
            .filter(|set| !self.keys.contains_key(set))
            .collect()
    }

    /// The part that the slot would have been dealt, sealed to the successor's own key of the
    /// period: to be kept beside the header, and opened by [`crate::open_sealed_part`].
    ///
    /// # Errors
    /// The sets that are missing, if any.
    ///
    /// # Panics
    /// Never: the update's keys were checked to be X-Wing keys when a message was sealed to them.
    pub fn into_part(self, rng: &mut impl CryptoRng) -> Result<SealedPart, Vec<SlotMask>> {
        let missing = self.missing();
        let body = self.header.body();
        let (role, slot) = (self.update.role(), self.update.slot());
        let (Some(to), true) = (self.update.period_key(&body.kid), missing.is_empty()) else {
            return Err(missing);
        };
        let mut plaintext = Encoder::with_capacity(20 * (5 + 36));
        for (set, key) in &self.keys {
            plaintext.u8(set.0).bytes(key.0.as_ref());
        }
        let plaintext = Zeroizing::new(plaintext.finish());
        let info = part_info(&body.hash(), role, slot);
        let sealed = hpke::seal(rng, to, &info, &plaintext);
        let sealed = sealed.expect("a message was sealed to this key before");
        Ok(SealedPart { role, slot, sealed })
    }
}

/// How far the re-supply of a slot is. A driver that was interrupted makes it again from the sessions
/// of the certificate and notes those whose part is on its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResupplyProgress {
    missing: BTreeSet<SessionId>,
    whole: usize,
}

impl ResupplyProgress {
    /// A job over these sessions.
    pub fn new(sessions: impl IntoIterator<Item = SessionId>) -> Self {
        Self {
            missing: sessions.into_iter().collect(),
            whole: 0,
        }
    }

    /// Notes that a session's part is durable at the successor. Again and again is once.
    pub fn note(&mut self, sid: &SessionId) {
        self.whole += usize::from(self.missing.remove(sid));
    }

    /// The next sessions to re-supply, at most `count`, in order of their ids.
    pub fn next(&self, count: usize) -> Vec<SessionId> {
        self.missing.iter().take(count).copied().collect()
    }

    /// Sessions done, and all.
    pub fn counts(&self) -> (usize, usize) {
        (self.whole, self.whole + self.missing.len())
    }
}
