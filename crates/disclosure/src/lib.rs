//! What an approver must know before it releases (docs/cryptography.md section 8).
//!
//! An approver follows its jurisdictions' logs in full ([`LogFollower`]): inclusion, recalls,
//! freezes and consistency follow from the root that it recomputes itself. Every check of section 8
//! is a function of [`checks`] whose result is a value with private fields; [`Approvable`] takes all
//! of them by value and yields the leaf that must be logged first; with [`checks::ReleaseLogged`] it
//! becomes a [`ReleaseOrder`], and [`ReleaseOrder::execute`] is the one function that makes
//! partials. Skipping a check does not compile.
//!
//! ```text
//! CosignedCheckpoint -> LoggedRequest -> QuorumCertificate, NotFrozen -> OwnReviewerApproved
//!   -> PolicyPassed -> VerifiedLabels -> VerifiedSelection -> Approvable -> (leaf) ->
//!   ReleaseLogged -> ReleaseOrder -> sealed partials
//! ```
//!
//! Pure: no clock, sockets, files or randomness of its own. Not here: the construction
//! (`bailiwick-threshold`), the rules themselves (`bailiwick-policy`), and the driver that persists
//! and dials (`bailiwick-node`).

pub mod checks;
pub mod erasure;
pub mod evidence;
pub mod facts;
pub mod follower;
pub mod held;
pub mod key_life;
pub mod keys;
pub mod partitions;
pub mod refusal;
pub mod release;
pub mod splits;
pub mod subjects;
pub mod trust;
pub mod voucher;

#[cfg(test)]
mod tests;

pub use erasure::{ErasureError, PlannedErasure, RestingKeys, plan_erasures};
pub use evidence::{EvidenceBlock, EvidencePage, EvidenceRecord, ProvenLeaf};
pub use facts::{LeafPlace, LogFacts, RequestHistory};
pub use follower::{FollowError, LogFollower, PersistedFollower};
pub use held::{HeldRecords, HeldRefusal, LoggedHold, PeriodCapsules};
pub use key_life::KeyLife;
pub use keys::{DraftKeys, KeysError, MemberKeys};
pub use partitions::PartitionFacts;
pub use refusal::{ReleaseRefusal, SignedRefusal};
pub use release::{Approvable, Checks, MismatchError, ReleaseError, ReleaseOrder};
pub use splits::{ReleasedRequest, SplitAlert, SplitBy, split_alerts};
pub use subjects::{SubjectRefusal, SubjectsConfirmed};
pub use trust::{
    Budget, JurisdictionTrust, PolicyCopies, PolicyCopyError, PolicyReference, Seat, TrustError,
    TrustFile, TrustedRecipient,
};
pub use voucher::{ForkEvidence, VouchedCheckpoint};
