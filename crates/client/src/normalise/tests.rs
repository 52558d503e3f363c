//! One named vector per malformation of phones, addresses, times, ids, residences and JSON: each is
//! refused with the field and the code that the table names, and no refusal repeats the value.

mod vectors;

use bailiwick_api::edge::{FieldError, IpInput, PhoneInput, RecordInput};
use bailiwick_envelope::record::{IpEvent, Plaintext, TransportProtocol};
use bailiwick_types::{Jurisdiction, Timestamp};

use super::{
    CustodyBasis, NormalisedRecord, RangePolicy, Rules, Unserved, format_record_id, normalise,
    parse_batch, parse_record, parse_record_id,
};

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-24T08:00:00Z").expect("an instant")
}

fn code(text: &str) -> Jurisdiction {
    text.parse().expect("a code")
}

fn rules() -> Rules {
    Rules {
        ranges: RangePolicy {
            allow_documentation: false,
        },
        served: [code("FR"), code("DE"), code("US"), code("IT")].into(),
        unknown: Some(code("US")),
        unserved: Unserved::Refuse,
    }
}

fn phone(number: &str) -> RecordInput {
    RecordInput {
        id: None,
        account: "alice".to_owned(),
        residence: None,
        phone: Some(PhoneInput {
            number: number.to_owned(),
            confirmed_at: "2026-11-24T07:00:00Z".to_owned(),
        }),
        ip: None,
    }
}

fn ip(address: &str, port: Option<u32>) -> RecordInput {
    RecordInput {
        id: None,
        account: "alice".to_owned(),
        residence: Some("FR".to_owned()),
        phone: None,
        ip: Some(IpInput {
            address: address.to_owned(),
            port,
            transport: TransportProtocol::Tcp,
            event: IpEvent::Login,
            seen_at: "2026-11-24T07:00:00Z".to_owned(),
            accuracy_ms: 0,
        }),
    }
}

fn run(input: RecordInput, rules: &Rules) -> Result<NormalisedRecord, FieldError> {
    normalise(input, rules, now(), &mut rand::rng())
}

fn refused(input: RecordInput, field: &str, code: &str, value: &str) {
    let error = run(input, &rules()).expect_err(code);
    assert_eq!(
        (error.field.as_str(), error.code.as_str()),
        (field, code),
        "{value:?}: {error}"
    );
    if value.len() > 3 {
        assert!(
            !error.message.contains(value),
            "{code} repeats its value: {error}"
        );
    }
}

#[test]
fn malformed_phones() {
    for (number, code) in [
        ("33698712345", "no_plus"),
        ("+3361234567890123", "too_long"),
        ("+33ABCDEFGH", "letters"),
        ("+33612345678x12", "extension"),
        ("+33612345678;ext=7", "extension"),
        ("+\u{0663}\u{0663}612345678", "digits"),
        ("", "empty"),
        ("112", "short_code"),
        ("+112", "short_code"),
        ("+33 6 12 34 56 78", "separator"),
        ("+330612345678", "trunk_prefix"),
        ("+2101234567", "country_code"),
    ] {
        refused(phone(number), "phone.number", code, number);
    }
}

#[test]
fn phones_and_their_custody() {
    let custody = |number: &str| {
        let record =
            run(phone(number), &rules()).unwrap_or_else(|error| panic!("{number}: {error}"));
        (record.custody.to_string(), record.basis)
    };
    assert_eq!(
        custody("+33612345678"),
        ("FR".to_owned(), CustodyBasis::PhoneRegion)
    );
    assert_eq!(
        custody("+14155552671"),
        ("US".to_owned(), CustodyBasis::PhoneRegion)
    );
    assert_eq!(
        custody("+393123456789"),
        ("IT".to_owned(), CustodyBasis::PhoneRegion)
    );
    // Anonymous numbers belong to no country: the rule for the unknown decides.
    assert_eq!(
        custody("+88812345678"),
        ("US".to_owned(), CustodyBasis::Unknown)
    );
    // A shared calling code is decided by the full number: Canada is not served.
    refused(
        phone("+16135550123"),
        "phone.number",
        "unserved",
        "+16135550123",
    );
    let lenient = Rules {
        unserved: Unserved::Unknown,
        ..rules()
    };
    let record = run(phone("+16135550123"), &lenient).expect("goes where the unknown goes");
    assert_eq!(
        (record.custody, record.basis),
        (code("US"), CustodyBasis::Unknown)
    );
    // A declared residence goes before the number.
    let mut moved = phone("+33612345678");
    moved.residence = Some("DE".to_owned());
    let record = run(moved, &rules()).expect("a residence");
    assert_eq!(
        (record.custody, record.basis),
        (code("DE"), CustodyBasis::Residence)
    );
}

