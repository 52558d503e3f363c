//! `bailiwick demo-liar`: an approver that returns wrong values, to show that it is noticed.
//!
//! It is an ordinary approver whose sealed partials are replaced on their way out by a body of
//! invented values, signed with its own identity key and sealed to the recipient. That is all that
//! whoever runs a member's machine can do: it needs no other secret, and it makes no wrong record
//! open.

use std::sync::Arc;

use bailiwick_envelope::release::{PartialBody, RecordValues, SealedPartial};
use bailiwick_envelope::request::Recipient;
use bailiwick_envelope::{Canonical, Encoder, SigningKey};
use bailiwick_node::approver::{ApproverOptions, Outgoing};
use bailiwick_node::config::ApproverConfig;
use bailiwick_node::files::read_signing_key;
use bailiwick_threshold::hpke;
use bailiwick_types::Threshold;

use crate::args::LiarOptions;
use crate::commands::service;
use crate::failure::Failure;
use crate::keys::RecipientCard;

/// Records of a selection that the liar invents values for; more than the demonstration selects.
const INVENTED_RECORDS: u32 = 64;

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when its configuration, its key, the recipient's card or the approver fails.
pub fn run(options: &LiarOptions) -> Result<(), Failure> {
    let path = &options.service.config;
    let config =
        ApproverConfig::load(path).map_err(|error| service::invalid(&options.service, &error))?;
    let key = read_signing_key(&config.identity_key)
        .map_err(|error| Failure::file(&config.identity_key, &error))?;
    let recipient = RecipientCard::load(&options.recipient)?;
    let stop = options.service.exit_with_parent;
    service::run(async move {
        let lie = move |outgoing: Outgoing| invent(&outgoing, &recipient, &key);
        let options = ApproverOptions {
            tamper: Some(Arc::new(lie)),
        };
        let stop = service::stopper(stop);
        service::failed(
            "approver",
            bailiwick_node::approver::run(config, options, stop).await,
        )
    })
}

/// A partial of the same place with invented values: one for every record and every holder set that
/// the slot belongs to.
fn invent(outgoing: &Outgoing, recipient: &Recipient, key: &SigningKey) -> SealedPartial {
    let place = outgoing.sealed.place;
    let threshold = Threshold::new(2, 3).expect("the development cluster's committees");
    let sets: Vec<_> = threshold
        .holder_sets()
        .into_iter()
        .filter(|set| set.contains(place.slot))
        .collect();
    let records = (0..outgoing.count.min(INVENTED_RECORDS)).map(|index| RecordValues {
        index,
        values: sets.iter().map(|set| (*set, rand::random())).collect(),
    });
    let body = PartialBody {
        place,
        selection: outgoing.selection,
        roster: 0,
        records: records.collect(),
    };
    let mut plaintext = Encoder::new();
    plaintext.list(|e| body.encode(e)).bytes(&body.sign(key).0);
    match hpke::seal(
        &mut rand::rng(),
        &recipient.key,
        &place.info(),
        plaintext.as_bytes(),
    ) {
        Ok(sealed) => SealedPartial { place, sealed },
        Err(_) => outgoing.sealed.clone(),
    }
}
