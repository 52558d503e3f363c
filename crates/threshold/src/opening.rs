//! Opening records (docs/cryptography.md section 9): the recipient's side.
//!
//! Not here: fetching partials, and asking more members.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_envelope::DecodeError;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::label::Label;
use bailiwick_envelope::record::Plaintext;
use bailiwick_envelope::release::RecordValues;
use bailiwick_envelope::selection::Selection;
use bailiwick_types::{Digest, KeyId, RequestId, Role, SelectionId, Slot, SlotMask};

use crate::partial::{SignedPartial, VerifiedPartial};
use crate::sealing::RHO;
use crate::subsets::{Found, Search, Side};

/// A record of the selection as a recipient gets it from a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedRecord {
    /// Its place in the selection, from 0.
    pub index: u32,
    /// Its label.
    pub label: Label,
    /// The commitment to its plaintext.
    pub alpha: Digest,
    /// AES-256-GCM of rho and the padded plaintext.
    pub ciphertext: Vec<u8>,
    /// The key period of its session.
    pub kid: KeyId,
}

/// An opened record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedRecord {
    /// Its place in the selection, from 0.
    pub index: u32,
    /// Its label.
    pub label: Label,
    /// What the edge sealed.
    pub plaintext: Plaintext,
}

/// A member whose answer differs from what opened the record. It is contradicted, not guilty: an
/// edge that dealt inconsistently causes the same. Adjudication decides.
#[derive(Clone, Debug)]
pub struct Contradiction {
    /// The key period.
    pub kid: KeyId,
    /// The member's role.
    pub role: Role,
    /// The member's slot.
    pub slot: Slot,
    /// The record's place in the selection.
    pub index: u32,
    /// The member's signed body.
    pub signed: Arc<SignedPartial>,
}

/// Why a partial was left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitReason {
    /// For another request.
    #[error("it belongs to another request")]
    OtherRequest,
    /// For another selection.
    #[error("it belongs to another selection")]
    OtherSelection,
    /// No certificate is known for its period.
    #[error("no certificate is known for its key period")]
    UnknownPeriod,
    /// Its signer is not the certificate's member at that slot.
    #[error("its signer is not the certified member of that slot")]
    NotTheMember,
    /// The slot signed two bodies for one chunk.
    #[error("the slot signed another body for the same chunk")]
    SecondBody,
}

/// A partial that was left aside: it may be its member's or its carrier's fault.
#[derive(Clone, Debug)]
pub struct UnfitPartial {
    /// Why.
    pub reason: UnfitReason,
    /// The member's signed body.
    pub signed: Arc<SignedPartial>,
}

/// A record that did not open while others did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnopenedRecord {
    /// Its place in the selection.
    pub index: u32,
    /// Why.
    pub error: OpeningError,
}

/// What a recipient learns.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The records that opened, in order of the selection.
    pub records: Vec<OpenedRecord>,
    /// The records that did not, in order; empty when all opened. A caller that ignores it takes a
    /// disclosure for whole that is not.
    pub unopened: Vec<UnopenedRecord>,
    /// Every answer that differs from what opened a record.
    pub contradicted: Vec<Contradiction>,
    /// Every partial that was left aside.
    pub unfit: Vec<UnfitPartial>,
    /// How many pairs of subsets were tried in all; one per record when nobody lies.
    pub tried: u64,
}

