//! The transfer itself: calls of 1,000 records, several under way, each repeated with the same ids
//! until every record has a definite answer or the attempts are used up.
//!
//! Not here: HTTP, which is behind [`Sink`], and what is shown to people.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::edge::{BATCH_RECORDS, RecordInput, RecordResult, RecordStatus};
use bailiwick_types::Digest;
use serde::Serialize;
use tokio::task::JoinSet;

use super::identity::record_id;
use super::journal::{Journal, RefusedLine};
use super::source::{Line, Source};
use crate::failure::{Failure, FailureKind};

/// Times that a call is made before its records count as unknown.
const ATTEMPTS: u32 = 8;
/// The first pause between two attempts; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_CEILING: Duration = Duration::from_secs(3);

/// Where records go.
pub trait Sink: Send + Sync + 'static {
    /// Hands in at most 1,000 records; one result each, in order.
    ///
    /// # Errors
    /// [`Failure`]; unreachable and unknown ones are tried again.
    fn put(
        &self,
        records: Vec<RecordInput>,
    ) -> impl Future<Output = Result<Vec<RecordResult>, Failure>> + Send;
}

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Lines that an earlier run had done.
    pub skipped: u64,
    /// Records stored now.
    pub stored: u64,
    /// Records that had been stored before.
    pub duplicate: u64,
    /// Lines refused.
    pub refused: u64,
    /// Records whose outcome is unknown.
    pub unknown: u64,
}

impl Summary {
    /// Lines with an answer in this run.
    pub fn answered(&self) -> u64 {
        self.stored + self.duplicate + self.refused + self.unknown
    }

    fn add(&mut self, batch: &Answered) {
        self.stored += batch.stored;
        self.duplicate += batch.duplicate;
        self.refused += batch.refused.len() as u64;
        self.unknown += batch.unknown;
    }
}

/// A call on its way.
struct Batch {
    /// The last line before it.
    after: u64,
    /// Its last line.
    last: u64,
    /// Its lines with their records.
    pending: Vec<(u64, RecordInput)>,
    /// What was answered.
    answered: Answered,
}

#[derive(Default)]
struct Answered {
    stored: u64,
    duplicate: u64,
    refused: Vec<RefusedLine>,
    unknown: u64,
}

/// Sends what the journal does not have. Stops early, without an error, after a call whose
/// outcome stays unknown.
///
/// # Errors
/// [`Failure`] when nobody answers, the edge refuses a whole call, or the journal's disk fails.
pub async fn transfer<S: Sink>(
    sink: Arc<S>,
    mut source: Source,
    digest: Digest,
    journal: &mut Journal,
    in_flight: usize,
    mut watch: impl FnMut(&Summary),
) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let mut after = journal.acknowledged();
    let mut skipping = source.by_ref().skip_while(move |line| line.number <= after);
    let mut calls: JoinSet<Result<Batch, Failure>> = JoinSet::new();
    let mut ended = false;
    loop {
        while !ended && calls.len() < in_flight {
            let lines: Vec<Line> = skipping.by_ref().take(BATCH_RECORDS).collect();
            let Some(last) = lines.last().map(|line| line.number) else {
                ended = true;
                break;
            };
            let batch = Batch::of(after, last, lines, &digest);
            after = last;
            calls.spawn(batch.send(Arc::clone(&sink)));
        }
        let Some(done) = calls.join_next().await else {
            break;
        };
        let batch = done.map_err(|error| anyhow::anyhow!("a transfer task ended: {error}"))??;
        summary.add(&batch.answered);
        let disk = |error| journal_failed(&error);
        journal.refuse(&batch.answered.refused).map_err(disk)?;
        if batch.answered.unknown > 0 {
            ended = true;
        } else {
            journal.acknowledge(batch.after, batch.last).map_err(disk)?;
        }
        watch(&summary);
    }
    Ok(summary)
}

fn journal_failed(error: &std::io::Error) -> Failure {
    Failure::refused(
        "the import cannot note its progress",
        format!("this machine's disk says: {error}"),
        "make room beside the file and start the import again; nothing is stored twice",
    )
}

impl Batch {
    fn of(after: u64, last: u64, lines: Vec<Line>, digest: &Digest) -> Self {
        let mut batch = Self {
            after,
            last,
            pending: Vec::new(),
            answered: Answered::default(),
        };
        for line in lines {
            match line.record {
                Ok(mut record) => {
                    record
                        .id
                        .get_or_insert_with(|| record_id(digest, line.number));
                    batch.pending.push((line.number, record));
                }
                Err(error) => {
                    batch.answered.refused.push(RefusedLine {
                        line: line.number,
                        error,
                    });
                }
            }
        }
        batch
    }

