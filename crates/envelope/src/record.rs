//! Plaintexts: the only two kinds of identifier, padded to their category's fixed size.
//!
//! ```text
//! phone  1 | digits u8 | 15 ASCII digits, zero-padded | confirmed_at u64 | zeros to 32
//! ip     1 | 4 or 6 | 16 address bytes | has port u8 | port u16 | transport u8 | event u8
//!          | seen_at u64 | clock accuracy ms u32 | zeros to 48
//! ```
//! Integers are big-endian; the decoder rejects every other spelling of a value. Validation of what
//! a person or service typed (E.164, address ranges) happens once at the edge, in the client crate.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bailiwick_types::{Category, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::encoding::DecodeError;

const VERSION: u8 = 1;
const DIGITS: usize = 15;

/// A transport protocol of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum TransportProtocol {
    /// TCP.
    Tcp = 6,
    /// UDP (QUIC included).
    Udp = 17,
}

/// What happened when an address was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum IpEvent {
    /// A log-in.
    Login = 1,
    /// A session's activity.
    Session = 2,
    /// A message's submission.
    Message = 3,
}

/// A phone number of a subject.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneRecord {
    /// E.164 without the plus: 1 to 15 digits.
    pub digits: String,
    /// When the subject confirmed it.
    pub confirmed_at: Timestamp,
}

/// An observed address of a subject.
#[derive(Clone, PartialEq, Eq)]
pub struct IpRecord {
    /// The address; IPv4-mapped IPv6 is stored as IPv4.
    pub address: IpAddr,
    /// The source port; 1 to 65535 when known.
    pub port: Option<u16>,
    /// The transport protocol.
    pub transport: TransportProtocol,
    /// What happened.
    pub event: IpEvent,
    /// When it was seen.
    pub seen_at: Timestamp,
    /// How far the clock may have been off, in milliseconds.
    pub accuracy_ms: u32,
}

/// A record's plaintext. Its `Debug` shows the kind only.
#[derive(Clone, PartialEq, Eq)]
pub enum Plaintext {
    /// A phone number.
    Phone(PhoneRecord),
    /// An IP observation.
    Ip(IpRecord),
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Plaintext({}, redacted)", self.category())
    }
}

impl Plaintext {
    /// The record's kind.
    pub fn category(&self) -> Category {
        match self {
            Self::Phone(_) => Category::Phone,
            Self::Ip(_) => Category::Ip,
        }
    }

    /// The instant that the record is about.
    pub fn observed_at(&self) -> Timestamp {
        match self {
            Self::Phone(phone) => phone.confirmed_at,
            Self::Ip(ip) => ip.seen_at,
        }
    }

    /// The plaintext padded to its category's fixed size (`pt'`).
    ///
    /// # Errors
    /// [`DecodeError::Value`] when the number is not 1 to 15 digits or the port is 0.
    pub fn to_padded(&self) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.category().padded_length()));
        bytes.push(VERSION);
        match self {
            Self::Phone(phone) => encode_phone(phone, &mut bytes)?,
            Self::Ip(ip) => encode_ip(ip, &mut bytes)?,
        }
        bytes.resize(self.category().padded_length(), 0);
        Ok(bytes)
    }

    /// The plaintext of padded bytes.
    ///
    /// # Errors
    /// [`DecodeError`] for anything but the one padded form of a value.
    pub fn from_padded(category: Category, padded: &[u8]) -> Result<Self, DecodeError> {
        let expected = category.padded_length();
        if padded.len() != expected {
            let field = "plaintext";
            return Err(DecodeError::Length {
                field,
                expected,
                got: padded.len(),
            });
        }
        if padded[0] != VERSION {
            return Err(DecodeError::value("plaintext.version", "unknown version"));
        }
        let plaintext = match category {
            Category::Phone => Self::Phone(decode_phone(padded)?),
            Category::Ip => Self::Ip(decode_ip(padded)?),
        };
        if plaintext.to_padded()?.as_slice() != padded {
            return Err(DecodeError::value(
                "plaintext",
                "not the canonical form of its value",
            ));
        }
        Ok(plaintext)
    }
}

fn encode_phone(phone: &PhoneRecord, bytes: &mut Vec<u8>) -> Result<(), DecodeError> {
    let digits = phone.digits.as_bytes();
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecodeError::value("phone.digits", "not 1 to 15 digits"));
    }
    bytes.push(digits.len() as u8);
    bytes.extend_from_slice(digits);
    bytes.resize(2 + DIGITS, 0);
    bytes.extend_from_slice(&phone.confirmed_at.0.to_be_bytes());
    Ok(())
}

