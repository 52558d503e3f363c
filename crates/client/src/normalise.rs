//! What a backend service hands in, as one value per meaning: phone numbers in E.164, addresses in
//! their one form, instants, ids, and the jurisdiction that has custody.
//!
//! Pure: the clock and the randomness are arguments. Not here: pseudonyms and sealing, and the
//! directory's word on which jurisdictions are served ([`Rules::served`] is the caller's copy).
//! No error ever repeats a value: what is refused may be somebody's number.

mod address;
mod instant;
mod json;
mod phone;
#[cfg(test)]
mod tests;

pub use address::{RangePolicy, parse_address};
pub use json::{RECORD_BYTES, parse_batch, parse_record};
pub use phone::{E164, parse_phone};

use std::collections::BTreeSet;
use std::fmt;

use bailiwick_api::edge::{FieldError, IpInput, PhoneInput, RecordInput};
use bailiwick_envelope::record::{IpRecord, PhoneRecord, Plaintext};
use bailiwick_threshold::{PseudonymKey, RecordToSeal, pseudonym};
use bailiwick_types::limits::ACCOUNT_BYTES;
use bailiwick_types::{Jurisdiction, RecordId, Timestamp};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What becomes of a record whose jurisdiction the cluster does not serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unserved {
    /// It is refused.
    #[default]
    Refuse,
    /// It goes to the configured `unknown` jurisdiction.
    Unknown,
}

/// The configured rules, and what the cluster serves.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Which address ranges are taken.
    pub ranges: RangePolicy,
    /// Jurisdictions that the cluster serves, by the directory. Empty serves nobody.
    pub served: BTreeSet<Jurisdiction>,
    /// Custody of subjects without a residence and without a number of one country: the provider's
    /// establishment. Without it such records are refused.
    pub unknown: Option<Jurisdiction>,
    /// What becomes of records of jurisdictions that are not served.
    pub unserved: Unserved,
}

/// What custody was chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CustodyBasis {
    /// The declared or verified residence.
    Residence,
    /// The region of the full phone number.
    PhoneRegion,
    /// Neither was given, or it is not served: the configured `unknown` jurisdiction.
    Unknown,
}

impl CustodyBasis {
    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Residence => "residence",
            Self::PhoneRegion => "phone-region",
            Self::Unknown => "unknown",
        }
    }
}

/// A record in its one form. `Debug` shows neither account nor identifier.
pub struct NormalisedRecord {
    /// The caller's id, or a random one.
    pub id: RecordId,
    /// The account id, zeroed on drop; it never leaves the edge.
    pub account: Zeroizing<String>,
    /// The jurisdiction that has custody.
    pub custody: Jurisdiction,
    /// What custody was chosen by.
    pub basis: CustodyBasis,
    /// What is sealed.
    pub plaintext: Plaintext,
}

impl fmt::Debug for NormalisedRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "NormalisedRecord({:?}, {}, redacted)",
            self.id, self.custody
        )
    }
}

impl NormalisedRecord {
    /// The record with its subject's pseudonym instead of the account id.
    ///
    /// # Security
    /// The key must be the one of [`NormalisedRecord::custody`].
    pub fn pseudonymised(self, key: &PseudonymKey) -> RecordToSeal {
        let subject = pseudonym(key, &self.account);
        RecordToSeal {
            record: self.id,
            subject,
            plaintext: self.plaintext,
        }
    }
}

/// Normalises one record.
///
/// # Errors
/// [`FieldError`] names the first field at fault; the caller's fault, and nothing was done.
pub fn normalise(
    input: RecordInput,
    rules: &Rules,
    now: Timestamp,
    rng: &mut impl CryptoRng,
) -> Result<NormalisedRecord, FieldError> {
    let RecordInput {
        id,
        account,
        residence,
        phone,
        ip,
    } = input;
    let account = Zeroizing::new(account);
    check_account(&account)?;
    let id = match id {
        Some(text) => parse_record_id(&text)?,
        None => {
            let mut bytes = [0; 16];
            rng.fill_bytes(&mut bytes);
            RecordId(bytes)
        }
    };
    let (plaintext, region) = match (phone, ip) {
        (Some(phone), None) => of_phone(phone, now)?,
        (None, Some(ip)) => (of_ip(&ip, rules.ranges, now)?, None),
        (Some(_), Some(_)) => {
            return Err(fault(
                "record",
                "two_identifiers",
                "give either phone or ip, not both",
            ));
        }
        (None, None) => {
            return Err(fault(
                "record",
                "no_identifier",
                "exactly one of phone and ip is needed",
            ));
        }
    };
    let (custody, basis) = custody(residence.as_deref(), region, rules)?;
    Ok(NormalisedRecord {
        id,
        account,
        custody,
        basis,
        plaintext,
    })
}

