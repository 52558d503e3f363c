//! The sealing lanes: no record is sealed under a session that the members cannot open, a retry
//! sends identical bytes, and a session whose state is unknown is never used again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::cluster::Accepted;
use bailiwick_api::session::{
    AppendBlock, BlockStored, Certificates, OpenSession, ReadSession, SessionState,
};
use bailiwick_client::certificates::live_certificate;
use bailiwick_client::sealing::{
    HighWater, MemoryHighWater, QUEUED_RECORDS, Sealed, Sealing, SealingError, SealingIdentity,
};
use bailiwick_envelope::SigningKey;
use bailiwick_envelope::block::SealedBlock;
use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::record::{PhoneRecord, Plaintext};
use bailiwick_threshold::{DecapsulationKey, RecordToSeal};
use bailiwick_transport::Operation;
use bailiwick_types::{CertificateId, RecordId, SessionId, SubjectPseudonym, codec};
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::support::{
    Answer, Vault, World, answer, cluster, directory, france, home, name, rejected,
};

type Appends = Box<dyn Fn(usize) -> Answer + Send + Sync>;

/// A leader that confirms sessions as told and answers appended blocks by their number of arrival.
struct Leader {
    vault: Vault,
    opened: Arc<Mutex<Vec<SessionId>>>,
}

impl Leader {
    async fn start(
        certificates: Certificates,
        states: Vec<SessionState>,
        appends: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let appends: Appends = Box::new(appends);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let own = listener.local_addr().expect("bound").to_string();
        let (looks, blocks) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let opened = Arc::new(Mutex::new(Vec::new()));
        let sessions = opened.clone();
        let vault = Vault::on(listener, move |operation, payload| match operation {
            Operation::Directory => answer(&directory(std::slice::from_ref(&own))),
            Operation::ReadCertificate => answer(&certificates),
            Operation::OpenSession => {
                let message: OpenSession = codec::decode(payload).expect("a header");
                sessions
                    .lock()
                    .expect("not poisoned")
                    .push(message.header.id());
                answer(&Accepted)
            }
            Operation::SessionStatus => {
                let at = looks.fetch_add(1, Ordering::SeqCst).min(states.len() - 1);
                answer(&states[at])
            }
            Operation::AppendBlock => appends(blocks.fetch_add(1, Ordering::SeqCst)),
            other => panic!("{other} is nothing that an edge asks"),
        });
        Self { vault, opened }
    }

    fn opened(&self) -> Vec<SessionId> {
        self.opened.lock().expect("not poisoned").clone()
    }

    fn blocks(&self) -> Vec<Bytes> {
        let asked = self.vault.asked(Operation::AppendBlock);
        let block = |payload: &Bytes| {
            let message: AppendBlock = codec::decode(payload).expect("a block");
            message.block
        };
        asked.iter().map(block).collect()
    }
}

fn stored() -> Answer {
    answer(&BlockStored {
        duplicates: Vec::new(),
    })
}

fn place(block: &Bytes) -> (SessionId, u16) {
    let block = SealedBlock::from_wire(block).expect("a block");
    (block.manifest.sid, block.manifest.block)
}

