//! The client profile: who calls, where the cluster is, and which key files this person or service
//! holds. Unknown keys are refused; paths are relative to the file.
//!
//! Not here: the services' configuration, which is in `bailiwick_node::config`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bailiwick_client::{JurisdictionTrust, TrustFile};
use bailiwick_envelope::SigningKey;
use bailiwick_node::config::TlsSection;
use bailiwick_policy::Policy;
use bailiwick_types::{Jurisdiction, Name, Role, Slot};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A client profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The caller's id, as in its certificate name.
    pub name: Name,
    /// The trust domain of all certificates.
    pub trust_domain: Name,
    /// `host:port` of vault nodes.
    #[serde(default)]
    pub seeds: Vec<String>,
    /// The custody jurisdiction of commands that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<Jurisdiction>,
    /// The edge: `https://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// The caller's own trust file: whose certificates and cosignatures it believes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<PathBuf>,
    /// A folder of policies, `<CODE>.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<PathBuf>,
    /// A recipient's private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient_key: Option<PathBuf>,
    /// What a reviewer signs with, and for whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<ReviewerSection>,
    /// The TLS identity.
    pub tls: TlsSection,
    /// The pseudonym key of each jurisdiction; only edges, intake, auditors and approvers have them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pseudonym_keys: BTreeMap<String, PathBuf>,
}

/// What a reviewer signs with, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewerSection {
    /// The committee.
    pub role: Role,
    /// The slot that the person decides for.
    pub slot: Slot,
    /// The person's id, as in trust files.
    pub person: Name,
    /// The person's Ed25519 key: 32 bytes, hexadecimal.
    pub key: PathBuf,
}

impl Profile {
    /// Reads and checks a profile.
    ///
    /// # Errors
    /// [`Failure`] (usage) names the file and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base).map_err(|reason| {
            Failure::usage(
                format!("{} is no valid profile", path.display()),
                reason,
                "compare it with the samples config/profile-*.toml",
            )
        })
    }

    /// Parses a profile whose paths are relative to `base`.
    ///
    /// # Errors
    /// What is wrong, on one line.
    pub fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let mut profile: Self =
            toml::from_str(text).map_err(|error| error.to_string().replace('\n', " "))?;
        for code in profile.pseudonym_keys.keys() {
            code.parse::<Jurisdiction>()
                .map_err(|error| format!("pseudonym_keys: {code}: {error}"))?;
        }
        profile.rebase(base);
        Ok(profile)
    }

    fn rebase(&mut self, base: &Path) {
        self.tls.rebase(base);
        let optional = [&mut self.trust, &mut self.policies, &mut self.recipient_key];
        let reviewer = self.reviewer.as_mut().map(|section| &mut section.key);
        let paths = optional
            .into_iter()
            .filter_map(Option::as_mut)
            .chain(reviewer)
            .chain(self.pseudonym_keys.values_mut());
        for path in paths {
            *path = base.join(&*path);
        }
    }

    /// The jurisdiction named on the command line, else the profile's.
    ///
    /// # Errors
    /// [`Failure`] (usage) when neither names one.
    pub fn jurisdiction_or(&self, named: Option<Jurisdiction>) -> Result<Jurisdiction, Failure> {
        named.or(self.jurisdiction).ok_or_else(|| {
            Failure::usage(
                "no jurisdiction",
                "neither the command nor the profile names one",
                "give --jurisdiction CODE",
            )
        })
    }

    /// The caller's own trust file.
    ///
    /// # Errors
    /// [`Failure`] (usage) when the profile names none, or it does not parse.
    pub fn trust_file(&self) -> Result<TrustFile, Failure> {
        let path = self
            .trust
            .as_ref()
            .ok_or_else(|| missing("trust", "a trust file"))?;
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let form: TrustFile = toml::from_str(&text).map_err(|error| Failure::file(path, &error))?;
        form.check().map_err(|error| Failure::file(path, &error))
    }

    /// What the caller's own trust file says about a jurisdiction.
    ///
    /// # Errors
    /// [`Failure`] (usage) when it says nothing about it.
    pub fn trust_of(&self, code: Jurisdiction) -> Result<JurisdictionTrust, Failure> {
        let trust = self.trust_file()?;
        trust.jurisdiction(code).cloned().ok_or_else(|| {
            Failure::usage(
                format!("nobody is trusted for {code}"),
                "the profile's trust file does not list it",
                "add the jurisdiction, from what its members handed over in person",
            )
        })
    }

    /// A policy of the profile's folder, or of a file named instead.
    ///
    /// # Errors
    /// [`Failure`] (usage) names the file and what is wrong with it.
    pub fn policy(&self, code: Jurisdiction, named: Option<&Path>) -> Result<Policy, Failure> {
        let path = match (named, &self.policies) {
            (Some(path), _) => path.to_owned(),
            (None, Some(folder)) => folder.join(format!("{code}.toml")),
            (None, None) => return Err(missing("policies", "a folder of policies")),
        };
        let text = std::fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))?;
        let policy = Policy::parse(&text).map_err(|error| Failure::file(&path, &error))?;
        if policy.jurisdiction() != code {
            let why = format!("it is the policy of {}", policy.jurisdiction());
            let what = format!("{} is not {code}'s policy", path.display());
            return Err(Failure::usage(what, why, "name the right file"));
        }
        Ok(policy)
    }

    /// The reviewer section with its key.
    ///
    /// # Errors
    /// [`Failure`] (usage) when the profile is no reviewer's, or the key file is unusable.
    pub fn reviewer(&self) -> Result<(&ReviewerSection, SigningKey), Failure> {
        let section = self
            .reviewer
            .as_ref()
            .ok_or_else(|| missing("reviewer", "a reviewer"))?;
        let key = bailiwick_node::files::read_signing_key(&section.key)
            .map_err(|error| Failure::file(&section.key, &error))?;
        Ok((section, key))
    }
}

/// A profile lacks what a command needs.
pub fn missing(key: &str, what: &str) -> Failure {
    Failure::usage(
        format!("the profile names no {key}"),
        format!("this command needs {what}"),
        format!("add `{key}` to the profile, or use the profile of somebody who has it"),
    )
}
