//! Thieves: every vault node's disk, every workflow approver's keys, the operator's certificate, and one
//! legal-review approver less than the threshold open nothing. The same code with one more opens
//! everything, so that the test can fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use bailiwick_cli::commands::disclose::disclosed;
use bailiwick_cli::dev::stage::home;
use bailiwick_envelope::SigningKey;
use bailiwick_envelope::block::SealedRecord;
use bailiwick_envelope::certificate::VerifiedCertificate;
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::release::{PartialBody, PartialPlace};
use bailiwick_envelope::selection::Selection;
use bailiwick_node::files::read_signing_key;
use bailiwick_shard::query;
use bailiwick_storage::{Disk, OsDisk, RecordStore, RecordStoreOptions, StoreView};
use bailiwick_tests::{cluster, failed, inside, ip, phone, window};
use bailiwick_threshold::{
    DecapsulationKey, OpeningError, SelectedRecord, VerifiedPartial, open_part, open_partial,
    open_records, seal_partial,
};
use bailiwick_types::store::ReadStore;
use bailiwick_types::{Digest, KeyId, RequestId, Role, SessionId, Slot, SlotMask};
use std::ops::Bound;

/// What a stolen disk of the jurisdiction's home shard gives.
struct Loot {
    request: RequestId,
    selection: Selection,
    records: Vec<SelectedRecord>,
    sessions: BTreeMap<SessionId, SessionHeader>,
    certificate: VerifiedCertificate,
    edge_key: bailiwick_envelope::IdentityKey,
}

/// The ciphertext of the record with this commitment, wherever it lies in the store.
fn ciphertext(store: &StoreView, alpha: &Digest) -> anyhow::Result<Vec<u8>> {
    for table in store.tables()? {
        let mut from = Bound::Unbounded;
        let mut last: Vec<u8>;
        loop {
            let rows = store.scan(table, from, Bound::Unbounded, 1000)?;
            for (_, value) in &rows {
                if let Ok(record) = SealedRecord::from_row(value)
                    && record.alpha == *alpha
                {
                    return Ok(record.ciphertext);
                }
            }
            match rows.last() {
                Some((key, _)) => last = key.clone(),
                None => break,
            }
            from = Bound::Excluded(&last[..]);
        }
    }
    anyhow::bail!("no ciphertext with alpha {alpha}")
}

fn steal(root: &Path, request: RequestId) -> anyhow::Result<Loot> {
    for vault in 1..=3 {
        let groups = root.join(format!("vault-{vault}/data/groups"));
        for entry in std::fs::read_dir(&groups)? {
            let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(entry?.path()));
            let store = RecordStore::open(&disk, "records.redb", &RecordStoreOptions::default())?;
            let view = store.read()?;
            let found = query::request(&view, request, bailiwick_client::now())?;
            if let Some(found) = found {
                return loot(root, &view, found.selection, request);
            }
        }
    }
    anyhow::bail!("no stolen disk holds the request")
}

fn loot(
    root: &Path,
    view: &StoreView,
    selection: Selection,
    request: RequestId,
) -> anyhow::Result<Loot> {
    let page = query::evidence(view, request, 0, 1000)?.context("the selection's evidence")?;
    let certificate = query::certificates(view)?
        .pop()
        .context("a certificate")?
        .certificate;
    let trust = std::fs::read_to_string(root.join("trust.toml"))?;
    let trust = bailiwick_disclosure::TrustFile::parse(&trust)?;
    let trust = trust
        .jurisdiction(home())
        .context("the jurisdiction's trust")?;
    let sessions: BTreeMap<_, _> = page
        .sessions
        .into_iter()
        .map(|header| (header.id(), header))
        .collect();
    let mut records = Vec::new();
    for record in page.records {
        let kid = sessions[&record.label.sid].body.kid;
        let ciphertext = ciphertext(view, &record.alpha)?;
        let (index, label, alpha) = (record.index, record.label, record.alpha);
        records.push(SelectedRecord {
            index,
            label,
            alpha,
            ciphertext,
            kid,
        });
    }
    let edge = sessions
        .values()
        .next()
        .context("a session")?
        .body
        .edge
        .clone();
    Ok(Loot {
        request,
        selection,
        records,
        sessions,
        certificate: certificate.verify(trust.roster())?,
        edge_key: *trust.edge(&edge).context("the edge's key")?,
    })
}

/// A stolen member: its identity key, and its period keys by certificate.
struct Member {
    role: Role,
    slot: Slot,
    identity: SigningKey,
    periods: Vec<[u8; 32]>,
}

fn member(root: &Path, role: Role, number: u8) -> anyhow::Result<Member> {
    let name = match role {
        Role::Workflow => format!("workflow-{number}"),
        Role::LegalReview => format!("legal-{number}"),
    };
    let folder = root.join(&name).join("data").join(home().as_str());
    let is_keys = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.ends_with(".keys") && !name.starts_with("draft-")
    };
    let files = bailiwick_tests::files(&folder)?;
    let path = files
        .into_iter()
        .find(is_keys)
        .context("the member's keys")?;
    let bytes = std::fs::read(path)?;
    // The first seed is the documents' key.
    let periods = bytes.as_chunks::<32>().0.iter().skip(1).copied().collect();
    let identity = read_signing_key(&root.join("keys").join(format!("{name}.key")))?;
    Ok(Member {
        role,
        slot: Slot::new(number)?,
        identity,
        periods,
    })
}

