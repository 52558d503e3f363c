//! How a command fails: one line what, one line why and who is at fault, one line what to do, and
//! an exit code that scripts may rely on.
//!
//! Not here: printing (`output`), and the errors of libraries, which are turned into these where a
//! command calls them.

use std::fmt;
use std::process::ExitCode;

use bailiwick_api::Refusal;

/// The stable exit codes; 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FailureKind {
    /// The cluster, a file's content or a check said no. Nothing was done, or what was done is said.
    Refused = 1,
    /// The command line, the profile or an input file is wrong.
    Usage = 2,
    /// Nobody answered. Nothing was done.
    Unreachable = 3,
    /// It may have been done: repeat the same command.
    Unknown = 4,
}

/// The codes as the help text documents them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused: the cluster or a check said no
  2  usage: the command line, the profile or an input file is wrong
  3  unreachable: nobody answered; nothing was done
  4  outcome unknown: it may have been done; repeat the same command";

/// A failed command. It never carries a secret or an identifier of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which exit code.
    pub kind: FailureKind,
    /// What was not done.
    pub what: String,
    /// Why, and whose fault it is.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl Failure {
    /// A failure of a kind.
    pub fn new(
        kind: FailureKind,
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
        }
    }

    /// Somebody said no.
    pub fn refused(
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(FailureKind::Refused, what, why, remedy)
    }

    /// The caller's input is wrong.
    pub fn usage(
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(FailureKind::Usage, what, why, remedy)
    }

    /// A file that cannot be read, written or parsed.
    pub fn file(path: &std::path::Path, error: &dyn std::error::Error) -> Self {
        let why = format!(
            "{}; the file is this machine's or its author's to mend",
            chain(error)
        );
        Self::usage(
            format!("cannot use {}", path.display()),
            why,
            "correct the path or the file",
        )
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }

    /// The failure of a call that a vault node refused.
    pub fn of_refusal(what: &str, refusal: &Refusal) -> Self {
        let (kind, fault, remedy) = match refusal {
            Refusal::Unknown => (
                FailureKind::Unknown,
                "the group lost its leader meanwhile",
                "repeat the same command; done twice is done once",
            ),
            Refusal::NotLeader { .. } | Refusal::Overloaded | Refusal::Unavailable => (
                FailureKind::Unreachable,
                "the group cannot take it just now",
                "wait a few seconds and repeat; `bailiwick status` shows the group's leader",
            ),
            Refusal::NoSuchShard(_) | Refusal::NotFound(_) => (
                FailureKind::Refused,
                "the caller names what is not there",
                "check the code or id; `bailiwick status` lists the jurisdictions",
            ),
            Refusal::Malformed(_) => (
                FailureKind::Refused,
                "this program and the node differ in version",
                "use the node's version of bailiwick; `bailiwick status` shows it",
            ),
            Refusal::Rejected { .. } => (
                FailureKind::Refused,
                "the caller's to change",
                "change what is named; repeating it unchanged gives the same answer",
            ),
            Refusal::Store => (
                FailureKind::Refused,
                "the node's disk is at fault",
                "an operator must look at the node; see docs/operations.md",
            ),
        };
        Self::new(kind, what, format!("{refusal}: {fault}"), remedy)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "error: {}\n  why: {}\n  do:  {}",
            self.what, self.why, self.remedy
        )
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::refused(
                "this machine did not do its part",
                format!("{error:#}"),
                "look at the named file, port or process",
            ),
        }
    }
}

/// An error with its sources on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_three_lines() {
        let failure = Failure::usage("no profile", "none was named", "give --profile");
        assert_eq!(failure.to_string().lines().count(), 3);
    }

    #[test]
    fn every_refusal_has_its_exit_code() {
        let kind = |refusal| Failure::of_refusal("x", &refusal).kind;
        assert_eq!(kind(Refusal::Unknown), FailureKind::Unknown);
        assert_eq!(kind(Refusal::Unavailable), FailureKind::Unreachable);
        assert_eq!(
            kind(Refusal::NotFound("x".to_owned())),
            FailureKind::Refused
        );
        assert_eq!(kind(Refusal::Store), FailureKind::Refused);
    }
}
