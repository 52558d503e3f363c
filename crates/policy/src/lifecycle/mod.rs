//! The life cycle of a request (docs/legal-process.md, "States of a request").
//!
//! [`Process`] is the typestate: one struct per state, and a transition consumes the old one, so
//! that an illegal transition does not compile. [`RequestProcess`] is the same machine behind one
//! type for events that come from a log: what does not compile there is a [`TransitionRefusal`]
//! here. Both take time from the log; neither has a clock.
//!
//! ```text
//! Received > AuthorityCheck > Triage > [HeldForAuthority] > InReview > Approved > Releasing
//!     > Disclosed > Delivered > Closed
//! beside it  Incomplete (back to Triage), Escalated (back to InReview), Failed (back to Releasing)
//! ends       Refused, NoData, Withdrawn, Lapsed; after release Recalled
//! ```
//! Not here: who verified a signature, or whether a leaf is in a log. The values that the
//! transitions take are made by those who did.
#![allow(
    clippy::result_large_err,
    reason = "a refused transition gives the request back"
)]

mod binding;
mod docket;
mod machine;
mod process;

pub use binding::{Binding, BindingMismatch, Correction, Narrowing, RevisionError};
pub use docket::{Bench, DecisionRefusal, Seat, Terms, Verdict};
pub use machine::{Event, RequestProcess, State, TransitionRefusal};
pub use process::{
    Approved, AuthorityCheck, AuthorityVerified, Closed, Delivered, Disclosed, Ended, Escalated,
    Failed, HeldForAuthority, HoldPlaced, InReview, Incomplete, Process, Received, Releasing,
    Reviewed, Triage, Triaged,
};
