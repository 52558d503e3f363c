//! The directory: the cluster's replicated state machine. It knows the cluster, its nodes, the
//! jurisdictions with their placement rules, and the groups. It carries no subject identifiers.
//!
//! Not here: who leads a group, and how a group's membership follows what is wanted; whether a node
//! is alive enters by command.

mod command;
mod jurisdictions;
mod placement;
mod relocate;
mod standing;
mod state;

pub use command::{
    CreateJurisdiction, DirectoryCommand, DirectoryCommandBody, DirectoryOutcome,
    DirectoryRejection, NodeEntry,
};
pub use jurisdictions::{ChangeJurisdiction, JurisdictionEntry, JurisdictionState};
pub use relocate::{RelocateError, relocate};
pub use standing::{Autopilot, DiskId, NodeStanding};
pub use state::{ClusterView, GroupEntry, NODE_LIMIT, apply, description};
