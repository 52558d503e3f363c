//! Partitions of a jurisdiction (docs/decisions/0008-partitions.md): what a further partition takes
//! over from the home group, and how far its log has come, as the home group logs it.
//!
//! Nothing here reads another group's state: what belongs to one enters the other by command.

use std::collections::BTreeSet;

use bailiwick_envelope::block::SealedRecord;
use bailiwick_envelope::certificate::KeyCertificate;
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::partition::{PARTITIONS, PartitionRoot, partition_of};
use bailiwick_types::Digest;
use bailiwick_types::store::{ReadStore, StoreError};
use serde::{Deserialize, Serialize};

use crate::certificates;
use crate::command::HomeState;
use crate::enrolment::{self, Kind};
use crate::freeze;
use crate::machine::{Machine, Stop, check_text};
use crate::outcome::Outcome;
use crate::rejection::{CertificateRejection, EnrolmentRejection, PartitionRejection, TextField};
use crate::rows::{array, parse, read, write};
use crate::tables::{PARTITION_ROOTS, PARTITIONING};
use crate::view::Enrolled;

/// A shard's place among its jurisdiction's; no row in a jurisdiction of one partition.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PartitioningRow {
    pub(crate) count: u16,
    /// Size of the home log at which its state was last taken over.
    pub(crate) home_leaves: u64,
}

/// How far a further partition's log has come, as the home group logged it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RootRow {
    pub(crate) size: u64,
    pub(crate) root: Digest,
}

/// In how many groups the jurisdiction's records are.
pub(crate) fn count(store: &dyn ReadStore) -> Result<u16, StoreError> {
    let row: Option<PartitioningRow> = read(store, PARTITIONING, &[])?;
    Ok(row.map_or(1, |row| row.count))
}

/// The last logged root of each further partition, by partition.
pub(crate) fn roots(store: &dyn ReadStore) -> Result<Vec<(u16, RootRow)>, StoreError> {
    let rows = store.scan_prefix(PARTITION_ROOTS, &[], usize::from(PARTITIONS))?;
    let root = |(key, value): &(Vec<u8>, Vec<u8>)| -> Result<_, StoreError> {
        let partition = u16::from_be_bytes(array(PARTITION_ROOTS, key)?);
        Ok((partition, parse(PARTITION_ROOTS, value)?))
    };
    rows.iter().map(root).collect()
}

/// Says in how many groups the records are: once, before anything is sealed.
pub(crate) fn set_count(machine: &mut Machine<'_>, count: u16) -> Result<Outcome, Stop> {
    let row: Option<PartitioningRow> = read(machine.reader(), PARTITIONING, &[])?;
    let shard = machine.state.shard;
    match row {
        Some(row) if row.count == count => return Ok(Outcome::Accepted),
        None if machine.state.sessions == 0
            && (2..=PARTITIONS).contains(&count)
            && shard.partition < count => {}
        _ => return Err(PartitionRejection::Count { count }.into()),
    }
    let row = PartitioningRow {
        count,
        home_leaves: 0,
    };
    write(machine.store, PARTITIONING, &[], &row)?;
    machine.log(LeafContent::Partitions { count })?;
    Ok(Outcome::Accepted)
}

/// A subject's records are in one partition: those of others are refused.
pub(crate) fn check_subjects(machine: &Machine<'_>, records: &[SealedRecord]) -> Result<(), Stop> {
    let here = machine.state.shard.partition;
    let count = count(machine.reader())?;
    if count == 1 {
        return Ok(());
    }
    let stray = |record: &SealedRecord| partition_of(&record.subject, count) != here;
    match records.iter().position(stray) {
        None => Ok(()),
        // A block has at most 4,096 records.
        Some(index) => Err(PartitionRejection::Subject {
            index: index as u16,
        }
        .into()),
    }
}

