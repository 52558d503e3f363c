//! How long a thousand records take from JSON to pseudonymised plaintexts, on one core.
//!
//! `cargo run --release -p bailiwick-client --example normalise_speed`: the goal is under 15 ms.
#![allow(
    clippy::print_stdout,
    reason = "an example shows its figures to whoever runs it"
)]

use std::time::{Duration, Instant};

use bailiwick_client::normalise::{Rules, normalise, parse_batch};
use bailiwick_threshold::PseudonymKey;

const RECORDS: usize = 1000;
const ROUNDS: usize = 50;

fn body(record: impl Fn(usize) -> String) -> Vec<u8> {
    let records: Vec<String> = (0..RECORDS).map(record).collect();
    format!("{{\"records\":[{}]}}", records.join(",")).into_bytes()
}

fn phone(prefix: &str, number: usize) -> String {
    format!(
        "{{\"id\":\"0e3f5a1c-9d2b-4c6e-8f70-{number:012x}\",\"account\":\"account-{number}\",\
         \"phone\":{{\"number\":\"{prefix}{:07}\",\"confirmed_at\":\"2026-01-01T00:00:00Z\"}}}}",
        number * 9973 % 10_000_000,
    )
}

fn format_area(number: usize) -> String {
    phone(&format!("+1{:03}", 200 + number % 800), number)
}

fn ip(number: usize) -> String {
    format!(
        "{{\"id\":\"0e3f5a1c-9d2b-4c6e-8f70-{number:012x}\",\"account\":\"account-{number}\",\
         \"residence\":\"FR\",\"ip\":{{\"address\":\"8.8.{}.{}\",\"port\":4001,\"transport\":\
         \"tcp\",\"event\":\"login\",\"seen_at\":\"2026-01-01T00:00:00Z\"}}}}",
        number / 250,
        number % 250,
    )
}

/// The milliseconds of each round's call, sorted, and how many records were taken.
fn measure(body: &[u8], rules: &Rules) -> (Vec<f64>, usize) {
    let key = PseudonymKey::new(1, [1; 32]);
    let now = bailiwick_client::now();
    let (mut took, mut taken) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let parsed = parse_batch(body).expect("the example's own body");
        let mut rng = rand::rng();
        let records: Vec<_> = parsed
            .into_iter()
            .filter_map(|record| normalise(record.ok()?, rules, now, &mut rng).ok())
            .map(|record| record.pseudonymised(&key))
            .collect();
        taken = std::hint::black_box(records).len();
        took.push(begun.elapsed());
    }
    took.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    (took.into_iter().map(milliseconds).collect(), taken)
}

fn main() {
    let code = |text: &str| text.parse().expect("an assigned code");
    let rules = Rules {
        served: ["FR", "US", "CA", "RU", "KZ", "GB"].map(code).into(),
        unknown: Some(code("FR")),
        ..Rules::default()
    };
    let bodies = [
        ("ip", body(ip)),
        (
            "phone, a code of one country (+33)",
            body(|n| phone("+3361", n)),
        ),
        ("phone, a shared code (+1)", body(|n| phone("+1415", n))),
        ("phone, a shared code (+7)", body(|n| phone("+7916", n))),
        (
            "phone, every area code of +1, most of them nobody's",
            body(format_area),
        ),
        (
            "phone, a different shared code each time",
            body(|n| {
                const SHARED: [&str; 10] = [
                    "+1242", "+7777", "+3906", "+4414", "+4779", "+6189", "+2126", "+2626",
                    "+3581", "+5906",
                ];
                phone(SHARED[n % SHARED.len()], n)
            }),
        ),
        (
            "half ip, half phone of +1, +7, +44, +33",
            body(|n| match n % 8 {
                0 => phone("+1415", n),
                2 => phone("+7916", n),
                4 => phone("+4479", n),
                6 => phone("+3361", n),
                _ => ip(n),
            }),
        ),
    ];
    for (what, body) in &bodies {
        let (took, taken) = measure(body, &rules);
        let (first, median, last) = (took[0], took[ROUNDS / 2], took[ROUNDS - 1]);
        println!(
            "{taken} of {RECORDS} {what}: best {first:.2} ms, median {median:.2} ms, worst {last:.2} ms"
        );
    }
}
