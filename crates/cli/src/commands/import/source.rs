//! The lines of an import file as records: CSV or NDJSON by extension.
//!
//! ```text
//! CSV columns (with a heading line; any order; empty means absent):
//!   id, account, residence, phone, confirmed_at,
//!   address, port, transport, event, seen_at, accuracy_ms
//! NDJSON: one `RecordInput` of the edge's API a line
//! ```
//! A line that is no record is refused here, with field and reason, and never stops the import.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use bailiwick_api::edge::{FieldError, IpInput, PhoneInput, RecordInput};
use serde::Deserialize;

use crate::failure::Failure;

/// Longest line in bytes: 1 KiB a record, and room for generous spelling.
pub const LINE_BYTES: usize = 8 * 1024;

/// One line of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its number, from 1; a CSV's heading is line 1.
    pub number: u64,
    /// The record, or what is wrong with the line.
    pub record: Result<RecordInput, FieldError>,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Csv,
    Ndjson,
}

/// The lines of a file, in order.
pub struct Source {
    lines: Box<dyn Iterator<Item = Line> + Send>,
}

impl Source {
    /// Opens a file by its extension.
    ///
    /// # Errors
    /// [`Failure`] (usage) when it cannot be read, or is neither `.csv` nor `.ndjson`.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let form = match extension {
            Some("csv") => Form::Csv,
            Some("ndjson" | "jsonl") => Form::Ndjson,
            _ => {
                return Err(Failure::usage(
                    format!("cannot import {}", path.display()),
                    "its extension is neither csv nor ndjson",
                    "name the file by what it is",
                ));
            }
        };
        let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
        let reader = BufReader::with_capacity(1 << 18, file);
        let lines: Box<dyn Iterator<Item = Line> + Send> = match form {
            Form::Csv => Box::new(csv_lines(reader)),
            Form::Ndjson => Box::new(ndjson_lines(reader)),
        };
        Ok(Self { lines })
    }

    /// The next at most `limit` lines; empty at the end.
    pub fn batch(&mut self, limit: usize) -> Vec<Line> {
        self.lines.by_ref().take(limit).collect()
    }
}

impl Iterator for Source {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        self.lines.next()
    }
}

fn unreadable(reason: &str) -> FieldError {
    FieldError::new("line", "unreadable", reason)
}

fn ndjson_lines(mut reader: impl BufRead + Send + 'static) -> impl Iterator<Item = Line> {
    let mut number = 0;
    std::iter::from_fn(move || {
        loop {
            let mut bytes = Vec::new();
            let record = match read_line(&mut reader, &mut bytes) {
                Ok(0) => return None,
                Ok(_) if bytes.len() > LINE_BYTES => Err(unreadable("longer than 8 KiB")),
                Ok(_) if bytes.iter().all(u8::is_ascii_whitespace) => {
                    number += 1;
                    continue;
                }
                Ok(_) => serde_json::from_slice(&bytes).map_err(|error| of_json(&error)),
                Err(_) => return None,
            };
            number += 1;
            return Some(Line { number, record });
        }
    })
}

/// Reads up to a line's end, keeping at most one byte more than a line may have.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut consumed = 0;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(consumed);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        let room = (LINE_BYTES + 1).saturating_sub(line.len());
        line.extend_from_slice(&available[..taken.min(room)]);
        reader.consume(taken);
        consumed += taken;
        if end.is_some() {
            return Ok(consumed);
        }
    }
}