    async fn send<S: Sink>(mut self, sink: Arc<S>) -> Result<Self, Failure> {
        let mut pause = PAUSE;
        let mut sent = false;
        let mut failure = None;
        for attempt in 0..ATTEMPTS {
            if self.pending.is_empty() {
                return Ok(self);
            }
            if attempt > 0 {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(PAUSE_CEILING);
            }
            let records = self
                .pending
                .iter()
                .map(|(_, record)| record.clone())
                .collect();
            match sink.put(records).await {
                Ok(results) => {
                    sent = true;
                    self.take(results)?;
                }
                Err(error) if error.kind == FailureKind::Unknown => sent = true,
                Err(error) if error.kind == FailureKind::Unreachable => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        match failure {
            Some(failure) if !sent => Err(failure),
            _ => {
                self.answered.unknown = self.pending.len() as u64;
                Ok(self)
            }
        }
    }

    /// Takes the definite answers; the others stay pending.
    fn take(&mut self, results: Vec<RecordResult>) -> Result<(), Failure> {
        if results.len() != self.pending.len() {
            return Err(Failure::refused(
                "the edge's answer does not fit the call",
                format!(
                    "{} results for {} records",
                    results.len(),
                    self.pending.len()
                ),
                "check that the edge has this program's version",
            ));
        }
        let pending = std::mem::take(&mut self.pending);
        for ((line, record), result) in pending.into_iter().zip(results) {
            match result.status {
                RecordStatus::Stored => self.answered.stored += 1,
                RecordStatus::Duplicate => self.answered.duplicate += 1,
                RecordStatus::Unknown => self.pending.push((line, record)),
                RecordStatus::Refused => {
                    let error = result.error.unwrap_or_else(|| {
                        bailiwick_api::edge::FieldError::new("record", "refused", "no reason given")
                    });
                    self.answered.refused.push(RefusedLine { line, error });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use bailiwick_api::edge::FieldError;

    use super::super::identity::scan;
    use super::*;

    /// An edge that stores by id, and fails as told.
    #[derive(Default)]
    struct FakeEdge {
        stored: Mutex<BTreeSet<String>>,
        calls: AtomicU32,
        stop_after: Option<u32>,
        lose_first_answer: bool,
    }

    impl Sink for FakeEdge {
        async fn put(&self, records: Vec<RecordInput>) -> Result<Vec<RecordResult>, Failure> {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            if self.stop_after.is_some_and(|calls| call >= calls) {
                return Err(Failure::refused("stopped", "by the test", "-"));
            }
            let mut stored = self.stored.lock().unwrap();
            let result = |record: RecordInput| {
                let id = record.id.unwrap();
                let bad = record.account == "bad";
                let status = match bad {
                    true => RecordStatus::Refused,
                    false if stored.insert(id.clone()) => RecordStatus::Stored,
                    false => RecordStatus::Duplicate,
                };
                let error = bad.then(|| FieldError::new("account", "bad", "bad"));
                RecordResult {
                    id: Some(id),
                    status,
                    custody: None,
                    error,
                }
            };
            let results = records.into_iter().map(result).collect();
            if self.lose_first_answer && call == 0 {
                return Err(Failure::new(
                    FailureKind::Unknown,
                    "lost",
                    "by the test",
                    "-",
                ));
            }
            Ok(results)
        }
    }

    fn file(folder: &tempfile::TempDir, records: usize) -> std::path::PathBuf {
        let path = folder.path().join("records.ndjson");
        let mut text = String::new();
        for number in 0..records {
            let account = if number == 5 {
                "bad".to_owned()
            } else {
                format!("a{number}")
            };
            text += &format!("{{\"account\":\"{account}\"}}\n");
        }
        std::fs::write(&path, text).unwrap();
        path
    }

    async fn import(edge: &Arc<FakeEdge>, path: &std::path::Path) -> Result<Summary, Failure> {
        let digest = scan(path).unwrap().digest;
        let mut journal = Journal::open(path, digest).unwrap();
        let source = Source::open(path).unwrap();
        transfer(Arc::clone(edge), source, digest, &mut journal, 2, |_| {}).await
    }

    #[tokio::test]
    async fn an_interrupted_import_goes_on_and_stores_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, 5500);
        let edge = Arc::new(FakeEdge {
            stop_after: Some(3),
            ..FakeEdge::default()
        });
        assert!(import(&edge, &path).await.is_err());
        let stored = edge.stored.lock().unwrap().clone();
        let edge = Arc::new(FakeEdge {
            stored: Mutex::new(stored),
            ..FakeEdge::default()
        });
        let summary = import(&edge, &path).await.unwrap();
        assert!(
            edge.calls.load(Ordering::SeqCst) < 6,
            "acknowledged lines are not sent again"
        );
        assert_eq!(summary.unknown, 0);
        assert_eq!(edge.stored.lock().unwrap().len(), 5499);
        let again = import(&edge, &path).await.unwrap();
        assert_eq!(again.answered(), 0, "nothing is left to do");
    }

    #[tokio::test]
    async fn a_lost_answer_is_asked_for_again_with_the_same_ids() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, 900);
        let edge = Arc::new(FakeEdge {
            lose_first_answer: true,
            ..FakeEdge::default()
        });
        let summary = import(&edge, &path).await.unwrap();
        let expected = Summary {
            duplicate: 899,
            refused: 1,
            ..Summary::default()
        };
        assert_eq!(summary, expected);
    }
}
