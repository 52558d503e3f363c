//! Key certificates without a meeting: an operator calls for keys, each member offers its own, the
//! shard puts the body together, each member signs it (docs/cryptography.md section 4).
//!
//! What a certificate is worth is for every verifier's own trust file to say; here it only has to
//! be whole.

use std::collections::BTreeSet;

use bailiwick_envelope::certificate::{
    CertificateBody, Committee, KeyCertificate, Member, MemberSignature, kid,
};
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::offer::KeyOffer;
use bailiwick_envelope::{Encoder, HashTag, SUITE, SignatureTag, hash};
use bailiwick_types::limits::{CERTIFICATE_PERIODS, LIVE_CERTIFICATES};
use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{CertificateId, CommandKey, Digest, Jurisdiction, Role, Slot, Timestamp};

use crate::command::{CertificatePlan, CommitteePlan, PlannedMember};
use crate::machine::{Machine, Stop};
use crate::outcome::Outcome;
use crate::rejection::CertificateRejection;
use crate::rows::{
    CertificateRow, DraftRow, MemberRow, PeriodRow, array, demand, parse, read, read_array, write,
};
use crate::tables::{
    CERTIFICATE_OF, CERTIFICATES, DRAFT_OF, DRAFTS, MEMBERS, PERIOD_OF, PERIODS, member_key,
};

/// Most drafts under way: each is at most 800 KiB (14 members of 41 keys, 64 reviewers).
pub(crate) const DRAFTS_UNDER_WAY: usize = 8;
/// A draft that did not become a certificate is forgotten after this long.
const DRAFT_LIFETIME: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 60 * 60);

pub(crate) fn call_for_keys(
    machine: &mut Machine<'_>,
    key: CommandKey,
    plan: CertificatePlan,
) -> Result<Outcome, Stop> {
    machine.check_not_frozen()?;
    check_members(&plan)?;
    check_periods(&plan)?;
    check_live(machine)?;
    let stamp = machine.stamp;
    let (stale, fresh): (Vec<_>, Vec<_>) = drafts(machine.reader())?
        .into_iter()
        .partition(|(_, row)| stamp.since(row.called_at) > DRAFT_LIFETIME);
    if fresh.len() >= DRAFTS_UNDER_WAY {
        let limit = DRAFTS_UNDER_WAY;
        return Err(CertificateRejection::TooManyDrafts { limit }.into());
    }
    for (draft, row) in &stale {
        remove_draft(machine, draft, row)?;
    }
    let draft = draft_id(&key, &plan);
    let row = DraftRow {
        plan,
        called_at: stamp,
        offers: Vec::new(),
        certificate: None,
        signatures: Vec::new(),
    };
    write(machine.store, DRAFTS, &draft.0, &row)?;
    Ok(Outcome::Drafted { draft })
}

fn remove_draft(
    machine: &mut Machine<'_>,
    draft: &Digest,
    row: &DraftRow,
) -> Result<(), StoreError> {
    if let Some(certificate) = &row.certificate {
        machine.store.delete(DRAFT_OF, &certificate.0)?;
    }
    machine.store.delete(DRAFTS, &draft.0)
}

pub(crate) fn check_live(machine: &Machine<'_>) -> Result<(), Stop> {
    let live = machine
        .reader()
        .scan_prefix(CERTIFICATES, &[], usize::MAX)?
        .len();
    let limit = LIVE_CERTIFICATES;
    if live >= limit {
        return Err(CertificateRejection::TooManyLive { limit }.into());
    }
    Ok(())
}

