//! Newtype ids. Each says how long it is, who assigns it, and whether it may be shown.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{ParseHexError, parse_hex};

/// A vault node's number within its cluster. Assigned by the directory, never reused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A Raft group's number within its cluster. 0 is the directory; the directory assigns the others
/// and never reuses one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The directory's group.
    pub const DIRECTORY: Self = Self(0);
}

impl fmt::Display for GroupId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        $crate::hex_serde!($name, $length);

        impl $name {
            /// Length in bytes.
            pub const LENGTH: usize = $length;

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = ParseHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_hex(text).map(Self)
            }
        }
    };
}

byte_id! {
    /// A key certificate: `H("cert", body)`, without its signatures.
    CertificateId, 32
}
byte_id! {
    /// A key period of a certificate: `H("period", certid, d)` (`kid`).
    KeyId, 32
}
byte_id! {
    /// A session: `H("sid", header body, all parts in order)` (`sid`).
    SessionId, 32
}
byte_id! {
    /// A disclosure request: `H("req", request)` (`rd`).
    RequestId, 32
}
byte_id! {
    /// A frozen selection: `H("selection", rd, count, root)`.
    SelectionId, 32
}
byte_id! {
    /// A hold: `H("holdorder", order)`.
    HoldId, 32
}
byte_id! {
    /// Identifies the cluster: 16 random bytes drawn when it is initialised.
    ClusterId, 16
}
byte_id! {
    /// Identifies a record: the caller's 16 bytes (idempotency), or random at the edge. An import
    /// uses the hash of the file's digest and the line number.
    RecordId, 16
}
byte_id! {
    /// A subject's pseudonym: the first 16 bytes of HMAC-SHA256 of the account id under the
    /// jurisdiction's pseudonym key. Vault nodes hold it but not the key. Among 10^9 subjects two
    /// share one with probability under 10^-20.
    SubjectPseudonym, 16
}
byte_id! {
    /// A session's nonce: 16 random bytes drawn by the edge.
    SessionNonce, 16
}
byte_id! {
    /// Makes a command idempotent: 16 bytes chosen by whoever proposes it. The same key gives the
    /// first outcome again.
    CommandKey, 16
}

/// The name of an edge, approver, reviewer, authority, organisation or other identity: 1 to 64
/// characters of `a-z`, `0-9`, `-`, `.` and `_`, beginning with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Most characters of a name.
    pub const LIMIT: usize = 64;

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is no valid [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to 64 characters of a-z, 0-9, '-', '.', '_' and begins with a letter or digit"
)]
pub struct ParseNameError;

impl FromStr for Name {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Name {
    type Error = ParseNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = !text.is_empty()
            && text.len() <= Self::LIMIT
            && text
                .bytes()
                .all(|byte| plain(byte) || matches!(byte, b'-' | b'.' | b'_'))
            && text.bytes().next().is_some_and(plain);
        if valid {
            Ok(Self(text))
        } else {
            Err(ParseNameError)
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_could_be_mistaken() {
        for good in ["a", "edge-1", "edge.eu_1", &"a".repeat(64)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "ä", "a/b", &"a".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