/// serde's message may quote the input; only its kind and place are kept.
fn of_json(error: &serde_json::Error) -> FieldError {
    let text = error.to_string();
    let known = ["unknown field", "missing field", "duplicate field"];
    match known.into_iter().find(|known| text.starts_with(known)) {
        Some("missing field") => FieldError::new("line", "malformed", &text),
        Some(kind) => FieldError::new("line", "malformed", &format!("{kind} in the record")),
        None => {
            let reason = format!("no record of the edge's API (column {})", error.column());
            FieldError::new("line", "malformed", &reason)
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    id: Option<String>,
    account: String,
    #[serde(default)]
    residence: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    confirmed_at: Option<String>,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    port: Option<String>,
    #[serde(default)]
    transport: Option<String>,
    #[serde(default)]
    event: Option<String>,
    #[serde(default)]
    seen_at: Option<String>,
    #[serde(default)]
    accuracy_ms: Option<String>,
}

fn csv_lines(reader: impl std::io::Read + Send + 'static) -> impl Iterator<Item = Line> {
    let mut rows = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(reader);
    let headings = rows.headers().cloned().unwrap_or_default();
    rows.into_records().map(move |row| match row {
        Ok(row) => {
            let number = row.position().map_or(0, csv::Position::line);
            let read = row.deserialize::<Row>(Some(&headings));
            let record = read.map_err(|error| of_csv(&error)).and_then(to_record);
            Line { number, record }
        }
        Err(error) => {
            let number = error.position().map_or(0, csv::Position::line);
            let record = Err(unreadable("no row of the heading's columns in UTF-8"));
            Line { number, record }
        }
    })
}

fn of_csv(error: &csv::Error) -> FieldError {
    let reason = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => match err.kind() {
            csv::DeserializeErrorKind::Message(message) => message.clone(),
            _ => "a column is not of its form".to_owned(),
        },
        _ => "no row of the heading's columns".to_owned(),
    };
    FieldError::new("line", "malformed", &reason)
}

fn to_record(row: Row) -> Result<RecordInput, FieldError> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let phone = some(row.phone);
    let address = some(row.address);
    let phone = match phone {
        Some(number) => Some(PhoneInput {
            number,
            confirmed_at: needed("confirmed_at", row.confirmed_at)?,
        }),
        None => None,
    };
    let ip = match address {
        Some(address) => Some(IpInput {
            address,
            port: number("port", some(row.port))?,
            transport: word(
                "transport",
                some(row.transport).unwrap_or_else(|| "tcp".to_owned()),
            )?,
            event: word(
                "event",
                some(row.event).unwrap_or_else(|| "login".to_owned()),
            )?,
            seen_at: needed("seen_at", row.seen_at)?,
            accuracy_ms: number("accuracy_ms", some(row.accuracy_ms))?.unwrap_or_default(),
        }),
        None => None,
    };
    Ok(RecordInput {
        id: some(row.id),
        account: row.account,
        residence: some(row.residence),
        phone,
        ip,
    })
}

fn needed(field: &str, text: Option<String>) -> Result<String, FieldError> {
    let missing = || FieldError::new(field, "missing", "this column is needed for the record");
    text.filter(|text| !text.is_empty()).ok_or_else(missing)
}

fn number(field: &str, text: Option<String>) -> Result<Option<u32>, FieldError> {
    let parse = |text: String| {
        text.parse()
            .map_err(|_| FieldError::new(field, "malformed", "no whole number"))
    };
    text.map(parse).transpose()
}

fn word<T: serde::de::DeserializeOwned>(field: &str, text: String) -> Result<T, FieldError> {
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|_| FieldError::new(field, "malformed", "no word of the API"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]
    use super::*;

    fn lines(name: &str, content: &str) -> Vec<Line> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Source::open(&path).unwrap().collect()
    }

    #[test]
    fn csv_and_ndjson_give_the_same_records() {
        let csv = "account,residence,phone,confirmed_at,address,port,transport,event,seen_at\n\
            a1,FR,+33612345678,2026-11-24T08:00:00Z,,,,,\n\
            a2,,,,192.0.2.7,4711,udp,session,2026-11-24T08:00:01Z\n";
        let ndjson = concat!(
            r#"{"account":"a1","residence":"FR","phone":{"number":"+33612345678","#,
            r#""confirmed_at":"2026-11-24T08:00:00Z"}}"#,
            "\n\n",
            r#"{"account":"a2","ip":{"address":"192.0.2.7","port":4711,"transport":"udp","#,
            r#""event":"session","seen_at":"2026-11-24T08:00:01Z"}}"#,
            "\n",
        );
        let from_csv = lines("a.csv", csv);
        let from_ndjson = lines("a.ndjson", ndjson);
        assert_eq!(from_csv.len(), 2);
        for (one, other) in from_csv.iter().zip(&from_ndjson) {
            assert!(one.record.is_ok(), "{one:?}");
            assert_eq!(one.record, other.record);
        }
        assert_eq!(from_csv[1].number, 3);
        assert_eq!(from_ndjson[1].number, 3);
    }

    #[test]
    fn a_bad_line_is_refused_alone_and_not_quoted() {
        let secret = "+33699999999";
        let content = format!(
            "{{\"account\":\"a\",\"{secret}\":1}}\nnot json {secret}\n{}\n{}\n",
            "x".repeat(LINE_BYTES + 5),
            r#"{"account":"a4"}"#,
        );
        let lines = lines("b.ndjson", &content);
        assert_eq!(lines.len(), 4);
        for line in &lines[..3] {
            let error = line.record.as_ref().unwrap_err();
            assert!(!error.message.contains(secret), "{error}");
        }
        assert!(lines[3].record.is_ok());
    }

    #[test]
    fn bad_csv_columns_name_their_field() {
        let lines = lines(
            "c.csv",
            "account,address,port,seen_at\na,192.0.2.1,http,2026-11-24T08:00:00Z\nb,192.0.2.1,1,\nc\n",
        );
        let fields: Vec<_> = lines
            .iter()
            .map(|line| line.record.clone().unwrap_err().field)
            .collect();
        assert_eq!(fields, ["port", "seen_at", "line"]);
    }

    #[test]
    fn other_extensions_are_refused() {
        assert!(Source::open(Path::new("records.txt")).is_err());
    }
}
