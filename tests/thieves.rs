//! Thieves: every vault node's disk, all of one committee's keys, the operator's certificate, and one
//! member less than the other committee's threshold open no record of any shard, whatever is computed
//! or guessed from them. The same code with one member more opens everything, so that the test can fail.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_api::evidence::{Ciphertexts, ReadCiphertext};
use bailiwick_cli::commands::disclose::disclosed;
use bailiwick_cli::commands::request::{Order, pseudonym_key};
use bailiwick_cli::dev::layout::{INTAKE, JURISDICTIONS, OPERATOR, VAULTS, name};
use bailiwick_cli::keys::RecipientCard;
use bailiwick_client::CallFailure;
use bailiwick_client::intake::Intake;
use bailiwick_envelope::block::SealedRecord;
use bailiwick_envelope::certificate::{
    KeyCertificate, MemberSignature, TrustRoster, TrustedCommittee, TrustedMember, TrustedReviewer,
    VerifiedCertificate,
};
use bailiwick_envelope::header::SessionHeader;
use bailiwick_envelope::release::{PartialBody, PartialPlace, RecordValues};
use bailiwick_envelope::request::Purpose;
use bailiwick_envelope::selection::Selection;
use bailiwick_envelope::{IdentityKey, SigningKey};
use bailiwick_shard::query;
use bailiwick_storage::{Disk, OsDisk, RecordStore, RecordStoreOptions, StoreView};
use bailiwick_tests::{Running, cluster, failed, inside, ip, phone, window};
use bailiwick_threshold::{
    DecapsulationKey, OpeningError, SelectedRecord, open_part, open_partial, open_records,
    pseudonym, seal_partial,
};
use bailiwick_transport::Operation;
use bailiwick_types::store::ReadStore;
use bailiwick_types::{
    Category, Digest, Jurisdiction, KeyId, RequestId, Role, SessionId, ShardId, Slot, SlotMask,
};

/// What went in: account, residence, value.
const RECORDS: [(&str, &str, &str); 6] = [
    ("alice", "FR", "+33612345678"),
    ("alice", "FR", "192.0.2.7"),
    ("bob", "FR", "192.0.2.8"),
    ("carol", "DE", "+4915112345678"),
    ("dave", "US", "+14155552671"),
    ("dave", "US", "192.0.2.9"),
];

/// A selection as the stolen disks give it: what the thief wants to open.
struct Loot {
    jurisdiction: Jurisdiction,
    request: RequestId,
    selection: Selection,
    records: Vec<SelectedRecord>,
    sessions: BTreeMap<SessionId, SessionHeader>,
    certificate: VerifiedCertificate,
    edge_key: IdentityKey,
}

/// A stolen disk's copy of one shard.
struct Copy {
    shard: ShardId,
    records: u64,
    loot: Vec<Loot>,
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

/// Every shard on a vault node's disk, with every request of it: one was made for each subject, which an
/// intake may do at any time and nobody approved.
fn steal(root: &Path, vault: u16) -> anyhow::Result<Vec<Copy>> {
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(root.join(format!("vault-{vault}/data/groups")))? {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(entry?.path()));
        let store = RecordStore::open(&disk, "records.redb", &RecordStoreOptions::default())?;
        let view = store.read()?;
        // The directory's group is none.
        let Some(info) = query::shard_info(&view)? else {
            continue;
        };
        let now = bailiwick_client::now();
        let (requests, more) = query::requests(&view, None, 100, false, now)?;
        ensure!(!more, "all requests are read");
        let jurisdiction = info.shard.jurisdiction;
        let loot = requests
            .into_iter()
            .map(|found| loot(root, &view, jurisdiction, found.selection));
        copies.push(Copy {
            shard: info.shard,
            records: info.records,
            loot: loot.collect::<Result<_, _>>()?,
        });
    }
    Ok(copies)
}

