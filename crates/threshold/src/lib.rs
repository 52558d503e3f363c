//! The construction: sessions, ratchet, sealing, a member's values and opening. Follows
//! docs/cryptography.md sections 3 to 11.
//!
//! Pure: no clock, no sockets, no randomness of its own (`now` and `rng` are arguments). Not here:
//! the objects themselves and their signatures (`bailiwick-envelope`), and the decision whether a
//! member may release anything (`bailiwick-disclosure`). Nothing here is proven or audited.

pub mod adjudication;
pub mod capsule;
pub mod hpke;
pub mod member;
pub mod opening;
pub mod partial;
pub mod pseudonym;
pub mod resupply;
pub mod session;

mod keys;
mod merkle;
mod prf;
mod sealing;
mod subsets;

pub use capsule::{CapsuleError, HoldKey, open_capsule, seal_capsules};
pub use hpke::{DecapsulationKey, OpenError, SealToError};
pub use member::{MemberPart, PartError, acknowledge, open_part, open_sealed_part};
pub use opening::{
    Contradiction, OpenedRecord, Opening, OpeningError, SelectedRecord, UnfitPartial, UnfitReason,
    UnopenedRecord, open_records,
};
pub use partial::{OpenPartialError, SignedPartial, VerifiedPartial, open_partial, seal_partial};
pub use pseudonym::{PseudonymKey, pseudonym};
pub use resupply::{Resupplied, ResupplyError, ResupplyRefusal, resupply};
pub use session::{RecordToSeal, SealError, Sealer, SessionError, SessionParameters, open_session};

// The world of the tests names this crate as its users do.
#[cfg(test)]
extern crate self as bailiwick_threshold;
#[cfg(test)]
#[path = "../tests/world/mod.rs"]
mod world;
