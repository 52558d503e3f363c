//! The canonical encoding, the domain tags, and every object that is signed or hashed, each with its
//! verification. Follows docs/cryptography.md sections 3 to 8, 10 and 11.
//!
//! Not here: sealing and opening (`bailiwick-threshold`), the log (`bailiwick-tlog`), and messages
//! between processes (`bailiwick-api`, which carry these objects as canonical bytes).

pub mod acknowledgement;
pub mod approval;
pub mod assessment;
pub mod block;
pub mod certificate;
pub mod change;
pub mod encoding;
pub mod erasure;
pub mod header;
pub mod hold;
pub mod keys;
pub mod label;
pub mod leaf;
pub mod offer;
pub mod order;
pub mod panel;
pub mod partition;
pub mod record;
pub mod release;
pub mod request;
pub mod resupply;
pub mod roster;
pub mod schedule;
pub mod selection;
pub mod statement;
pub mod tags;
pub mod ticket;

pub use encoding::{Canonical, DecodeError, Decoder, Encoder};
pub use keys::{EncapsulationKey, IdentityKey, Signature, SigningKey};
pub use tags::{HashTag, HpkeTag, MacTag, SignatureTag, hash, mac, sha256};

/// The one suite so far: HMAC-SHA256, AES-256-GCM, HPKE with X-Wing, Ed25519.
pub const SUITE: u8 = 1;