fn encode_ip(ip: &IpRecord, bytes: &mut Vec<u8>) -> Result<(), DecodeError> {
    if ip.port == Some(0) {
        return Err(DecodeError::value("ip.port", "port 0"));
    }
    let mut address = [0u8; 16];
    match ip.address {
        IpAddr::V4(v4) => {
            bytes.push(4);
            address[..4].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            bytes.push(6);
            address.copy_from_slice(&v6.octets());
        }
    }
    bytes.extend_from_slice(&address);
    bytes.push(u8::from(ip.port.is_some()));
    bytes.extend_from_slice(&ip.port.unwrap_or(0).to_be_bytes());
    bytes.push(ip.transport as u8);
    bytes.push(ip.event as u8);
    bytes.extend_from_slice(&ip.seen_at.0.to_be_bytes());
    bytes.extend_from_slice(&ip.accuracy_ms.to_be_bytes());
    Ok(())
}

fn array<const N: usize>(padded: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&padded[at..at + N]);
    bytes
}

fn decode_phone(padded: &[u8]) -> Result<PhoneRecord, DecodeError> {
    let length = usize::from(padded[1]);
    let digits = padded.get(2..2 + length.min(DIGITS)).unwrap_or_default();
    let text = std::str::from_utf8(digits);
    Ok(PhoneRecord {
        digits: text
            .map_err(|_| DecodeError::value("phone.digits", "not digits"))?
            .to_owned(),
        confirmed_at: Timestamp(u64::from_be_bytes(array(padded, 2 + DIGITS))),
    })
}

fn decode_ip(padded: &[u8]) -> Result<IpRecord, DecodeError> {
    let octets: [u8; 16] = array(padded, 2);
    let address = match padded[1] {
        4 => IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])),
        6 => IpAddr::V6(Ipv6Addr::from(octets)),
        _ => return Err(DecodeError::value("ip.family", "neither 4 nor 6")),
    };
    let port = u16::from_be_bytes(array(padded, 19));
    let transport = match padded[21] {
        6 => TransportProtocol::Tcp,
        17 => TransportProtocol::Udp,
        _ => return Err(DecodeError::value("ip.transport", "neither TCP nor UDP")),
    };
    let event = match padded[22] {
        1 => IpEvent::Login,
        2 => IpEvent::Session,
        3 => IpEvent::Message,
        _ => return Err(DecodeError::value("ip.event", "unknown event")),
    };
    Ok(IpRecord {
        address,
        port: (padded[18] == 1).then_some(port),
        transport,
        event,
        seen_at: Timestamp(u64::from_be_bytes(array(padded, 23))),
        accuracy_ms: u32::from_be_bytes(array(padded, 31)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone() -> Plaintext {
        let confirmed_at = Timestamp(1_790_000_000_000_000);
        Plaintext::Phone(PhoneRecord {
            digits: "33612345678".to_owned(),
            confirmed_at,
        })
    }

    fn ip(address: &str, port: Option<u16>) -> Plaintext {
        Plaintext::Ip(IpRecord {
            address: address.parse().expect("an address"),
            port,
            transport: TransportProtocol::Udp,
            event: IpEvent::Login,
            seen_at: Timestamp(1_790_000_000_000_001),
            accuracy_ms: 50,
        })
    }

    #[test]
    fn plaintexts_round_trip_at_one_length_per_category() {
        for plaintext in [
            phone(),
            ip("203.0.113.9", Some(443)),
            ip("2001:db9::1", None),
        ] {
            let padded = plaintext.to_padded().expect("valid");
            assert_eq!(padded.len(), plaintext.category().padded_length());
            assert!(Plaintext::from_padded(plaintext.category(), &padded) == Ok(plaintext));
        }
    }

    #[test]
    fn every_flipped_bit_is_another_value_or_an_error() {
        for plaintext in [phone(), ip("203.0.113.9", None)] {
            let padded = plaintext.to_padded().expect("valid");
            for bit in 0..padded.len() * 8 {
                let mut changed = padded.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                let read = Plaintext::from_padded(plaintext.category(), &changed);
                assert!(read != Ok(plaintext.clone()), "bit {bit}");
            }
        }
    }

    #[test]
    fn debug_shows_no_identifier() {
        let text = format!("{:?} {:?}", phone(), ip("203.0.113.9", Some(1)));
        assert!(!text.contains("336") && !text.contains("203"), "{text}");
    }
}
