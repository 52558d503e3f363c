//! Who may act in the shard, and which policy requests must pin.

use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::{EncapsulationKey, Encoder, HashTag, IdentityKey, hash};
use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{Digest, Name};

use crate::machine::{Machine, Stop};
use crate::outcome::Outcome;
use crate::rejection::EnrolmentRejection;
use crate::rows::{parse, read, write};
use crate::tables::ENROLMENTS;
use crate::view::Enrolled;

/// Most identities of one kind: at 1.3 KiB for a recipient, under 6 MiB of rows.
pub(crate) const ENROLLED_OF_A_KIND: usize = 4096;

/// A kind of enrolment, and its first key byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Edge = 1,
    Intake = 2,
    Recipient = 3,
}

fn key(kind: Kind, name: &Name) -> Vec<u8> {
    [&[kind as u8], name.as_str().as_bytes()].concat()
}

/// The enrolment of an identity of a kind.
pub(crate) fn find(
    store: &dyn ReadStore,
    kind: Kind,
    name: &Name,
) -> Result<Option<Enrolled>, StoreError> {
    read(store, ENROLMENTS, &key(kind, name))
}

/// The key of an enrolled edge.
pub(crate) fn edge_key(
    store: &dyn ReadStore,
    edge: &Name,
) -> Result<Option<IdentityKey>, StoreError> {
    Ok(match find(store, Kind::Edge, edge)? {
        Some(Enrolled::Edge { key, .. }) => Some(key),
        _ => None,
    })
}

/// Everybody enrolled, by kind and id.
pub(crate) fn all(store: &dyn ReadStore) -> Result<Vec<Enrolled>, StoreError> {
    let rows = store.scan_prefix(ENROLMENTS, &[], 3 * ENROLLED_OF_A_KIND)?;
    rows.iter()
        .map(|(_, value)| parse(ENROLMENTS, value))
        .collect()
}

pub(crate) fn enrol_edge(
    machine: &mut Machine<'_>,
    name: Name,
    key: IdentityKey,
) -> Result<Outcome, Stop> {
    enrol(
        machine,
        Kind::Edge,
        name.clone(),
        Enrolled::Edge { name, key },
    )
}

pub(crate) fn enrol_intake(machine: &mut Machine<'_>, name: Name) -> Result<Outcome, Stop> {
    enrol(
        machine,
        Kind::Intake,
        name.clone(),
        Enrolled::Intake { name },
    )
}

pub(crate) fn enrol_recipient(
    machine: &mut Machine<'_>,
    name: Name,
    key: EncapsulationKey,
    certificate: Digest,
) -> Result<Outcome, Stop> {
    let enrolled = Enrolled::Recipient {
        name: name.clone(),
        key,
        certificate,
    };
    enrol(machine, Kind::Recipient, name, enrolled)
}

fn enrol(
    machine: &mut Machine<'_>,
    kind: Kind,
    name: Name,
    enrolled: Enrolled,
) -> Result<Outcome, Stop> {
    match find(machine.reader(), kind, &name)? {
        Some(known) if known == enrolled => return Ok(Outcome::Accepted),
        Some(_) => {}
        None => {
            let limit = ENROLLED_OF_A_KIND;
            let rows = machine
                .reader()
                .scan_prefix(ENROLMENTS, &[kind as u8], limit)?;
            if rows.len() >= limit {
                return Err(EnrolmentRejection::TooMany { limit }.into());
            }
        }
    }
    machine.check_not_frozen()?;
    write(machine.store, ENROLMENTS, &key(kind, &name), &enrolled)?;
    let digest = enrolment_digest("enrol", |e| fields(e, &enrolled));
    machine.log(LeafContent::Enrolment { digest })?;
    Ok(Outcome::Accepted)
}

pub(crate) fn revoke(machine: &mut Machine<'_>, kind: Kind, name: Name) -> Result<Outcome, Stop> {
    let Some(enrolled) = find(machine.reader(), kind, &name)? else {
        return Err(EnrolmentRejection::Unknown(name).into());
    };
    machine.store.delete(ENROLMENTS, &key(kind, &name))?;
    let digest = enrolment_digest("revoke", |e| fields(e, &enrolled));
    machine.log(LeafContent::Enrolment { digest })?;
    Ok(Outcome::Accepted)
}

pub(crate) fn set_policy(
    machine: &mut Machine<'_>,
    digest: Digest,
    version: u32,
) -> Result<Outcome, Stop> {
    match machine.state.policy {
        Some(policy) if policy == (digest, version) => return Ok(Outcome::Accepted),
        Some((_, current)) if version <= current => {
            let got = version;
            return Err(EnrolmentRejection::PolicyVersion { current, got }.into());
        }
        _ => {}
    }
    machine.check_not_frozen()?;
    machine.state.policy = Some((digest, version));
    let digest = enrolment_digest("policy", |e| {
        e.digest(&digest).u32(version);
    });
    machine.log(LeafContent::Enrolment { digest })?;
    Ok(Outcome::Accepted)
}

/// What an enrolment leaf commits to: `H("command", "enrol" | "revoke" | "policy", ..)`.
fn enrolment_digest(action: &str, fill: impl FnOnce(&mut Encoder)) -> Digest {
    hash(HashTag::CommandKey, |e| {
        e.text(action);
        fill(e);
    })
}

fn fields(encoder: &mut Encoder, enrolled: &Enrolled) {
    match enrolled {
        Enrolled::Edge { name, key } => {
            encoder
                .u8(Kind::Edge as u8)
                .text(name.as_str())
                .bytes(&key.0);
        }
        Enrolled::Intake { name } => {
            encoder.u8(Kind::Intake as u8).text(name.as_str());
        }
        Enrolled::Recipient {
            name,
            key,
            certificate,
        } => {
            encoder.u8(Kind::Recipient as u8).text(name.as_str());
            encoder.bytes(key.as_bytes()).digest(certificate);
        }
    }
}