/// Everything that the stolen members can say about the records, sealed to the thief's own key.
fn partials(
    loot: &Loot,
    members: &[Member],
    thief: &(DecapsulationKey, bailiwick_envelope::EncapsulationKey),
) -> anyhow::Result<Vec<VerifiedPartial>> {
    let mut partials = Vec::new();
    let body = loot.certificate.body();
    for member in members {
        let mut by_period: BTreeMap<KeyId, Vec<_>> = BTreeMap::new();
        for record in &loot.records {
            let header = loot.sessions[&record.label.sid].clone();
            let (workflow, legal) = (body.workflow.threshold, body.legal_review.threshold);
            let header = header.verify(&loot.edge_key, workflow, legal)?;
            let period = loot
                .certificate
                .period_of(&record.kid)
                .context("the period")?;
            let key = DecapsulationKey::from_bytes(&member.periods[period]);
            let part = open_part(&header, &loot.certificate, member.role, member.slot, &key);
            let mut part = part.map_err(|_| anyhow::anyhow!("a stolen part opens"))?;
            let x = record.label.record_input(&record.alpha);
            let values = part.values(record.label.block, &[(record.index, x)]);
            by_period.entry(record.kid).or_default().extend(values);
        }
        for (kid, records) in by_period {
            let place = PartialPlace {
                request: loot.request,
                leaf_index: 0,
                kid,
                role: member.role,
                slot: member.slot,
                chunk: 0,
            };
            let selection = loot.selection.id();
            let body = PartialBody {
                place,
                selection,
                roster: 0,
                records,
            };
            let sealed = seal_partial(&mut rand::rng(), &thief.1, &body, &member.identity)?;
            let identity = bailiwick_envelope::IdentityKey::of(&member.identity);
            partials.push(open_partial(&thief.0, &sealed, &identity)?);
        }
    }
    Ok(partials)
}

fn open(loot: &Loot, members: &[Member]) -> anyhow::Result<Result<Vec<String>, OpeningError>> {
    let thief = DecapsulationKey::generate(&mut rand::rng());
    let partials = partials(loot, members, &thief)?;
    let mut certificates = BTreeMap::new();
    for record in &loot.records {
        certificates.insert(record.kid, &loot.certificate);
    }
    let opened = open_records(
        &certificates,
        loot.request,
        &loot.selection,
        &loot.records,
        &partials,
    );
    Ok(opened.map(|opening| disclosed(&opening).into_iter().map(|r| r.value).collect()))
}

/// openbao issue 1669 and a run of 2.7.2: there, root reads without approvals. Here the operator's
/// certificate, all disks and all of one committee do not, whatever they compute.
#[tokio::test(flavor = "multi_thread")]
async fn root_reads_nothing() -> anyhow::Result<()> {
    let mut cluster = cluster(env!("CARGO_BIN_EXE_bailiwick-process"), &[]).await?;
    let window = window();
    let at = |minutes| inside(window, minutes);
    let records = vec![
        phone("alice", "FR", "+33612345678", &at(1)),
        ip("alice", "FR", "192.0.2.7", 4001, &at(2)),
    ];
    cluster.stage.put(records, 1).await.map_err(failed)?;
    let request = cluster
        .stage
        .request("alice", window, "case-1")
        .await
        .map_err(failed)?
        .id;
    // The operator's certificate opens no door to records either.
    let operator = cluster.stage.cluster("operator-1").map_err(failed)?;
    let as_recipient = bailiwick_api::evidence::ReadCiphertext {
        shard: bailiwick_types::ShardId::home(home()),
        request,
        from: 0,
        limit: 10,
    };
    let denied: Result<bailiwick_api::evidence::Ciphertexts, _> = operator
        .call(
            Some(as_recipient.shard),
            bailiwick_transport::Operation::ReadCiphertext,
            &as_recipient,
        )
        .await;
    ensure!(
        matches!(denied, Err(bailiwick_client::CallFailure::NotAuthorised(_))),
        "an operator may not even ask"
    );
    for service in cluster.stage.layout.services() {
        cluster.stage.stop(service.name.as_str()).map_err(failed)?;
    }

    // All disks, the whole workflow committee, and one of legal review, of whom two are needed.
    let root = cluster.root().to_owned();
    let loot = steal(&root, request)?;
    ensure!(
        loot.records.len() == 2,
        "both records' ciphertext was found"
    );
    let mut stolen = Vec::new();
    for number in 1..=3 {
        stolen.push(member(&root, Role::Workflow, number)?);
    }
    for number in 1..=3u8 {
        let mut with_one = Vec::new();
        with_one.push(member(&root, Role::LegalReview, number)?);
        let legal = loot.certificate.body().legal_review.threshold;
        let reached: SlotMask = with_one.iter().map(|member| member.slot).collect();
        let missed = legal
            .holder_sets()
            .iter()
            .filter(|set| set.0 & reached.0 == 0)
            .count();
        ensure!(
            missed > 0,
            "one member of legal review misses a key of every session"
        );
        with_one.extend(
            (1..=3)
                .map(|n| member(&root, Role::Workflow, n))
                .collect::<Result<Vec<_>, _>>()?,
        );
        let opened = open(&loot, &with_one)?;
        ensure!(
            matches!(
                opened,
                Err(OpeningError::NotEnough {
                    role: Role::LegalReview,
                    ..
                })
            ),
            "nothing opens with legal-{number} alone: {opened:?}"
        );
    }

    // The control: with one more, the same code opens everything.
    stolen.push(member(&root, Role::LegalReview, 1)?);
    stolen.push(member(&root, Role::LegalReview, 2)?);
    let mut opened = open(&loot, &stolen)?.context("both quorums' keys open")?;
    opened.sort();
    ensure!(opened == ["+33612345678", "192.0.2.7"], "{opened:?}");
    Ok(())
}
