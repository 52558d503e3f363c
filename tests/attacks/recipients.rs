//! Recipients that are not the request's: another one at the spool, and keys that somebody swaps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use bailiwick_api::Refusal;
use bailiwick_api::cluster::Enrolment;
use bailiwick_api::evidence::{Partials, ReadPartials};
use bailiwick_api::request::RequestView;
use bailiwick_cli::commands::disclose::recipient_key;
use bailiwick_cli::dev::layout::{INTAKE, OPERATOR, RECIPIENT};
use bailiwick_cli::dev::stage::home;
use bailiwick_cli::keys::RecipientCard;
use bailiwick_client::certificates::read_certificates;
use bailiwick_client::intake::Intake;
use bailiwick_client::{CallFailure, Cluster};
use bailiwick_envelope::release::SealedPartial;
use bailiwick_tests::lying_vault::LyingVault;
use bailiwick_tests::{
    NOTHING, PATIENCE, Running, ciphertexts, eventually, failed, inside, ip, window,
};
use bailiwick_threshold::{DecapsulationKey, open_partial};
use bailiwick_transport::Operation;
use bailiwick_types::{PeerRole, RequestId, Role, ShardId, codec};

use crate::{BOTH_QUORUMS, story};

async fn spool(reach: &Cluster, request: RequestId) -> Result<Vec<SealedPartial>, CallFailure> {
    let shard = ShardId::home(home());
    let (known, wait_ms) = (0, 0);
    let message = ReadPartials {
        shard,
        request,
        known,
        wait_ms,
    };
    let read: Partials = reach
        .call(Some(shard), Operation::ReadPartials, &message)
        .await?;
    Ok(read.partials)
}

/// How many of these partials this key opens.
async fn opened_by(
    cluster: &Running,
    partials: &[SealedPartial],
    key: &DecapsulationKey,
) -> anyhow::Result<usize> {
    let reach = cluster.stage.cluster(OPERATOR).map_err(failed)?;
    let trust = cluster.stage.profile(OPERATOR).map_err(failed)?;
    let trust = trust.trust_file().map_err(failed)?;
    let now = bailiwick_client::now();
    let certificates = read_certificates(&reach, &trust, home(), now).await?;
    let body = certificates.last().context("a certificate")?.body();
    let mut opened = 0;
    for partial in partials {
        let place = partial.place;
        let member = body.committee(place.role).member(place.slot);
        let identity = member.context("a member")?.identity;
        opened += usize::from(open_partial(key, partial, &identity).is_ok());
    }
    Ok(opened)
}

fn own_key(cluster: &Running) -> anyhow::Result<DecapsulationKey> {
    let profile = cluster.stage.profile(RECIPIENT).map_err(failed)?;
    recipient_key(&profile).map_err(failed)
}

/// Waits for the four releases that four approvals allow.
async fn released(cluster: &Running, request: RequestId) -> anyhow::Result<()> {
    eventually("four releases", PATIENCE, || async {
        let view = cluster.view(request).await?;
        Ok((view.releases.len() == 4).then_some(()))
    })
    .await
}

