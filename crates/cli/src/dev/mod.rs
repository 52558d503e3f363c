//! `bailiwick dev`: a whole cluster on one machine, for development only.
//!
//! Certificates and keys are made once and kept; every process is a child that ends with this one.
//! For a real cluster see deploy/: there, no machine ever holds what this folder holds together.

pub mod ceremony;
pub mod certificates;
pub mod create;
pub mod layout;
pub mod ports;
pub mod run;
pub mod stage;
pub mod supervise;
