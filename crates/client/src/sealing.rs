//! Sealing: lanes that turn queued records into signed blocks on a quorum's disks
//! (docs/cryptography.md sections 5 and 6).
//!
//! ```text
//! callers -> bounded queue of a shard -> lane 1: session, seal, append, answer
//!                                     -> lane 2: ..
//! ```
//! A lane has one session and one block under way. It takes whatever is queued, up to a block, and
//! never waits for more: the disk's time is the batching window. The next session is opened ahead,
//! so that neither time nor block numbers make a writer wait. A retry sends identical bytes; a
//! session whose state is unknown is never used again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::cluster::Accepted;
use bailiwick_api::session::{AppendBlock, BlockStored, OpenSession, ReadSession, SessionState};
use bailiwick_envelope::SigningKey;
use bailiwick_threshold::{
    RecordToSeal, SealError, Sealer, SessionError, SessionParameters, open_session,
};
use bailiwick_transport::Operation;
use bailiwick_types::limits::{BLOCK_RECORDS, SESSION_BLOCKS};
use bailiwick_types::{Jurisdiction, Name, ShardId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::certificates::{CertificatesError, LiveCertificate, live_certificate};
use crate::cluster::{CallFailure, Cluster};
use crate::trust::TrustFile;

/// Records that may wait for a shard's lanes: 65,536 x 300 B = 19 MB. Counted in records, so that
/// many callers with one record each wait as well as few with a thousand.
pub const QUEUED_RECORDS: usize = 1 << 16;
/// How long a session may take to be confirmed: the shard fails it after 60 s.
const CONFIRMATION: Duration = Duration::from_secs(65);
/// A verified certificate is used this long before it is read again.
const CERTIFICATE_AGE: Duration = Duration::from_secs(60);
/// Wait before a failed session is tried again while nothing is queued.
const REOPEN: Duration = Duration::from_millis(250);
/// Attempts to seal the same records anew after their session was refused.
const RESEALS: u32 = 3;
/// The code of a rejection by a frozen shard.
const FROZEN: &str = "frozen";
/// A frozen shard is asked again with the same block this often, and this long: a freeze that ends at
/// once costs no session, and a caller hears of one that stays within seconds.
const FROZEN_PAUSE: Duration = Duration::from_millis(500);
const FROZEN_PATIENCE: Duration = Duration::from_secs(2);

/// What becomes of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// On disk on a quorum.
    Stored,
    /// Its id was stored before.
    Duplicate,
    /// Perhaps stored: send it again with the same id.
    Unknown,
}

/// Why records were not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SealingError {
    /// The queue is full: nothing was done.
    #[error("the sealing queue is full; nothing was done")]
    Overloaded,
    /// No session can be opened just now: nothing was done.
    #[error("no session can be opened: {0}")]
    NoSession(String),
    /// The jurisdiction is frozen: nothing was done, and nothing will be until it is unfrozen.
    #[error("the jurisdiction is frozen; nothing was done")]
    Frozen,
    /// The shard refuses what this edge seals.
    #[error("the shard refuses: {0}")]
    Refused(String),
    /// A record cannot be sealed.
    #[error("a record cannot be sealed: {0}")]
    Record(String),
    /// The lanes have stopped.
    #[error("sealing has stopped")]
    Stopped,
}

/// Who seals.
pub struct SealingIdentity {
    /// The edge's id.
    pub edge: Name,
    /// The key that signs headers and manifests.
    pub key: SigningKey,
    /// Whose certificates are believed.
    pub trust: TrustFile,
    /// Length of a session.
    pub session_lifetime: Duration,
    /// The newest period's begin that was ever sealed under, by jurisdiction; must outlive the
    /// process.
    pub high_water: Arc<dyn HighWater>,
}

/// The mark below which an edge never seals: it survives restarts.
pub trait HighWater: Send + Sync + 'static {
    /// The begin of the newest period sealed under.
    fn mark(&self, jurisdiction: Jurisdiction) -> Option<Timestamp>;

    /// Raises the mark, durably, before anything is sealed under the period.
    ///
    /// # Errors
    /// The disk's error.
    fn raise(&self, jurisdiction: Jurisdiction, begin: Timestamp) -> std::io::Result<()>;
}

