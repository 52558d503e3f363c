//! The directory: the cluster's replicated state machine. It knows the cluster, its nodes, the
//! jurisdictions with their placement rules, and the groups. It carries no subject identifiers.
//!
//! Not here: who leads a group, and whether a node is alive.

mod command;
mod placement;
mod relocate;
mod state;

pub use command::{
    CreateJurisdiction, DirectoryCommand, DirectoryCommandBody, DirectoryOutcome,
    DirectoryRejection, NodeEntry,
};
pub use relocate::{RelocateError, relocate};
pub use state::{ClusterView, GroupEntry, JurisdictionEntry, NODE_LIMIT, apply, description};
