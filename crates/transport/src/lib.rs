//! Mutual TLS, peer identity and role, the authorisation matrix, frames and deadlines.
//!
//! A [`Connection`] is one TLS 1.3 connection that carries many calls and streams; a [`Server`]
//! accepts them, checks role x operation before its [`Handler`] runs, and bounds everything that a
//! peer could make it hold. What the payloads mean is the business of whoever uses this crate; for
//! which jurisdictions a peer may act is replicated enrolment, checked there. Follows the design's
//! rules on identity (one URI name per certificate) and on revocation (whole configuration swapped,
//! connection age capped).

pub mod authorisation;
pub mod connection;
pub mod counters;
mod duplex;
pub mod error;
pub mod frame;
pub mod limits;
pub mod operation;
pub mod peer;
pub mod pool;
pub mod server;
mod session;
pub mod stream;
pub mod tls;
mod verifier;
mod wire;

pub use authorisation::allowed;
pub use connection::{ConnectOptions, Connection};
pub use counters::{Counters, RefusalReason};
pub use error::{CallError, ConnectError, Refusal, StreamError};
pub use frame::Hello;
pub use operation::{Operation, ServedBy};
pub use peer::{ExpectedPeer, IdentityError, peer_identity};
pub use pool::{Pool, PoolOptions, Purpose};
pub use server::{Handler, Server, ServerHandle, ServerOptions};
pub use stream::{StreamReceiver, StreamSender};
pub use tls::{AuthorityFamily, TlsError, TlsFiles, TlsIdentity};
