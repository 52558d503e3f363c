//! Further vectors: the shared calling codes, every special address range, and the property that no
//! refusal repeats a digit of what it refuses. The tables of each malformation are one file up.

use bailiwick_types::Jurisdiction;
use proptest::prelude::*;

use super::super::{RangePolicy, parse_address, parse_batch, parse_phone};
use super::{ip, now, phone, rules, run};

fn region(number: &str) -> Option<Jurisdiction> {
    let parsed = parse_phone("phone.number", number);
    parsed
        .unwrap_or_else(|error| panic!("{number}: {error}"))
        .region
}

#[test]
fn a_shared_calling_code_is_decided_by_the_full_number() {
    for (number, expected) in [
        ("+14155552671", Some("US")),
        ("+16135550123", Some("CA")),
        ("+12423456789", Some("BS")),
        ("+79161234567", Some("RU")),
        ("+77710009998", Some("KZ")),
        // Italy's landlines keep their zero, and one range among Rome's is the Vatican's.
        ("+393123456789", Some("IT")),
        ("+390212345678", Some("IT")),
        ("+390612345678", Some("IT")),
        ("+390669812345", Some("VA")),
        ("+447400123456", Some("GB")),
        ("+447781123456", Some("GG")),
        ("+447797712345", Some("JE")),
        ("+441624756789", Some("IM")),
        ("+4740612345", Some("NO")),
        ("+4779123456", Some("SJ")),
        ("+61212345678", Some("AU")),
        ("+61891621234", Some("CC")),
        ("+61891641234", Some("CX")),
        ("+212650123456", Some("MA")),
        ("+262692123456", Some("RE")),
        ("+262639012345", Some("YT")),
        ("+29022158", Some("SH")),
        ("+358412345678", Some("FI")),
        ("+3581812345678", Some("AX")),
        ("+590690001234", Some("GP")),
        ("+59995181234", Some("CW")),
        ("+5993181234", Some("BQ")),
        // No country, or none with an ISO code: the rule for the unknown decides.
        ("+88812345678", None),
        ("+80012345678", None),
        ("+38343201234", None),
        ("+24740123", None),
        ("+2908999", None),
    ] {
        let expected = expected.map(|code| code.parse().expect("a code"));
        assert_eq!(region(number), expected, "{number}");
    }
}

#[test]
fn no_plans_own_example_is_refused() {
    // A trunk-prefix rule that were too eager would lose real numbers.
    for plan in phonenumber::metadata::DATABASE.iter() {
        let kinds = [plan.descriptors().fixed_line(), plan.descriptors().mobile()];
        for example in kinds
            .into_iter()
            .flatten()
            .filter_map(|kind| kind.example())
        {
            let number = format!("+{}{example}", plan.country_code());
            let parsed = parse_phone("phone.number", &number);
            assert!(parsed.is_ok(), "{} {number}", plan.id());
        }
    }
}

