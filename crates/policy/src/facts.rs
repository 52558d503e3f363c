//! What the rules look at. Everything here was verified by the caller, or is checked by a rule
//! against what the verifier itself holds; nothing is taken on a coordinator's word.

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::certificate::TrustRoster;
use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_types::{Digest, Name, RequestId, Role, Slot, Timestamp};

use crate::case::CaseFacts;

/// When the rules are evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// On receipt: nobody has decided and nothing is logged yet.
    Intake,
    /// Before a release: decisions and inclusion must be there.
    Release,
}

/// A counted decision to approve: who decided is looked up in the trust roster, by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionFact {
    /// The role that the reviewer decided for.
    pub role: Role,
    /// The slot that the reviewer decided for.
    pub slot: Slot,
    /// The reviewer's key; its signature was verified.
    pub key: IdentityKey,
}

/// A verified inclusion of the request's leaf in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InclusionFact {
    /// The request that the leaf names.
    pub request: RequestId,
    /// The leaf's index.
    pub leaf_index: u64,
    /// The size of the cosigned checkpoint under which it was verified.
    pub size: u64,
}

/// The digests of the verifier's own policy copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyPins {
    /// Of the forum's policy.
    pub forum: Digest,
    /// Of the custody jurisdiction's policy.
    pub custody: Digest,
}

/// A recipient of the verifier's own trust file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientFact {
    /// The recipient's id.
    pub name: Name,
    /// `H("recipient", key)` of its key.
    pub key: Digest,
    /// SHA-256 of the certificate that vouches for the key.
    pub certificate: Digest,
    /// The authorities that it may receive for.
    pub authorities: Vec<Name>,
}

/// Everything that the rules look at for one request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The request.
    pub request: &'a DisclosureRequest,
    /// When the rules are evaluated.
    pub stage: Stage,
    /// The verifier's clock.
    pub now: Timestamp,
    /// How many records the frozen selection has, once there is one.
    pub selected: Option<u32>,
    /// The counted decisions to approve.
    pub decisions: &'a [DecisionFact],
    /// The verifier's own roster of persons.
    pub roster: &'a TrustRoster,
    /// The verified inclusion, if there is one.
    pub inclusion: Option<InclusionFact>,
    /// The verifier's own policy copies, if it holds both.
    pub policies: Option<PolicyPins>,
    /// The verifier's own list of recipients; empty means nobody.
    pub recipients: &'a [RecipientFact],
    /// When the request was received: the log time of its leaf. `None`: it is not logged yet.
    pub received_at: Option<Timestamp>,
    /// The order behind the request and what was found out about it. `None`: this verifier was
    /// handed nothing, and every rule about the order fails.
    pub case: Option<&'a CaseFacts>,
}
