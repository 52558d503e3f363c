//! A cluster as an operator runs it, on real processes: nodes join, drain, are replaced and leave while
//! records come in, and nothing is anywhere where its jurisdiction does not allow it.

#[path = "cluster/members.rs"]
mod members;
#[path = "cluster/placement.rs"]
mod placement;

/// The test package's own program.
fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_bailiwick-process")
}
