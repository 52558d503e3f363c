//! Instants and whole minutes, and their one textual form. No clock is read here.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// An instant: microseconds since 1970-01-01T00:00:00Z, before the year 10000.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Microseconds in a second.
pub const MICROS_PER_SECOND: u64 = 1_000_000;
/// Microseconds in a minute.
pub const MICROS_PER_MINUTE: u64 = 60 * MICROS_PER_SECOND;

impl Timestamp {
    /// The instant `seconds` after the epoch.
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since the epoch.
    pub fn micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> u64 {
        self.0 / MICROS_PER_SECOND
    }

    /// The whole minute that holds this instant.
    pub fn minute(self) -> Minute {
        Minute(u32::try_from(self.0 / MICROS_PER_MINUTE).unwrap_or(u32::MAX))
    }

    /// The instant `duration` later, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// The instant `duration` earlier, saturating at the epoch.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// Time from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Parses RFC 3339 with an explicit offset.
    ///
    /// # Errors
    /// [`ParseTimeError`] without an offset, with an offset beyond 14 hours, for a leap second, for
    /// a year before 1970, and for what is no date.
    pub fn parse_rfc3339(text: &str) -> Result<Self, ParseTimeError> {
        // A leap second has no place on the microsecond scale; the parser would fold it silently.
        if text.get(17..19) == Some("60") {
            return Err(ParseTimeError::LeapSecond);
        }
        let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| ParseTimeError::Form)?;
        if instant.offset().whole_seconds().unsigned_abs() > 14 * 3600 {
            return Err(ParseTimeError::Offset);
        }
        let micros = instant.unix_timestamp_nanos() / 1000;
        u64::try_from(micros)
            .map(Self)
            .map_err(|_| ParseTimeError::BeforeEpoch)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .ok()
            .and_then(|instant| instant.to_offset(UtcOffset::UTC).format(&Rfc3339).ok());
        match text {
            Some(text) => formatter.write_str(&text),
            None => write!(formatter, "{}us", self.0),
        }
    }
}

/// Why a text is no instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimeError {
    /// Not RFC 3339, or no offset.
    #[error("expected RFC 3339 with an offset, such as 2026-11-24T08:00:00Z")]
    Form,
    /// Second 60.
    #[error("leap seconds are not accepted")]
    LeapSecond,
    /// More than 14 hours from UTC.
    #[error("the offset is more than 14 hours from UTC")]
    Offset,
    /// Before 1970.
    #[error("the instant is before 1970")]
    BeforeEpoch,
}

/// A whole minute: minutes since 1970-01-01T00:00Z. Labels and scopes count in these.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Minute(pub u32);

impl Minute {
    /// The minute's first instant.
    pub fn start(self) -> Timestamp {
        Timestamp(u64::from(self.0) * MICROS_PER_MINUTE)
    }

    /// The first instant after the minute.
    pub fn end(self) -> Timestamp {
        Timestamp((u64::from(self.0) + 1) * MICROS_PER_MINUTE)
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_forms() {
        let parse = Timestamp::parse_rfc3339;
        assert_eq!(
            parse("1970-01-01T00:01:00Z"),
            Ok(Timestamp(MICROS_PER_MINUTE))
        );
        assert_eq!(
            parse("1970-01-01T01:01:00+01:00"),
            Ok(Timestamp(MICROS_PER_MINUTE))
        );
        assert_eq!(parse("2026-11-24T08:00:00"), Err(ParseTimeError::Form));
        assert_eq!(
            parse("2016-12-31T23:59:60Z"),
            Err(ParseTimeError::LeapSecond)
        );
        assert_eq!(
            parse("0000-01-01T00:00:00Z"),
            Err(ParseTimeError::BeforeEpoch)
        );
        assert_eq!(
            parse("2026-11-24T08:00:00+14:01"),
            Err(ParseTimeError::Offset)
        );
        assert!(parse("2026-11-24T08:00:00+14:00").is_ok());
        assert_eq!(
            Timestamp::from_seconds(0).to_string(),
            "1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn minutes_hold_their_instants() {
        let instant = Timestamp(MICROS_PER_MINUTE * 7 + 5);
        assert_eq!(instant.minute(), Minute(7));
        assert!(instant.minute().start() <= instant && instant < instant.minute().end());
    }
}
