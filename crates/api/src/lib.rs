//! The shapes of the outside API: JSON at the edge, and the messages that clients, approvers and
//! vault nodes exchange (bincode over the frames of `bailiwick-transport`).
//!
//! Only shapes: what they mean is done by `bailiwick-client` on one side and `bailiwick-node` on the
//! other. Signed objects travel as their canonical bytes.

pub mod approver;
pub mod cluster;
pub mod edge;
pub mod evidence;
pub mod log;
pub mod partition;
pub mod placement;
pub mod refusal;
pub mod request;
pub mod session;
pub mod snapshot;

pub use refusal::Refusal;