/// Takes over who may act and whether the jurisdiction is frozen, as the home group had it when its
/// log had so many leaves. An older state than the last one changes nothing.
pub(crate) fn mirror(machine: &mut Machine<'_>, home: HomeState) -> Result<Outcome, Stop> {
    let mut row = further(machine)?;
    let limit = enrolment::ENROLLED_OF_A_KIND;
    if home.edges.len() > limit || home.intakes.len() > limit {
        return Err(EnrolmentRejection::TooMany { limit }.into());
    }
    if let Some((reason, _)) = &home.frozen {
        check_text(TextField::Reason, reason)?;
    }
    if home.leaves < row.home_leaves {
        return Ok(Outcome::Accepted);
    }
    row.home_leaves = home.leaves;
    write(machine.store, PARTITIONING, &[], &row)?;
    let edges: BTreeSet<_> = home.edges.iter().map(|(name, _)| name.clone()).collect();
    let intakes: BTreeSet<_> = home.intakes.iter().cloned().collect();
    // Who goes goes first: what stays and what comes are then never more than the limit.
    for enrolled in enrolment::all(machine.reader())? {
        match enrolled {
            Enrolled::Edge { name, .. } if !edges.contains(&name) => {
                enrolment::revoke(machine, Kind::Edge, name)?;
            }
            Enrolled::Intake { name } if !intakes.contains(&name) => {
                enrolment::revoke(machine, Kind::Intake, name)?;
            }
            _ => {}
        }
    }
    // Enrolled before the home group froze: a freeze here does not stand against it.
    let frozen = machine.state.frozen.take();
    for (name, key) in home.edges {
        enrolment::enrol_edge(machine, name, key)?;
    }
    for name in home.intakes {
        enrolment::enrol_intake(machine, name)?;
    }
    machine.state.frozen = frozen;
    match home.frozen {
        Some((reason, by)) => {
            machine.by = by;
            freeze::freeze(machine, reason)
        }
        None => freeze::unfreeze(machine),
    }
}

/// Takes over a certificate that the home group made valid.
pub(crate) fn install(
    machine: &mut Machine<'_>,
    certificate: KeyCertificate,
) -> Result<Outcome, Stop> {
    further(machine)?;
    let id = certificate.body.id();
    if let Some(known) = certificates::by_id(machine.reader(), &id)? {
        return Ok(Outcome::CertificateValid {
            certificate: id,
            leaf_index: known.leaf_index,
        });
    }
    let body = |reason: String| CertificateRejection::Body { reason };
    if certificate.body.jurisdiction != machine.state.shard.jurisdiction {
        return Err(body("certificate.jurisdiction: another one".to_owned()).into());
    }
    certificate
        .body
        .check()
        .map_err(|error| body(error.to_string()))?;
    certificate
        .check_signed_by_its_members()
        .map_err(|error| body(error.to_string()))?;
    certificates::check_live(machine)?;
    let leaf_index = certificates::install(machine, id, certificate)?;
    Ok(Outcome::CertificateValid {
        certificate: id,
        leaf_index,
    })
}

fn further(machine: &Machine<'_>) -> Result<PartitioningRow, Stop> {
    let row: Option<PartitioningRow> = read(machine.reader(), PARTITIONING, &[])?;
    match row {
        Some(row) if machine.state.shard.partition > 0 => Ok(row),
        _ => Err(PartitionRejection::NotFurther.into()),
    }
}

/// Logs how far partitions have come. A root that is not above the last one logs nothing; one that
/// does not extend it is refused, and so are all that came with it.
pub(crate) fn record_roots(
    machine: &mut Machine<'_>,
    roots: Vec<PartitionRoot>,
) -> Result<Outcome, Stop> {
    check_roots(machine, &roots)?;
    log_roots(machine, roots)?;
    Ok(Outcome::Accepted)
}

/// The roots that are new, after each was verified to extend the last one of its partition.
pub(crate) fn check_roots(machine: &Machine<'_>, roots: &[PartitionRoot]) -> Result<(), Stop> {
    machine.check_home()?;
    let count = count(machine.reader())?;
    let mut seen = BTreeSet::new();
    for root in roots {
        let partition = root.partition;
        let refused = PartitionRejection::Root { partition };
        if !(1..count).contains(&partition) || !seen.insert(partition) {
            return Err(refused.into());
        }
        let before = root_of(machine.reader(), partition)?;
        if before.is_some_and(|before| root.size <= before.size) {
            continue;
        }
        let before = before.map(|before| (before.size, before.root));
        root.follows(before).map_err(|_| refused)?;
    }
    Ok(())
}

/// Logs roots that [`check_roots`] has passed.
pub(crate) fn log_roots(
    machine: &mut Machine<'_>,
    roots: Vec<PartitionRoot>,
) -> Result<(), StoreError> {
    for root in roots {
        let before = root_of(machine.reader(), root.partition)?;
        if before.is_some_and(|before| root.size <= before.size) {
            continue;
        }
        let row = RootRow {
            size: root.size,
            root: root.root,
        };
        let key = root.partition.to_be_bytes();
        write(machine.store, PARTITION_ROOTS, &key, &row)?;
        machine.log(LeafContent::PartitionRoot(root))?;
    }
    Ok(())
}

pub(crate) fn root_of(
    store: &dyn ReadStore,
    partition: u16,
) -> Result<Option<RootRow>, StoreError> {
    read(store, PARTITION_ROOTS, &partition.to_be_bytes())
}
