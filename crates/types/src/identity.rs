//! Who a process or person is: the one URI name of its certificate.
//!
//! `spiffe://<trust domain>/<role>/<id>`, for vaults `spiffe://<trust domain>/vault/<region>/<id>`.
//! The certificate says who; for which jurisdictions that identity may act is replicated enrolment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::committee::Role;
use crate::ids::Name;
use crate::jurisdiction::Region;

/// The role that a certificate carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerRole {
    /// A vault node.
    Vault,
    /// An edge, which seals.
    Edge,
    /// A backend service, which hands records to an edge.
    Backend,
    /// The disclosure workflow's service.
    Intake,
    /// An approver of the role `workflow`.
    ApproverWorkflow,
    /// An approver of the role `legal-review`.
    ApproverLegalReview,
    /// A reviewer, a person.
    Reviewer,
    /// A disclosure desk or an authority.
    Recipient,
    /// An operator (SRE).
    Operator,
    /// An auditor.
    Auditor,
    /// An outside witness.
    Witness,
}

impl PeerRole {
    /// All roles, in order.
    pub const ALL: [Self; 11] = [
        Self::Vault,
        Self::Edge,
        Self::Backend,
        Self::Intake,
        Self::ApproverWorkflow,
        Self::ApproverLegalReview,
        Self::Reviewer,
        Self::Recipient,
        Self::Operator,
        Self::Auditor,
        Self::Witness,
    ];

    /// The path segment in a certificate's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Edge => "edge",
            Self::Backend => "backend",
            Self::Intake => "intake",
            Self::ApproverWorkflow => "approver-workflow",
            Self::ApproverLegalReview => "approver-legal-review",
            Self::Reviewer => "reviewer",
            Self::Recipient => "recipient",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Witness => "witness",
        }
    }

    /// The approver role of a committee.
    pub fn approver(role: Role) -> Self {
        match role {
            Role::Workflow => Self::ApproverWorkflow,
            Role::LegalReview => Self::ApproverLegalReview,
        }
    }

    /// The committee of an approver; `None` for every other role.
    pub fn committee(self) -> Option<Role> {
        match self {
            Self::ApproverWorkflow => Some(Role::Workflow),
            Self::ApproverLegalReview => Some(Role::LegalReview),
            _ => None,
        }
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A parsed certificate name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity {
    /// The trust domain, such as `bailiwick.example`.
    pub trust_domain: Name,
    /// The role.
    pub role: PeerRole,
    /// The region; present exactly for vaults.
    pub region: Option<Region>,
    /// The id within the role.
    pub id: Name,
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "spiffe://{}/{}/", self.trust_domain, self.role)?;
        if let Some(region) = &self.region {
            write!(formatter, "{region}/")?;
        }
        write!(formatter, "{}", self.id)
    }
}

/// Why a URI is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdentityError {
    /// The scheme is not `spiffe`.
    #[error("an identity begins with spiffe://")]
    Scheme,
    /// The role segment is unknown.
    #[error("unknown role in the identity's path")]
    Role,
    /// Too few or too many path segments for the role.
    #[error("the path is <role>/<id>, for vaults vault/<region>/<id>")]
    Path,
    /// A segment is no valid name.
    #[error("a segment of the identity is no valid name")]
    Name,
}

impl FromStr for Identity {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix("spiffe://")
            .ok_or(ParseIdentityError::Scheme)?;
        let segments: Vec<&str> = rest.split('/').collect();
        let name = |segment: &str| {
            segment
                .parse::<Name>()
                .map_err(|_| ParseIdentityError::Name)
        };
        let (Some(domain), Some(role)) = (segments.first(), segments.get(1)) else {
            return Err(ParseIdentityError::Path);
        };
        let role = PeerRole::ALL
            .into_iter()
            .find(|candidate| candidate.as_str() == *role)
            .ok_or(ParseIdentityError::Role)?;
        let (region, id) = match (role, &segments[2..]) {
            (PeerRole::Vault, [region, id]) => (Some(name(region)?), name(id)?),
            (PeerRole::Vault, _) => return Err(ParseIdentityError::Path),
            (_, [id]) => (None, name(id)?),
            _ => return Err(ParseIdentityError::Path),
        };
        Ok(Self {
            trust_domain: name(domain)?,
            role,
            region,
            id,
        })
    }
}

impl TryFrom<String> for Identity {
    type Error = ParseIdentityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_round_trip_and_refuse_look_alikes() {
        for good in [
            "spiffe://bailiwick.example/vault/eu-west/1",
            "spiffe://bailiwick.example/approver-legal-review/legal-1",
            "spiffe://bailiwick.example/edge/edge-1",
        ] {
            assert_eq!(
                good.parse::<Identity>().map(|id| id.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "https://bailiwick.example/edge/edge-1",
            "spiffe://bailiwick.example/vault/1",
            "spiffe://bailiwick.example/edge/eu/edge-1",
            "spiffe://bailiwick.example/root/1",
            "spiffe://bailiwick.example/edge/",
            "spiffe://bailiwick.example/edge/Edge-1",
            "spiffe://bailiwick.example",
            "spiffe:///edge/1",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
