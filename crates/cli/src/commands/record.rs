//! `bailiwick record`: hand in one record or a file of them through the edge; list what is known of
//! a subject without opening anything.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bailiwick_api::edge::{
    IpInput, PhoneInput, PutRecords, RecordInput, RecordResult, RecordStatus,
};
use bailiwick_client::edge_http::EdgeClient;
use bailiwick_client::intake::Intake;
use bailiwick_threshold::pseudonym;
use bailiwick_types::{Minute, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::import::identity::{Scan, scan};
use super::import::journal::Journal;
use super::import::source::Source;
use super::import::transfer::{Sink, Summary, transfer};
use super::request::{instant, pseudonym_key};
use crate::args::{ImportOptions, PutOptions, RecordVerb};
use crate::connect::{cluster, edge, of_call, of_edge};
use crate::failure::{Failure, FailureKind};
use crate::output::{self, Output};
use crate::profile::Profile;

/// How often progress is told when nobody watches a terminal.
const TELL: Duration = Duration::from_secs(1);

/// The edge as a place where an import's records go: one connection per call that is under way at
/// the same time, kept for the next.
pub struct EdgeSink {
    first: EdgeClient,
    idle: Mutex<Vec<EdgeClient>>,
}

impl EdgeSink {
    /// A sink of this edge.
    pub fn new(edge: EdgeClient) -> Self {
        Self {
            first: edge,
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<EdgeClient>> {
        self.idle
            .lock()
            .expect("nothing panics while it holds the idle connections")
    }
}

impl Sink for EdgeSink {
    async fn put(&self, records: Vec<RecordInput>) -> Result<Vec<RecordResult>, Failure> {
        let kept = self.idle().pop();
        let edge = kept.unwrap_or_else(|| self.first.clone());
        let put = edge.put(&PutRecords { records }).await;
        self.idle().push(edge);
        put.map(|reply| reply.results)
            .map_err(|error| of_edge(&error))
    }
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when an input is wrong, or edge or cluster refuses or does not answer.
pub async fn run(profile: &Profile, verb: &RecordVerb, output: Output) -> Result<(), Failure> {
    match verb {
        RecordVerb::Put(options) => put(profile, options, output).await,
        RecordVerb::Import(options) => import(profile, options, output).await,
        RecordVerb::List { .. } => list(profile, verb, output).await,
    }
}

async fn put(profile: &Profile, options: &PutOptions, output: Output) -> Result<(), Failure> {
    let record = record_of(options)?;
    let results = EdgeSink::new(edge(profile)?).put(vec![record]).await?;
    let Some(result) = results.into_iter().next() else {
        let why = "the edge answered without a result; the edge is at fault";
        return Err(Failure::refused(
            "the record's fate is not known",
            why,
            "repeat with --id",
        ));
    };
    match result.status {
        RecordStatus::Stored | RecordStatus::Duplicate => {
            output.document(&result, || {
                let word = match result.status {
                    RecordStatus::Duplicate => "stored before",
                    _ => "stored",
                };
                let custody = result.custody.map(|code| format!(" in {code}"));
                let id = result.id.as_deref().unwrap_or("-");
                format!("{word}{}: {id}", custody.unwrap_or_default())
            });
            Ok(())
        }
        RecordStatus::Refused => {
            let why = result
                .error
                .map_or_else(|| "no reason given".to_owned(), |e| e.to_string());
            let remedy = "correct the named field and hand it in again";
            Err(Failure::refused("the record was refused", why, remedy))
        }
        RecordStatus::Unknown => {
            let id = result.id.as_deref().unwrap_or("-");
            Err(Failure::new(
                FailureKind::Unknown,
                "the record may be stored",
                "its jurisdiction's group lost its leader meanwhile",
                format!("repeat the same command with --id {id}"),
            ))
        }
    }
}

fn record_of(options: &PutOptions) -> Result<RecordInput, Failure> {
    let ip = match &options.address {
        None => None,
        Some(address) => Some(IpInput {
            address: address.clone(),
            port: options.port,
            transport: word("transport", &options.transport)?,
            event: word("event", &options.event)?,
            seen_at: options.at.clone(),
            accuracy_ms: 0,
        }),
    };
    let phone = options.phone.as_ref().map(|number| PhoneInput {
        number: number.clone(),
        confirmed_at: options.at.clone(),
    });
    let (id, account) = (options.id.clone(), options.account.clone());
    Ok(RecordInput {
        id,
        account,
        residence: options.residence.clone(),
        phone,
        ip,
    })
}

fn word<T: serde::de::DeserializeOwned>(option: &str, text: &str) -> Result<T, Failure> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| {
        let what = format!("--{option} {text} is not known");
        Failure::usage(what, error.to_string(), "choose a word that the help lists")
    })
}

async fn import(profile: &Profile, options: &ImportOptions, output: Output) -> Result<(), Failure> {
    let file = &options.file;
    let scan = scan(file).map_err(|error| Failure::file(file, &error))?;
    let mut journal =
        Journal::open(file, scan.digest).map_err(|error| Failure::file(file, &error))?;
    let skipped = journal.acknowledged();
    let source = Source::open(file)?;
    let sink = Arc::new(EdgeSink::new(edge(profile)?));
    let begun = Instant::now();
    let mut progress = Progress::new(&scan, skipped);
    let in_flight = usize::from(options.in_flight);
    let watch = |summary: &Summary| progress.tell(summary);
    let moved = transfer(sink, source, scan.digest, &mut journal, in_flight, watch).await;
    progress.end();
    let summary = Summary { skipped, ..moved? };
    finish(file, &journal, summary, begun.elapsed(), output)
}

#[derive(Serialize)]
struct Imported {
    #[serde(flatten)]
    summary: Summary,
    seconds: f64,
    records_per_second: u64,
}

fn finish(
    file: &Path,
    journal: &Journal,
    summary: Summary,
    elapsed: Duration,
    output: Output,
) -> Result<(), Failure> {
    let seconds = elapsed.as_secs_f64();
    let rate = (summary.stored as f64 / seconds.max(0.001)) as u64;
    let document = Imported {
        summary,
        seconds,
        records_per_second: rate,
    };
    output.document(&document, || {
        format!(
            "stored {}, duplicate {}, refused {}, unknown {}; lines of an earlier run {}; {rate} \
             records/s",
            summary.stored, summary.duplicate, summary.refused, summary.unknown, summary.skipped
        )
    });
    if summary.refused > 0 {
        output::note(&format!(
            "refused lines: {}",
            journal.refused_path().display()
        ));
    }
    if summary.unknown == 0 {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::Unknown,
        format!(
            "{} records of {} may be stored or not",
            summary.unknown,
            file.display()
        ),
        "the edge could not tell within its attempts",
        "start the same import again: it goes on, and nothing is stored twice",
    ))
}

/// Progress for people: a bar on a terminal, else one line a second.
struct Progress {
    bar: Option<ProgressBar>,
    told: Instant,
    begun: Instant,
}

impl Progress {
    fn new(scan: &Scan, skipped: u64) -> Self {
        let bar = output::is_watched().then(|| {
            let bar = ProgressBar::new(scan.line_ends.saturating_sub(skipped));
            let template = "{bar:40} {pos}/{len} lines, {per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            told: Instant::now(),
            begun: Instant::now(),
        }
    }

    fn tell(&mut self, summary: &Summary) {
        if let Some(bar) = &self.bar {
            bar.set_position(summary.answered());
        } else if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            let seconds = self.begun.elapsed().as_secs_f64();
            let rate = (summary.answered() as f64 / seconds) as u64;
            output::note(&format!(
                "{} lines answered, {rate} a second",
                summary.answered()
            ));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[derive(Serialize)]
struct LabelRow {
    kind: &'static str,
    minute: String,
    record: String,
}

async fn list(profile: &Profile, verb: &RecordVerb, output: Output) -> Result<(), Failure> {
    let RecordVerb::List {
        subject,
        jurisdiction,
        from,
        to,
        limit,
    } = verb
    else {
        return Ok(());
    };
    let code = profile.jurisdiction_or(*jurisdiction)?;
    let subject = pseudonym(&pseudonym_key(profile, code)?, subject);
    let from = match from {
        Some(text) => instant("from", text)?.minute(),
        None => Minute(0),
    };
    let to = match to {
        Some(text) => Timestamp(instant("to", text)?.0.saturating_sub(1)).minute(),
        None => Minute(u32::MAX - 1),
    };
    let intake = Intake::new(cluster(profile)?);
    let page = intake
        .labels(code, subject, from, Minute(to.0 + 1), *limit)
        .await;
    let page = page.map_err(|error| of_call("the records were not listed", &error))?;
    let row = |(kind, minute, record): &(bailiwick_types::Category, Minute, _)| LabelRow {
        kind: kind.as_str(),
        minute: minute.to_string(),
        record: bailiwick_types::RecordId::to_string(record),
    };
    let rows: Vec<_> = page.labels.iter().map(row).collect();
    output.list(["kind", "minute", "record"], &rows, |row| {
        [row.kind.to_owned(), row.minute.clone(), row.record.clone()]
    });
    if page.more {
        output::note("there are more: narrow the window with --from and --to");
    }
    Ok(())
}
