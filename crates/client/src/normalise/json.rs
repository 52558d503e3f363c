//! The edge's JSON: a body is refused whole only when it is no body at all; a record's fault is
//! its own.
//!
//! serde_json's messages may quote the input, so none is passed on: a refused record is read a
//! second time, field by field, to say which one is at fault.

use std::fmt;

use bailiwick_api::edge::{BATCH_RECORDS, BODY_BYTES, FieldError, RecordInput};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fault;

/// Longest text of one record in bytes: 128 bytes of account id, every one escaped in six, and the
/// rest of a record.
pub const RECORD_BYTES: usize = 1024;

type Parsed = Result<RecordInput, FieldError>;

/// Parses the body of `POST /v1/records`.
///
/// # Errors
/// [`FieldError`] of field `body` or `records` when it is not JSON of the call's form, or has no or
/// too many records.
pub fn parse_batch(body: &[u8]) -> Result<Vec<Parsed>, FieldError> {
    let batch: Batch<'_> = envelope(body)?;
    if batch.records.over {
        return Err(fault(
            "records",
            "too_many",
            "a call takes 1 to 1000 records",
        ));
    }
    if batch.records.found.is_empty() {
        return Err(fault("records", "empty", "a call takes 1 to 1000 records"));
    }
    Ok(batch.records.found.into_iter().map(record).collect())
}

/// Parses the body of `POST /v1/record`.
///
/// # Errors
/// [`FieldError`] names the field at fault.
pub fn parse_record(body: &[u8]) -> Parsed {
    record(envelope(body)?)
}

fn envelope<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, FieldError> {
    if body.len() > BODY_BYTES {
        return Err(fault("body", "too_long", "a body has at most 2 MiB"));
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(fault(
            "body",
            "byte_order_mark",
            "JSON begins without a byte order mark",
        ));
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(fault("body", "encoding", "JSON is UTF-8"));
    };
    serde_json::from_str(text).map_err(|error| {
        use serde_json::error::Category;
        match (error.classify(), reason(&error)) {
            (Category::Data, Some((code, field))) => fault(field.unwrap_or("body"), code, FORM),
            (Category::Data, None) => fault("body", "form", FORM),
            _ => fault("body", "syntax", "the body is not JSON"),
        }
    })
}

const FORM: &str = "expected an object with one field, records, a list of objects";

fn record(raw: &RawValue) -> Parsed {
    if raw.get().len() > RECORD_BYTES {
        return Err(fault(
            "record",
            "too_long",
            "a record has at most 1024 bytes of JSON",
        ));
    }
    serde_json::from_str(raw.get()).map_err(|_| diagnose(raw))
}

/// The part of serde's message that is ours: its kind, and a field of our own types.
fn reason(error: &serde_json::Error) -> Option<(&'static str, Option<&'static str>)> {
    let text = error.to_string();
    let kinds = [
        ("missing field `", "missing"),
        ("duplicate field `", "duplicate_field"),
        ("unknown field `", "unknown_field"),
    ];
    let (prefix, code) = kinds
        .into_iter()
        .find(|(prefix, _)| text.starts_with(prefix))?;
    let named = text[prefix.len()..].starts_with("records`");
    Some((
        code,
        (named && code != "unknown_field").then_some("records"),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    records: Records<'a>,
}

/// At most a call's records, unparsed; stops keeping them where a call ends.
struct Records<'a> {
    found: Vec<&'a RawValue>,
    over: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Records<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Found;
        impl<'de> Visitor<'de> for Found {
            type Value = Records<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records<'de>, A::Error> {
                let mut records = Records {
                    found: Vec::new(),
                    over: false,
                };
                while let Some(raw) = list.next_element::<&RawValue>()? {
                    records.over |= records.found.len() >= BATCH_RECORDS;
                    if !records.over {
                        records.found.push(raw);
                    }
                }
                Ok(records)
            }
        }
        deserializer.deserialize_seq(Found)
    }
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Number,
    Word(&'static [&'static str]),
    Object(&'static [Field]),
}

/// A field: its name, its form, whether it is needed.
type Field = (&'static str, Form, bool);

const RECORD: &[Field] = &[
    ("id", Form::Text, false),
    ("account", Form::Text, true),
    ("residence", Form::Text, false),
    ("phone", Form::Object(PHONE), false),
    ("ip", Form::Object(IP), false),
];
const PHONE: &[Field] = &[
    ("number", Form::Text, true),
    ("confirmed_at", Form::Text, true),
];
const IP: &[Field] = &[
    ("address", Form::Text, true),
    ("port", Form::Number, false),
    ("transport", Form::Word(&["tcp", "udp"]), true),
    ("event", Form::Word(&["login", "session", "message"]), true),
    ("seen_at", Form::Text, true),
    ("accuracy_ms", Form::Number, false),
];

/// Why a record was refused: the first field at fault.
fn diagnose(raw: &RawValue) -> FieldError {
    let found = check_object("", raw, RECORD);
    found.unwrap_or_else(|| fault("record", "form", "no record of this API"))
}

fn check_object(path: &str, raw: &RawValue, fields: &[Field]) -> Option<FieldError> {
    let own = if path.is_empty() { "record" } else { path };
    let at = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    let Ok(Pairs(pairs)) = serde_json::from_str::<Pairs<'_>>(raw.get()) else {
        return Some(fault(own, "wrong_type", "an object is expected"));
    };
    for (index, (name, _)) in pairs.iter().enumerate() {
        let Some((known, ..)) = fields.iter().find(|(known, ..)| known == name) else {
            return Some(fault(
                own,
                "unknown_field",
                "a field that this API does not have",
            ));
        };
        if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
            return Some(fault(
                &at(known),
                "duplicate_field",
                "the field stands twice",
            ));
        }
    }
    for (name, form, needed) in fields {
        let value = pairs
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| *value);
        match value {
            None if *needed => return Some(fault(&at(name), "missing", "the field is needed")),
            None => {}
            Some(value) if !needed && value.get() == "null" => {}
            Some(value) => {
                let found = check_value(&at(name), value, *form);
                if found.is_some() {
                    return found;
                }
            }
        }
    }
    None
}

fn check_value(path: &str, raw: &RawValue, form: Form) -> Option<FieldError> {
    let text = raw.get();
    let wrong = |code: &str, message: &str| Some(fault(path, code, message));
    match form {
        Form::Text if serde_json::from_str::<String>(text).is_err() => {
            wrong("wrong_type", "a text is expected")
        }
        Form::Number if serde_json::from_str::<u32>(text).is_err() => {
            let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
            let code = if number { "out_of_range" } else { "wrong_type" };
            wrong(code, "a whole number from 0 to 4294967295 is expected")
        }
        Form::Word(words) => match serde_json::from_str::<String>(text) {
            Ok(word) if words.contains(&word.as_str()) => None,
            Ok(_) => wrong(
                "unknown_word",
                &format!("expected one of: {}", words.join(", ")),
            ),
            Err(_) => wrong("wrong_type", "a text is expected"),
        },
        Form::Object(fields) => check_object(path, raw, fields),
        Form::Text | Form::Number => None,
    }
}

/// An object's fields in order, doubles included. A record's length bounds them.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, &RawValue>()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