/// Slots 1 to n, every id and key once, no organisation in both roles.
fn check_members(plan: &CertificatePlan) -> Result<(), CertificateRejection> {
    let (mut names, mut identities) = (BTreeSet::new(), BTreeSet::new());
    for role in Role::ALL {
        let committee = plan.committee(role);
        let slots = committee.members.iter().map(|member| member.slot);
        let once = committee
            .members
            .iter()
            .all(|member| names.insert(&member.name) && identities.insert(&member.identity));
        if !once || !slots.eq(committee.threshold.slots()) {
            return Err(CertificateRejection::PlanMembers { role });
        }
    }
    let organisations = |committee: &CommitteePlan| -> BTreeSet<_> {
        let members = committee.members.iter();
        members.map(|member| member.organisation.clone()).collect()
    };
    let shared = !organisations(&plan.workflow).is_disjoint(&organisations(&plan.legal_review));
    let role = Role::LegalReview;
    match shared {
        true => Err(CertificateRejection::PlanMembers { role }),
        false => Ok(()),
    }
}

fn check_periods(plan: &CertificatePlan) -> Result<(), CertificateRejection> {
    let ordered = plan
        .periods
        .windows(2)
        .all(|pair| pair[0].not_after <= pair[1].not_before);
    let within = plan.periods.iter().all(|period| {
        plan.not_before <= period.not_before
            && period.not_before < period.not_after
            && period.not_after <= period.erase_by
            && period.not_after <= plan.not_after
    });
    if ordered && within && (1..=CERTIFICATE_PERIODS).contains(&plan.periods.len()) {
        Ok(())
    } else {
        Err(CertificateRejection::PlanPeriods)
    }
}

/// `H("command", "draft", command key, plan)`.
fn draft_id(key: &CommandKey, plan: &CertificatePlan) -> Digest {
    let times = |e: &mut Encoder, times: &[Timestamp]| {
        for time in times {
            e.u64(time.0);
        }
    };
    let member = |e: &mut Encoder, member: &PlannedMember| {
        e.u8(member.slot.number())
            .text(member.organisation.as_str())
            .text(member.name.as_str())
            .bytes(&member.identity.0);
    };
    hash(HashTag::CommandKey, |e| {
        e.text("draft").bytes(&key.0);
        times(e, &[plan.not_before, plan.not_after]);
        e.list(|e| {
            for period in &plan.periods {
                times(e, &[period.not_before, period.not_after, period.erase_by]);
            }
        });
        for role in Role::ALL {
            let committee = plan.committee(role);
            e.u8(committee.threshold.needed());
            e.list(|e| committee.members.iter().for_each(|m| member(e, m)));
        }
    })
}

pub(crate) fn offer_keys(machine: &mut Machine<'_>, offer: KeyOffer) -> Result<Outcome, Stop> {
    let draft = offer.draft;
    let unknown = CertificateRejection::UnknownDraft(draft);
    let mut row: DraftRow = read(machine.reader(), DRAFTS, &draft.0)?.ok_or(unknown)?;
    check_offer(&row, &offer)?;
    let (role, slot) = (offer.role, offer.member.slot);
    let place = |(r, s, _): &(Role, Slot, Member)| (*r, *s) == (role, slot);
    let known = row.offers.iter().find(|entry| place(entry));
    if known.is_some_and(|(_, _, member)| *member == offer.member) {
        return Ok(Outcome::Accepted);
    }
    if row.certificate.is_some() {
        return Err(CertificateRejection::OfferedBefore { role, slot }.into());
    }
    row.offers.retain(|entry| !place(entry));
    row.offers.push((role, slot, offer.member));
    row.offers.sort_by_key(|(role, slot, _)| (*role, *slot));
    let mut outcome = Outcome::Accepted;
    if let Some(body) = body_of(&row, machine.state.shard.jurisdiction) {
        let reason = |error: &dyn std::fmt::Display| error.to_string();
        body.check().map_err(|error| CertificateRejection::Body {
            reason: reason(&error),
        })?;
        let certificate = body.id();
        row.certificate = Some(certificate);
        machine.store.put(DRAFT_OF, &certificate.0, &draft.0)?;
        outcome = Outcome::BodyBuilt { certificate };
    }
    write(machine.store, DRAFTS, &draft.0, &row)?;
    Ok(outcome)
}

