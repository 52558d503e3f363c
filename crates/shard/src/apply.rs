//! Applying one command: decode, recall, check, write, remember.

use bailiwick_types::store::{StoreError, WriteStore};
use bailiwick_types::{Timestamp, codec};

use crate::command::{Command, CommandBody};
use crate::machine::{Machine, Stop};
use crate::outcome::Outcome;
use crate::rejection::Rejection;
use crate::remember::{Known, command_digest, recall, remember};
use crate::rows::{ShardState, read, write};
use crate::tables::STATE;
use crate::{
    blocks, certificates, decisions, enrolment, freeze, genesis, partitions, parts, releases,
    requests, sessions,
};

/// Applies one encoded [`Command`] at the log time `stamp`; returns the encoded [`Outcome`].
///
/// Deterministic in the store and the arguments. Bytes that are no command give
/// [`Rejection::Malformed`]; a rejected command has changed nothing.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn apply(
    store: &mut dyn WriteStore,
    stamp: Timestamp,
    command: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let Ok(command) = codec::decode::<Command>(command) else {
        return Ok(Outcome::Rejected(Rejection::Malformed).to_bytes());
    };
    match apply_command(store, stamp, command) {
        Ok(outcome) => Ok(outcome),
        Err(Stop::Rejected(rejection)) => Ok(Outcome::Rejected(rejection).to_bytes()),
        Err(Stop::Store(error)) => Err(error),
    }
}

fn apply_command(
    store: &mut dyn WriteStore,
    stamp: Timestamp,
    command: Command,
) -> Result<Vec<u8>, Stop> {
    let state = match (read::<ShardState>(store, STATE, &[])?, &command.body) {
        (Some(state), _) => state,
        (
            None,
            CommandBody::Genesis {
                cluster,
                shard,
                origin,
            },
        ) => genesis::first_state(*cluster, *shard, origin)?,
        (None, _) => return Err(Rejection::NotInitialised.into()),
    };
    // A block's retry is known by its manifest: remembering each would cost a row per block.
    let digest = match &command.body {
        CommandBody::AppendBlock { .. } => None,
        body => Some(command_digest(body).ok_or(Rejection::Malformed)?),
    };
    if let Some(digest) = &digest {
        match recall(store, &command.key, digest)? {
            Known::New => {}
            Known::Same(outcome) => return Ok(outcome),
            Known::Other => return Err(Rejection::KeyReused.into()),
        }
    }
    let stamp = stamp.max(state.last_stamp);
    let mut machine = Machine {
        store,
        state,
        stamp,
        by: command.by,
        salt: command.salt,
        logged: 0,
    };
    let outcome = dispatch(&mut machine, command.key, command.body)?.to_bytes();
    let Machine {
        store, mut state, ..
    } = machine;
    if let Some(digest) = digest {
        remember(store, &mut state.remembered, &command.key, digest, &outcome)?;
    }
    state.last_stamp = stamp;
    write(store, STATE, &[], &state)?;
    Ok(outcome)
}

fn dispatch(
    machine: &mut Machine<'_>,
    key: bailiwick_types::CommandKey,
    body: CommandBody,
) -> Result<Outcome, Stop> {
    use CommandBody as Body;
    if body.is_of_home() {
        machine.check_home()?;
    }
    match body {
        Body::Genesis {
            cluster,
            shard,
            origin,
        } => genesis::genesis(machine, cluster, shard, origin),
        Body::EnrolEdge { edge, key } => enrolment::enrol_edge(machine, edge, key),
        Body::RevokeEdge { edge } => enrolment::revoke(machine, enrolment::Kind::Edge, edge),
        Body::EnrolRecipient {
            name,
            key,
            certificate,
        } => enrolment::enrol_recipient(machine, name, key, certificate),
        Body::RevokeRecipient { name } => {
            enrolment::revoke(machine, enrolment::Kind::Recipient, name)
        }
        Body::EnrolIntake { name } => enrolment::enrol_intake(machine, name),
        Body::RevokeIntake { name } => enrolment::revoke(machine, enrolment::Kind::Intake, name),
        Body::SetPolicy { digest, version } => enrolment::set_policy(machine, digest, version),
        Body::CallForKeys(plan) => certificates::call_for_keys(machine, key, plan),
        Body::OfferKeys { offer } => certificates::offer_keys(machine, offer),
        Body::SignCertificate {
            certificate,
            signature,
        } => certificates::sign_certificate(machine, certificate, signature),
        Body::OpenSession { header } => sessions::open(machine, header),
        Body::AcknowledgeSession { acknowledgement } => {
            sessions::acknowledge(machine, &acknowledgement)
        }
        Body::AppendBlock { block } => blocks::append(machine, &block),
        Body::SubmitRequest { request, documents } => {
            requests::submit(machine, *request, &documents)
        }
        Body::Decide { approval } => decisions::decide(machine, *approval),
        Body::RecordRelease { intent } => releases::record(machine, intent),
        Body::RefuseRelease { refusal, signature } => {
            releases::refuse(machine, refusal, signature.as_ref())
        }
        Body::RecallRequest { request, reason } => requests::recall(machine, request, reason),
        Body::RecordDelivery { request, count } => requests::deliver(machine, request, count),
        Body::Freeze { reason } => freeze::freeze(machine, reason),
        Body::Unfreeze => freeze::unfreeze(machine),
        Body::SetPartitions { count } => partitions::set_count(machine, count),
        Body::MirrorHome(home) => partitions::mirror(machine, home),
        Body::InstallCertificate { certificate } => partitions::install(machine, *certificate),
        Body::FreezePart { request } => parts::freeze(machine, &request),
        Body::RecordRoots { roots } => partitions::record_roots(machine, roots),
        Body::SubmitParts(parted) => parts::submit(machine, *parted),
    }
}