/// Why nothing, or one record, does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// The records are not the selection's: the shard's fault, or a forgery.
    #[error("the records are not those of the logged selection")]
    NotTheSelection,
    /// No certificate is known for a record's period.
    #[error("record {index}: no certificate is known for its key period")]
    UnknownPeriod {
        /// The record's place in the selection.
        index: u32,
    },
    /// Too few members have answered.
    #[error("record {index}: {have} of {need} {role} members have answered")]
    NotEnough {
        /// The record's place in the selection.
        index: u32,
        /// The role.
        role: Role,
        /// Members with an answer for the record.
        have: u8,
        /// The role's threshold.
        need: u8,
    },
    /// The answers open nothing, and who is wrong cannot be told: more members must be asked.
    #[error("record {index}: the answers so far do not open it; ask more members")]
    Unattributed {
        /// The record's place in the selection.
        index: u32,
    },
    /// All members have answered and nothing opens.
    #[error("record {index}: an edge fault, or more liars than n - t in a role")]
    EdgeFaultOrTooManyLiars {
        /// The record's place in the selection.
        index: u32,
    },
    /// The record opens to what is no plaintext: the edge's fault.
    #[error("record {index}: the edge sealed what is no plaintext")]
    Plaintext {
        /// The record's place in the selection.
        index: u32,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// Opens the records of a request's selection from the members' partials.
///
/// # Errors
/// [`OpeningError`] when the records are not the selection, or when none of them opens; when some
/// open, the others stand in [`Opening::unopened`].
pub fn open_records(
    certificates: &BTreeMap<KeyId, &VerifiedCertificate>,
    request: RequestId,
    selection: &Selection,
    records: &[SelectedRecord],
    partials: &[VerifiedPartial],
) -> Result<Opening, OpeningError> {
    check_selection(request, selection, records)?;
    let mut opening = Opening {
        records: Vec::with_capacity(records.len()),
        unopened: Vec::new(),
        contradicted: Vec::new(),
        unfit: Vec::new(),
        tried: 0,
    };
    let answers = collect_answers(certificates, selection, partials, &mut opening.unfit);
    let mut last_good = BTreeMap::new();
    for record in records {
        let outcome = open_one(certificates, &answers, &mut last_good, record, &mut opening);
        match outcome {
            Ok(opened) => opening.records.push(opened),
            Err(error) => opening.unopened.push(UnopenedRecord {
                index: record.index,
                error,
            }),
        }
    }
    match opening.unopened.first() {
        Some(first) if opening.records.is_empty() => Err(first.error.clone()),
        _ => Ok(opening),
    }
}

/// Recomputes every `x` and the selection's root, count and kinds.
fn check_selection(
    request: RequestId,
    selection: &Selection,
    records: &[SelectedRecord],
) -> Result<(), OpeningError> {
    let numbered = (0..).zip(records).all(|(at, record)| record.index == at);
    let inputs = records.iter().map(|record| {
        let x = record.label.record_input(&record.alpha);
        (x, record.label.category)
    });
    if numbered && selection.request == request && Selection::of(request, inputs) == *selection {
        Ok(())
    } else {
        Err(OpeningError::NotTheSelection)
    }
}

/// A member's answer for one record.
type Answer<'a> = (&'a RecordValues, &'a Arc<SignedPartial>);
/// Every answer by (kid, role, slot), then by the record's index.
type Answers<'a> = BTreeMap<(KeyId, Role, Slot), BTreeMap<u32, Answer<'a>>>;

/// "Verify signatures, one body per slot": the first body of each (kid, role, slot, chunk).
fn collect_answers<'a>(
    certificates: &BTreeMap<KeyId, &VerifiedCertificate>,
    selection: &Selection,
    partials: &'a [VerifiedPartial],
    unfit: &mut Vec<UnfitPartial>,
) -> Answers<'a> {
    let id = selection.id();
    let mut bodies: BTreeMap<_, &VerifiedPartial> = BTreeMap::new();
    for partial in partials {
        let place = partial.place();
        let chunk = (place.kid, place.role, place.slot, place.chunk);
        let mut reason = unfit_reason(certificates, selection.request, id, partial);
        if let (None, Some(first)) = (reason, bodies.get(&chunk)) {
            // A member that answers again, after a crash, has another leaf and the same values.
            if first.body().records == partial.body().records {
                continue;
            }
            reason = Some(UnfitReason::SecondBody);
        }
        match reason {
            None => {
                bodies.insert(chunk, partial);
            }
            Some(reason) => unfit.push(UnfitPartial {
                reason,
                signed: Arc::clone(partial.signed()),
            }),
        }
    }
    let mut answers = Answers::new();
    for ((kid, role, slot, _), partial) in bodies {
        let member = answers.entry((kid, role, slot)).or_default();
        for values in &partial.body().records {
            member
                .entry(values.index)
                .or_insert((values, partial.signed()));
        }
    }
    answers
}