/// Another desk, with a true recipient's certificate and even enrolled, reads neither partials nor
/// ciphertext of a request that does not name it; and if a vault gave it the partials, it could not
/// open one.
#[tokio::test(flavor = "multi_thread")]
async fn another_recipient_reads_nothing_of_the_spool() -> anyhow::Result<()> {
    story(async |cluster| {
        let record = ip("spooled", "FR", "192.0.2.111", 4111, &inside(window(), 2));
        cluster.put(vec![record]).await?;
        let request = cluster.request("spooled", "spool-1").await?.id;
        cluster.approve(request, &BOTH_QUORUMS).await?;
        released(cluster, request).await?;

        let (tls, certificate) = cluster.stranger(PeerRole::Recipient, "desk-2")?;
        let other = cluster.as_peer(tls);
        let other_key = DecapsulationKey::generate(&mut rand::rng()).0;
        let reads_nothing = async || {
            for answer in [
                spool(&other, request).await.map(|partials| partials.len()),
                ciphertexts(&other, 0, request).await,
            ] {
                let missing = matches!(answer, Err(CallFailure::Refused(Refusal::NotFound(_))));
                ensure!(missing, "as if it did not exist: {answer:?}");
            }
            anyhow::Ok(())
        };
        reads_nothing().await?;
        let operator = cluster.stage.operator().map_err(failed)?;
        let enrolment = Enrolment::Recipient {
            name: "desk-2".parse()?,
            key: other_key.encapsulation_key(),
            certificate,
        };
        operator.enrol(home(), enrolment).await?;
        reads_nothing().await?;

        // The control: the request's own recipient reads and opens all of it.
        let own = cluster.stage.cluster(RECIPIENT).map_err(failed)?;
        let partials = eventually("the partials", PATIENCE, || async {
            let partials = spool(&own, request).await?;
            Ok((partials.len() == 4).then_some(partials))
        })
        .await?;
        ensure!(
            ciphertexts(&own, 0, request).await? == 1,
            "and the ciphertext"
        );
        let opens = opened_by(cluster, &partials, &own_key(cluster)?).await?;
        ensure!(opens == 4, "its own key opens all four: {opens}");
        let opens = opened_by(cluster, &partials, &other_key).await?;
        ensure!(opens == 0, "the other's opens none: {opens}");
        ensure!(cluster.values(request).await? == ["192.0.2.111"], "whole");
        Ok(())
    })
    .await
}

/// An approver that attends this address only, and France only.
pub(crate) fn attend_only(cluster: &Running, name: &str, seed: &str) -> anyhow::Result<String> {
    let path = cluster.root().join(name).join(format!("{name}.toml"));
    let before = std::fs::read_to_string(&path)?;
    let mut config: toml::Table = before.parse()?;
    config.insert("seeds".into(), toml::Value::Array(vec![seed.into()]));
    let only = vec![home().as_str().into()];
    config.insert("jurisdictions".into(), toml::Value::Array(only));
    std::fs::write(&path, toml::to_string(&config)?)?;
    Ok(before)
}

/// Attacks 5, by lying leaders: after both quorums have approved, every workflow approver is shown the
/// request with the attacker's key in place of the recipient's.
#[tokio::test(flavor = "multi_thread")]
async fn recipient_key_swapped_between_approval_and_release_releases_nothing() -> anyhow::Result<()>
{
    story(async |cluster| {
        let record = ip("swapped", "FR", "192.0.2.121", 4121, &inside(window(), 2));
        cluster.put(vec![record]).await?;
        let swap = Arc::new(AtomicBool::new(true));
        let lying = swap.clone();
        let told = Arc::new(AtomicUsize::new(0));
        let telling = told.clone();
        let attacker = DecapsulationKey::generate(&mut rand::rng());
        let attacker_key = attacker.1;
        let lie = move |operation, reply: bytes::Bytes| {
            if operation != Operation::ReadRequest || !lying.load(Ordering::Relaxed) {
                return reply;
            }
            let mut view: RequestView = codec::decode(&reply).expect("a vault's answer");
            view.request.recipient.key = attacker_key.clone();
            telling.fetch_add(1, Ordering::Relaxed);
            codec::encode(&view).expect("encodes").into()
        };
        let members = ["workflow-1", "workflow-2", "workflow-3"];
        let liar = LyingVault::start_voter(
            cluster,
            &members,
            Arc::new(lie),
            Arc::new(AtomicBool::new(false)),
        )
        .await?;
        let mut honest = Vec::new();
        for name in members {
            honest.push(attend_only(cluster, name, &liar.address)?);
            cluster.restart(name).await?;
        }

        // Legal review is not lied to and releases; of workflow nobody does, and nothing opens.
        let request = cluster.request("swapped", "swap-1").await?.id;
        cluster.approve(request, &BOTH_QUORUMS).await?;
        let of = |view: &RequestView, role| {
            let releases = view.releases.iter().filter(|(of, ..)| *of == role);
            releases.count()
        };
        eventually("legal review's releases", PATIENCE, || async {
            let view = cluster.view(request).await?;
            Ok((of(&view, Role::LegalReview) == 2).then_some(()))
        })
        .await?;
        tokio::time::sleep(NOTHING).await;
        let view = cluster.view(request).await?;
        let told = told.load(Ordering::Relaxed);
        ensure!(told >= 2, "anna's and ben's members were lied to: {told}");
        ensure!(of(&view, Role::Workflow) == 0, "nothing of workflow");
        cluster.opens_nothing(request).await?;
        let own = cluster.stage.cluster(RECIPIENT).map_err(failed)?;
        let partials = spool(&own, request).await?;
        ensure!(
            partials
                .iter()
                .all(|partial| partial.place.role == Role::LegalReview),
            "no workflow partial was made"
        );
        let opens = opened_by(cluster, &partials, &attacker.0).await?;
        ensure!(opens == 0, "the attacker's key opens {opens} partials");

        // The control: through the same vault, when it does not lie, another request opens.
        swap.store(false, Ordering::Relaxed);
        let request = cluster.request("swapped", "swap-2").await?.id;
        cluster.approve(request, &BOTH_QUORUMS).await?;
        ensure!(
            cluster.values(request).await? == ["192.0.2.121"],
            "it opens"
        );
        for (name, config) in members.iter().zip(honest) {
            let path = cluster.root().join(name).join(format!("{name}.toml"));
            std::fs::write(path, config)?;
            cluster.restart(name).await?;
        }
        Ok(())
    })
    .await
}

