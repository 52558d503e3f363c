//! Instants of a record: RFC 3339 with an offset, and not in the future.

use std::time::Duration;

use bailiwick_api::edge::FieldError;
use bailiwick_types::{ParseTimeError, Timestamp};

use super::fault;

/// A backend's clock may be this far ahead of the edge's.
const LEAD: Duration = Duration::from_secs(5 * 60);

/// Parses an instant that is at most five minutes ahead of `now`.
pub(super) fn past(field: &str, text: &str, now: Timestamp) -> Result<Timestamp, FieldError> {
    let instant = Timestamp::parse_rfc3339(text).map_err(|reason| {
        let code = match reason {
            ParseTimeError::Form if Timestamp::parse_rfc3339(&format!("{text}Z")).is_ok() => {
                "no_offset"
            }
            ParseTimeError::Form => "form",
            ParseTimeError::LeapSecond => "leap_second",
            ParseTimeError::Offset => "offset",
            ParseTimeError::BeforeEpoch => "before_1970",
        };
        fault(field, code, &reason.to_string())
    })?;
    if instant > now.plus(LEAD) {
        return Err(fault(
            field,
            "future",
            "more than 5 minutes ahead of the edge's clock",
        ));
    }
    Ok(instant)
}
