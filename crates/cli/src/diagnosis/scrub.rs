//! Takes addresses and numbers of people out of text that leaves a machine.
//!
//! Services write no identifier into logs, and tests hold that; this is the second lock, for what other
//! programs wrote into the same file. It knows the forms of an IP address and of a telephone number; it
//! cannot know an account's name.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// What stands where an address was.
const ADDRESS: &str = "[address]";
/// What stands where a number was.
const NUMBER: &str = "[number]";
/// Digits from which on a run may be a telephone number; E.164 has at most 15.
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// Scrubs text; knows the addresses of the cluster itself, which stay.
#[derive(Clone, Debug, Default)]
pub struct Scrubber {
    own: BTreeSet<IpAddr>,
}

impl Scrubber {
    /// A scrubber that leaves these addresses (`host:port`) as they are.
    pub fn sparing<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Self {
        let parsed = addresses.into_iter().filter_map(address_of);
        Self {
            own: parsed.collect(),
        }
    }

    /// The text without addresses and numbers of others.
    pub fn scrub(&self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        let mut word = String::new();
        for character in text.chars() {
            if is_part(character) {
                word.push(character);
            } else {
                self.take(&mut word, &mut clean);
                clean.push(character);
            }
        }
        self.take(&mut word, &mut clean);
        clean
    }

    fn take(&self, word: &mut String, clean: &mut String) {
        // A sentence's end is no part of an address.
        let inner = word.trim_matches(['.', ':']);
        match address_of(inner) {
            Some(address) if !self.own.contains(&address) => {
                clean.push_str(&word.replace(inner, ADDRESS));
            }
            None if is_number(inner) => clean.push_str(&word.replace(inner, NUMBER)),
            _ => clean.push_str(word),
        }
        word.clear();
    }
}

fn is_part(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '.' | ':' | '_' | '+' | '%')
}

fn address_of(word: &str) -> Option<IpAddr> {
    let plain = word.split_once('%').map_or(word, |(address, _)| address);
    let address = plain.parse::<IpAddr>().ok();
    address.or_else(|| plain.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// A run of digits of a telephone number's length, with or without its plus.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('+').unwrap_or(word);
    NUMBER_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(text: &str) -> String {
        Scrubber::sparing(["127.0.0.1:7411", "vault-1.eu.example:7411"]).scrub(text)
    }

    #[test]
    fn addresses_and_numbers_of_others_go() {
        for text in [
            "from 192.0.2.7, again",
            "from 192.0.2.7:4443.",
            "from [2001:db8::7]:443",
            "{\"ip\":\"2001:db8::7\"}",
            "at fe80::1%eth0 now",
            "called +33612345678 twice",
            "called 33612345678",
        ] {
            let clean = scrubbed(text);
            for secret in ["192.0.2", "2001:db8", "fe80", "33612345678"] {
                assert!(!clean.contains(secret), "{text}: {clean}");
            }
        }
    }

    #[test]
    fn what_an_engineer_needs_stays() {
        for text in [
            "2026-11-24T12:30:45.123456Z INFO bailiwick_node::vault: up listen=127.0.0.1:7411",
            "{\"group\":3,\"term\":12,\"took_us\":15233}",
            "request 7f3a9c00112233445566778899aabbccddeeff00112233445566778899aabbcc",
            "spiffe://bailiwick.example/vault/eu/vault-1",
            "at vault-1.eu.example:7411: std::io::Error, de::Error",
        ] {
            assert_eq!(scrubbed(text), text);
        }
    }
}
