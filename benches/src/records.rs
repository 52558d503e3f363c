//! The records that are sealed, stored and handed in: three addresses to one phone number, every
//! record with an id of its own and its subject among many, as a service would write them.

use bailiwick_api::edge::{IpInput, PhoneInput, PutRecords, RecordInput};
use bailiwick_envelope::record::{IpEvent, IpRecord, PhoneRecord, Plaintext, TransportProtocol};
use bailiwick_threshold::RecordToSeal;
use bailiwick_types::{RecordId, SubjectPseudonym, Timestamp};
use rand::RngExt;

/// Records of one batch: what the goals are stated for.
pub const BATCH: usize = 1000;
/// Subjects that the records are of.
const SUBJECTS: u32 = 100_000;

/// Records as an edge seals them.
pub fn to_seal(count: usize, now: Timestamp) -> Vec<RecordToSeal> {
    let mut rng = rand::rng();
    let record = |number: usize| {
        let mut subject = [0; 16];
        let person = rng.random_range(0..SUBJECTS);
        subject[..4].copy_from_slice(&person.wrapping_mul(0x9E37_79B9).to_be_bytes());
        RecordToSeal {
            record: RecordId(rng.random()),
            subject: SubjectPseudonym(subject),
            plaintext: plaintext(number, person, now),
        }
    };
    (0..count).map(record).collect()
}

fn plaintext(number: usize, person: u32, now: Timestamp) -> Plaintext {
    match number % 4 {
        0 => Plaintext::Phone(PhoneRecord {
            digits: format!("336{:08}", 10_000_000 + person),
            confirmed_at: now,
        }),
        _ => Plaintext::Ip(IpRecord {
            address: std::net::Ipv4Addr::from(0x5000_0000 + person).into(),
            port: Some(40_000),
            transport: TransportProtocol::Tcp,
            event: IpEvent::Login,
            seen_at: now,
            accuracy_ms: 0,
        }),
    }
}

/// The same mix as a backend service hands it to an edge.
pub fn to_hand_in(count: usize, now: Timestamp) -> PutRecords {
    let mut rng = rand::rng();
    let seen = Timestamp::from_seconds(now.seconds()).to_string();
    let record = |number: usize| {
        let person = rng.random_range(0..SUBJECTS);
        let (mut phone, mut ip) = (None, None);
        match number % 4 {
            0 => {
                let number = format!("+336{:08}", 10_000_000 + person);
                phone = Some(PhoneInput {
                    number,
                    confirmed_at: seen.clone(),
                });
            }
            _ => {
                ip = Some(IpInput {
                    address: std::net::Ipv4Addr::from(0x5000_0000 + person).to_string(),
                    port: Some(40_000),
                    transport: TransportProtocol::Tcp,
                    event: IpEvent::Login,
                    seen_at: seen.clone(),
                    accuracy_ms: 0,
                });
            }
        }
        let account = format!("account-{person}");
        RecordInput {
            id: None,
            account,
            residence: Some("FR".to_owned()),
            phone,
            ip,
        }
    };
    PutRecords {
        records: (0..count).map(record).collect(),
    }
}
