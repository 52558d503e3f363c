//! The edge's high-water mark on disk: the begin of the newest key period that it ever sealed under.
//! A restarted edge, or one that is shown an older certificate, never goes back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context;
use bailiwick_client::sealing::HighWater;
use bailiwick_types::{Jurisdiction, Timestamp};

use crate::files;

/// The marks, one line each: code and microseconds.
pub(super) struct HighWaterFile {
    path: PathBuf,
    marks: Mutex<BTreeMap<Jurisdiction, Timestamp>>,
}

impl HighWaterFile {
    /// Opens the file; a missing one has no marks.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let mut marks = BTreeMap::new();
        for line in text.lines() {
            let damaged = || format!("{} is damaged", path.display());
            let (code, micros) = line.split_once(' ').with_context(damaged)?;
            let code: Jurisdiction = code.parse().with_context(damaged)?;
            marks.insert(code, Timestamp(micros.parse().with_context(damaged)?));
        }
        Ok(Self {
            path: path.to_owned(),
            marks: Mutex::new(marks),
        })
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, BTreeMap<Jurisdiction, Timestamp>> {
        self.marks
            .lock()
            .expect("nothing panics while it holds the marks")
    }
}

impl HighWater for HighWaterFile {
    fn mark(&self, jurisdiction: Jurisdiction) -> Option<Timestamp> {
        self.marks().get(&jurisdiction).copied()
    }

    fn raise(&self, jurisdiction: Jurisdiction, begin: Timestamp) -> io::Result<()> {
        let mut marks = self.marks();
        let mut raised = marks.clone();
        let mark = raised.entry(jurisdiction).or_default();
        *mark = begin.max(*mark);
        let lines: Vec<String> = raised
            .iter()
            .map(|(code, mark)| format!("{code} {}\n", mark.0))
            .collect();
        files::replace(&self.path, lines.concat().as_bytes())?;
        *marks = raised;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_and_never_sink() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("high-water");
        let france = "FR".parse().expect("a code");
        let marks = HighWaterFile::open(&path).expect("opens");
        marks.raise(france, Timestamp(20)).expect("raised");
        marks.raise(france, Timestamp(10)).expect("raised");
        let again = HighWaterFile::open(&path).expect("opens");
        assert_eq!(again.mark(france), Some(Timestamp(20)));
        std::fs::write(&path, "FR\n").expect("written");
        assert!(HighWaterFile::open(&path).is_err());
    }
}
