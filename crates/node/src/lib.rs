//! The services: vault, approver and edge, with their configuration, health and metrics. Drivers
//! only: what may be disclosed is decided in `bailiwick-disclosure`, what is stored in
//! `bailiwick-shard`, how a record is sealed in `bailiwick-threshold`.

pub mod approver;
pub mod backup;
pub mod clock;
pub mod config;
pub mod data_lock;
pub mod edge;
mod exposition;
pub mod files;
mod hardening;
pub mod health;
pub mod key_rest;
pub mod machine;
pub mod placement;
mod process;
pub mod telemetry;
pub mod vault;
pub mod wrapping;

pub use tokio_util::sync::CancellationToken;
