//! Step 2: "rd included, recomputed, not expired, no refusal or recall; recipient key certified for
//! that authority or desk."

use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_envelope::{Canonical, DecodeError};
use bailiwick_types::{RequestId, Timestamp};

use crate::checks::checkpoint::{CheckpointReference, CosignedCheckpoint};
use crate::facts::{LeafPlace, RequestHistory};
use crate::follower::LogFollower;
use crate::trust::{JurisdictionTrust, TrustedRecipient};

/// A request that is logged under a cosigned checkpoint, alive, and whose recipient the own trust
/// file names. Only [`LoggedRequest::verify`] makes one.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    request: DisclosureRequest,
    id: RequestId,
    place: LeafPlace,
    checkpoint: CheckpointReference,
}

/// Why nothing is released for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// The bytes are no canonical request.
    #[error("request: {0}")]
    Malformed(#[from] DecodeError),
    /// The request is for another custody jurisdiction.
    #[error("request.jurisdiction: not the one of this log")]
    OtherJurisdiction,
    /// No leaf of the request lies under the checkpoint: the checkpoint is older than the request,
    /// or it was never logged.
    #[error("request: not logged below leaf {size}")]
    NotIncluded {
        /// The checkpoint's size.
        size: u64,
    },
    /// The request has lapsed.
    #[error("request.not_after: has passed")]
    Expired,
    /// The request was refused.
    #[error("request: refused by leaf {index}")]
    Refused {
        /// The refusal's leaf.
        index: u64,
    },
    /// The request was recalled or withdrawn.
    #[error("request: recalled by leaf {index}")]
    Recalled {
        /// The recall's leaf.
        index: u64,
    },
    /// The recipient's name, key and certificate are not one of the trust file's.
    #[error("request.recipient: name, key and certificate are not those of a trusted recipient")]
    Recipient,
    /// The recipient may not receive for this authority.
    #[error("request.recipient: may not receive for this authority")]
    RecipientAuthority,
}

impl LoggedRequest {
    /// Verifies a request from its canonical bytes.
    ///
    /// # Errors
    /// [`RequestRefusal`] names the first check that fails.
    pub fn verify(
        bytes: &[u8],
        checkpoint: &CosignedCheckpoint,
        follower: &LogFollower,
        trust: &JurisdictionTrust,
        now: Timestamp,
    ) -> Result<Self, RequestRefusal> {
        let request = DisclosureRequest::from_bytes(bytes)?;
        let id = request.id();
        let reference = checkpoint.reference();
        if request.jurisdiction != trust.jurisdiction()
            || reference.jurisdiction != trust.jurisdiction()
            || follower.origin() != trust.origin()
        {
            return Err(RequestRefusal::OtherJurisdiction);
        }
        let size = checkpoint.size();
        let history = follower.facts().request(id);
        let history = history.ok_or(RequestRefusal::NotIncluded { size })?;
        let place = history.logged().filter(|place| place.index < size);
        let place = place.ok_or(RequestRefusal::NotIncluded { size })?;
        check_alive(&request, history, follower, now)?;
        check_recipient(&request, trust)?;
        Ok(Self {
            request,
            id,
            place,
            checkpoint: reference,
        })
    }

    /// The request.
    pub fn request(&self) -> &DisclosureRequest {
        &self.request
    }

    /// `rd`, recomputed.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Where its leaf stands.
    pub fn place(&self) -> LeafPlace {
        self.place
    }

    /// Under which checkpoint.
    pub fn checkpoint(&self) -> CheckpointReference {
        self.checkpoint
    }
}

/// Not expired by the own clock nor by log time, not refused, not recalled: by everything that the
/// follower knows, however late it was logged.
pub(crate) fn check_alive(
    request: &DisclosureRequest,
    history: &RequestHistory,
    follower: &LogFollower,
    now: Timestamp,
) -> Result<(), RequestRefusal> {
    if request.not_after <= now || request.not_after <= follower.log_time() {
        return Err(RequestRefusal::Expired);
    }
    if let Some((_, place)) = history.refusal() {
        return Err(RequestRefusal::Refused { index: place.index });
    }
    match history.recall() {
        Some(place) => Err(RequestRefusal::Recalled { index: place.index }),
        None => Ok(()),
    }
}

fn check_recipient(
    request: &DisclosureRequest,
    trust: &JurisdictionTrust,
) -> Result<(), RequestRefusal> {
    let asked = &request.recipient;
    let same = |known: &&TrustedRecipient| {
        known.name == asked.name && known.key == asked.key && known.certificate == asked.certificate
    };
    let known = trust.recipients().iter().find(same);
    let known = known.ok_or(RequestRefusal::Recipient)?;
    if known.authorities.contains(&request.authority) {
        Ok(())
    } else {
        Err(RequestRefusal::RecipientAuthority)
    }
}
