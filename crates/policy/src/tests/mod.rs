//! The policy, its rules and the order behind them, each with what passes and what fails.
#![allow(
    clippy::unwrap_used,
    reason = "a story that cannot be set up is a failed test"
)]

mod bad_input;
mod invariants;
mod lifecycle;
mod preservation;
mod replay;
mod request;
mod rules;
mod rules_later;
mod shipped;
mod world;
