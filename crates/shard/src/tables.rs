//! Every table of a shard's store, and how its keys are made.
//!
//! ```text
//! kind  of   name              key                                          value
//!  1    -    STATE             (empty)                                      ShardState
//!  2    -    ENROLMENTS        kind u8 | name                               Enrolled
//!  3    -    DRAFTS            draft 32                                     DraftRow
//!  4    -    DRAFT_OF          certid 32                                    draft 32
//!  5    -    CERTIFICATES      number u32                                   CertificateRow
//!  6    -    CERTIFICATE_OF    certid 32                                    number u32
//!  7    -    MEMBERS           certificate u32 | role u8 | slot u8          MemberRow
//!  8    -    PERIODS           period u32                                   PeriodRow
//!  9    -    PERIOD_OF         kid 32                                       period u32
//! 10    -    STATISTICS        period u32                                   PeriodStatistics
//! 11    -    SESSION_OF        sid 32                                       period u32 | session u32
//! 12    -    NONCES            edge | nonce 16                              (empty)
//! 13    -    RATES             edge                                         recent stamps
//! 14    -    UNANSWERED        role u8 | slot u8 | session u32              period u32
//! 15    -    PARTITIONING      (empty)                                      PartitioningRow
//! 16    -    PARTITION_ROOTS   partition u16                                RootRow
//! 20    p    SESSIONS          session u32                                  SessionRow
//! 21    p    HEADERS           session u32                                  canonical header
//! 22    p    ANSWERS           session u32 | role u8 | slot u8 | verdict u8 canonical answer
//! 23    p    MANIFESTS         session u32 | block u16                      ManifestRow
//! 24    p    RECORDS           position 8                                   row
//! 25    p    SUBJECTS          subject 16 | minute u32 | category u8 | position 8   (empty)
//! 26    p    RECORD_IDS        record id 16                                 position 8
//! 27    p    BLOCK_LEAVES      session u32 | block u16                      leaf index u64
//! 30    -    REQUESTS          rd 32                                        RequestRow
//! 31    -    REQUEST_NUMBERS   number u32                                   rd 32
//! 32    -    OPEN_REQUESTS     number u32                                   rd 32
//! 33    -    AWAITING          role u8 | slot u8 | number u32               rd 32
//! 34    -    ORDERS            H(forum, authority, reference) 32 | number u32   rd 32
//! 35    -    DOCUMENTS         rd 32                                        sealed documents
//! 36    -    SELECTIONS        rd 32 | index u32                            period u32 | position 8 | x 32
//! 37    -    PARTS             rd 32                                        PartRow
//! 40    -    LEAVES            index u64                                    canonical leaf
//! 41    -    LOG_NODES         level u8 | index u64                         hash 32
//! 50    -    REMEMBERED        command key 16                               RememberedRow
//! 51    -    REMEMBERED_ORDER  sequence u64                                 command key 16
//! 60    -    DIRECTORY         (empty)                                      DirectoryState
//!
//! position = session u32 | block u16 | index u16
//! ```
//! Integers in keys are big-endian, so that ascending keys are ascending numbers. "p": one table per
//! key period, dropped whole when the period is erased. A record costs three puts (RECORDS,
//! SUBJECTS, RECORD_IDS) and one get; everything else is per block or rarer.

use bailiwick_types::store::Table;
use bailiwick_types::{Category, Minute, RequestId, Role, Slot, SubjectPseudonym};

pub(crate) const STATE: Table = Table::new(1);
pub(crate) const ENROLMENTS: Table = Table::new(2);
pub(crate) const DRAFTS: Table = Table::new(3);
pub(crate) const DRAFT_OF: Table = Table::new(4);
pub(crate) const CERTIFICATES: Table = Table::new(5);
pub(crate) const CERTIFICATE_OF: Table = Table::new(6);
pub(crate) const MEMBERS: Table = Table::new(7);
pub(crate) const PERIODS: Table = Table::new(8);
pub(crate) const PERIOD_OF: Table = Table::new(9);
pub(crate) const STATISTICS: Table = Table::new(10);
pub(crate) const SESSION_OF: Table = Table::new(11);
pub(crate) const NONCES: Table = Table::new(12);
pub(crate) const RATES: Table = Table::new(13);
pub(crate) const UNANSWERED: Table = Table::new(14);
pub(crate) const PARTITIONING: Table = Table::new(15);
pub(crate) const PARTITION_ROOTS: Table = Table::new(16);
pub(crate) const REQUESTS: Table = Table::new(30);
pub(crate) const REQUEST_NUMBERS: Table = Table::new(31);
pub(crate) const OPEN_REQUESTS: Table = Table::new(32);
pub(crate) const AWAITING: Table = Table::new(33);
pub(crate) const ORDERS: Table = Table::new(34);
pub(crate) const DOCUMENTS: Table = Table::new(35);
pub(crate) const SELECTIONS: Table = Table::new(36);
pub(crate) const PARTS: Table = Table::new(37);
pub(crate) const LEAVES: Table = Table::new(40);
pub(crate) const LOG_NODES: Table = Table::new(41);
pub(crate) const REMEMBERED: Table = Table::new(50);
pub(crate) const REMEMBERED_ORDER: Table = Table::new(51);
pub(crate) const DIRECTORY: Table = Table::new(60);

