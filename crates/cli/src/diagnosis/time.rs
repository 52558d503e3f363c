//! The machine's clock. A leader's stamps more than ten seconds ahead of a follower's clock are refused,
//! keys are destroyed by the clock, and certificates are judged by it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::Finding;
use super::service::ServiceFile;

/// How far a file may seem to come from the future: file systems round.
const ROUNDING: Duration = Duration::from_secs(2);
/// Most files of the data folder that are looked at.
const FILES: usize = 10_000;

/// Looks at the clock.
pub(super) fn check(service: &ServiceFile) -> Vec<Finding> {
    vec![not_behind(service.data()), synchronised()]
}

/// Whether the clock is behind what this service wrote before.
fn not_behind(data: &Path) -> Finding {
    let now = SystemTime::now();
    let Some(newest) = newest(data) else {
        return Finding::ok("clock", format!("{}", bailiwick_client::now()));
    };
    match newest.duration_since(now) {
        Ok(ahead) if ahead > ROUNDING => {
            let found = format!("it is {ahead:.0?} behind the newest file of the data folder");
            let remedy = "set the clock right before the service starts; look for a dead battery or \
                          a restored machine";
            Finding::fail("clock", found, remedy)
        }
        _ => Finding::ok("clock", format!("{}", bailiwick_client::now())),
    }
}

fn newest(data: &Path) -> Option<SystemTime> {
    let mut folders = vec![data.to_owned()];
    let (mut newest, mut seen) = (None, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > FILES {
                return newest;
            }
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                newest = newest.max(metadata.modified().ok());
            }
        }
    }
    newest
}

/// Whether the system says that its clock follows a time server.
fn synchronised() -> Finding {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output();
    let said = asked.ok().filter(|asked| asked.status.success());
    let said = said.map(|asked| String::from_utf8_lossy(&asked.stdout).trim().to_owned());
    match said.as_deref() {
        Some("yes") => Finding::ok("clock", "it follows a time server"),
        Some(_) => {
            let remedy =
                "start chrony or systemd-timesyncd; nodes refuse stamps 10 s ahead of theirs";
            // A machine inside another may follow its host and not know it.
            Finding::warn(
                "clock",
                "it follows no time server that the system knows",
                remedy,
            )
        }
        None => {
            let found = "the system does not say whether the clock follows a time server";
            Finding::warn("clock", found, "make sure that it does: `chronyc tracking`")
        }
    }
}
