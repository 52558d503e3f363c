//! What the demonstration prints: one line a step, with the seconds since it began.

use std::path::Path;
use std::time::Instant;

use crate::failure::Failure;
use crate::output;

/// The timeline.
pub(super) struct Timeline {
    begun: Instant,
}

impl Timeline {
    /// Begins now.
    pub(super) fn start() -> Self {
        let timeline = Self {
            begun: Instant::now(),
        };
        timeline.note("a cluster for the demonstration: 6 vault nodes, 2 x 3 approvers, 1 edge");
        timeline
    }

    /// Something that happened.
    pub(super) fn note(&self, text: &str) {
        output::print(&format!(
            "{:6.1} s  {text}",
            self.begun.elapsed().as_secs_f64()
        ));
    }

    /// A step that went as it must.
    pub(super) fn step(&self, text: &str) {
        self.note(&format!("\u{2713} {text}"));
    }

    /// Lines that belong to the step above.
    pub(super) fn detail(&self, text: &str) {
        for line in text.lines() {
            output::print(&format!("            {line}"));
        }
    }

    /// The last line.
    pub(super) fn end(&self, kept: Option<&Path>) {
        self.note("the story held");
        if let Some(folder) = kept {
            self.detail(&format!(
                "the cluster's folder is kept: {}",
                folder.display()
            ));
        }
    }
}

/// Asserts a step: the failure says what was expected and what was seen.
///
/// # Errors
/// [`Failure`] unless it holds.
pub(super) fn expect(
    holds: bool,
    expected: &str,
    seen: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if holds {
        return Ok(());
    }
    Err(Failure::refused(
        format!("expected: {expected}"),
        format!("seen: {}", seen()),
        "this is a bug: run again with --keep and send the folder's logs",
    ))
}
