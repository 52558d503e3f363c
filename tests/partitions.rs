//! A jurisdiction of three groups on real processes: every subject's records are in one of them, and
//! what both committees must do to open them is the same as in a jurisdiction of one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_api::partition::PartPage;
use bailiwick_cli::dev::layout::{AUDITOR, EDGE, INTAKE, RECIPIENT};
use bailiwick_cli::dev::stage::home;
use bailiwick_client::auditor::read_log;
use bailiwick_client::intake::Intake;
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::partition::partition_of;
use bailiwick_tests::lying_vault::LyingVault;
use bailiwick_tests::{
    PATIENCE, Running, ciphertexts, eventually, failed, inside, ip, partitioned_cluster, phone,
    window,
};
use bailiwick_transport::Operation;
use bailiwick_types::{Minute, Role, codec};

const COUNT: u16 = 3;
/// Subjects of the story: enough that every partition has some.
const SUBJECTS: u8 = 24;
const BOTH_QUORUMS: [&str; 4] = ["anna", "ben", "dora", "emil"];

fn account(number: u8) -> String {
    format!("subject-{number}")
}

fn partition(cluster: &Running, number: u8) -> anyhow::Result<u16> {
    Ok(partition_of(&cluster.subject(&account(number))?, COUNT))
}

/// The first subject of each partition.
fn one_of_each(cluster: &Running) -> anyhow::Result<BTreeMap<u16, u8>> {
    let mut found = BTreeMap::new();
    for number in 0..SUBJECTS {
        found.entry(partition(cluster, number)?).or_insert(number);
    }
    ensure!(found.len() == usize::from(COUNT), "{found:?}");
    Ok(found)
}

/// A phone number and an address of every subject, which name it.
async fn fill(cluster: &Running) -> anyhow::Result<()> {
    let at = |minutes| inside(window(), minutes);
    let mut records = Vec::new();
    for number in 0..SUBJECTS {
        let port = 4000 + u32::from(number);
        let address = format!("192.0.2.{number}");
        let digits = format!("+336123456{number:02}");
        records.push(ip(&account(number), "FR", &address, port, &at(2)));
        records.push(phone(&account(number), "FR", &digits, &at(3)));
    }
    cluster.put(records).await
}

fn values_of(numbers: &[u8]) -> Vec<String> {
    let of = |number: &u8| {
        [
            format!("+336123456{number:02}"),
            format!("192.0.2.{number}"),
        ]
    };
    let mut values: Vec<String> = numbers.iter().flat_map(of).collect();
    values.sort();
    values
}

/// Records of each group of the first jurisdiction, and whether all of them are frozen.
async fn groups(cluster: &Running) -> anyhow::Result<(BTreeMap<u16, u64>, bool)> {
    let nodes = cluster.stage.operator().map_err(failed)?.status().await?;
    let (mut records, mut frozen) = (BTreeMap::new(), true);
    for (node, status) in nodes {
        for group in status.context("a status")?.groups {
            let leads = group.leader == Some(node.id);
            if let Some(shard) = group.shard.filter(|shard| shard.jurisdiction == home())
                && leads
            {
                records.insert(shard.partition, group.records);
                frozen &= group.frozen;
            }
        }
    }
    Ok((records, frozen))
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_every_partition_open_when_both_quorums_act() -> anyhow::Result<()> {
    let binary = env!("CARGO_BIN_EXE_bailiwick-process");
    let mut cluster = partitioned_cluster(binary, COUNT).await?;
    fill(&cluster).await?;
    every_subject_is_in_one_group(&cluster).await?;
    one_subject_of_another_partition(&cluster).await?;
    subjects_of_all_partitions(&cluster).await?;
    a_freeze_and_a_recall_reach_every_partition(&cluster).await?;
    a_lost_leader_of_a_partition(&mut cluster).await?;
    a_vault_that_shows_an_unlogged_block_is_refused(&mut cluster).await?;
    new_sessions_after_restarts(&mut cluster).await?;
    the_log_commits_to_the_partitions(&cluster).await
}

async fn every_subject_is_in_one_group(cluster: &Running) -> anyhow::Result<()> {
    let mut expected: BTreeMap<u16, u64> = BTreeMap::new();
    for number in 0..SUBJECTS {
        *expected.entry(partition(cluster, number)?).or_default() += 2;
    }
    let (records, _) = groups(cluster).await?;
    ensure!(records == expected, "{records:?}, not {expected:?}");
    let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);
    for number in one_of_each(cluster)?.into_values() {
        let subject = cluster.subject(&account(number))?;
        let all = (Minute(0), Minute(u32::MAX));
        let listed = intake.labels(home(), subject, all.0, all.1, 10).await?;
        ensure!(listed.labels.len() == 2, "{number}: {:?}", listed.labels);
    }
    Ok(())
}

