//! The attacks on a release, each as one story over a whole small world: two committees with their
//! reviewers, an edge, a recipient, a log. Nothing is mocked but the clock and the disk.
#![allow(
    clippy::unwrap_used,
    reason = "a story that cannot be set up is a failed test"
)]

mod erasure;
mod evidence;
mod held;
mod keys;
mod log;
mod partitions;
mod quorum;
mod release;
mod splits;
mod subjects;
mod trust;
mod voters;
mod world;
