//! `bailiwick config check`: a file is parsed by the very types that use it, and what a service's file names
//! is looked at.

use std::path::Path;

use bailiwick_disclosure::TrustFile;
use bailiwick_node::config::{ApproverConfig, EdgeConfig, VaultConfig};
use bailiwick_policy::Policy;

use super::{diagnose, service};
use crate::args::{ConfigKind, ConfigVerb};
use crate::diagnosis::{self, Level};
use crate::failure::{Failure, chain};
use crate::output::{Output, note};
use crate::profile::Profile;

/// Runs the verb.
///
/// # Errors
/// [`Failure`] (usage) names file, key and reason.
pub fn run(verb: &ConfigVerb, output: Output) -> Result<(), Failure> {
    let ConfigVerb::Check { file, kind } = verb;
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file(file, &error))?;
    let kind = match kind {
        Some(kind) => *kind,
        None => guess(&text).ok_or_else(|| unknown_kind(file))?,
    };
    let summary = check(file, &text, kind).map_err(|reason| {
        Failure::usage(
            format!("{} is no valid {}", file.display(), word(kind)),
            reason,
            "correct the named key; config/ has a commented sample of each kind",
        )
    })?;
    output.fields(&[
        ("file", file.display().to_string()),
        ("kind", word(kind).to_owned()),
        ("is", summary),
    ]);
    match kind {
        ConfigKind::Vault | ConfigKind::Approver | ConfigKind::Edge => surroundings(file, output),
        ConfigKind::Profile | ConfigKind::Trust | ConfigKind::Policy => Ok(()),
    }
}

/// What a service's file names: files with their rights, the certificate's name, ports. Findings go to
/// standard error, so that the result stays one document.
fn surroundings(file: &Path, output: Output) -> Result<(), Failure> {
    let service = diagnose::load(file)?;
    let findings = service::run(async { Ok(diagnosis::of_configuration(&service).await) })?;
    for finding in &findings {
        if finding.level != Level::Ok || !output.is_json() {
            let (level, check) = (finding.level.as_str(), finding.check);
            note(format!("{level:4}  {check}: {}. {}", finding.found, finding.remedy).trim_end());
        }
    }
    diagnose::judge(&format!("the service of {}", file.display()), &findings)
}

/// Parses a file as a kind, and says in a few words what it is.
///
/// # Errors
/// What is wrong with it.
pub fn check(path: &Path, text: &str, kind: ConfigKind) -> Result<String, String> {
    Ok(match kind {
        ConfigKind::Vault => {
            let config = VaultConfig::load(path).map_err(|error| chain(&error))?;
            format!(
                "vault node {} ({}) in {}",
                config.node, config.name, config.region
            )
        }
        ConfigKind::Approver => {
            let config = ApproverConfig::load(path).map_err(|error| chain(&error))?;
            let (role, slot) = (config.role, config.slot);
            format!(
                "{role} approver {} at slot {slot} of {}",
                config.name, config.organisation
            )
        }
        ConfigKind::Edge => {
            let config = EdgeConfig::load(path).map_err(|error| chain(&error))?;
            format!("edge {} at {}", config.name, config.listen)
        }
        ConfigKind::Profile => {
            let base = path.parent().unwrap_or(Path::new("."));
            let profile = Profile::parse(text, base)?;
            format!("profile of {}", profile.name)
        }
        ConfigKind::Trust => {
            let trust = TrustFile::parse(text).map_err(|error| chain(&error))?;
            let codes: Vec<_> = trust
                .jurisdictions()
                .map(|trust| trust.jurisdiction().to_string())
                .collect();
            format!("trust for {}", codes.join(", "))
        }
        ConfigKind::Policy => {
            let policy = Policy::parse(text).map_err(|error| chain(&error))?;
            let (code, version) = (policy.jurisdiction(), policy.version());
            format!(
                "policy of {code}, version {version}, digest {}",
                policy.digest()
            )
        }
    })
}

/// The kind of a file by keys that only that kind has.
fn guess(text: &str) -> Option<ConfigKind> {
    let table: toml::Table = text.parse().ok()?;
    let has = |key: &str| table.contains_key(key);
    let marks = [
        ("jurisdictions", ConfigKind::Trust),
        ("reach", ConfigKind::Policy),
        ("node", ConfigKind::Vault),
        ("signing_key", ConfigKind::Edge),
    ];
    if has("identity_key") {
        return Some(ConfigKind::Approver);
    }
    let found = marks.into_iter().find(|(key, _)| has(key));
    found
        .map(|(_, kind)| kind)
        .or((has("tls") && has("name")).then_some(ConfigKind::Profile))
}

fn word(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::Vault => "vault configuration",
        ConfigKind::Approver => "approver configuration",
        ConfigKind::Edge => "edge configuration",
        ConfigKind::Profile => "profile",
        ConfigKind::Trust => "trust file",
        ConfigKind::Policy => "policy",
    }
}

fn unknown_kind(file: &Path) -> Failure {
    Failure::usage(
        format!("cannot tell what {} is", file.display()),
        "it is no TOML, or has the keys of no kind",
        "name its kind with --kind",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
    use std::path::PathBuf;

    use super::*;

    fn samples() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
        let mut files = Vec::new();
        for folder in [folder.clone(), folder.join("policies")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == "toml")
                {
                    files.push(path);
                }
            }
        }
        files
    }

    #[test]
    fn every_shipped_sample_parses_with_the_types_that_use_it() {
        let files = samples();
        assert!(files.len() >= 10, "{} samples", files.len());
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            if file.file_name().is_some_and(|name| name == "nodes.toml") {
                crate::commands::operator::NodesFile::parse(&text).unwrap();
                continue;
            }
            let kind = guess(&text).unwrap_or_else(|| panic!("{}: no kind", file.display()));
            let checked = check(&file, &text, kind);
            assert!(checked.is_ok(), "{}: {checked:?}", file.display());
            let spoilt = format!("no_such_key = 1\n{text}");
            if !matches!(
                kind,
                ConfigKind::Vault | ConfigKind::Approver | ConfigKind::Edge
            ) {
                assert!(check(&file, &spoilt, kind).is_err(), "{}", file.display());
            }
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.toml");
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/edge.toml");
        let text = std::fs::read_to_string(sample).unwrap();
        std::fs::write(&file, format!("lane = 3\n{text}")).unwrap();
        let error = check(&file, &text, ConfigKind::Edge).unwrap_err();
        assert!(error.contains("lane"), "{error}");
    }
}