/// The offer is by the planned identity, for its slot, with one key per period.
fn check_offer(row: &DraftRow, offer: &KeyOffer) -> Result<(), CertificateRejection> {
    let (role, member) = (offer.role, &offer.member);
    let slot = member.slot;
    let mut planned = row.plan.committee(role).members.iter();
    let planned = planned
        .find(|planned| {
            planned.slot == slot
                && planned.organisation == member.organisation
                && planned.name == member.name
                && planned.identity == member.identity
        })
        .ok_or(CertificateRejection::NotPlanned { role, slot })?;
    if member.periods.len() != row.plan.periods.len() || member.reviewers.is_empty() {
        return Err(CertificateRejection::OfferKeys { role, slot });
    }
    offer
        .verify(&planned.identity)
        .map_err(|_| CertificateRejection::Signature { role, slot })
}

/// The body that a draft's offers give, once all have come.
pub(crate) fn body_of(row: &DraftRow, jurisdiction: Jurisdiction) -> Option<CertificateBody> {
    let committee = |role: Role| -> Option<Committee> {
        let threshold = row.plan.committee(role).threshold;
        let members: Vec<Member> = row
            .offers
            .iter()
            .filter(|(offered, _, _)| *offered == role)
            .map(|(_, _, member)| member.clone())
            .collect();
        let whole = members.len() == usize::from(threshold.members());
        whole.then_some(Committee { threshold, members })
    };
    Some(CertificateBody {
        suite: SUITE,
        jurisdiction,
        not_before: row.plan.not_before,
        not_after: row.plan.not_after,
        periods: row.plan.periods.iter().map(|p| (*p).into()).collect(),
        workflow: committee(Role::Workflow)?,
        legal_review: committee(Role::LegalReview)?,
    })
}

pub(crate) fn sign_certificate(
    machine: &mut Machine<'_>,
    id: CertificateId,
    signed: MemberSignature,
) -> Result<Outcome, Stop> {
    let unknown = CertificateRejection::UnknownCertificate(id);
    let Some(draft) = read_array::<32>(machine.reader(), DRAFT_OF, &id.0)?.map(Digest) else {
        let row = by_id(machine.reader(), &id)?.ok_or(unknown)?;
        check_signature(&row.certificate.body, &id, &signed)?;
        let leaf_index = row.leaf_index;
        return Ok(Outcome::CertificateValid {
            certificate: id,
            leaf_index,
        });
    };
    let mut row: DraftRow = demand(machine.reader(), DRAFTS, &draft.0)?;
    let body = body_of(&row, machine.state.shard.jurisdiction).ok_or(unknown)?;
    check_signature(&body, &id, &signed)?;
    let (role, slot) = (signed.role, signed.slot);
    if row
        .signatures
        .iter()
        .any(|(r, s, _)| (*r, *s) == (role, slot))
    {
        return Ok(Outcome::Accepted);
    }
    row.signatures.push((role, slot, signed.signature));
    row.signatures.sort_by_key(|(role, slot, _)| (*role, *slot));
    if row.signatures.len() < body.members().count() {
        write(machine.store, DRAFTS, &draft.0, &row)?;
        return Ok(Outcome::Accepted);
    }
    let signature = |(role, slot, signature): &(Role, Slot, _)| MemberSignature {
        role: *role,
        slot: *slot,
        signature: *signature,
    };
    let signatures = row.signatures.iter().map(signature).collect();
    let certificate = KeyCertificate { body, signatures };
    certificate
        .check_signed_by_its_members()
        .map_err(|error| CertificateRejection::Body {
            reason: error.to_string(),
        })?;
    check_live(machine)?;
    remove_draft(machine, &draft, &row)?;
    let leaf_index = install(machine, id, certificate)?;
    Ok(Outcome::CertificateValid {
        certificate: id,
        leaf_index,
    })
}