#[test]
fn malformed_addresses() {
    for (address, code) in [
        ("01.2.3.4", "leading_zero"),
        ("256.1.1.1", "octet"),
        ("fe80::1%eth0", "zone"),
        ("10.1.2.3", "private"),
        ("100.64.0.1", "shared"),
        ("192.0.2.7", "documentation"),
        ("2001:db8::1", "documentation"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:10.1.2.3", "private"),
        ("8.8.8.0/24", "range"),
        ("8.8.8.8:53", "with_port"),
        ("", "empty"),
        ("example.org", "form"),
        ("224.0.0.1", "multicast"),
        ("0.0.0.0", "unspecified"),
    ] {
        refused(ip(address, Some(4001)), "ip.address", code, address);
    }
    refused(ip("8.8.8.8", None), "ip.port", "missing", "8.8.8.8");
    refused(ip("8.8.8.8", Some(0)), "ip.port", "zero", "8.8.8.8");
    refused(
        ip("8.8.8.8", Some(65_536)),
        "ip.port",
        "out_of_range",
        "65536",
    );
}

#[test]
fn addresses_in_their_one_form() {
    let address = |text: &str, port| match run(ip(text, port), &rules()).map(|r| r.plaintext) {
        Ok(Plaintext::Ip(ip)) => ip.address.to_string(),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(address("::ffff:8.8.4.4", Some(1)), "8.8.4.4");
    assert_eq!(address("2600:1700:0:0::1", None), "2600:1700::1");
    let demo = Rules {
        ranges: RangePolicy {
            allow_documentation: true,
        },
        ..rules()
    };
    assert!(run(ip("192.0.2.7", Some(1)), &demo).is_ok());
    assert!(
        run(ip("10.0.0.1", Some(1)), &demo).is_err(),
        "only documentation is let through"
    );
}

#[test]
fn malformed_times() {
    for (text, code) in [
        ("2026-11-24T07:00:00", "no_offset"),
        ("2016-12-31T23:59:60Z", "leap_second"),
        ("0000-01-01T00:00:00Z", "before_1970"),
        ("2026-11-24T07:00:00+14:01", "offset"),
        ("2026-11-24T08:05:01Z", "future"),
        ("yesterday", "form"),
    ] {
        let mut record = ip("8.8.8.8", Some(1));
        record.ip.as_mut().expect("an address").seen_at = text.to_owned();
        refused(record, "ip.seen_at", code, text);
    }
}

#[test]
fn malformed_ids_accounts_and_residences() {
    for (id, code) in [
        ("0E3F5A1C-9d2b-4c6e-8f70-123456789abc", "upper_case"),
        ("00000000-0000-0000-0000-000000000000", "nil"),
        ("0e3f5a1c9d2b4c6e8f70123456789abc", "form"),
    ] {
        let record = RecordInput {
            id: Some(id.to_owned()),
            ..phone("+33612345678")
        };
        refused(record, "id", code, id);
    }
    for (residence, code) in [
        ("EU", "european_union"),
        ("UK", "united_kingdom"),
        ("XK", "unassigned"),
        ("xx", "unassigned"),
        ("fr", "unassigned"),
        ("GB", "unserved"),
    ] {
        let residence = Some(residence.to_owned());
        refused(
            RecordInput {
                residence,
                ..phone("+33612345678")
            },
            "residence",
            code,
            "",
        );
    }
    for (account, code) in [
        ("", "empty"),
        (&"a".repeat(129)[..], "too_long"),
        ("a\nb", "control_character"),
    ] {
        let record = RecordInput {
            account: account.to_owned(),
            ..phone("+33612345678")
        };
        refused(record, "account", code, account);
    }
    refused(
        RecordInput {
            phone: None,
            ..phone("+33612345678")
        },
        "record",
        "no_identifier",
        "",
    );
    let both = RecordInput {
        ip: ip("8.8.8.8", Some(1)).ip,
        ..phone("+33612345678")
    };
    refused(both, "record", "two_identifiers", "");
}

#[test]
fn record_ids_round_trip() {
    let text = "0e3f5a1c-9d2b-4c6e-8f70-123456789abc";
    assert_eq!(
        format_record_id(&parse_record_id(text).expect("an id")),
        text
    );
}

const GOOD: &str = r#"{"account":"alice","residence":"FR","phone":{"number":"+33612345678","confirmed_at":"2026-11-24T07:00:00Z"}}"#;

#[test]
fn malformed_json_refuses_the_call() {
    let nested = "[".repeat(500);
    for (body, field, code) in [
        (&b"\xef\xbb\xbf{}"[..], "body", "byte_order_mark"),
        (b"{\"records\":[NaN]}", "body", "syntax"),
        (b"{\"records\":", "body", "syntax"),
        (b"\xff\xfe", "body", "encoding"),
        (b"{}", "records", "missing"),
        (b"{\"records\":[]}", "records", "empty"),
        (
            b"{\"records\":[],\"records\":[]}",
            "records",
            "duplicate_field",
        ),
        (b"{\"records\":[],\"extra\":1}", "body", "unknown_field"),
        (nested.as_bytes(), "body", "form"),
    ] {
        let error = parse_batch(body).expect_err(code);
        let deep = body.starts_with(b"[[");
        assert_eq!(error.field, field, "{code}");
        assert!(
            error.code == code || deep && error.code == "syntax",
            "{code}: {error}"
        );
    }
    let many = format!("{{\"records\":[{}]}}", vec![GOOD; 1001].join(","));
    assert_eq!(
        parse_batch(many.as_bytes()).expect_err("too many").code,
        "too_many"
    );
}

#[test]
fn one_bad_record_refuses_only_itself() {
    let long = format!(r#"{{"account":"{}"}}"#, "a".repeat(64 << 10));
    let twice = r#"{"account":"a","account":"b"}"#;
    let unknown = r#"{"account":"a","imei":"1"}"#;
    let wrong = r#"{"account":7}"#;
    let word = r#"{"account":"a","ip":{"address":"8.8.8.8","transport":"sctp","event":"login","seen_at":"x"}}"#;
    let body = format!("{{\"records\":[{GOOD},{long},{twice},{unknown},{wrong},{word},{GOOD}]}}");
    let parsed = parse_batch(body.as_bytes()).expect("a call");
    let codes: Vec<_> = parsed
        .iter()
        .map(|record| {
            record
                .as_ref()
                .map_or_else(|e| format!("{} {}", e.field, e.code), |_| "ok".to_owned())
        })
        .collect();
    assert_eq!(
        codes,
        [
            "ok",
            "record too_long",
            "account duplicate_field",
            "record unknown_field",
            "account wrong_type",
            "ip.transport unknown_word",
            "ok",
        ]
    );
    assert!(parse_record(GOOD.as_bytes()).is_ok());
}