fn loot(
    root: &Path,
    view: &StoreView,
    jurisdiction: Jurisdiction,
    selection: Selection,
) -> anyhow::Result<Loot> {
    let request = selection.request;
    let page = query::evidence(view, request, 0, 1000)?.context("the selection's evidence")?;
    let certificates = query::certificates(view)?;
    let certificate = certificates.into_iter().next_back();
    let certificate = certificate.context("a certificate")?.certificate;
    let trust = std::fs::read_to_string(root.join("trust.toml"))?;
    let trust = bailiwick_disclosure::TrustFile::parse(&trust)?;
    let trust = trust.jurisdiction(jurisdiction).context("its trust")?;
    let headers = page.sessions.into_iter();
    let sessions: BTreeMap<_, _> = headers.map(|header| (header.id(), header)).collect();
    let mut records = Vec::new();
    for record in page.records {
        records.push(SelectedRecord {
            index: record.index,
            kid: sessions[&record.label.sid].body.kid,
            ciphertext: ciphertext(view, &record.alpha)?,
            label: record.label,
            alpha: record.alpha,
        });
    }
    let edge_key = *trust.edge(&name("edge-1")).context("the edge's key")?;
    Ok(Loot {
        jurisdiction,
        request,
        selection,
        records,
        sessions,
        certificate: certificate.verify(trust.roster())?,
        edge_key,
    })
}

/// Everything that stolen keys say about the records: by record, role and holder set.
type Known = BTreeMap<(u32, Role, SlotMask), [u8; 32]>;

/// The period keys on a member's disk for one jurisdiction.
fn stolen_keys(
    root: &Path,
    role: Role,
    number: u8,
    jurisdiction: Jurisdiction,
) -> anyhow::Result<Vec<[u8; 32]>> {
    let member = bailiwick_cli::dev::layout::approver(role, number);
    let folder = root.join(member.as_str()).join("data");
    let is_keys = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".keys") && !name.starts_with("draft-")
    };
    let files = bailiwick_tests::files(&folder.join(jurisdiction.as_str()))?;
    let path = files.into_iter().find(is_keys).context("a file of keys")?;
    let bytes = std::fs::read(path)?;
    // The first seed is the documents' key.
    Ok(bytes.as_chunks::<32>().0.iter().skip(1).copied().collect())
}

/// What these members' keys say about the records of the loot.
fn derive(root: &Path, loot: &Loot, members: &[(Role, u8)]) -> anyhow::Result<Known> {
    let mut known = Known::new();
    let body = loot.certificate.body();
    for (role, number) in members {
        let keys = stolen_keys(root, *role, *number, loot.jurisdiction)?;
        for record in &loot.records {
            let header = loot.sessions[&record.label.sid].clone();
            let (workflow, legal) = (body.workflow.threshold, body.legal_review.threshold);
            let header = header.verify(&loot.edge_key, workflow, legal)?;
            let period = loot.certificate.period_of(&record.kid);
            let key = DecapsulationKey::from_bytes(&keys[period.context("the period")?]);
            let slot = Slot::new(*number)?;
            let part = open_part(&header, &loot.certificate, *role, slot, &key);
            let mut part = part.map_err(|_| anyhow::anyhow!("a stolen part opens"))?;
            let x = record.label.record_input(&record.alpha);
            for values in part.values(record.label.block, &[(record.index, x)]) {
                for (set, value) in &values.values {
                    known.insert((record.index, *role, *set), *value);
                }
            }
        }
    }
    Ok(known)
}

/// The certificate that opens a shard's sessions, and every stolen member's identity key.
type Thieves = (VerifiedCertificate, BTreeMap<(Role, Slot), SigningKey>);