fn check_signature(
    body: &CertificateBody,
    id: &CertificateId,
    signed: &MemberSignature,
) -> Result<(), CertificateRejection> {
    let (role, slot) = (signed.role, signed.slot);
    let refused = CertificateRejection::Signature { role, slot };
    let member = body.committee(role).member(slot).ok_or(refused.clone())?;
    let fill = |e: &mut Encoder| {
        e.bytes(&id.0);
    };
    member
        .identity
        .verify(SignatureTag::Certificate, fill, &signed.signature)
        .map_err(|_| refused)
}

/// Makes a certificate valid: logs its leaf and gives its periods their numbers.
pub(crate) fn install(
    machine: &mut Machine<'_>,
    id: CertificateId,
    certificate: KeyCertificate,
) -> Result<u64, StoreError> {
    let leaf_index = machine.log(LeafContent::Certificate { certificate: id })?;
    machine.state.certificates += 1;
    let number = machine.state.certificates;
    let first_period = machine.state.periods + 1;
    let body = &certificate.body;
    for (index, period) in body.periods.iter().enumerate() {
        // A certificate has at most 40 periods.
        let index = index as u16;
        machine.state.periods += 1;
        let key = machine.state.periods.to_be_bytes();
        let row = PeriodRow {
            certificate_number: number,
            certificate: id,
            index,
            kid: kid(&id, index),
            not_before: period.not_before,
            not_after: period.not_after,
            erase_by: period.erase_by,
            workflow: body.workflow.threshold,
            legal_review: body.legal_review.threshold,
        };
        machine.store.put(PERIOD_OF, &row.kid.0, &key)?;
        write(machine.store, PERIODS, &key, &row)?;
    }
    for (role, member) in body.members() {
        let key = member_key(&number.to_be_bytes(), role, member.slot, &[]);
        let row = MemberRow {
            name: member.name.clone(),
            identity: member.identity,
            reviewers: member.reviewers.clone(),
        };
        write(machine.store, MEMBERS, &key, &row)?;
    }
    machine
        .store
        .put(CERTIFICATE_OF, &id.0, &number.to_be_bytes())?;
    let row = CertificateRow {
        certificate,
        leaf_index,
        first_period,
    };
    write(machine.store, CERTIFICATES, &number.to_be_bytes(), &row)?;
    Ok(leaf_index)
}

/// A valid certificate.
pub(crate) fn by_id(
    store: &dyn ReadStore,
    id: &CertificateId,
) -> Result<Option<CertificateRow>, StoreError> {
    match store.get(CERTIFICATE_OF, &id.0)? {
        Some(number) => demand(store, CERTIFICATES, &number).map(Some),
        None => Ok(None),
    }
}

/// All drafts.
pub(crate) fn drafts(store: &dyn ReadStore) -> Result<Vec<(Digest, DraftRow)>, StoreError> {
    let rows = store.scan_prefix(DRAFTS, &[], usize::MAX)?;
    let draft = |(key, value): &(Vec<u8>, Vec<u8>)| -> Result<_, StoreError> {
        Ok((Digest(array(DRAFTS, key)?), parse(DRAFTS, value)?))
    };
    rows.iter().map(draft).collect()
}

/// The number and row of a key period.
pub(crate) fn period_of(
    store: &dyn ReadStore,
    kid: &bailiwick_types::KeyId,
) -> Result<Option<(u32, PeriodRow)>, StoreError> {
    let Some(number) = read_array(store, PERIOD_OF, &kid.0)?.map(u32::from_be_bytes) else {
        return Ok(None);
    };
    Ok(Some((number, period(store, number)?)))
}

/// A key period by its number.
pub(crate) fn period(store: &dyn ReadStore, number: u32) -> Result<PeriodRow, StoreError> {
    demand(store, PERIODS, &number.to_be_bytes())
}

/// A member of a certificate, if it has the slot.
pub(crate) fn member(
    store: &dyn ReadStore,
    certificate_number: u32,
    role: Role,
    slot: Slot,
) -> Result<Option<MemberRow>, StoreError> {
    let key = member_key(&certificate_number.to_be_bytes(), role, slot, &[]);
    read(store, MEMBERS, &key)
}