/// Neither nobody nor one committee opens anything; both open exactly what was asked.
async fn one_subject_of_another_partition(cluster: &Running) -> anyhow::Result<()> {
    let subjects = one_of_each(cluster)?;
    let number = subjects[&2];
    let request = cluster.request(&account(number), "part-1").await?;
    ensure!(request.selection.count == 2, "{}", request.selection.count);
    cluster.opens_nothing(request.id).await?;
    cluster
        .approve(request.id, &["anna", "ben", "chloe"])
        .await?;
    cluster.opens_nothing(request.id).await?;
    cluster.approve(request.id, &["dora"]).await?;
    cluster.opens_nothing(request.id).await?;
    let desk = cluster.stage.cluster(RECIPIENT).map_err(failed)?;
    let early = ciphertexts(&desk, 2, request.id).await;
    ensure!(early.is_err(), "no ciphertext before a release: {early:?}");
    cluster.approve(request.id, &["emil"]).await?;
    let out = cluster.values(request.id).await?;
    ensure!(out == values_of(&[number]), "{out:?}");
    Ok(())
}

/// One order on a subject of each partition is one request, one review, one disclosure.
async fn subjects_of_all_partitions(cluster: &Running) -> anyhow::Result<()> {
    let subjects: Vec<u8> = one_of_each(cluster)?.into_values().collect();
    let template = cluster.request(&account(subjects[0]), "part-2").await?;
    let mut request = template.request;
    let line = request.scope[0].clone();
    request.scope.clear();
    for number in &subjects {
        let mut line = line.clone();
        line.subject = cluster.subject(&account(*number))?;
        request.scope.push(line);
    }
    // The canonical order.
    request.scope.sort_by_key(|line| line.subject);
    request.reference = "part-3".to_owned();
    request.salt = rand::random();
    let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);
    let view = intake.submit(request.clone(), bytes::Bytes::new()).await?;
    ensure!(view.selection.count == 6, "{}", view.selection.count);
    let again = intake.submit(request, bytes::Bytes::new()).await?;
    ensure!(
        again.selection == view.selection,
        "sent again, it is the same"
    );
    cluster.approve(view.id, &["anna", "ben"]).await?;
    cluster.opens_nothing(view.id).await?;
    cluster.approve(view.id, &["dora", "emil"]).await?;
    let out = cluster.values(view.id).await?;
    ensure!(out == values_of(&subjects), "{out:?}");
    Ok(())
}

async fn a_freeze_and_a_recall_reach_every_partition(cluster: &Running) -> anyhow::Result<()> {
    let number = one_of_each(cluster)?[&1];
    let operator = cluster.stage.operator().map_err(failed)?;
    let request = cluster.request(&account(number), "part-4").await?.id;
    operator.freeze(home(), true, "a drill").await?;
    let (_, frozen) = groups(cluster).await?;
    ensure!(frozen, "the answer came when every group was frozen");
    cluster.approve(request, &BOTH_QUORUMS).await?;
    cluster.opens_nothing(request).await?;
    operator.freeze(home(), false, "over").await?;
    ensure!(
        cluster.values(request).await? == values_of(&[number]),
        "whole"
    );

    let desk = cluster.stage.cluster(RECIPIENT).map_err(failed)?;
    ensure!(ciphertexts(&desk, 1, request).await? == 2, "released");
    let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);
    intake.recall(home(), request, "withdrawn").await?;
    let after = ciphertexts(&desk, 1, request).await;
    ensure!(after.is_err(), "no ciphertext after a recall: {after:?}");
    Ok(())
}

/// The node that leads a partition is killed: its subjects' requests go on with another leader.
async fn a_lost_leader_of_a_partition(cluster: &mut Running) -> anyhow::Result<()> {
    let number = one_of_each(cluster)?[&2];
    let nodes = cluster.stage.operator().map_err(failed)?.status().await?;
    let mut leader = None;
    for (node, status) in nodes {
        let mut groups = status.context("a status")?.groups.into_iter();
        let leads = groups.any(|group| {
            let of = group.shard.filter(|shard| shard.jurisdiction == home());
            of.is_some_and(|shard| shard.partition == 2) && group.leader == Some(node.id)
        });
        leader = leader.or(leads.then_some(node.name));
    }
    let leader = leader.context("a leader of the partition")?.to_string();
    cluster.stage.kill(&leader).map_err(failed)?;
    let request = cluster.request(&account(number), "part-5").await?.id;
    cluster.approve(request, &BOTH_QUORUMS).await?;
    ensure!(
        cluster.values(request).await? == values_of(&[number]),
        "whole"
    );
    cluster.stage.start_one(&leader).map_err(failed)?;
    cluster.ready(&leader).await
}

/// An approver's configuration, with this seed only, and France only; returns what it was.
fn attend_only(cluster: &Running, name: &str, seed: &str) -> anyhow::Result<(PathBuf, String)> {
    let path = cluster.root().join(name).join(format!("{name}.toml"));
    let before = std::fs::read_to_string(&path)?;
    let mut config: toml::Table = before.parse()?;
    config.insert("seeds".into(), toml::Value::Array(vec![seed.into()]));
    let only = vec![home().as_str().into()];
    config.insert("jurisdictions".into(), toml::Value::Array(only));
    std::fs::write(&path, toml::to_string(&config)?)?;
    Ok((path, before))
}