/// A mark in memory, for callers that do not outlive their process.
#[derive(Default)]
pub struct MemoryHighWater {
    marks: Mutex<std::collections::BTreeMap<Jurisdiction, Timestamp>>,
}

impl HighWater for MemoryHighWater {
    fn mark(&self, jurisdiction: Jurisdiction) -> Option<Timestamp> {
        self.marks
            .lock()
            .expect("nothing panics while it holds the marks")
            .get(&jurisdiction)
            .copied()
    }

    fn raise(&self, jurisdiction: Jurisdiction, begin: Timestamp) -> std::io::Result<()> {
        let mut marks = self
            .marks
            .lock()
            .expect("nothing panics while it holds the marks");
        let mark = marks.entry(jurisdiction).or_default();
        *mark = begin.max(*mark);
        Ok(())
    }
}

struct Job {
    records: Vec<RecordToSeal>,
    pseudonym_version: u16,
    reply: oneshot::Sender<Result<Vec<Sealed>, SealingError>>,
    /// Its records' places in the queue, given back when a lane takes it.
    _room: OwnedSemaphorePermit,
}

/// Seals for one shard. Dropping it ends its lanes after what is queued.
pub struct Sealing {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    ready: Arc<AtomicBool>,
    frozen: Arc<AtomicBool>,
}

impl Sealing {
    /// Starts `lanes` lanes for a shard.
    pub fn start(
        cluster: Cluster,
        shard: ShardId,
        identity: Arc<SealingIdentity>,
        lanes: usize,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUED_RECORDS);
        let queue = Arc::new(tokio::sync::Mutex::new(Queue {
            receiver: queue,
            left: None,
        }));
        let live = Arc::new(tokio::sync::Mutex::new(None));
        let ready = Arc::new(AtomicBool::new(false));
        let frozen = Arc::new(AtomicBool::new(false));
        for _ in 0..lanes.max(1) {
            let lane = Lane {
                shared: Arc::new(Shared {
                    cluster: cluster.clone(),
                    shard,
                    identity: identity.clone(),
                    live: live.clone(),
                    ready: ready.clone(),
                    frozen: frozen.clone(),
                }),
                queue: queue.clone(),
                current: None,
                next: None,
            };
            tokio::spawn(lane.run());
        }
        let room = Arc::new(Semaphore::new(QUEUED_RECORDS));
        Self {
            jobs,
            room,
            ready,
            frozen,
        }
    }

    /// Seals and stores up to a block of records; one result per record, in order.
    ///
    /// # Errors
    /// [`SealingError`] when nothing was stored, or the records are at fault.
    pub async fn put(
        &self,
        records: Vec<RecordToSeal>,
        pseudonym_version: u16,
    ) -> Result<Vec<Sealed>, SealingError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        if records.len() > BLOCK_RECORDS {
            return Err(SealingError::Record(
                "more records than a block holds".to_owned(),
            ));
        }
        // At most a block's records, so the count fits.
        let wanted = records.len() as u32;
        let room = self.room.clone().try_acquire_many_owned(wanted);
        let (reply, answer) = oneshot::channel();
        let job = Job {
            records,
            pseudonym_version,
            reply,
            _room: room.map_err(|_| SealingError::Overloaded)?,
        };
        // A job has at least one record, so that whoever has room for its records has a place here.
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SealingError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => SealingError::Stopped,
        })?;
        answer.await.map_err(|_| SealingError::Stopped)?
    }

    /// Whether a session was confirmed and none has failed since.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether the shard's last answer was that its jurisdiction is frozen.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    /// Jobs waiting for a lane.
    pub fn queued(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }
}

/// Bounded by the room that every job holds, see [`QUEUED_RECORDS`].
struct Queue {
    receiver: mpsc::Receiver<Job>,
    left: Option<Job>,
}