fn record(number: u16) -> RecordToSeal {
    let mut id = [1; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    RecordToSeal {
        record: RecordId(id),
        subject: SubjectPseudonym([2; 16]),
        plaintext: Plaintext::Phone(PhoneRecord {
            digits: "33612345678".to_owned(),
            confirmed_at: bailiwick_client::now().minus(Duration::from_secs(60)),
        }),
    }
}

fn identity(world: &World, high_water: Arc<dyn HighWater>) -> Arc<SealingIdentity> {
    Arc::new(SealingIdentity {
        edge: name("edge-1"),
        key: SigningKey::from_bytes(&[42; 32]),
        trust: world.trust(),
        session_lifetime: Duration::from_secs(600),
        high_water,
    })
}

fn seal(world: &World, leader: &Leader, deadline: Duration, lanes: usize) -> Sealing {
    let cluster = cluster(&[&leader.vault], "edge", deadline);
    let identity = identity(world, Arc::new(MemoryHighWater::default()));
    Sealing::start(cluster, home(), identity, lanes)
}

const SOON: Duration = Duration::from_secs(10);
const CONFIRMED: [SessionState; 1] = [SessionState::Confirmed];

#[tokio::test]
async fn a_retry_sends_identical_bytes_and_duplicates_are_per_record() {
    let world = World::new();
    let leader = Leader::start(
        world.certificates(),
        CONFIRMED.into(),
        |number| match number {
            0 => Err(Refusal::Unknown),
            1 => Err(Refusal::Unavailable),
            _ => answer(&BlockStored {
                duplicates: vec![1],
            }),
        },
    )
    .await;
    let sealing = seal(&world, &leader, SOON, 1);
    let results = sealing.put(vec![record(1), record(2), record(3)], 1).await;
    let expected = [Sealed::Stored, Sealed::Duplicate, Sealed::Stored];
    assert_eq!(results.expect("sealed"), expected);
    let blocks = leader.blocks();
    assert_eq!(blocks.len(), 3);
    assert!(blocks.iter().all(|block| *block == blocks[0]));
    // The session had definite answers only in the end, but it had one: it goes on.
    sealing.put(vec![record(4)], 1).await.expect("sealed");
    let (first, second) = (place(&blocks[0]), place(&leader.blocks()[3]));
    assert_eq!((second.0, second.1), (first.0, first.1 + 1));
}

/// A crash or a lost answer leaves a session whose last block nobody knows: it is never used again.
#[tokio::test]
async fn a_session_of_unknown_state_is_never_used_again() {
    let world = World::new();
    let lost = Arc::new(AtomicUsize::new(0));
    let losing = lost.clone();
    let leader = Leader::start(
        world.certificates(),
        CONFIRMED.into(),
        move |_| match losing.load(Ordering::SeqCst) {
            0 => Err(Refusal::Unknown),
            _ => stored(),
        },
    )
    .await;
    let sealing = seal(&world, &leader, Duration::from_millis(300), 1);
    let results = sealing.put(vec![record(1), record(2)], 1).await;
    assert_eq!(results.expect("reported"), [Sealed::Unknown; 2]);
    lost.store(1, Ordering::SeqCst);
    let results = sealing.put(vec![record(1), record(2)], 1).await;
    assert_eq!(results.expect("sealed"), [Sealed::Stored; 2]);
    let blocks = leader.blocks();
    let (before, after) = (&blocks[0], &blocks[blocks.len() - 1]);
    assert_ne!(
        place(before).0,
        place(after).0,
        "the session was used again"
    );
    assert_eq!(place(after).1, 0);
}

#[tokio::test]
async fn a_refused_session_seals_the_same_ids_anew() {
    let world = World::new();
    let leader = Leader::start(
        world.certificates(),
        CONFIRMED.into(),
        |number| match number {
            0 => rejected("block-expired"),
            _ => stored(),
        },
    )
    .await;
    let sealing = seal(&world, &leader, SOON, 1);
    let results = sealing.put(vec![record(1), record(2)], 1).await;
    assert_eq!(results.expect("sealed"), [Sealed::Stored; 2]);
    let blocks = leader.blocks();
    let read = |block: &Bytes| SealedBlock::from_wire(block).expect("a block");
    let (first, second) = (read(&blocks[0]), read(&blocks[1]));
    assert_ne!(first.manifest.sid, second.manifest.sid);
    for (one, other) in first.records.iter().zip(&second.records) {
        assert_eq!(
            one.record, other.record,
            "an id that changes is stored twice"
        );
        assert_ne!(one.ciphertext, other.ciphertext);
    }
}

#[tokio::test]
async fn what_no_session_cures_costs_no_further_session() {
    let world = World::new();
    let leader = Leader::start(world.certificates(), CONFIRMED.into(), |_| {
        rejected("block-not-enrolled")
    })
    .await;
    let sealing = seal(&world, &leader, SOON, 1);
    let refused = sealing.put(vec![record(1)], 1).await;
    assert!(
        matches!(refused, Err(SealingError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(leader.blocks().len(), 1);
}

/// A freeze is not the records' fault and does not eat up the edge's rate of sessions: the block
/// waits under its session and goes in when the shard is unfrozen.
#[tokio::test]
async fn a_frozen_shard_is_waited_for_under_one_session() {
    let world = World::new();
    let leader = Leader::start(
        world.certificates(),
        CONFIRMED.into(),
        |number| match number {
            0 | 1 => rejected("frozen"),
            _ => stored(),
        },
    )
    .await;
    let sealing = seal(&world, &leader, SOON, 1);
    let results = sealing.put(vec![record(1)], 1).await;
    assert_eq!(results.expect("sealed"), [Sealed::Stored]);
    let blocks = leader.blocks();
    assert_eq!(blocks.len(), 3);
    assert!(blocks.iter().all(|block| *block == blocks[0]));
    assert_eq!(leader.opened().len(), 1);
}

#[tokio::test]
async fn nothing_is_sealed_under_a_session_that_is_not_confirmed() {
    let world = World::new();
    let states = vec![
        SessionState::Failed,
        SessionState::Pending,
        SessionState::Degraded,
    ];
    let leader = Leader::start(world.certificates(), states, |_| stored()).await;
    let sealing = seal(&world, &leader, SOON, 1);
    while !sealing.is_ready() {
        assert!(leader.blocks().is_empty());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sealing.put(vec![record(1)], 1).await.expect("sealed");
    let opened = leader.opened();
    assert_eq!(opened.len(), 2);
    assert_eq!(
        place(&leader.blocks()[0]).0,
        opened[1],
        "the first one failed"
    );
    // The second session was looked at until it was confirmed.
    let looks = leader.vault.asked(Operation::SessionStatus);
    let looked = |payload: &Bytes| codec::decode::<ReadSession>(payload).expect("a look").sid;
    assert_eq!(
        looks.iter().map(looked).collect::<Vec<_>>(),
        [opened[0], opened[1], opened[1]]
    );
}

/// edge_rejects_older_period: what was sealed under a later period once is never sealed under an
/// earlier one, however fresh its certificate looks.
#[tokio::test]
async fn edge_rejects_older_period() {
    let world = World::new();
    let leader = Leader::start(world.certificates(), CONFIRMED.into(), |_| stored()).await;
    let high_water = Arc::new(MemoryHighWater::default());
    let begin = world.certificate.body.periods[0].not_before;
    high_water
        .raise(france(), begin.plus(Duration::from_secs(1)))
        .expect("in memory");
    let cluster = cluster(&[&leader.vault], "edge", SOON);
    let sealing = Sealing::start(cluster, home(), identity(&world, high_water), 1);
    let refused = sealing.put(vec![record(1)], 1).await;
    assert!(
        matches!(refused, Err(SealingError::NoSession(_))),
        "{refused:?}"
    );
    assert!(leader.opened().is_empty() && leader.blocks().is_empty());
}

/// The mark is raised before anything is sealed.
#[tokio::test]
async fn the_high_water_mark_is_raised_before_a_session_is_opened() {
    let world = World::new();
    let leader = Leader::start(world.certificates(), CONFIRMED.into(), |_| stored()).await;
    struct Full;
    impl HighWater for Full {
        fn mark(&self, _: bailiwick_types::Jurisdiction) -> Option<bailiwick_types::Timestamp> {
            None
        }
        fn raise(
            &self,
            _: bailiwick_types::Jurisdiction,
            _: bailiwick_types::Timestamp,
        ) -> std::io::Result<()> {
            Err(std::io::Error::other("the disk is full"))
        }
    }
    let cluster = cluster(&[&leader.vault], "edge", SOON);
    let sealing = Sealing::start(cluster, home(), identity(&world, Arc::new(Full)), 1);
    assert!(sealing.put(vec![record(1)], 1).await.is_err());
    assert!(leader.opened().is_empty() && leader.blocks().is_empty());
}

/// Attack 8 on the surroundings: the directory hands an edge another key certificate, or one that
/// is not in the log, or only under a checkpoint that is too old or cosigned by one role.
#[tokio::test]
async fn an_edge_takes_no_key_on_the_directorys_word() {
    let mut world = World::new();
    let certificate = CertificateId([9; 32]);
    let others = world.log(LeafContent::Certificate { certificate }) as usize;
    let (now, trust) = (bailiwick_client::now(), world.trust());
    let everybody: Vec<_> = world.members.keys().copied().collect();
    let one_role: Vec<_> = everybody[..3].to_vec();
    let size = world.leaves.len();
    let day = Duration::from_secs(24 * 60 * 60);

    let mut swapped = World::new();
    let stranger = DecapsulationKey::from_bytes(&[251; 32]).encapsulation_key();
    swapped.certificate.body.workflow.members[0].periods = vec![stranger];
    let mut not_logged = world.certificates();
    not_logged.valid[0].proof[0].0[0] ^= 1;
    let mut unsigned = world.certificates();
    unsigned.checkpoint = None;
    for (what, certificates) in [
        ("a member's key swapped", swapped.certificates()),
        (
            "strangers in every seat",
            World::of_strangers().certificates(),
        ),
        (
            "signed, beside a leaf of no certificate",
            world.certificates_with_leaf(0),
        ),
        (
            "signed, beside another certificate's leaf",
            world.certificates_with_leaf(others),
        ),
        ("a proof that does not verify", not_logged),
        (
            "an old checkpoint",
            world.certificates_under(world.checkpoint_by(size, now.minus(day * 2), everybody)),
        ),
        (
            "cosigned by one role",
            world.certificates_under(world.checkpoint_by(size, now, one_role)),
        ),
        ("no checkpoint", unsigned),
    ] {
        let leader = Leader::start(certificates, CONFIRMED.into(), |_| stored()).await;
        let cluster = cluster(&[&leader.vault], "edge", SOON);
        let live = tokio::time::timeout(
            Duration::from_millis(500),
            live_certificate(&cluster, &trust, france(), now),
        );
        assert!(!matches!(live.await, Ok(Ok(_))), "{what}");
        assert!(leader.opened().is_empty(), "{what}");
    }
    // The same without a fault is taken.
    let leader = Leader::start(world.certificates(), CONFIRMED.into(), |_| stored()).await;
    let cluster = cluster(&[&leader.vault], "edge", SOON);
    let live = live_certificate(&cluster, &world.trust(), france(), now).await;
    assert_eq!(
        live.expect("believed").certificate.id(),
        world.certificate.body.id()
    );
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_counts_records() {
    let world = World::new();
    // Nothing is ever confirmed, so that everything waits.
    let leader = Leader::start(world.certificates(), vec![SessionState::Pending], |_| {
        stored()
    })
    .await;
    let sealing = Arc::new(seal(&world, &leader, SOON, 1));
    let mut waiting = tokio::task::JoinSet::new();
    // Many small callers wait side by side.
    for number in 0..1000 {
        let sealing = sealing.clone();
        waiting.spawn(async move { sealing.put(vec![record(number)], 1).await });
    }
    for _ in 0..(QUEUED_RECORDS - 1000) / 4096 {
        let sealing = sealing.clone();
        let block = (0..4096).map(record).collect();
        waiting.spawn(async move { sealing.put(block, 1).await });
    }
    while sealing.queued() < 1000 + (QUEUED_RECORDS - 1000) / 4096 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = sealing.put((0..4096).map(record).collect(), 1).await;
    assert!(
        matches!(refused, Err(SealingError::Overloaded)),
        "{refused:?}"
    );
    let over = sealing.put((0..4097).map(record).collect(), 1).await;
    assert!(matches!(over, Err(SealingError::Record(_))), "{over:?}");
    assert!(
        sealing
            .put(Vec::new(), 1)
            .await
            .expect("nothing to do")
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_share_the_queue_and_join_what_waits() {
    let world = World::new();
    let leader = Leader::start(world.certificates(), CONFIRMED.into(), |_| {
        std::thread::sleep(Duration::from_millis(20));
        stored()
    })
    .await;
    let sealing = Arc::new(seal(&world, &leader, SOON, 2));
    let mut puts = tokio::task::JoinSet::new();
    for number in 0..400 {
        let sealing = sealing.clone();
        puts.spawn(async move { sealing.put(vec![record(number)], 1).await });
    }
    while let Some(done) = puts.join_next().await {
        assert_eq!(done.expect("joined").expect("sealed"), [Sealed::Stored]);
    }
    let blocks = leader.blocks();
    let read = |block: &Bytes| SealedBlock::from_wire(block).expect("a block");
    let ids: BTreeSet<_> = blocks
        .iter()
        .flat_map(|block| read(block).records)
        .map(|record| record.record)
        .collect();
    assert_eq!(ids.len(), 400, "every record once");
    assert!(
        blocks.len() < 100,
        "{} blocks: what waits is joined",
        blocks.len()
    );
    // Each session's blocks are numbered without a gap.
    for session in leader.opened() {
        let of = blocks.iter().map(place).filter(|(sid, _)| *sid == session);
        let numbers: Vec<u16> = of.map(|(_, number)| number).collect();
        let expected: Vec<u16> = (0..numbers.len() as u16).collect();
        assert_eq!(numbers, expected);
    }
}
