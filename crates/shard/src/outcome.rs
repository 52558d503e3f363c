//! What applying a command gives: a typed success, or a rejection that changed nothing.

use bailiwick_envelope::selection::Selection;
use bailiwick_types::codec::{self, CodecError};
use bailiwick_types::{CertificateId, Digest, RequestId, SelectionId, SessionId};
use serde::{Deserialize, Serialize};

use crate::rejection::Rejection;
use crate::view::RequestState;

/// A command's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done; there is nothing to say. For genesis, enrolments, policy, freezes, acknowledgements,
    /// offers that complete nothing, member refusals.
    Accepted,
    /// A call for keys was registered.
    Drafted {
        /// Names the draft in the members' offers.
        draft: Digest,
    },
    /// The last offer came: the body is built and waits for signatures.
    BodyBuilt {
        /// The certificate.
        certificate: CertificateId,
    },
    /// The last signature came: the certificate is valid and logged.
    CertificateValid {
        /// The certificate.
        certificate: CertificateId,
        /// Its leaf's index.
        leaf_index: u64,
    },
    /// A session is open.
    SessionOpened {
        /// The session.
        sid: SessionId,
    },
    /// A block's records are stored.
    BlockStored(BlockStored),
    /// A request is logged with its selection.
    RequestLogged {
        /// The request.
        request: RequestId,
        /// The frozen selection.
        selection: SelectionId,
        /// How many records it has.
        count: u32,
        /// `InReview`, or `NoData` when nothing was found.
        state: RequestState,
    },
    /// A decision is logged.
    Decided {
        /// The decision's leaf.
        leaf_index: u64,
        /// The request's state afterwards.
        state: RequestState,
    },
    /// A release is logged.
    ReleaseLogged {
        /// The release's leaf.
        leaf_index: u64,
        /// The request's state afterwards.
        state: RequestState,
    },
    /// A recall or delivery is logged.
    StateChanged {
        /// The leaf.
        leaf_index: u64,
        /// The request's state afterwards.
        state: RequestState,
    },
    /// Nothing was changed, and why.
    Rejected(Rejection),
    /// A part of a request's selection is frozen and logged.
    PartFrozen {
        /// The part.
        selection: Selection,
        /// Its leaf in this group's log.
        leaf_index: u64,
    },
}

impl Outcome {
    /// The outcome's encoding, as [`crate::apply()`] returns it.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self).expect("an outcome is under 64 KiB, far below the codec's limit")
    }

    /// The outcome of an encoding.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are no outcome.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }
}

/// A block's outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockStored {
    /// Indices within the block, ascending, of records whose id was stored before in the same key
    /// period; these were dropped, all others are stored.
    pub duplicates: Vec<u16>,
}