impl Queue {
    /// Whatever is queued, up to a block; `None` when the queue has ended.
    async fn take(&mut self) -> Option<Vec<Job>> {
        let first = match self.left.take() {
            Some(job) => job,
            None => self.receiver.recv().await?,
        };
        let mut count = first.records.len();
        let version = first.pseudonym_version;
        let mut jobs = vec![first];
        while let Ok(job) = self.receiver.try_recv() {
            if count + job.records.len() > BLOCK_RECORDS || job.pseudonym_version != version {
                self.left = Some(job);
                break;
            }
            count += job.records.len();
            jobs.push(job);
        }
        Some(jobs)
    }
}

struct Shared {
    cluster: Cluster,
    shard: ShardId,
    identity: Arc<SealingIdentity>,
    live: Arc<tokio::sync::Mutex<Option<(LiveCertificate, tokio::time::Instant)>>>,
    ready: Arc<AtomicBool>,
    frozen: Arc<AtomicBool>,
}

struct Lane {
    shared: Arc<Shared>,
    queue: Arc<tokio::sync::Mutex<Queue>>,
    current: Option<Sealer>,
    next: Option<JoinHandle<Result<Sealer, OpenError>>>,
}

/// Why a session did not open.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Certificates(#[from] CertificatesError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Call(#[from] CallFailure),
    #[error("the session is {0:?}: too few members opened their parts")]
    NotConfirmed(SessionState),
    #[error("the high-water mark cannot be raised: {0}")]
    HighWater(#[from] std::io::Error),
}

impl OpenError {
    fn is_frozen(&self) -> bool {
        matches!(self, Self::Call(failure) if failure.code() == Some(FROZEN))
    }
}

impl Lane {
    async fn run(mut self) {
        let queue = self.queue.clone();
        loop {
            self.open_first().await;
            let taken = tokio::select! {
                taken = async { queue.lock().await.take().await } => taken,
                // A session that failed to open is tried again before the next record needs it.
                () = tokio::time::sleep(REOPEN), if self.current.is_none() => continue,
            };
            let Some(jobs) = taken else { return };
            self.serve(jobs).await;
        }
    }

    /// Opens the first session before the first record comes, and a new one after a failure.
    async fn open_first(&mut self) {
        if self.current.is_some() {
            return;
        }
        match self.session().await {
            Ok(sealer) => self.current = Some(sealer),
            Err(error) => tracing::debug!(shard = %self.shared.shard, %error, "no session yet"),
        }
    }

    fn open_ahead(&mut self) {
        if self.next.is_none() {
            let shared = self.shared.clone();
            self.next = Some(tokio::spawn(async move {
                let opened = shared.open().await;
                let frozen = opened.as_ref().is_err_and(OpenError::is_frozen);
                shared.ready.store(opened.is_ok(), Ordering::Relaxed);
                shared.frozen.store(frozen, Ordering::Relaxed);
                opened
            }));
        }
    }

