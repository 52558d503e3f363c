//! Processor time by kind of process: what a record costs, whoever else uses the machine.
//!
//! Read from Linux's `/proc` for this process and its children; elsewhere there is nothing to tell,
//! and no line is printed. Not a profile: that is `perf`'s (docs/benchmarks.md says how).
#![allow(clippy::print_stdout, reason = "the line is what a reading is for")]

use std::collections::BTreeMap;
use std::fs;

use crate::service::SERVE;

/// Ticks of a second in `/proc/<pid>/stat`: fixed by Linux's interface.
const TICKS: f64 = 100.0;

/// Processor seconds so far, by kind: `client` is this process.
#[derive(Clone, Debug, Default)]
pub struct Reading(BTreeMap<String, f64>);

impl Reading {
    /// The present reading; empty where there is no `/proc`.
    pub fn take() -> Self {
        let own = std::process::id();
        let mut kinds = BTreeMap::new();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for entry in entries {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let Some((parent, seconds)) = stat(pid) else {
                continue;
            };
            if pid == own {
                *kinds.entry("client".to_owned()).or_default() += seconds;
            } else if parent == own {
                *kinds.entry(kind(pid)).or_default() += seconds;
            }
        }
        Self(kinds)
    }

    /// Prints what each record cost since an earlier reading.
    pub fn print_since(&self, earlier: &Self, what: &str, records: usize) {
        let micros = |kind: &str, now: f64| {
            (now - earlier.0.get(kind).copied().unwrap_or_default()) * 1e6 / records as f64
        };
        let by_kind: Vec<(&String, f64)> = self
            .0
            .iter()
            .map(|(kind, seconds)| (kind, micros(kind, *seconds)))
            .collect();
        let all: f64 = by_kind.iter().map(|(_, micros)| micros).sum();
        if records == 0 || all == 0.0 {
            return;
        }
        let parts: Vec<String> = by_kind
            .iter()
            .map(|(kind, micros)| format!("{kind} {micros:.1}"))
            .collect();
        println!(
            "cost: {what}: {all:.1} us of processor a record ({})",
            parts.join(", ")
        );
    }
}

/// Parent, and seconds in user and system.
fn stat(pid: u32) -> Option<(u32, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((
        fields.get(1)?.parse().ok()?,
        (ticks(11)? + ticks(12)?) / TICKS,
    ))
}

/// The verb that a child was started with.
fn kind(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).skip(1);
    match (words.next(), words.next()) {
        (Some(serve), Some(verb)) if serve == SERVE.as_bytes() => {
            format!("{}s", String::from_utf8_lossy(verb))
        }
        _ => "others".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let before = Reading::take();
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < 60 {
            std::hint::spin_loop();
        }
        let after = Reading::take();
        if cfg!(target_os = "linux") {
            assert!(after.0["client"] > before.0["client"]);
        }
    }
}
