//! `bailiwick disclose open`: the recipient collects the members' parts and opens the records.
//!
//! Only here does plaintext come to be. Members whose answers differ from what opened a record are
//! shown as contradicted, which is not guilty: a lying edge causes the same.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use bailiwick_client::Cluster;
use bailiwick_client::recipient::Recipient;
use bailiwick_envelope::record::{IpEvent, IpRecord, Plaintext, TransportProtocol};
use bailiwick_threshold::{DecapsulationKey, OpenedRecord, Opening};
use bailiwick_types::{Role, Slot};
use serde::Serialize;

use crate::args::DiscloseVerb;
use crate::connect::{of_call, of_disclose};
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::profile::{Profile, missing};

/// An opened record as it is handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DisclosedRecord {
    /// Its place in the selection.
    pub index: u32,
    /// Its id.
    pub record: String,
    /// Its kind.
    pub kind: &'static str,
    /// The phone number with its plus, or the IP address.
    pub value: String,
    /// The source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The transport protocol and the event.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub circumstances: Option<Circumstances>,
    /// The exact instant.
    pub at: String,
}

/// What an IP observation says besides address and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Circumstances {
    /// `tcp` or `udp`.
    pub transport: TransportProtocol,
    /// What happened.
    pub event: IpEvent,
    /// How far the clock may have been off.
    pub accuracy_ms: u32,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when the request is not released to this recipient, too few members answered within
/// the wait, or the cluster does not answer.
pub async fn run(
    cluster: &Cluster,
    profile: &Profile,
    verb: &DiscloseVerb,
    output: Output,
) -> Result<(), Failure> {
    let DiscloseVerb::Open {
        request,
        jurisdiction,
        out,
        wait_seconds,
        no_acknowledgement,
    } = verb;
    let code = profile.jurisdiction_or(*jurisdiction)?;
    let recipient = Recipient::new(
        cluster.clone(),
        profile.trust_file()?,
        recipient_key(profile)?,
    );
    let wait = Duration::from_secs(*wait_seconds);
    let disclosure = recipient.open(code, *request, wait, false).await;
    let disclosure = disclosure.map_err(|error| of_disclose(&error))?;
    let records = disclosed(&disclosure.opening);
    match out {
        Some(path) => write_records(path, &records)?,
        None => print_records(&records, output),
    }
    report(&disclosure.opening);
    if !no_acknowledgement && disclosure.opening.unopened.is_empty() {
        let acknowledged = recipient.acknowledge(&disclosure).await;
        acknowledged.map_err(|error| of_call("the delivery was not acknowledged", &error))?;
    }
    Ok(())
}

/// The recipient's private key of a profile.
///
/// # Errors
/// [`Failure`] (usage) when the profile has none.
pub fn recipient_key(profile: &Profile) -> Result<DecapsulationKey, Failure> {
    let path = profile
        .recipient_key
        .as_ref()
        .ok_or_else(|| missing("recipient_key", "a recipient's private key"))?;
    crate::keys::read_recipient_key(path).map_err(|error| Failure::file(path, &error))
}

/// The opened records as they are handed on.
pub fn disclosed(opening: &Opening) -> Vec<DisclosedRecord> {
    let record = |opened: &OpenedRecord| {
        let (index, record) = (opened.index, opened.label.record.to_string());
        let kind = opened.label.category.as_str();
        match &opened.plaintext {
            Plaintext::Phone(phone) => DisclosedRecord {
                index,
                record,
                kind,
                value: format!("+{}", phone.digits),
                port: None,
                circumstances: None,
                at: phone.confirmed_at.to_string(),
            },
            Plaintext::Ip(ip) => of_ip(index, record, kind, ip),
        }
    };
    opening.records.iter().map(record).collect()
}

fn of_ip(index: u32, record: String, kind: &'static str, ip: &IpRecord) -> DisclosedRecord {
    let (transport, event, accuracy_ms) = (ip.transport, ip.event, ip.accuracy_ms);
    DisclosedRecord {
        index,
        record,
        kind,
        value: ip.address.to_string(),
        port: ip.port,
        circumstances: Some(Circumstances {
            transport,
            event,
            accuracy_ms,
        }),
        at: ip.seen_at.to_string(),
    }
}

fn print_records(records: &[DisclosedRecord], output: Output) {
    if output.is_json() {
        for record in records {
            output.line(record, String::new);
        }
        return;
    }
    output.list(
        ["no", "kind", "value", "port", "at", "record"],
        records,
        |record| {
            [
                record.index.to_string(),
                record.kind.to_owned(),
                record.value.clone(),
                record.port.map(|port| port.to_string()).unwrap_or_default(),
                record.at.clone(),
                record.record.clone(),
            ]
        },
    );
}

fn write_records(path: &Path, records: &[DisclosedRecord]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::file(path, &error);
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record).map_err(|error| Failure::file(path, &error))?;
        text.push(b'\n');
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(&text)
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

/// Tells, on standard error, what is not as it should be.
fn report(opening: &Opening) {
    for unopened in &opening.unopened {
        output::note(&format!("not opened: {}", unopened.error));
    }
    for (role, slot, count) in contradicted(opening) {
        output::note(&format!(
            "contradicted: {role} {slot} answered otherwise for {count} records; its signed \
             answers are evidence, and an auditor can tell whether the member or the edge lied"
        ));
    }
    for unfit in &opening.unfit {
        let place = &unfit.signed.body.place;
        output::note(&format!(
            "left aside: {} {}: {}",
            place.role, place.slot, unfit.reason
        ));
    }
}

/// Contradicted members with the number of records.
pub fn contradicted(opening: &Opening) -> Vec<(Role, Slot, usize)> {
    let mut counts: BTreeMap<(Role, Slot), usize> = BTreeMap::new();
    for contradiction in &opening.contradicted {
        *counts
            .entry((contradiction.role, contradiction.slot))
            .or_default() += 1;
    }
    counts
        .into_iter()
        .map(|((role, slot), count)| (role, slot, count))
        .collect()
}