#[test]
fn every_special_range_has_its_code() {
    for (address, code) in [
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("fc00::1", "private"),
        ("fdff::1", "private"),
        ("100.64.0.0", "shared"),
        ("100.127.255.255", "shared"),
        ("127.0.0.1", "loopback"),
        ("169.254.0.1", "link_local"),
        ("fe80::1", "link_local"),
        ("febf::1", "link_local"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("::", "unspecified"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("64:ff9b::808:808", "reserved"),
        ("2002:808:808::1", "reserved"),
        ("2001::1", "reserved"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.7", "documentation"),
        ("3fff::1", "documentation"),
        ("3fff:fff::1", "documentation"),
        ("::ffff:100.64.0.1", "shared"),
        ("::ffff:256.1.1.1", "octet"),
        ("::ffff:01.2.3.4", "leading_zero"),
    ] {
        let refused = parse_address("ip.address", address, RangePolicy::default());
        let refused = refused.expect_err(address);
        assert_eq!(
            (refused.field.as_str(), refused.code.as_str()),
            ("ip.address", code),
            "{address}"
        );
    }
    // The neighbours of every range are taken.
    for address in [
        "9.255.255.255",
        "11.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "169.255.0.0",
        "223.255.255.255",
        "192.0.1.255",
        "192.0.3.0",
        "2001:db7::1",
        "2001:db9::1",
        "3ffe::1",
        "2600::1",
    ] {
        let taken = parse_address("ip.address", address, RangePolicy::default());
        assert!(taken.is_ok(), "{address}: {taken:?}");
    }
}

/// No refusal repeats six digits in a row of what it refuses. The digits begin with 7, as no text
/// of six digits in our own messages does.
fn tells_nothing(error: &impl std::fmt::Debug, digits: &str) {
    let text = format!("{error:?}");
    for start in 0..=digits.len() - 6 {
        let part = &digits[start..start + 6];
        assert!(!text.contains(part), "{text} repeats {part}");
    }
}

proptest! {
    #[test]
    fn no_refusal_repeats_a_phone_number(digits in "7{7,10}[0-9]{0,3}", shape in 0usize..8) {
        let number = match shape {
            0 => digits.clone(),
            1 => format!("+{digits}{digits}"),
            2 => format!("+33{digits}x"),
            3 => format!("+33 {digits}"),
            4 => format!("+33{digits};ext={digits}"),
            5 => format!("+330{digits}"),
            6 => format!("+33{digits}\u{0663}"),
            _ => format!("+210{digits}"),
        };
        let error = run(phone(&number), &rules()).expect_err("every shape is malformed");
        tells_nothing(&error, &digits);
    }

    #[test]
    fn no_refusal_repeats_another_field(digits in "7[0-9]{5}", place in 0usize..8) {
        let mut record = ip("8.8.8.8", Some(1));
        let observed = record.ip.as_mut().expect("an observation");
        match place {
            0 => observed.address = digits.clone(),
            1 => observed.address = format!("fe80::1%{digits}"),
            2 => observed.address = format!("8.8.8.{digits}"),
            3 => observed.port = Some(digits.parse().expect("six digits")),
            4 => observed.seen_at = format!("{digits}-01-01T00:00:00Z"),
            5 => record.id = Some(digits.clone()),
            6 => record.account = format!("{digits}\u{7}"),
            _ => record.residence = Some(digits.clone()),
        }
        let error = run(record, &rules()).expect_err("every place is malformed");
        tells_nothing(&error, &digits);
    }

    #[test]
    fn no_refusal_of_json_repeats_it(digits in "7[0-9]{5}", place in 0usize..9) {
        let record = match place {
            0 => format!(r#"{{"account":{digits}}}"#),
            1 => format!(r#"{{"account":"a","{digits}":1}}"#),
            2 => format!(r#"{{"account":"a","ip":{{"address":"x","{digits}":1}}}}"#),
            3 => format!(r#"{{"account":"a","phone":"{digits}"}}"#),
            4 => format!(r#"{{"account":"a","ip":{{"address":"8.8.8.8","port":-{digits},"transport":"tcp","event":"login","seen_at":"x"}}}}"#),
            5 => format!(r#"{{"account":"a","ip":{{"address":"8.8.8.8","transport":"{digits}","event":"login","seen_at":"x"}}}}"#),
            6 => format!(r#"{{"account":"{digits}","account":"{digits}"}}"#),
            7 => digits.clone(),
            _ => format!(r#"{{"account":"{digits}","phone":{{"number":"x"}}}}"#),
        };
        let body = format!("{{\"records\":[{record}]}}");
        let error = parse_batch(body.as_bytes()).expect("a call").remove(0).expect_err("malformed");
        tells_nothing(&error, &digits);
        // The same where the call itself is at fault.
        for body in [format!("{{\"{digits}\":[]}}"), format!("{{\"records\":\"{digits}\"}}"), digits.clone(), format!("{{{digits}")] {
            tells_nothing(&parse_batch(body.as_bytes()).expect_err("no call"), &digits);
        }
    }

    #[test]
    fn any_text_is_taken_or_refused_without_panic(text in "\\PC{0,70}", number in "\\+[0-9]{0,17}") {
        for record in [phone(&text), phone(&number), ip(&text, Some(1))] {
            let _ = run(record, &rules());
        }
        let _ = parse_batch(text.as_bytes());
    }
}

#[test]
fn an_instant_is_taken_up_to_five_minutes_ahead() {
    let mut record = ip("8.8.8.8", Some(1));
    let lead = now().plus(std::time::Duration::from_secs(300));
    record.ip.as_mut().expect("an observation").seen_at = lead.to_string();
    assert!(run(record, &rules()).is_ok());
}
