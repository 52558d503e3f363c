//! Addresses and ports of an observation: one form each, and only addresses that the public
//! internet routes (IANA special-purpose registries, RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bailiwick_api::edge::FieldError;
use serde::{Deserialize, Serialize};

use super::fault;

/// Which ranges besides the public ones are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangePolicy {
    /// Takes 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32 and 3fff::/20, for
    /// demonstrations and tests. Off by default: no subscriber has such an address.
    #[serde(default)]
    pub allow_documentation: bool,
}

/// Longest text of an address: eight groups with an embedded IPv4 part.
const TEXT_BYTES: usize = 45;

/// Parses an address strictly; IPv4-mapped IPv6 becomes IPv4.
///
/// # Errors
/// [`FieldError`] of the given field, a code for each malformation and each range.
pub fn parse_address(field: &str, text: &str, policy: RangePolicy) -> Result<IpAddr, FieldError> {
    let address = match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        Ok(v4) => v4,
        Err(_) => return Err(malformed(field, text)),
    };
    let special = match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    };
    match special {
        None => Ok(address),
        Some((code, _)) if code == DOCUMENTATION && policy.allow_documentation => Ok(address),
        Some((code, message)) => Err(fault(field, code, message)),
    }
}

/// Parses the source port that belongs to an address.
pub(super) fn parse_port(
    field: &str,
    address: IpAddr,
    port: Option<u32>,
) -> Result<Option<u16>, FieldError> {
    match port {
        None if address.is_ipv4() => {
            let message =
                "an IPv4 observation needs its source port: many subscribers share one address";
            Err(fault(field, "missing", message))
        }
        None => Ok(None),
        Some(0) => Err(fault(field, "zero", "a port is 1 to 65535")),
        Some(port) => u16::try_from(port)
            .map(Some)
            .map_err(|_| fault(field, "out_of_range", "a port is 1 to 65535")),
    }
}

/// Which malformation it is, for the caller's log; the text was refused already.
fn malformed(field: &str, text: &str) -> FieldError {
    let (code, message) = if text.is_empty() {
        ("empty", "no address")
    } else if text.len() > TEXT_BYTES && !text.contains('%') {
        ("too_long", "longer than any address")
    } else if text.contains('%') {
        ("zone", "a zone id has a meaning on one machine only")
    } else if text.contains('/') {
        ("range", "one address is expected, not a range")
    } else if text.starts_with('[') || text.matches(':').count() == 1 {
        ("with_port", "the port has a field of its own")
    } else {
        malformed_octets(text)
    };
    fault(field, code, message)
}

fn malformed_octets(text: &str) -> (&'static str, &'static str) {
    // The dotted part, also of an IPv6 text that ends in one.
    let dotted = text.rsplit(':').next().unwrap_or(text);
    let octets: Vec<&str> = dotted.split('.').collect();
    let numeric = octets.len() == 4
        && octets
            .iter()
            .all(|octet| !octet.is_empty() && octet.bytes().all(|byte| byte.is_ascii_digit()));
    if !numeric {
        return ("form", "no IPv4 or IPv6 address");
    }
    if octets
        .iter()
        .any(|octet| octet.len() > 1 && octet.starts_with('0'))
    {
        return (
            "leading_zero",
            "an octet with a leading zero may mean octal",
        );
    }
    if octets
        .iter()
        .any(|octet| octet.len() > 3 || octet.parse::<u16>().is_ok_and(|o| o > 255))
    {
        return ("octet", "an octet is 0 to 255");
    }
    ("form", "no IPv4 or IPv6 address")
}

type Special = Option<(&'static str, &'static str)>;

const DOCUMENTATION: &str = "documentation";
const RESERVED: (&str, &str) = ("reserved", "a range that no subscriber has an address of");
const LOOPBACK: (&str, &str) = ("loopback", "a loopback address");
const LINK_LOCAL: (&str, &str) = ("link_local", "a link-local address");
const MULTICAST: (&str, &str) = ("multicast", "a multicast address");
const PRIVATE: (&str, &str) = ("private", "a private address names no subscriber");
const UNSPECIFIED: (&str, &str) = ("unspecified", "the unspecified address");
const DOCUMENTED: (&str, &str) = (
    DOCUMENTATION,
    "a documentation range (allow_documentation is off)",
);

fn special_v4(address: Ipv4Addr) -> Special {
    match address.octets() {
        [0, 0, 0, 0] => Some(UNSPECIFIED),
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Some(PRIVATE),
        [100, 64..=127, ..] => Some((
            "shared",
            "100.64.0.0/10 lies behind a carrier's NAT: give the public address",
        )),
        [127, ..] => Some(LOOPBACK),
        [169, 254, ..] => Some(LINK_LOCAL),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some(DOCUMENTED),
        [224..=239, ..] => Some(MULTICAST),
        // "this network", protocol assignments, the 6to4 relay, benchmarks, class E.
        [0, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [240..=255, ..] => {
            Some(RESERVED)
        }
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Special {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(UNSPECIFIED),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(LOOPBACK),
        [0xfc00..=0xfdff, ..] => Some(PRIVATE),
        [0xfe80..=0xfebf, ..] => Some(LINK_LOCAL),
        [0xff00..=0xffff, ..] => Some(MULTICAST),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(DOCUMENTED),
        // Protocol assignments (Teredo, ORCHID, benchmarks) and 6to4 hide the subscriber's address.
        [0x2001, 0..=0x1ff, ..] | [0x2002, ..] => Some(RESERVED),
        [0x2000..=0x3fff, ..] => None,
        // Only 2000::/3 is global unicast.
        _ => Some(RESERVED),
    }
}