/// Attack: a vault shows blocks of a partition that the home log does not commit to. Their proofs lead to
/// no logged root, and nobody who is shown them releases anything.
async fn a_vault_that_shows_an_unlogged_block_is_refused(
    cluster: &mut Running,
) -> anyhow::Result<()> {
    let number = one_of_each(cluster)?[&1];
    let lies = Arc::new(AtomicBool::new(true));
    let told = Arc::new(AtomicUsize::new(0));
    let (lying, telling) = (lies.clone(), told.clone());
    let lie = move |operation, reply: bytes::Bytes| {
        if operation != Operation::ReadPart || !lying.load(Ordering::Relaxed) {
            return reply;
        }
        let mut page: PartPage = codec::decode(&reply).expect("a vault's answer");
        for block in &mut page.blocks {
            block.leaf.private_salt.0[0] ^= 1;
        }
        telling.fetch_add(1, Ordering::Relaxed);
        codec::encode(&page).expect("encodes").into()
    };
    let members = ["workflow-1", "workflow-2", "workflow-3"];
    let forks = Arc::new(AtomicBool::new(false));
    let liar = LyingVault::start_voter(cluster, &members, Arc::new(lie), forks).await?;
    let mut honest = Vec::new();
    for name in members {
        honest.push(attend_only(cluster, name, &liar.address)?);
        cluster.restart(name).await?;
    }
    let request = cluster.request(&account(number), "part-6").await?.id;
    cluster.approve(request, &BOTH_QUORUMS).await?;
    let view = eventually("workflow's refusals", PATIENCE, || async {
        let view = cluster.view(request).await?;
        Ok((view.member_refusals.len() >= 2).then_some(view))
    })
    .await?;
    for (role, _, reason) in &view.member_refusals {
        ensure!(*role == Role::Workflow, "legal review was not lied to");
        ensure!(
            reason.contains("not in the log of its partition"),
            "{reason}"
        );
    }
    ensure!(told.load(Ordering::Relaxed) >= 2, "they were lied to");
    cluster.opens_nothing(request).await?;

    // The control: through the same vault, when it does not lie, another request opens.
    lies.store(false, Ordering::Relaxed);
    let request = cluster.request(&account(number), "part-7").await?.id;
    cluster.approve(request, &BOTH_QUORUMS).await?;
    ensure!(
        cluster.values(request).await? == values_of(&[number]),
        "whole"
    );
    for (path, config) in honest {
        std::fs::write(path, config)?;
    }
    for name in members {
        cluster.restart(name).await?;
    }
    Ok(())
}

/// Approvers that were restarted answer the sessions of an edge that was: in every partition.
async fn new_sessions_after_restarts(cluster: &mut Running) -> anyhow::Result<()> {
    cluster.restart(EDGE).await?;
    let (before, _) = groups(cluster).await?;
    let mut records = Vec::new();
    for (partition, number) in one_of_each(cluster)? {
        let port = 5000 + u32::from(partition);
        let address = format!("198.51.100.{number}");
        let at = inside(window(), 4);
        records.push(ip(&account(number), "FR", &address, port, &at));
    }
    cluster.put(records).await?;
    let (after, _) = groups(cluster).await?;
    let one_more = before
        .iter()
        .all(|(partition, records)| after[partition] == records + 1);
    ensure!(one_more, "{before:?}, then {after:?}");
    Ok(())
}

/// The number of partitions and their roots are leaves that an auditor finds under a cosigned checkpoint.
async fn the_log_commits_to_the_partitions(cluster: &Running) -> anyhow::Result<()> {
    let auditor = cluster.stage.profile(AUDITOR).map_err(failed)?;
    let trust = auditor.trust_file().map_err(failed)?;
    let reach = cluster.stage.cluster(AUDITOR).map_err(failed)?;
    let roots = eventually(
        "roots of both partitions",
        Duration::from_secs(20),
        || async {
            let log = read_log(&reach, &trust, home(), 0).await?;
            let mut count = None;
            let mut last: BTreeMap<u16, (u64, bailiwick_types::Digest)> = BTreeMap::new();
            for (_, leaf) in log.leaves {
                match leaf.content {
                    LeafContent::Partitions { count: said } => count = Some(said),
                    LeafContent::PartitionRoot(root) => {
                        root.follows(last.get(&root.partition).copied())?;
                        last.insert(root.partition, (root.size, root.root));
                    }
                    _ => {}
                }
            }
            ensure!(count == Some(COUNT), "{count:?}");
            Ok((last.len() == usize::from(COUNT) - 1).then_some(last))
        },
    )
    .await?;
    ensure!(roots.values().all(|(size, _)| *size > 2), "{roots:?}");
    Ok(())
}
