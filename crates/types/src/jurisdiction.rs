//! Jurisdictions, shards and regions. A jurisdiction is a state with an ISO 3166-1 alpha-2 code;
//! a region is where a node stands. Which region a jurisdiction allows is directory state.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// All officially assigned ISO 3166-1 alpha-2 codes, in order. `EU`, `UK` and `XK` are not among
/// them: the EU is a family of instruments, the United Kingdom is `GB`, Kosovo has no code.
const ISO_3166: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ \
BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ \
DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT \
GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY \
KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX \
MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS \
RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN \
TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// A state by its ISO 3166-1 alpha-2 code: the custody of a record or the forum of an order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Jurisdiction([u8; 2]);

impl Jurisdiction {
    /// The two upper-case letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }

    /// The two bytes, as they enter a canonical encoding.
    pub fn as_bytes(&self) -> &[u8; 2] {
        &self.0
    }
}

/// The text is no assigned ISO 3166-1 alpha-2 code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseJurisdictionError {
    /// `EU` is a family of instruments of its member states.
    #[error("EU is not a jurisdiction: name the member state")]
    European,
    /// The United Kingdom's code is `GB`.
    #[error("UK is not an ISO 3166 code: the United Kingdom is GB")]
    UnitedKingdom,
    /// Anything else that is not assigned.
    #[error("not an assigned ISO 3166-1 alpha-2 code in upper case")]
    Unassigned,
}

impl FromStr for Jurisdiction {
    type Err = ParseJurisdictionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "EU" => return Err(ParseJurisdictionError::European),
            "UK" => return Err(ParseJurisdictionError::UnitedKingdom),
            _ => {}
        }
        let assigned =
            text.len() == 2 && ISO_3166.split_ascii_whitespace().any(|code| code == text);
        match text.as_bytes() {
            [first, second] if assigned => Ok(Self([*first, *second])),
            _ => Err(ParseJurisdictionError::Unassigned),
        }
    }
}

impl TryFrom<String> for Jurisdiction {
    type Error = ParseJurisdictionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Jurisdiction> for String {
    fn from(jurisdiction: Jurisdiction) -> Self {
        jurisdiction.as_str().to_owned()
    }
}

impl fmt::Display for Jurisdiction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Jurisdiction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One Raft group's share of a jurisdiction. Partition 0 is the home group, which also holds the
/// requests, decisions, holds and the log. Written `FR/0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId {
    /// The custody jurisdiction.
    pub jurisdiction: Jurisdiction,
    /// The partition by subject hash, from 0.
    pub partition: u16,
}

impl ShardId {
    /// The home group of a jurisdiction.
    pub fn home(jurisdiction: Jurisdiction) -> Self {
        Self {
            jurisdiction,
            partition: 0,
        }
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.jurisdiction, self.partition)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// Where a node stands, as its certificate says: a [`crate::Name`] such as `eu-west`.
pub type Region = crate::ids::Name;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_codes_only() {
        assert_eq!(ISO_3166.split_ascii_whitespace().count(), 249);
        for good in ["FR", "DE", "US", "GB", "AE"] {
            assert_eq!(
                good.parse::<Jurisdiction>().map(|code| code.to_string()),
                Ok(good.into())
            );
        }
        assert_eq!(
            "EU".parse::<Jurisdiction>(),
            Err(ParseJurisdictionError::European)
        );
        assert_eq!(
            "UK".parse::<Jurisdiction>(),
            Err(ParseJurisdictionError::UnitedKingdom)
        );
        for bad in ["XK", "xx", "fr", "", "FRA", "F", " FR"] {
            assert_eq!(
                bad.parse::<Jurisdiction>(),
                Err(ParseJurisdictionError::Unassigned),
                "{bad}"
            );
        }
    }
}