    async fn serve(&mut self, jobs: Vec<Job>) {
        let (mut records, mut replies) = (Vec::new(), Vec::new());
        let version = jobs.first().map_or(0, |job| job.pseudonym_version);
        for job in jobs {
            replies.push((job.records.len(), job.reply));
            records.extend(job.records);
        }
        match self.store(records, version).await {
            Ok(results) => {
                let mut results = results.into_iter();
                for (count, reply) in replies {
                    // A caller that has gone away has lost its answer, not its records.
                    let _ = reply.send(Ok(results.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                for (_, reply) in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Seals and appends one block. A refusal that a new session cures seals the same records anew:
    /// their ids stay, so that nothing is stored twice.
    async fn store(
        &mut self,
        records: Vec<RecordToSeal>,
        version: u16,
    ) -> Result<Vec<Sealed>, SealingError> {
        let records = Arc::new(records);
        let mut refused = String::new();
        for _ in 0..RESEALS {
            let sealer = self.session().await?;
            let (sealer, sealed) = seal(sealer, records.clone(), version).await?;
            let block = match sealed {
                Ok(block) => block,
                // The session ended between the look at it and the sealing: nobody's fault.
                Err(error @ SealError::Exhausted) => {
                    refused = error.to_string();
                    continue;
                }
                Err(error) => return Err(SealingError::Record(error.to_string())),
            };
            match self.append(block).await {
                Ok(stored) => {
                    self.current = Some(sealer);
                    return Ok(outcome(records.len(), &stored));
                }
                Err(Refused::Unknown) => {
                    tracing::warn!(shard = %self.shared.shard, "a block's outcome is unknown");
                    return Ok(vec![Sealed::Unknown; records.len()]);
                }
                Err(Refused::Frozen) => return Err(SealingError::Frozen),
                Err(Refused::Passing(reason)) => return Err(SealingError::NoSession(reason)),
                Err(Refused::Final(reason)) => return Err(SealingError::Refused(reason)),
                Err(Refused::Session(reason)) => {
                    tracing::warn!(shard = %self.shared.shard, reason, "a session is given up");
                    refused = reason;
                }
            }
        }
        Err(SealingError::NoSession(refused))
    }

    /// Sends one block, always the same bytes, until there is a definite answer. While the shard is
    /// frozen the block waits: a new session for each attempt would use up the edge's rate.
    async fn append(&self, block: Vec<u8>) -> Result<BlockStored, Refused> {
        let shard = self.shared.shard;
        let message = AppendBlock {
            shard,
            block: block.into(),
        };
        let until = tokio::time::Instant::now() + FROZEN_PATIENCE;
        loop {
            let cluster = &self.shared.cluster;
            let failure = match cluster
                .call(Some(shard), Operation::AppendBlock, &message)
                .await
            {
                Ok(stored) => {
                    self.shared.frozen.store(false, Ordering::Relaxed);
                    return Ok(stored);
                }
                Err(failure) => failure,
            };
            let frozen = failure.code() == Some(FROZEN);
            if frozen {
                self.shared.frozen.store(true, Ordering::Relaxed);
            }
            if !frozen || tokio::time::Instant::now() >= until {
                return Err(Refused::of(failure));
            }
            tokio::time::sleep(FROZEN_PAUSE).await;
        }
    }

    /// A session with room for one more block, and the next one opened ahead of need.
    async fn session(&mut self) -> Result<Sealer, SealingError> {
        let now = crate::now();
        if let Some(sealer) = self.current.take()
            && !sealer.is_exhausted(now)
        {
            let lifetime = self.shared.identity.session_lifetime;
            let late = sealer.expires_at() <= now.plus(lifetime / 4);
            if late || sealer.next_block() >= SESSION_BLOCKS / 4 * 3 {
                self.open_ahead();
            }
            return Ok(sealer);
        }
        self.open_ahead();
        let Some(next) = self.next.take() else {
            return Err(SealingError::Stopped);
        };
        match next.await {
            Ok(Ok(sealer)) if !sealer.is_exhausted(crate::now()) => Ok(sealer),
            Ok(Ok(_)) => Err(SealingError::NoSession(
                "it expired before it was used".to_owned(),
            )),
            Ok(Err(error)) if error.is_frozen() => Err(SealingError::Frozen),
            Ok(Err(error)) => Err(SealingError::NoSession(error.to_string())),
            Err(_) => Err(SealingError::Stopped),
        }
    }
}

/// Why a block was not stored. Its session is given up in every case: its next block would not
/// follow the last stored one.
enum Refused {
    /// It may have been stored.
    Unknown,
    /// Not stored: the jurisdiction is frozen.
    Frozen,
    /// Not stored; the same records may be later.
    Passing(String),
    /// Not stored for a reason that another session does not have.
    Session(String),
    /// Not stored, and never will be as they are.
    Final(String),
}

impl Refused {
    fn of(failure: CallFailure) -> Self {
        let reason = failure.to_string();
        match &failure {
            CallFailure::Deadline {
                outcome_unknown: true,
                ..
            }
            | CallFailure::Refused(Refusal::Store) => Self::Unknown,
            CallFailure::Deadline { .. } => Self::Passing(reason),
            CallFailure::Refused(_) | CallFailure::NotAuthorised(_) | CallFailure::Malformed(_) => {
                match failure.code() {
                    Some(FROZEN) => Self::Frozen,
                    Some(
                        "block-unknown-session"
                        | "block-expired"
                        | "block-out-of-order"
                        | "block-chain"
                        | "block-edge-time",
                    ) => Self::Session(reason),
                    _ => Self::Final(reason),
                }
            }
        }
    }
}

fn outcome(count: usize, stored: &BlockStored) -> Vec<Sealed> {
    let mut results = vec![Sealed::Stored; count];
    for duplicate in &stored.duplicates {
        if let Some(result) = results.get_mut(usize::from(*duplicate)) {
            *result = Sealed::Duplicate;
        }
    }
    results
}

/// Seals on a thread that may compute for milliseconds.
async fn seal(
    mut sealer: Sealer,
    records: Arc<Vec<RecordToSeal>>,
    version: u16,
) -> Result<(Sealer, Result<Vec<u8>, SealError>), SealingError> {
    let work = move || {
        let sealed = sealer.seal(&records, version, crate::now());
        (sealer, sealed.map(|block| block.to_wire()))
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| SealingError::Stopped)
}

impl Shared {
    /// Opens a session and waits until the members have opened their parts: nothing is sealed under
    /// a session that could not be opened again.
    async fn open(&self) -> Result<Sealer, OpenError> {
        let live = self.live().await?;
        let jurisdiction = self.shard.jurisdiction;
        let high_water = self.identity.high_water.mark(jurisdiction);
        let begin = live
            .certificate
            .body()
            .periods
            .get(live.period)
            .map(|p| p.not_before);
        if let Some(begin) = begin.filter(|begin| high_water.is_none_or(|mark| *begin > mark)) {
            self.identity.high_water.raise(jurisdiction, begin)?;
        }
        let (shard, identity) = (self.shard, self.identity.clone());
        let dealt = tokio::task::spawn_blocking(move || {
            let parameters = SessionParameters {
                certificate: &live.certificate,
                period: live.period,
                high_water,
                shard,
                edge: identity.edge.clone(),
                edge_key: &identity.key,
                now: crate::now(),
                lifetime: identity.session_lifetime,
                max_block: SESSION_BLOCKS,
            };
            open_session(&mut rand::rng(), parameters)
        });
        let stopped = OpenError::NotConfirmed(SessionState::Unknown);
        let (header, sealer) = dealt.await.map_err(|_| stopped)??;
        let message = OpenSession { shard, header };
        let _: Accepted = self
            .cluster
            .call(Some(shard), Operation::OpenSession, &message)
            .await?;
        let wait = Duration::from_secs(20);
        let until = tokio::time::Instant::now() + CONFIRMATION;
        loop {
            let message = ReadSession {
                shard,
                sid: sealer.sid(),
                wait_ms: 20_000,
            };
            let state: SessionState = self
                .cluster
                .call_waiting(Some(shard), Operation::SessionStatus, &message, wait)
                .await?;
            match state {
                SessionState::Confirmed | SessionState::Degraded => return Ok(sealer),
                SessionState::Pending if tokio::time::Instant::now() < until => {}
                state => return Err(OpenError::NotConfirmed(state)),
            }
        }
    }

    async fn live(&self) -> Result<LiveCertificate, CertificatesError> {
        let mut cached = self.live.lock().await;
        let now = crate::now();
        if let Some((live, read_at)) = &*cached
            && read_at.elapsed() < CERTIFICATE_AGE
            && live.certificate.period_at(now) == Some(live.period)
        {
            return Ok(live.clone());
        }
        let jurisdiction = self.shard.jurisdiction;
        let live = live_certificate(&self.cluster, &self.identity.trust, jurisdiction, now).await?;
        *cached = Some((live.clone(), tokio::time::Instant::now()));
        Ok(live)
    }
}
