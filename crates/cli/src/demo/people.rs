//! The records of the demonstration: a crowd in three jurisdictions, and a subject whose records are
//! known one by one, so that what comes out can be compared with what went in.

use bailiwick_api::edge::{IpInput, PhoneInput, RecordInput};
use bailiwick_envelope::record::{IpEvent, TransportProtocol};
use bailiwick_types::Timestamp;
use bailiwick_types::time::MICROS_PER_MINUTE;

use crate::dev::stage::Window;

/// The subject of the orders.
pub(super) const SUBJECT: &str = "alice";
/// Another subject, of another order.
pub(super) const OTHER: &str = "bob";

/// A window of an hour that ended half an hour ago.
pub(super) fn window_before(now: Timestamp) -> Window {
    let minute = |ago: u64| Timestamp((now.0 / MICROS_PER_MINUTE - ago) * MICROS_PER_MINUTE);
    Window {
        from: minute(90),
        to: minute(30),
    }
}

fn text(instant: Timestamp) -> String {
    Timestamp::from_seconds(instant.seconds()).to_string()
}

fn ip(account: &str, residence: &str, address: String, port: u32, at: Timestamp) -> RecordInput {
    RecordInput {
        id: None,
        account: account.to_owned(),
        residence: Some(residence.to_owned()),
        phone: None,
        ip: Some(IpInput {
            address,
            port: Some(port),
            transport: TransportProtocol::Tcp,
            event: IpEvent::Login,
            seen_at: text(at),
            accuracy_ms: 20,
        }),
    }
}

fn phone(account: &str, residence: &str, number: String, at: Timestamp) -> RecordInput {
    let phone = PhoneInput {
        number,
        confirmed_at: text(at),
    };
    RecordInput {
        id: None,
        account: account.to_owned(),
        residence: Some(residence.to_owned()),
        phone: Some(phone),
        ip: None,
    }
}

/// The subject's records, and the values that an order for the window must bring out.
pub(super) fn subject(window: Window) -> (Vec<RecordInput>, Vec<String>) {
    let inside = |minutes: u64| Timestamp(window.from.0 + minutes * MICROS_PER_MINUTE);
    let outside = Timestamp(window.from.0 - MICROS_PER_MINUTE);
    let records = vec![
        phone(SUBJECT, "FR", "+33612345678".to_owned(), inside(0)),
        ip(SUBJECT, "FR", "192.0.2.17".to_owned(), 40_001, inside(5)),
        ip(SUBJECT, "FR", "2001:db8::17".to_owned(), 40_002, inside(59)),
        ip(SUBJECT, "FR", "192.0.2.99".to_owned(), 40_003, outside),
        ip(SUBJECT, "FR", "192.0.2.98".to_owned(), 40_004, window.to),
        ip(OTHER, "FR", "198.51.100.7".to_owned(), 40_005, inside(6)),
    ];
    let expected = ["+33612345678", "192.0.2.17", "2001:db8::17"];
    (records, expected.map(str::to_owned).to_vec())
}

/// A crowd: `count` records of one in two phone and IP, over FR, DE and US.
pub(super) fn crowd(count: u32, window: Window) -> Vec<RecordInput> {
    (0..count).map(|number| member(number, window)).collect()
}

fn member(number: u32, window: Window) -> RecordInput {
    let account = format!("user-{}", number / 4);
    let at = Timestamp(window.from.0 + u64::from(number % 60) * MICROS_PER_MINUTE);
    let (residence, prefix) = match number % 3 {
        0 => ("FR", "+336"),
        1 => ("DE", "+491512"),
        _ => ("US", "+1415"),
    };
    if number.is_multiple_of(2) {
        let address = format!("203.0.113.{}", number % 250 + 1);
        return ip(&account, residence, address, 1024 + number % 60_000, at);
    }
    let number = match residence {
        "FR" => format!("{prefix}{:08}", 10_000_000 + number),
        "DE" => format!("{prefix}{:07}", 1_000_000 + number),
        _ => format!("{prefix}{:07}", 2_010_000 + number % 900_000),
    };
    phone(&account, residence, number, at)
}

/// A few more records of one jurisdiction, to see that writing goes on.
pub(super) fn more(count: u32, window: Window) -> Vec<RecordInput> {
    let at = |number: u32| Timestamp(window.from.0 + u64::from(number % 60) * MICROS_PER_MINUTE);
    let address = |number: u32| format!("198.51.100.{}", number % 250 + 1);
    (0..count)
        .map(|n| ip(&format!("late-{n}"), "FR", address(n), 1024 + n, at(n)))
        .collect()
}
