//! The caller's own trust file: which members it believes, jurisdiction by jurisdiction. It has the
//! same form as an approver's, of which a client needs origin and roster only.

use std::collections::BTreeSet;

use bailiwick_envelope::IdentityKey;
use bailiwick_envelope::certificate::TrustRoster;
use bailiwick_types::{Jurisdiction, Role};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What is believed, by jurisdiction.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFile {
    /// The jurisdictions; empty is nobody.
    #[serde(default)]
    pub jurisdictions: Vec<JurisdictionTrust>,
}

/// What is believed about one jurisdiction.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JurisdictionTrust {
    /// The jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// Its log's origin line.
    pub origin: String,
    /// Its committees.
    pub roster: TrustRoster,
    /// What only approvers look at.
    #[serde(default, rename = "budget")]
    _budget: Option<IgnoredAny>,
    #[serde(default, rename = "recipients")]
    _recipients: Option<IgnoredAny>,
    #[serde(default, rename = "voters")]
    _voters: Option<IgnoredAny>,
    #[serde(default, rename = "edges")]
    _edges: Option<IgnoredAny>,
    #[serde(default, rename = "policies")]
    _policies: Option<IgnoredAny>,
}

/// A trust file that would count one key twice: its owner's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustFileError {
    /// A jurisdiction stands twice.
    #[error("jurisdictions: {0} stands twice")]
    Repeated(Jurisdiction),
    /// A quorum below 2, or above the number of members.
    #[error("{0}, {1}: needed is below 2 or above the number of members")]
    Quorum(Jurisdiction, Role),
    /// A member's key stands twice.
    #[error("{0}: an identity key stands twice")]
    Key(Jurisdiction),
}

impl TrustFile {
    /// Checks what the form cannot.
    ///
    /// # Errors
    /// [`TrustFileError`] names the first fault.
    pub fn check(self) -> Result<Self, TrustFileError> {
        let mut seen = BTreeSet::new();
        for trust in &self.jurisdictions {
            let jurisdiction = trust.jurisdiction;
            if !seen.insert(jurisdiction) {
                return Err(TrustFileError::Repeated(jurisdiction));
            }
            let mut keys: BTreeSet<IdentityKey> = BTreeSet::new();
            for role in Role::ALL {
                let committee = trust.roster.committee(role);
                let members = committee.members.len();
                if committee.needed < 2 || usize::from(committee.needed) > members {
                    return Err(TrustFileError::Quorum(jurisdiction, role));
                }
                if !committee
                    .members
                    .iter()
                    .all(|member| keys.insert(member.identity))
                {
                    return Err(TrustFileError::Key(jurisdiction));
                }
            }
        }
        Ok(self)
    }

    /// What is believed about a jurisdiction, if anything.
    pub fn jurisdiction(&self, jurisdiction: Jurisdiction) -> Option<&JurisdictionTrust> {
        self.jurisdictions
            .iter()
            .find(|trust| trust.jurisdiction == jurisdiction)
    }
}
