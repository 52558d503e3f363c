//! The edge's HTTP API: `POST /v1/record` takes one record, `POST /v1/records` up to 1,000.
//! Unknown fields are refused; a record's fault never refuses its neighbours.

use bailiwick_envelope::record::{IpEvent, TransportProtocol};
use bailiwick_types::Jurisdiction;
use serde::{Deserialize, Serialize};

/// Most records of one call.
pub const BATCH_RECORDS: usize = 1000;
/// Longest body of one call: 1,000 records of at most 1 KiB, and framing.
pub const BODY_BYTES: usize = 2 << 20;

/// One record as a backend service hands it in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordInput {
    /// The record's id, a lower-case UUID, for idempotency; drawn at random when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The subject's account id at the service, 1 to 128 bytes. It never leaves the edge in clear.
    pub account: String,
    /// The subject's declared or verified residence (ISO 3166-1 alpha-2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residence: Option<String>,
    /// A phone number; exactly one of `phone` and `ip` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<PhoneInput>,
    /// An IP observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpInput>,
}

/// Names the type only: a record in clear must not reach a log line through `{:?}`.
macro_rules! redacted_debug {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

redacted_debug!(RecordInput, PhoneInput, IpInput);

/// A phone number.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhoneInput {
    /// E.164 with its plus, such as `+33612345678`.
    pub number: String,
    /// When the subject confirmed it, RFC 3339 with an offset.
    pub confirmed_at: String,
}

/// An IP observation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpInput {
    /// The address in text.
    pub address: String,
    /// The source port, 1 to 65535; demanded for IPv4, where many subscribers share one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// `tcp` or `udp`.
    pub transport: TransportProtocol,
    /// `login`, `session` or `message`.
    pub event: IpEvent,
    /// When it was seen, RFC 3339 with an offset.
    pub seen_at: String,
    /// How far the clock may have been off, in milliseconds.
    #[serde(default)]
    pub accuracy_ms: u32,
}

/// The records of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutRecords {
    /// 1 to 1,000 records.
    pub records: Vec<RecordInput>,
}

/// What became of the records, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRecordsReply {
    /// One result per record.
    pub results: Vec<RecordResult>,
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordResult {
    /// The record's id, when it was readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The status.
    pub status: RecordStatus,
    /// The custody jurisdiction, when one was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody: Option<Jurisdiction>,
    /// Why it was not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FieldError>,
}

/// The status of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordStatus {
    /// On disk on a quorum of its jurisdiction's nodes.
    Stored,
    /// A record with this id was stored before; this one was dropped.
    Duplicate,
    /// Not stored: the record's fault.
    Refused,
    /// Perhaps stored, or not taken for a passing reason that `error` names: send it again with the
    /// same id.
    Unknown,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The field's path, such as `ip.port`.
    pub field: String,
    /// A stable word for programs.
    pub code: String,
    /// What is wrong, for persons; never repeats the value.
    pub message: String,
}

impl FieldError {
    /// An error of a field.
    pub fn new(field: &str, code: &str, message: &str) -> Self {
        Self {
            field: field.to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// The body of every HTTP error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: FieldError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_repeats_nothing_of_a_record() {
        let record = RecordInput {
            id: None,
            account: "alice".into(),
            residence: Some("FR".into()),
            phone: Some(PhoneInput {
                number: "+33612345678".into(),
                confirmed_at: "2026-01-02T03:04:05Z".into(),
            }),
            ip: None,
        };
        let shown = format!("{record:?} {:?}", record.phone);
        assert!(shown.contains("RecordInput"));
        for secret in ["alice", "FR", "3361", "2026"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