pub(crate) fn fault(field: &str, code: &str, message: &str) -> FieldError {
    FieldError::new(field, code, message)
}

fn of_phone(
    input: PhoneInput,
    now: Timestamp,
) -> Result<(Plaintext, Option<Jurisdiction>), FieldError> {
    let number = Zeroizing::new(input.number);
    let E164 { digits, region } = parse_phone("phone.number", &number)?;
    let confirmed_at = instant::past("phone.confirmed_at", &input.confirmed_at, now)?;
    Ok((
        Plaintext::Phone(PhoneRecord {
            digits,
            confirmed_at,
        }),
        region,
    ))
}

fn of_ip(input: &IpInput, ranges: RangePolicy, now: Timestamp) -> Result<Plaintext, FieldError> {
    let address = parse_address("ip.address", &input.address, ranges)?;
    let port = address::parse_port("ip.port", address, input.port)?;
    let seen_at = instant::past("ip.seen_at", &input.seen_at, now)?;
    Ok(Plaintext::Ip(IpRecord {
        address,
        port,
        transport: input.transport,
        event: input.event,
        seen_at,
        accuracy_ms: input.accuracy_ms,
    }))
}

fn check_account(account: &str) -> Result<(), FieldError> {
    if account.is_empty() {
        return Err(fault(
            "account",
            "empty",
            "an account id has 1 to 128 bytes",
        ));
    }
    if account.len() > ACCOUNT_BYTES {
        return Err(fault(
            "account",
            "too_long",
            "an account id has 1 to 128 bytes",
        ));
    }
    if account.chars().any(char::is_control) {
        return Err(fault(
            "account",
            "control_character",
            "no control characters are taken",
        ));
    }
    Ok(())
}

/// Parses a record id: a UUID of 32 lower-case hex digits and 4 hyphens, not nil.
///
/// # Errors
/// [`FieldError`] of field `id`.
pub fn parse_record_id(text: &str) -> Result<RecordId, FieldError> {
    let form = || {
        fault(
            "id",
            "form",
            "expected a UUID such as 0e3f5a1c-9d2b-4c6e-8f70-123456789abc",
        )
    };
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return Err(form());
    }
    let mut id = [0; 16];
    let mut digits = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let value = match (byte, matches!(at, 8 | 13 | 18 | 23)) {
            (b'-', true) => continue,
            (b'0'..=b'9', false) => byte - b'0',
            (b'a'..=b'f', false) => byte - b'a' + 10,
            (b'A'..=b'F', false) => {
                return Err(fault("id", "upper_case", "a UUID is written in lower case"));
            }
            _ => return Err(form()),
        };
        id[digits / 2] = id[digits / 2] << 4 | value;
        digits += 1;
    }
    if id == [0; 16] {
        return Err(fault("id", "nil", "the nil UUID names no record"));
    }
    Ok(RecordId(id))
}

/// The textual form of a record id, as [`parse_record_id`] takes it.
pub fn format_record_id(id: &RecordId) -> String {
    let hex = hex::encode(id.0);
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// Residence, else the region of the full number, else `unknown`; never geo-IP.
fn custody(
    residence: Option<&str>,
    region: Option<Jurisdiction>,
    rules: &Rules,
) -> Result<(Jurisdiction, CustodyBasis), FieldError> {
    let (found, field, basis) = match residence {
        Some(text) => (
            Some(parse_residence(text)?),
            "residence",
            CustodyBasis::Residence,
        ),
        None => (region, "phone.number", CustodyBasis::PhoneRegion),
    };
    match found {
        Some(jurisdiction) if rules.served.contains(&jurisdiction) => {
            return Ok((jurisdiction, basis));
        }
        Some(_) if rules.unserved == Unserved::Refuse => {
            let message = "this cluster does not serve the subject's jurisdiction";
            return Err(fault(field, "unserved", message));
        }
        _ => {}
    }
    let Some(unknown) = rules.unknown else {
        let message = "neither residence nor number names a jurisdiction, and none is configured";
        return Err(fault("residence", "no_custody", message));
    };
    if !rules.served.contains(&unknown) {
        let message = "this cluster does not serve the configured unknown jurisdiction";
        return Err(fault("residence", "unserved", message));
    }
    Ok((unknown, CustodyBasis::Unknown))
}

fn parse_residence(text: &str) -> Result<Jurisdiction, FieldError> {
    use bailiwick_types::ParseJurisdictionError as Reason;
    text.parse().map_err(|reason: Reason| {
        let code = match &reason {
            Reason::European => "european_union",
            Reason::UnitedKingdom => "united_kingdom",
            Reason::Unassigned => "unassigned",
        };
        fault("residence", code, &reason.to_string())
    })
}