/// Attacks 5, by an operator: the recipient is enrolled anew with the attacker's key. What was approved
/// before is sealed to the key that was approved; what is asked for afterwards is released by nobody,
/// since every approver has the recipient's key from elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_enrolled_anew_with_another_key_reads_nothing() -> anyhow::Result<()> {
    story(async |cluster| {
        let record = ip("reseated", "FR", "192.0.2.131", 4131, &inside(window(), 2));
        cluster.put(vec![record]).await?;
        let card = RecipientCard::load(&cluster.stage.layout.recipient_card()).map_err(failed)?;
        let (attacker, attacker_key) = DecapsulationKey::generate(&mut rand::rng());
        let operator = cluster.stage.operator().map_err(failed)?;
        let enrol = |key| Enrolment::Recipient {
            name: card.name.clone(),
            key,
            certificate: card.certificate,
        };

        // A committee that sleeps holds the releases back between approval and the swap.
        let before = cluster.request("reseated", "reseat-1").await?;
        let sleeping = (1..=3).map(|slot| cluster.pause(&format!("workflow-{slot}")));
        let sleeping = sleeping.collect::<anyhow::Result<Vec<_>>>()?;
        cluster.approve(before.id, &BOTH_QUORUMS).await?;
        operator.enrol(home(), enrol(attacker_key.clone())).await?;
        drop(sleeping);
        released(cluster, before.id).await?;
        let own = cluster.stage.cluster(RECIPIENT).map_err(failed)?;
        let partials = eventually("the partials", PATIENCE, || async {
            let partials = spool(&own, before.id).await?;
            Ok((partials.len() == 4).then_some(partials))
        })
        .await?;
        let opens = opened_by(cluster, &partials, &attacker).await?;
        ensure!(opens == 0, "the attacker's key opens {opens} of them");
        let opens = opened_by(cluster, &partials, &own_key(cluster)?).await?;
        ensure!(opens == 4, "the approved key opens all four: {opens}");

        // A request that names the attacker's key is taken and approved, and released by nobody.
        let mut request = before.request.clone();
        request.recipient.key = attacker_key;
        request.reference = "reseat-2".to_owned();
        request.salt = rand::random();
        let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);
        let after = intake.submit(request, bytes::Bytes::new()).await?.id;
        cluster.approve(after, &BOTH_QUORUMS).await?;
        let view = eventually("every approver's refusal", PATIENCE, || async {
            let view = cluster.view(after).await?;
            Ok((view.member_refusals.len() >= 4).then_some(view))
        })
        .await?;
        ensure!(view.releases.is_empty(), "nobody released anything");
        let about_the_recipient = view
            .member_refusals
            .iter()
            .all(|(_, _, reason)| reason.contains("request.recipient"));
        ensure!(about_the_recipient, "{:?}", view.member_refusals);
        ensure!(spool(&own, after).await?.is_empty(), "no partial was made");
        operator.enrol(home(), enrol(card.key.clone())).await?;
        Ok(())
    })
    .await
}
