//! `bailiwick policy`: write, read and try out a jurisdiction's policy, all on this machine. Setting
//! one in a cluster is `bailiwick operator policy set`.

mod difference;
mod format;
mod replay;
mod show;

use std::path::{Path, PathBuf};

use bailiwick_policy::Policy;
use clap::Subcommand;

use crate::failure::Failure;
use crate::output::Output;

/// `bailiwick policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyFileVerb {
    /// Print a policy in the one layout, comments kept; its meaning stays, its digest does not.
    Fmt {
        /// The policy file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Change the file instead of printing.
        #[arg(long, conflicts_with = "check")]
        write: bool,
        /// Only say whether the file has the layout.
        #[arg(long)]
        check: bool,
    },
    /// Say what is wrong with a policy, and what in it permits nothing or is not verified.
    Check {
        /// The policy file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show a policy in words, with a mark on every fact that nobody verified.
    Show {
        /// The policy file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Check that a policy does with past requests what their file expects.
    Test {
        /// The policy file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Requests with what is expected (JSON; see docs/legal-process.md).
        #[arg(long, value_name = "FILE")]
        requests: PathBuf,
    },
    /// Replay past requests against a draft, and show which would be decided otherwise.
    Simulate {
        /// The policy that is in force.
        #[arg(long, value_name = "FILE")]
        current: PathBuf,
        /// The draft.
        #[arg(long, value_name = "FILE")]
        draft: PathBuf,
        /// Past requests (JSON; see docs/legal-process.md).
        #[arg(long, value_name = "FILE")]
        requests: PathBuf,
    },
    /// Show what differs between two versions, field by field.
    Diff {
        /// The earlier version.
        #[arg(value_name = "EARLIER")]
        earlier: PathBuf,
        /// The later version.
        #[arg(value_name = "LATER")]
        later: PathBuf,
    },
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] (usage) when a file is wrong, (refused) when a test or check does not hold.
pub fn run(verb: &PolicyFileVerb, output: Output) -> Result<(), Failure> {
    match verb {
        PolicyFileVerb::Fmt { file, write, check } => format::run(file, *write, *check, output),
        PolicyFileVerb::Check { file } => show::check(file, output),
        PolicyFileVerb::Show { file } => show::run(file, output),
        PolicyFileVerb::Test { file, requests } => replay::test(file, requests, output),
        PolicyFileVerb::Simulate {
            current,
            draft,
            requests,
        } => replay::simulate(current, draft, requests, output),
        PolicyFileVerb::Diff { earlier, later } => difference::run(earlier, later, output),
    }
}

/// A policy file's text and what it says.
fn load(path: &Path) -> Result<(String, Policy), Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let policy = Policy::parse(&text).map_err(|error| Failure::file(path, &error))?;
    Ok((text, policy))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
    use super::*;
    use crate::failure::FailureKind;
    use crate::output::OutputForm;

    const FIVE: [&str; 5] = ["EU", "FR", "US", "GB", "AE"];

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/policies")
    }

    fn shipped(name: &str) -> PathBuf {
        folder().join(format!("{name}.toml"))
    }

    fn ask(verb: &PolicyFileVerb) -> Result<(), Failure> {
        run(verb, Output::new(OutputForm::Json))
    }

    #[test]
    fn every_verb_takes_the_shipped_policies() {
        let requests = folder().join("past-requests.json");
        for name in FIVE {
            let (file, requests) = (shipped(name), requests.clone());
            ask(&PolicyFileVerb::Check { file: file.clone() }).unwrap();
            ask(&PolicyFileVerb::Show { file: file.clone() }).unwrap();
            let (current, draft) = (file.clone(), file.clone());
            ask(&PolicyFileVerb::Simulate {
                current,
                draft,
                requests: requests.clone(),
            })
            .unwrap();
            let (earlier, later) = (file.clone(), file.clone());
            ask(&PolicyFileVerb::Diff { earlier, later }).unwrap();
            ask(&PolicyFileVerb::Fmt {
                file: file.clone(),
                write: false,
                check: true,
            })
            .unwrap();
            ask(&PolicyFileVerb::Test { file, requests }).unwrap();
        }
    }

    #[test]
    fn a_policy_that_permits_nothing_and_a_broken_expectation_are_refused() {
        let folder_of_drafts = tempfile::tempdir().unwrap();
        let file = folder_of_drafts.path().join("draft.toml");
        let text = std::fs::read_to_string(shipped("EU")).unwrap();
        std::fs::write(&file, text.replace("\"R12\", ", "")).unwrap();
        let refused = ask(&PolicyFileVerb::Check { file: file.clone() }).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(refused.why.contains("R12"), "{}", refused.why);
        let requests = folder().join("past-requests.json");
        let refused = ask(&PolicyFileVerb::Test {
            file: file.clone(),
            requests,
        })
        .unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        std::fs::write(&file, "version = 1").unwrap();
        let usage = ask(&PolicyFileVerb::Check { file }).unwrap_err();
        assert_eq!(usage.kind, FailureKind::Usage);
        let (earlier, later) = (shipped("EU"), shipped("FR"));
        let usage = ask(&PolicyFileVerb::Diff { earlier, later }).unwrap_err();
        assert_eq!(usage.kind, FailureKind::Usage);
    }

    #[test]
    fn formatting_writes_the_layout_once() {
        let drafts = tempfile::tempdir().unwrap();
        let file = drafts.path().join("draft.toml");
        let text = std::fs::read_to_string(shipped("FR")).unwrap();
        std::fs::write(&file, text.replace("version = 1", "version=1  ")).unwrap();
        let verb = |write, check| PolicyFileVerb::Fmt {
            file: file.clone(),
            write,
            check,
        };
        assert_eq!(
            ask(&verb(false, true)).unwrap_err().kind,
            FailureKind::Refused
        );
        ask(&verb(true, false)).unwrap();
        ask(&verb(false, true)).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}