fn unfit_reason(
    certificates: &BTreeMap<KeyId, &VerifiedCertificate>,
    request: RequestId,
    selection: SelectionId,
    partial: &VerifiedPartial,
) -> Option<UnfitReason> {
    let place = partial.place();
    if place.request != request {
        return Some(UnfitReason::OtherRequest);
    }
    if partial.body().selection != selection {
        return Some(UnfitReason::OtherSelection);
    }
    let Some(certificate) = certificates.get(&place.kid) else {
        return Some(UnfitReason::UnknownPeriod);
    };
    let member = certificate.body().committee(place.role).member(place.slot);
    match member {
        Some(member) if member.identity == *partial.member() => None,
        _ => Some(UnfitReason::NotTheMember),
    }
}

/// The pair of subsets that opened the last record of a key period.
type LastGood = BTreeMap<KeyId, [SlotMask; 2]>;

/// Who answered for one record, by role.
type Responders<'a> = [Vec<(Slot, Answer<'a>)>; 2];

fn open_one(
    certificates: &BTreeMap<KeyId, &VerifiedCertificate>,
    answers: &Answers<'_>,
    last_good: &mut LastGood,
    record: &SelectedRecord,
    opening: &mut Opening,
) -> Result<OpenedRecord, OpeningError> {
    let index = record.index;
    let certificate = certificates
        .get(&record.kid)
        .ok_or(OpeningError::UnknownPeriod { index })?;
    let responders = responders(certificate, answers, record);
    let sides = [0, 1].map(|side| {
        let threshold = certificate.body().committee(Role::ALL[side]).threshold;
        let answers = responders[side].iter();
        Side::new(threshold, answers.map(|(slot, answer)| (*slot, answer.0)))
    });
    for (role, side) in Role::ALL.into_iter().zip(&sides) {
        side.check_enough(index, role)?;
    }
    let search = Search {
        x: record.label.record_input(&record.alpha),
        record,
    };
    let first = last_good.get(&record.kid).copied();
    let (found, tried) = search.run(&sides[0], &sides[1], first);
    opening.tried += tried;
    let found = found.ok_or_else(|| {
        if sides.iter().all(Side::all_answered) {
            OpeningError::EdgeFaultOrTooManyLiars { index }
        } else {
            OpeningError::Unattributed { index }
        }
    })?;
    last_good.insert(record.kid, found.subsets);
    note_contradictions(record, &responders, &sides, &found, opening);
    let padded = &found.opened[RHO..];
    let plaintext = Plaintext::from_padded(record.label.category, padded)
        .map_err(|source| OpeningError::Plaintext { index, source })?;
    Ok(OpenedRecord {
        index,
        label: record.label.clone(),
        plaintext,
    })
}

fn responders<'a>(
    certificate: &VerifiedCertificate,
    answers: &Answers<'a>,
    record: &SelectedRecord,
) -> Responders<'a> {
    Role::ALL.map(|role| {
        let slots = certificate.body().committee(role).threshold.slots();
        let answer = |slot| {
            let member = answers.get(&(record.kid, role, slot))?;
            Some((slot, *member.get(&record.index)?))
        };
        slots.filter_map(answer).collect()
    })
}

/// "Then compare all other answers: a member that differs is contradicted, not guilty."
fn note_contradictions(
    record: &SelectedRecord,
    responders: &Responders<'_>,
    sides: &[Side<'_>; 2],
    found: &Found,
    opening: &mut Opening,
) {
    for (side, responders) in responders.iter().enumerate() {
        for (slot, (values, signed)) in responders {
            if sides[side].contradicts(values, *slot, &found.values[side]) {
                opening.contradicted.push(Contradiction {
                    kid: record.kid,
                    role: Role::ALL[side],
                    slot: *slot,
                    index: record.index,
                    signed: Arc::clone(signed),
                });
            }
        }
    }
}