pub(crate) const fn sessions(period: u32) -> Table {
    Table::of_period(20, period)
}

pub(crate) const fn headers(period: u32) -> Table {
    Table::of_period(21, period)
}

pub(crate) const fn answers(period: u32) -> Table {
    Table::of_period(22, period)
}

pub(crate) const fn manifests(period: u32) -> Table {
    Table::of_period(23, period)
}

pub(crate) const fn records(period: u32) -> Table {
    Table::of_period(24, period)
}

pub(crate) const fn subjects(period: u32) -> Table {
    Table::of_period(25, period)
}

pub(crate) const fn record_ids(period: u32) -> Table {
    Table::of_period(26, period)
}

pub(crate) const fn block_leaves(period: u32) -> Table {
    Table::of_period(27, period)
}

/// Where a record stands within its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) session: u32,
    pub(crate) block: u16,
    pub(crate) index: u16,
}

impl Position {
    pub(crate) fn key(self) -> [u8; 8] {
        let mut key = [0; 8];
        key[..4].copy_from_slice(&self.session.to_be_bytes());
        key[4..6].copy_from_slice(&self.block.to_be_bytes());
        key[6..].copy_from_slice(&self.index.to_be_bytes());
        key
    }

    /// The position of the last 8 bytes of a key.
    pub(crate) fn of_tail(key: &[u8]) -> Option<Self> {
        let (_, tail) = key.split_last_chunk::<8>()?;
        let [a, b, c, d, e, f, g, h] = *tail;
        Some(Self {
            session: u32::from_be_bytes([a, b, c, d]),
            block: u16::from_be_bytes([e, f]),
            index: u16::from_be_bytes([g, h]),
        })
    }
}

/// `session u32 | block u16`.
pub(crate) fn block_key(session: u32, block: u16) -> [u8; 6] {
    let mut key = [0; 6];
    key[..4].copy_from_slice(&session.to_be_bytes());
    key[4..].copy_from_slice(&block.to_be_bytes());
    key
}

/// `role u8 | slot u8`, with what goes before and after it.
pub(crate) fn member_key(before: &[u8], role: Role, slot: Slot, after: &[u8]) -> Vec<u8> {
    [before, &[role.code(), slot.number()], after].concat()
}

/// `subject 16 | minute u32`: the bound of a window of a subject's minutes.
pub(crate) fn subject_bound(subject: &SubjectPseudonym, minute: Minute) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&subject.0);
    key[16..].copy_from_slice(&minute.0.to_be_bytes());
    key
}

/// A record's key in SUBJECTS.
pub(crate) fn subject_key(
    subject: &SubjectPseudonym,
    minute: Minute,
    category: Category,
    position: Position,
) -> [u8; 29] {
    let mut key = [0; 29];
    key[..20].copy_from_slice(&subject_bound(subject, minute));
    key[20] = category.code();
    key[21..].copy_from_slice(&position.key());
    key
}

/// Minute and category of a key in SUBJECTS.
pub(crate) fn subject_key_parts(key: &[u8]) -> Option<(Minute, Category)> {
    let minute = key.get(16..20)?.try_into().ok()?;
    let category = Category::from_code(*key.get(20)?)?;
    Some((Minute(u32::from_be_bytes(minute)), category))
}

/// `rd 32 | index u32`.
pub(crate) fn selection_key(request: &RequestId, index: u32) -> [u8; 36] {
    let mut key = [0; 36];
    key[..32].copy_from_slice(&request.0);
    key[32..].copy_from_slice(&index.to_be_bytes());
    key
}
