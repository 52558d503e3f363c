//! Ids, jurisdictions, categories, times and limits that every crate shares, the one bincode
//! codec, and the trait of the ordered store that the state machines are written against.
//!
//! Nothing here signs, hashes or seals: that is `bailiwick-envelope`. Nothing here touches a
//! clock, a socket, a file or a random source.

pub mod category;
pub mod codec;
pub mod committee;
pub mod digest;
pub mod identity;
pub mod ids;
pub mod jurisdiction;
pub mod limits;
pub mod store;
pub mod time;

pub use category::Category;
pub use committee::{Role, Slot, SlotMask, Threshold};
pub use digest::Digest;
pub use identity::{Identity, PeerRole};
pub use ids::{
    CertificateId, ClusterId, CommandKey, GroupId, HoldId, KeyId, Name, NodeId, RecordId,
    RequestId, SelectionId, SessionId, SessionNonce, SubjectPseudonym,
};
pub use jurisdiction::{Jurisdiction, ParseJurisdictionError, Region, ShardId};
pub use time::{Minute, ParseTimeError, Timestamp};
