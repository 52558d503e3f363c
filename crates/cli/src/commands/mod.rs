//! What each verb does, one file per noun. Every function that the development cluster and the
//! demonstration need takes values and returns values; only `run` prints.

pub mod cluster;
pub mod config;
pub mod diagnose;
pub mod disclose;
pub mod freeze;
pub mod import;
pub mod key;
pub mod key_rest;
pub mod log;
pub mod operator;
pub mod policy;
pub mod record;
pub mod recover;
pub mod request;
pub mod review;
pub mod service;
pub mod snapshot;
pub mod status;
