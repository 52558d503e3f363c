//! Phone numbers: E.164 as the caller verified it, and the country that the full number names.
//!
//! The number is never rewritten: a spelling that is not E.164 is refused, so that one subscriber
//! has one text. Numbering plans (libphonenumber's) decide the country only; a number that a plan
//! does not know yet was confirmed by its owner all the same and must not be lost.

use bailiwick_api::edge::FieldError;
use bailiwick_types::Jurisdiction;
use phonenumber::metadata::{DATABASE, Database};

use super::fault;

/// A phone number.
#[derive(Clone, PartialEq, Eq)]
pub struct E164 {
    /// 7 to 15 digits, without the plus.
    pub digits: String,
    /// The country of the full number; none for numbers of no country.
    pub region: Option<Jurisdiction>,
}

/// Most digits of E.164, country code included.
const DIGITS: usize = 15;
/// Fewest digits: shorter ones are emergency and service codes.
const FEWEST: usize = 7;
/// Longest text looked at.
const TEXT_BYTES: usize = 64;
/// Anonymous numbers, which belong to no country and are in no numbering plan.
const ANONYMOUS: &str = "888";

/// Parses a number: a plus and 7 to 15 ASCII digits.
///
/// # Errors
/// [`FieldError`] of the given field, a code for each malformation.
pub fn parse_phone(field: &str, text: &str) -> Result<E164, FieldError> {
    let digits = plain(text).map_err(|(code, message)| fault(field, code, message))?;
    if digits.starts_with(ANONYMOUS) {
        return Ok(E164 {
            digits: digits.to_owned(),
            region: None,
        });
    }
    let database: &Database = &DATABASE;
    let found = (1..=3).find_map(|length| {
        let code: u16 = digits[..length].parse().ok()?;
        Some((&digits[length..], database.region(&code)?))
    });
    let Some((national, regions)) = found else {
        return Err(fault(
            field,
            "country_code",
            "no country has this calling code",
        ));
    };
    if has_trunk_prefix(database, &regions, national) {
        let message = "the trunk prefix 0 is not dialled after a country code";
        return Err(fault(field, "trunk_prefix", message));
    }
    let region = match regions.as_slice() {
        [only] => only.parse().ok(),
        _ if national.starts_with('0') => shared_with_zero(database, &regions, national),
        _ => shared(text),
    };
    Ok(E164 {
        digits: digits.to_owned(),
        region,
    })
}

/// The country of a number whose calling code several share: only the full number decides.
fn shared(text: &str) -> Option<Jurisdiction> {
    let number = phonenumber::parse(None, text).ok()?;
    number.country().id()?.as_ref().parse().ok()
}

/// As [`shared`] for a number whose leading zero is part of it, as of every landline of Italy and
/// the Vatican: the library asks the plans for the number's value, in which the zero is lost.
fn shared_with_zero(database: &Database, regions: &[&str], national: &str) -> Option<Jurisdiction> {
    let owns = |region: &&&str| {
        let Some(plan) = database.by_id(**region) else {
            return false;
        };
        if let Some(leading) = plan.leading_digits() {
            return leading
                .find(national)
                .is_some_and(|found| found.start() == 0);
        }
        let plan = plan.descriptors();
        let kinds = [plan.fixed_line(), plan.mobile(), plan.voip(), plan.uan()];
        plan.general().is_match(national)
            && kinds
                .into_iter()
                .flatten()
                .any(|kind| kind.is_match(national))
    };
    regions.iter().find(owns)?.parse().ok()
}

fn has_trunk_prefix(database: &Database, regions: &[&str], national: &str) -> bool {
    let main = regions.first().and_then(|region| database.by_id(*region));
    national.starts_with('0') && main.is_some_and(|main| main.national_prefix() == Some("0"))
}

/// The digits of a well-formed text.
fn plain(text: &str) -> Result<&str, (&'static str, &'static str)> {
    const FORM: &str = "expected a plus and 7 to 15 digits, such as +33612345678";
    if text.is_empty() {
        return Err(("empty", FORM));
    }
    if text.len() > TEXT_BYTES {
        return Err(("too_long", FORM));
    }
    if text.chars().any(|c| c.is_numeric() && !c.is_ascii()) {
        return Err(("digits", "only the digits 0 to 9 are taken"));
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Some((code, message)) = foreign(digits) {
        return Err((code, message));
    }
    if digits.len() < FEWEST {
        return Err(("short_code", "emergency and short codes name no subscriber"));
    }
    if !text.starts_with('+') {
        return Err(("no_plus", FORM));
    }
    if digits.len() > DIGITS {
        return Err(("too_long", FORM));
    }
    Ok(digits)
}

/// What stands in a number besides digits.
fn foreign(digits: &str) -> Option<(&'static str, &'static str)> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let after_digits =
        lower.trim_start_matches(|c: char| c.is_ascii_digit() || " -.()".contains(c));
    let extension = ["ext", "x", ";ext=", ",", ";", "#"];
    if after_digits.len() < lower.len()
        && extension.iter().any(|mark| after_digits.starts_with(mark))
    {
        return Some((
            "extension",
            "an extension is not part of a subscriber's number",
        ));
    }
    if lower.chars().any(char::is_alphabetic) {
        return Some(("letters", "letters stand for no digits here"));
    }
    Some((
        "separator",
        "no spaces, hyphens or brackets: a plus and digits only",
    ))
}