/// A certificate of the thief's own making for the loot's committees: its members' identities are keys
/// that the thief has, so that it can sign any answer in any member's name.
fn masks(loot: &Loot) -> anyhow::Result<Thieves> {
    let mut keys = BTreeMap::new();
    let mut body = loot.certificate.body().clone();
    let mut rosters = Vec::new();
    for role in Role::ALL {
        let committee = match role {
            Role::Workflow => &mut body.workflow,
            Role::LegalReview => &mut body.legal_review,
        };
        let mut members = Vec::new();
        for member in &mut committee.members {
            let key = SigningKey::from_bytes(&rand::random());
            member.identity = IdentityKey::of(&key);
            keys.insert((role, member.slot), key);
            let reviewers = member.reviewers.iter().map(|key| TrustedReviewer {
                person: name("nobody"),
                key: *key,
            });
            members.push(TrustedMember {
                slot: member.slot,
                name: member.name.clone(),
                organisation: member.organisation.clone(),
                identity: member.identity,
                reviewers: reviewers.collect(),
            });
        }
        let needed = committee.threshold.needed();
        rosters.push(TrustedCommittee { needed, members });
    }
    let signatures = keys.iter().map(|((role, slot), key)| MemberSignature {
        role: *role,
        slot: *slot,
        signature: body.sign(key),
    });
    let certificate = KeyCertificate {
        signatures: signatures.collect(),
        body,
    };
    let legal_review = rosters.pop().context("two committees")?;
    let workflow = rosters.pop().context("two committees")?;
    let roster = TrustRoster {
        workflow,
        legal_review,
    };
    Ok((certificate.verify(&roster)?, keys))
}

/// Opens what opens when members of both roles answer with `value` for each record and holder set;
/// members for whom it has no value at one of their sets do not answer.
fn open(
    loot: &Loot,
    value: impl Fn(u32, Role, SlotMask) -> Option<[u8; 32]>,
) -> anyhow::Result<Result<Vec<String>, OpeningError>> {
    let (certificate, identities) = masks(loot)?;
    let thief = DecapsulationKey::generate(&mut rand::rng());
    let mut partials = Vec::new();
    let periods: std::collections::BTreeSet<KeyId> = loot.records.iter().map(|r| r.kid).collect();
    for kid in &periods {
        for ((role, slot), key) in &identities {
            let sets = certificate.body().committee(*role).threshold.holder_sets();
            let own: Vec<_> = sets.into_iter().filter(|set| set.contains(*slot)).collect();
            let of_period = loot.records.iter().filter(|record| record.kid == *kid);
            let records = of_period.filter_map(|record| {
                let index = record.index;
                let values = own
                    .iter()
                    .map(|set| Some((*set, value(index, *role, *set)?)));
                Some(RecordValues {
                    index,
                    values: values.collect::<Option<Vec<_>>>()?,
                })
            });
            let place = PartialPlace {
                request: loot.request,
                leaf_index: 0,
                kid: *kid,
                role: *role,
                slot: *slot,
                chunk: 0,
            };
            let body = PartialBody {
                place,
                selection: loot.selection.id(),
                roster: 0,
                records: records.collect(),
            };
            let sealed = seal_partial(&mut rand::rng(), &thief.1, &body, key)?;
            partials.push(open_partial(&thief.0, &sealed, &IdentityKey::of(key))?);
        }
    }
    let certificates = periods.iter().map(|kid| (*kid, &certificate)).collect();
    let opened = open_records(
        &certificates,
        loot.request,
        &loot.selection,
        &loot.records,
        &partials,
    );
    Ok(opened.map(|opening| disclosed(&opening).into_iter().map(|r| r.value).collect()))
}

/// What a thief puts in place of a value that it does not have: nothing at all, chance, and everything
/// that it does have, which covers keys used twice and keys that follow from each other by name only.
fn guesses(known: &Known) -> Vec<[u8; 32]> {
    let mut guesses: Vec<[u8; 32]> = vec![[0; 32], [0xff; 32], rand::random()];
    guesses.extend(known.values());
    let mut all = [0; 32];
    for value in known.values() {
        all.iter_mut()
            .zip(value)
            .for_each(|(sum, byte)| *sum ^= byte);
    }
    guesses.push(all);
    guesses
}

