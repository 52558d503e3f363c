//! The values of the tables, and reading and writing them as bincode. A row that does not decode was
//! not written by this program: the disk's fault.

use bailiwick_envelope::approval::{RefusalCode, RosterReference};
use bailiwick_envelope::block::BatchManifest;
use bailiwick_envelope::certificate::{KeyCertificate, Member};
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::selection::Selection;
use bailiwick_envelope::{IdentityKey, Signature};
use bailiwick_types::codec;
use bailiwick_types::store::{ReadStore, StoreError, Table, WriteStore};
use bailiwick_types::{
    CertificateId, ClusterId, Digest, KeyId, Minute, Name, Role, SessionId, ShardId, Slot,
    Threshold, Timestamp,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::command::{CertificatePlan, MemberRefusal};
use crate::outcome::BlockStored;
use crate::view::{LoggedDecision, RequestState};

/// A row that does not hold what its table says.
pub(crate) fn corrupt(table: Table) -> StoreError {
    StoreError(format!(
        "table {table}: a row is missing or does not decode"
    ))
}

pub(crate) fn read<T: DeserializeOwned>(
    store: &dyn ReadStore,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    let row = store.get(table, key)?;
    row.map(|bytes| parse(table, &bytes)).transpose()
}

/// A row that another row says exists.
pub(crate) fn demand<T: DeserializeOwned>(
    store: &dyn ReadStore,
    table: Table,
    key: &[u8],
) -> Result<T, StoreError> {
    read(store, table, key)?.ok_or_else(|| corrupt(table))
}

pub(crate) fn parse<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode(bytes).map_err(|_| corrupt(table))
}

pub(crate) fn write<T: Serialize>(
    store: &mut dyn WriteStore,
    table: Table,
    key: &[u8],
    value: &T,
) -> Result<(), StoreError> {
    let bytes = codec::encode(value).map_err(|_| corrupt(table))?;
    store.put(table, key, &bytes)
}

/// A value of exactly `N` bytes.
pub(crate) fn read_array<const N: usize>(
    store: &dyn ReadStore,
    table: Table,
    key: &[u8],
) -> Result<Option<[u8; N]>, StoreError> {
    let row = store.get(table, key)?;
    row.map(|bytes| array(table, &bytes)).transpose()
}

pub(crate) fn array<const N: usize>(table: Table, bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| corrupt(table))
}

/// A big-endian u32 at the end of a key or value.
pub(crate) fn tail_u32(table: Table, bytes: &[u8]) -> Result<u32, StoreError> {
    let tail = bytes.split_last_chunk::<4>().map(|(_, tail)| *tail);
    tail.map(u32::from_be_bytes).ok_or_else(|| corrupt(table))
}

/// The shard's one row of counters and settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardState {
    pub(crate) cluster: ClusterId,
    pub(crate) shard: ShardId,
    pub(crate) origin: String,
    pub(crate) policy: Option<(Digest, u32)>,
    pub(crate) frozen: Option<(String, Name)>,
    pub(crate) last_stamp: Timestamp,
    pub(crate) records: u64,
    pub(crate) phones: u64,
    pub(crate) sessions: u32,
    pub(crate) requests: u32,
    pub(crate) open_requests: u32,
    pub(crate) leaves: u64,
    pub(crate) certificates: u32,
    pub(crate) periods: u32,
    /// The oldest remembered command's sequence number, and the next one's.
    pub(crate) remembered: (u64, u64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DraftRow {
    pub(crate) plan: CertificatePlan,
    pub(crate) called_at: Timestamp,
    /// Role, slot and entry, in canonical order.
    pub(crate) offers: Vec<(Role, Slot, Member)>,
    pub(crate) certificate: Option<CertificateId>,
    pub(crate) signatures: Vec<(Role, Slot, Signature)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CertificateRow {
    pub(crate) certificate: KeyCertificate,
    pub(crate) leaf_index: u64,
    /// Number of its first period; the others follow.
    pub(crate) first_period: u32,
}

/// What is needed of a member without reading its whole certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MemberRow {
    pub(crate) name: Name,
    pub(crate) identity: IdentityKey,
    pub(crate) reviewers: Vec<IdentityKey>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PeriodRow {
    pub(crate) certificate_number: u32,
    pub(crate) certificate: CertificateId,
    /// The period's index within its certificate.
    pub(crate) index: u16,
    pub(crate) kid: KeyId,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) erase_by: Timestamp,
    pub(crate) workflow: Threshold,
    pub(crate) legal_review: Threshold,
}

impl PeriodRow {
    pub(crate) fn threshold(&self, role: Role) -> Threshold {
        match role {
            Role::Workflow => self.workflow,
            Role::LegalReview => self.legal_review,
        }
    }
}

/// What a period holds; lets a search pass over periods that cannot match.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PeriodStatistics {
    pub(crate) records: u64,
    pub(crate) phones: u64,
    pub(crate) first_minute: Minute,
    pub(crate) last_minute: Minute,
}

impl Default for PeriodStatistics {
    fn default() -> Self {
        Self {
            records: 0,
            phones: 0,
            first_minute: Minute(u32::MAX),
            last_minute: Minute(0),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    pub(crate) sid: SessionId,
    pub(crate) edge: Name,
    pub(crate) edge_key: IdentityKey,
    pub(crate) committed_at: Timestamp,
    pub(crate) opened_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) max_block: u16,
    pub(crate) next_block: u16,
    /// The last manifest's hash; zeros before block 0.
    pub(crate) previous: Digest,
    pub(crate) last_edge_time: Timestamp,
    /// What the last block gave, for a retry of it.
    pub(crate) last_outcome: BlockStored,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ManifestRow {
    pub(crate) manifest: BatchManifest,
    pub(crate) signature: Signature,
    pub(crate) pseudonym_version: u16,
    /// Leaf hashes of dropped duplicates, ascending by index: without them no neighbour's inclusion
    /// could be proven.
    pub(crate) dropped: Vec<(u16, Digest)>,
    /// Roots of each [`crate::blocks::CHUNK`] leaves, 32 bytes each: 2 bytes a record.
    pub(crate) chunks: Bytes,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RequestRow {
    pub(crate) number: u32,
    pub(crate) request: DisclosureRequest,
    pub(crate) state: RequestState,
    pub(crate) logged_at: Timestamp,
    pub(crate) leaf_index: u64,
    pub(crate) selection: Selection,
    /// Certificate, roster, and one period of each, ascending by certificate.
    pub(crate) rosters: Vec<(CertificateId, u32)>,
    /// Numbers of all periods involved, ascending.
    pub(crate) periods: Vec<u32>,
    pub(crate) decisions: Vec<LoggedDecision>,
    pub(crate) releases: Vec<(Role, Slot, u64)>,
    pub(crate) member_refusals: Vec<MemberRefusal>,
    pub(crate) refusal: Option<RefusalCode>,
    pub(crate) delivered: Option<u32>,
}

impl RequestRow {
    /// The state at `now`: what was not disclosed in time has lapsed.
    pub(crate) fn state_at(&self, now: Timestamp) -> RequestState {
        match self.state {
            RequestState::InReview | RequestState::Approved | RequestState::Releasing
                if now >= self.request.not_after =>
            {
                RequestState::Lapsed
            }
            state => state,
        }
    }

    pub(crate) fn roster_references(&self) -> Vec<RosterReference> {
        let reference = |(certificate, roster): &(CertificateId, u32)| RosterReference {
            certificate: *certificate,
            roster: *roster,
        };
        self.rosters.iter().map(reference).collect()
    }
}
