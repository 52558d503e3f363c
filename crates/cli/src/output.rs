//! All printing of the program: tables for people, JSON for programs, progress for long work.
//!
//! Results go to standard output; failures, questions and progress go to standard error. Not here:
//! the services' logs, which go through `tracing`.
use std::io::{BufRead, IsTerminal, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::failure::Failure;

/// The form of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputForm {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document, or one a line for lists that stream.
    Json,
}

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    form: OutputForm,
}

impl Output {
    /// Output of a form.
    pub fn new(form: OutputForm) -> Self {
        Self { form }
    }

    /// Whether results are for programs.
    pub fn is_json(self) -> bool {
        self.form == OutputForm::Json
    }

    /// A list: a table with these headings, or the values as a JSON array.
    pub fn list<T: Serialize, const N: usize>(
        self,
        headings: [&str; N],
        values: &[T],
        row: impl Fn(&T) -> [String; N],
    ) {
        if self.is_json() {
            print_json(values);
            return;
        }
        print(&table(headings, values.iter().map(row)).to_string());
    }

    /// One thing: field and value line by line, or a JSON object.
    pub fn fields(self, fields: &[(&str, String)]) {
        if self.is_json() {
            let map: serde_json::Map<String, serde_json::Value> = fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
                .collect();
            print_json(&map);
            return;
        }
        let width = fields
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or_default();
        for (name, value) in fields {
            print(&format!("{name:width$}  {value}"));
        }
    }

    /// A serialisable document: JSON as it is, else `text`.
    pub fn document<T: Serialize>(self, document: &T, text: impl FnOnce() -> String) {
        if self.is_json() {
            print_json(document);
        } else {
            print(&text());
        }
    }

    /// One line of a list that streams: NDJSON, else `text`.
    pub fn line<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) {
        if self.is_json() {
            match serde_json::to_string(value) {
                Ok(json) => print(&json),
                Err(error) => note(&format!("a result is not JSON: {error}")),
            }
        } else {
            print(&text());
        }
    }

    /// A sentence for people; nothing for programs.
    pub fn say(self, sentence: &str) {
        if !self.is_json() {
            print(sentence);
        }
    }
}

fn table<const N: usize>(headings: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    table
}

fn print_json<T: Serialize + ?Sized>(value: &T) {
    match serde_json::to_string_pretty(value) {
        Ok(json) => print(&json),
        Err(error) => note(&format!("a result is not JSON: {error}")),
    }
}

/// Prints a text as it is, to standard output. When nobody reads any more, as behind `head`, the
/// rest is not missed: what the command did is done.
pub fn print(text: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}")
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        note(&format!("standard output is not written: {error}"));
    }
}

/// Prints a failure to standard error.
pub fn print_failure(failure: &Failure) {
    note(&failure.to_string());
}

/// Prints a note to standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether a person watches standard error.
pub fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Asks on standard error and reads the answer: `true` only for `yes`.
///
/// # Errors
/// [`Failure`] when there is nobody to ask.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "a confirmation is needed",
            "standard input is no terminal, so nobody can be asked",
            "read what would be signed, then repeat with --yes",
        ));
    }
    let mut stream = std::io::stderr().lock();
    let _ = write!(stream, "{question} Type yes to go on: ").and_then(|()| stream.flush());
    drop(stream);
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(_) => Ok(answer.trim() == "yes"),
        Err(_) => Ok(false),
    }
}