/// All of one committee and one member of the other: no record opens, neither by what the keys say nor
/// with any guess at what they do not.
fn opens_nothing(root: &Path, loot: &Loot, stolen: &[(Role, u8)]) -> anyhow::Result<()> {
    let known = derive(root, loot, stolen)?;
    let opened = open(loot, |index, role, set| {
        known.get(&(index, role, set)).copied()
    })?;
    ensure!(
        matches!(opened, Err(OpeningError::NotEnough { .. })),
        "what the stolen keys say is not enough: {opened:?}"
    );
    for guess in guesses(&known) {
        let opened = open(loot, |index, role, set| {
            Some(known.get(&(index, role, set)).copied().unwrap_or(guess))
        })?;
        ensure!(
            matches!(opened, Err(OpeningError::EdgeFaultOrTooManyLiars { .. })),
            "a guess opens nothing: {opened:?}"
        );
    }
    Ok(())
}

/// Enters a request for all that there is of a subject, in its own jurisdiction.
async fn ask(cluster: &Running, place: usize, account: &str) -> anyhow::Result<u32> {
    let (code, _, authority) = JURISDICTIONS[place];
    let jurisdiction = code.parse()?;
    let profile = cluster.stage.profile(INTAKE).map_err(failed)?;
    let path = cluster.stage.layout.policy(code);
    let policy = profile.policy(jurisdiction, Some(&path)).map_err(failed)?;
    let key = pseudonym_key(&profile, jurisdiction).map_err(failed)?;
    let order = Order {
        custody: policy.clone(),
        forum: policy,
        subject: pseudonym(&key, account),
        kinds: vec![Category::Phone, Category::Ip],
        window: (window().from, window().to),
        purpose: Purpose::History,
        legal_basis: "none".to_owned(),
        authority: name(authority),
        reference: format!("theft-{account}"),
        entered_by: profile.name.clone(),
        recipient: RecipientCard::load(&cluster.stage.layout.recipient_card()).map_err(failed)?,
        cap: 100,
        not_after: bailiwick_client::now().plus(Duration::from_secs(3600)),
    };
    let request = order.into_request(&[]).map_err(failed)?;
    let intake = Intake::new(cluster.stage.cluster(INTAKE).map_err(failed)?);
    let view = intake.submit(request, bytes::Bytes::new()).await?;
    Ok(view.selection.count)
}

/// The operator's certificate opens no door to records either: it may not even ask.
async fn operator_reads_no_ciphertext(cluster: &Running) -> anyhow::Result<()> {
    let operator = cluster.stage.cluster(OPERATOR).map_err(failed)?;
    let shard = ShardId::home("FR".parse()?);
    let message = ReadCiphertext {
        shard,
        request: RequestId([7; 32]),
        from: 0,
        limit: 10,
    };
    let denied: Result<Ciphertexts, _> = operator
        .call(Some(shard), Operation::ReadCiphertext, &message)
        .await;
    ensure!(
        matches!(denied, Err(CallFailure::NotAuthorised(_))),
        "an operator may not even ask"
    );
    Ok(())
}

/// The stolen disks, once per shard; and that each shard lies on its three nodes and on no others.
fn steal_all(root: &Path) -> anyhow::Result<Vec<Copy>> {
    let mut shards: BTreeMap<ShardId, Copy> = BTreeMap::new();
    let mut places: BTreeMap<ShardId, Vec<&str>> = BTreeMap::new();
    for (vault, region) in VAULTS {
        for copy in steal(root, vault)? {
            places.entry(copy.shard).or_default().push(region);
            // Whoever was stopped first may lack the last request.
            let known = shards.get(&copy.shard).map_or(0, |known| known.loot.len());
            if copy.loot.len() > known {
                shards.insert(copy.shard, copy);
            }
        }
    }
    for (code, region, _) in JURISDICTIONS {
        let shard = ShardId::home(code.parse()?);
        let lies = places.get(&shard).context("each shard is stolen")?;
        ensure!(lies == &[region; 3], "{code} lies in {lies:?}");
    }
    Ok(shards.into_values().collect())
}

