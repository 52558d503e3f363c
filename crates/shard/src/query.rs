//! Reading a shard's state: every function is pure over one consistent view of the store.

use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::leaf::OpenedLeaf;
use bailiwick_tlog::Hash;
use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{
    CertificateId, KeyId, Minute, RequestId, Role, SessionId, Slot, SubjectPseudonym, Timestamp,
};

use crate::view::*;

macro_rules! signatures {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)+) => {
        $($(#[$doc])*
        ///
        /// # Errors
        /// [`StoreError`] when the disk fails.
        pub fn $name(store: &dyn ReadStore, $($arg: $ty),*) -> Result<$out, StoreError> {
            let _ = (store, $($arg),*);
            Err(StoreError("not written yet".to_owned()))
        })+
    };
}

signatures! {
    /// What the shard is and holds; `None` before genesis.
    fn shard_info() -> Option<ShardInfo>;
    /// A session and where it stands at `now`.
    fn session(sid: SessionId, now: Timestamp) -> Option<SessionView>;
    /// A session's header.
    fn session_header(sid: SessionId) -> Option<SessionHeader>;
    /// At most `limit` headers that a member has not answered, oldest first.
    fn unanswered_sessions(role: Role, slot: Slot, limit: usize) -> Vec<SessionHeader>;
    /// All valid certificates, oldest first.
    fn certificates() -> Vec<CertificateView>;
    /// A valid certificate by its id.
    fn certificate(id: CertificateId) -> Option<CertificateView>;
    /// The valid certificate that has this key period, and the period's index in it.
    fn certificate_of(kid: KeyId) -> Option<(CertificateView, u16)>;
    /// Certificates on their way.
    fn drafts() -> Vec<DraftView>;
    /// Everybody enrolled.
    fn enrolments() -> Vec<Enrolled>;
    /// A request at `now`.
    fn request(id: RequestId, now: Timestamp) -> Option<RequestView>;
    /// The sealed documents of a request.
    fn documents(id: RequestId) -> Option<Vec<u8>>;
    /// At most `limit` requests in the order of the log, after `after`.
    fn requests(after: Option<RequestId>, limit: usize, open_only: bool, now: Timestamp) -> (Vec<RequestView>, bool);
    /// Approved requests that the member's reviewer approved and the member has neither released
    /// nor refused.
    fn awaiting_release(role: Role, slot: Slot, now: Timestamp, limit: usize) -> Vec<RequestId>;
    /// The records `from` to `from + limit` of a selection, for approvers.
    fn evidence(id: RequestId, from: u32, limit: u32) -> Option<EvidencePage>;
    /// The records of a released selection; `None` when the request is unknown or not releasing.
    fn ciphertexts(id: RequestId, from: u32, limit: u32) -> Option<CiphertextPage>;
    /// At most `limit` labels of a subject in a window of minutes (`to` exclusive).
    fn labels(subject: SubjectPseudonym, from: Minute, to: Minute, limit: usize) -> LabelPage;
    /// Leaves in the log.
    fn log_size() -> u64;
    /// The log's root at a size not above its own.
    fn log_root(size: u64) -> Option<Hash>;
    /// At most `limit` leaves from an index.
    fn leaves(from: u64, limit: usize) -> Vec<OpenedLeaf>;
    /// Inclusion proof of a leaf in the log of a size; `None` out of range.
    fn prove_inclusion(index: u64, size: u64) -> Option<Vec<Hash>>;
    /// Consistency proof between two sizes; `None` out of range.
    fn prove_consistency(old_size: u64, new_size: u64) -> Option<Vec<Hash>>;
}