/// openbao issue 1669 and a run of 2.7.2: there, root reads without approvals. Here the operator's
/// certificate, all disks and all of one committee do not, whatever they compute.
#[tokio::test(flavor = "multi_thread")]
async fn root_reads_nothing() -> anyhow::Result<()> {
    let mut cluster = cluster(env!("CARGO_BIN_EXE_bailiwick-process"), &[]).await?;
    let records = RECORDS.iter().enumerate().map(|(number, record)| {
        let (account, residence, value) = *record;
        let at = inside(window(), number as u64 + 1);
        match value.starts_with('+') {
            true => phone(account, residence, value, &at),
            false => ip(account, residence, value, 4000 + number as u32, &at),
        }
    });
    cluster.put(records.collect()).await?;
    let mut selected = 0;
    for (place, account) in [(0, "alice"), (0, "bob"), (1, "carol"), (2, "dave")] {
        selected += ask(&cluster, place, account).await?;
    }
    ensure!(selected as usize == RECORDS.len(), "{selected} selected");

    operator_reads_no_ciphertext(&cluster).await?;

    // Stopped in order; all disks are there to be read.
    for service in cluster.stage.layout.services() {
        cluster.stage.stop(service.name.as_str()).map_err(failed)?;
    }
    let root = cluster.root().to_owned();
    let copies = steal_all(&root)?;
    let held: u64 = copies.iter().map(|copy| copy.records).sum();
    ensure!(held as usize == RECORDS.len(), "{held} records are held");
    let all: Vec<&Loot> = copies.iter().flat_map(|copy| &copy.loot).collect();
    let found: usize = all.iter().map(|loot| loot.records.len()).sum();
    ensure!(
        found == RECORDS.len(),
        "every record's ciphertext was found"
    );

    // Either committee whole, and any one of the other.
    for whole in Role::ALL {
        let other = match whole {
            Role::Workflow => Role::LegalReview,
            Role::LegalReview => Role::Workflow,
        };
        for number in 1..=3 {
            let mut stolen: Vec<_> = (1..=3).map(|of| (whole, of)).collect();
            stolen.push((other, number));
            for loot in &all {
                let what = format!("all of {whole} and {other} slot {number}");
                opens_nothing(&root, loot, &stolen).with_context(|| what)?;
            }
        }
    }
    both_quorums_open_everything(&root, &all)
}

/// The control: with one member more the same code opens every record, and so does the right guess.
fn both_quorums_open_everything(root: &Path, all: &[&Loot]) -> anyhow::Result<()> {
    let one_more = [
        (Role::Workflow, 1),
        (Role::Workflow, 3),
        (Role::LegalReview, 1),
        (Role::LegalReview, 2),
    ];
    let mut out = Vec::new();
    for loot in all {
        let known = derive(root, loot, &one_more)?;
        let opened = open(loot, |index, role, set| {
            known.get(&(index, role, set)).copied()
        })?;
        out.extend(opened.context("both quorums' keys open")?);

        let short = derive(root, loot, &one_more[..3])?;
        let right = open(loot, |index, role, set| {
            let stolen = short.get(&(index, role, set));
            stolen.or_else(|| known.get(&(index, role, set))).copied()
        })?;
        ensure!(right.is_ok(), "the right guess would be noticed");
    }
    out.sort();
    let mut went_in: Vec<_> = RECORDS.iter().map(|(_, _, value)| *value).collect();
    went_in.sort_unstable();
    ensure!(out == went_in, "{out:?}");
    Ok(())
}
