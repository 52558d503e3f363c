//! The cluster as a client sees it: any seed describes it, leaders answer, followers name their
//! leader. A call is repeated until its deadline: every command carries its own idempotency, so that
//! a repeated one is the same one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::cluster::{ClusterDescription, GroupDescription};
use bailiwick_transport::{
    CallError, ExpectedPeer, Operation, Pool, PoolOptions, Purpose, TlsIdentity,
};
use bailiwick_types::{NodeId, ShardId, codec};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

/// First wait between two attempts; doubled up to [`BACKOFF_CEILING`], with jitter.
const BACKOFF: Duration = Duration::from_millis(10);
const BACKOFF_CEILING: Duration = Duration::from_millis(400);
/// A node that could not be reached is not chosen for this long while there are others.
const SHUNNED: Duration = Duration::from_secs(1);
/// Another node is asked for the directory when one has not answered for this long.
const STAGGER: Duration = Duration::from_millis(300);
/// The voters of a group are asked who leads it for this long; then one of them is tried.
const LOCATE: Duration = Duration::from_secs(1);
/// Longest that connecting may take: three round trips around the globe, and a busy machine.
const CONNECT: Duration = Duration::from_secs(2);
/// Longest single attempt, besides what the callee was asked to wait.
const ATTEMPT: Duration = Duration::from_secs(4);

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Addresses of vault nodes.
    pub seeds: Vec<String>,
    /// The caller's TLS identity.
    pub tls: Arc<TlsIdentity>,
    /// How long a call may take in all.
    pub deadline: Duration,
}

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallFailure {
    /// The cluster said no; a repetition would be told the same.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// This identity may not do this at all.
    #[error("this identity's role may not call {0}")]
    NotAuthorised(Operation),
    /// No answer in time.
    #[error(
        "no answer within the deadline{}: {last}",
        if *outcome_unknown { " (the outcome is unknown)" } else { "" }
    )]
    Deadline {
        /// Whether an attempt may have been carried out.
        outcome_unknown: bool,
        /// What went wrong last.
        last: String,
    },
    /// The message or the answer is not of its form: a fault of the program.
    #[error("a message of {0} is not of its form")]
    Malformed(Operation),
}

impl CallFailure {
    /// The state machine's code of a rejection, if it is one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(Refusal::Rejected { code, .. }) => Some(code),
            _ => None,
        }
    }
}

struct Inner {
    options: ClusterOptions,
    pool: Pool,
    /// The last description, until a failure says that it may be out of date.
    description: Mutex<Option<ClusterDescription>>,
    /// Addresses of the last description.
    known: Mutex<Vec<String>>,
    leaders: Mutex<BTreeMap<Option<ShardId>, String>>,
    /// Addresses that could not be reached, and when: others are tried first for [`SHUNNED`].
    unreachable: Mutex<BTreeMap<String, Instant>>,
}

/// A cluster. Cloning shares connections and what is known of leaders.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

enum Attempt {
    Again { unknown: bool, why: String },
    Redirected,
    Failed(CallFailure),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("nothing panics while it holds what is known of the cluster")
}

impl Cluster {
    /// A cluster behind these seeds; nothing is dialled yet.
    pub fn new(options: ClusterOptions) -> Self {
        let mut pool = PoolOptions::default();
        pool.connect.connect_timeout = CONNECT;
        let pool = Pool::new(options.tls.clone(), pool);
        let (description, known, leaders, unreachable) = Default::default();
        Self {
            inner: Arc::new(Inner {
                options,
                pool,
                description,
                known,
                leaders,
                unreachable,
            }),
        }
    }

    /// The caller's own TLS identity.
    pub fn tls(&self) -> &Arc<TlsIdentity> {
        &self.inner.options.tls
    }

    /// What the first seed that answers says of the cluster.
    ///
    /// # Errors
    /// [`CallFailure::Deadline`] when no seed answers.
    pub async fn describe(&self) -> Result<ClusterDescription, CallFailure> {
        let until = Instant::now() + self.inner.options.deadline;
        self.describe_until(until).await
    }

    async fn describe_until(&self, until: Instant) -> Result<ClusterDescription, CallFailure> {
        let mut backoff = BACKOFF;
        loop {
            let last = match self.described_by(self.addresses(), until, |_| true).await {
                Ok(description) => return Ok(description),
                Err(Attempt::Failed(failure)) => return Err(failure),
                Err(Attempt::Again { why, .. }) => why,
                Err(Attempt::Redirected) => String::new(),
            };
            if Instant::now() + backoff >= until {
                return Err(CallFailure::Deadline {
                    outcome_unknown: false,
                    last,
                });
            }
            pause(&mut backoff).await;
        }
    }

    /// Asks one node after the other until one knows what is wanted, the next one without waiting long for the one before: a node
    /// that is suspended or cut off says nothing at all.
    async fn described_by(
        &self,
        mut addresses: Vec<String>,
        until: Instant,
        wanted: impl Fn(&ClusterDescription) -> bool,
    ) -> Result<ClusterDescription, Attempt> {
        rand::seq::SliceRandom::shuffle(addresses.as_mut_slice(), &mut rand::rng());
        addresses.sort_by_key(|address| self.is_shunned(address));
        let deadline = until.saturating_duration_since(Instant::now()).min(ATTEMPT);
        let mut waiting = addresses.iter();
        let mut asked = FuturesUnordered::new();
        let mut why = "no seeds".to_owned();
        loop {
            if let Some(address) = waiting.next() {
                let ask = self.ask(address, Operation::Directory, Bytes::new(), deadline);
                asked.push(async move { (address, ask.await) });
            }
            let answer = match tokio::time::timeout(STAGGER, asked.next()).await {
                Ok(None) => {
                    return Err(Attempt::Again {
                        unknown: false,
                        why,
                    });
                }
                Ok(Some(answer)) => answer,
                Err(_) => continue,
            };
            match answer {
                (address, Ok(reply)) => {
                    let description: ClusterDescription = codec::decode(&reply).map_err(|_| {
                        Attempt::Failed(CallFailure::Malformed(Operation::Directory))
                    })?;
                    self.learn(&description);
                    if wanted(&description) {
                        return Ok(description);
                    }
                    why = format!("{address} does not know who leads");
                }
                (_, Err(AskError::Call(CallError::NotAuthorised))) => {
                    let failure = CallFailure::NotAuthorised(Operation::Directory);
                    return Err(Attempt::Failed(failure));
                }
                (address, Err(error)) => why = format!("{address}: {error}"),
            }
        }
    }

    /// The seeds, and every node that was ever described: a cluster outlives its seeds.
    fn addresses(&self) -> Vec<String> {
        let mut addresses = self.inner.options.seeds.clone();
        addresses.extend(lock(&self.inner.known).iter().cloned());
        addresses.sort();
        addresses.dedup();
        addresses
    }

    fn learn(&self, description: &ClusterDescription) {
        let nodes = description.nodes.iter();
        *lock(&self.inner.known) = nodes.map(|node| node.address.clone()).collect();
        *lock(&self.inner.description) = Some(description.clone());
    }

    /// Calls the leader of a shard's group, or of the directory for `None`.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn call<Request: Serialize, Reply: DeserializeOwned>(
        &self,
        shard: Option<ShardId>,
        operation: Operation,
        request: &Request,
    ) -> Result<Reply, CallFailure> {
        self.call_waiting(shard, operation, request, Duration::ZERO)
            .await
    }

    /// As [`Cluster::call`], for a request that asks the callee to wait up to `wait`.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn call_waiting<Request: Serialize, Reply: DeserializeOwned>(
        &self,
        shard: Option<ShardId>,
        operation: Operation,
        request: &Request,
        wait: Duration,
    ) -> Result<Reply, CallFailure> {
        let malformed = CallFailure::Malformed(operation);
        let payload: Bytes = codec::encode(request)
            .map_err(|_| malformed.clone())?
            .into();
        let until = Instant::now() + self.inner.options.deadline + wait;
        let mut backoff = BACKOFF;
        let mut outcome_unknown = false;
        loop {
            let last = match self.attempt(shard, operation, &payload, wait, until).await {
                Ok(reply) => return codec::decode(&reply).map_err(|_| malformed),
                Err(Attempt::Failed(failure)) => return Err(failure),
                Err(Attempt::Redirected) => "redirected".to_owned(),
                Err(Attempt::Again { unknown, why }) => {
                    outcome_unknown |= unknown;
                    why
                }
            };
            if Instant::now() + backoff >= until {
                return Err(CallFailure::Deadline {
                    outcome_unknown,
                    last,
                });
            }
            if last != "redirected" {
                pause(&mut backoff).await;
            } else {
                backoff = BACKOFF;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// Calls one node by its address, once.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn call_node<Request: Serialize, Reply: DeserializeOwned>(
        &self,
        address: &str,
        operation: Operation,
        request: Option<&Request>,
    ) -> Result<Reply, CallFailure> {
        let malformed = || CallFailure::Malformed(operation);
        let payload = match request {
            Some(request) => codec::encode(request).map_err(|_| malformed())?.into(),
            None => Bytes::new(),
        };
        let reply = self
            .ask(address, operation, payload, ATTEMPT)
            .await
            .map_err(|error| {
                let last = format!("{address}: {error}");
                match error {
                    AskError::Call(CallError::NotAuthorised) => {
                        CallFailure::NotAuthorised(operation)
                    }
                    AskError::Call(CallError::Refused { message, .. }) => {
                        codec::decode(&message).map_or_else(|_| malformed(), CallFailure::Refused)
                    }
                    error => CallFailure::Deadline {
                        outcome_unknown: error.unknown(),
                        last,
                    },
                }
            })?;
        codec::decode(&reply).map_err(|_| malformed())
    }

    async fn attempt(
        &self,
        shard: Option<ShardId>,
        operation: Operation,
        payload: &Bytes,
        wait: Duration,
        until: Instant,
    ) -> Result<Bytes, Attempt> {
        let address = self
            .leader(shard, until)
            .await
            .map_err(|failure| match failure {
                CallFailure::Deadline { last, .. } => Attempt::Again {
                    unknown: false,
                    why: last,
                },
                other => Attempt::Failed(other),
            })?;
        let left = until.saturating_duration_since(Instant::now());
        let deadline = left.min(ATTEMPT + wait).max(Duration::from_millis(1));
        let asked = self
            .ask(&address, operation, payload.clone(), deadline)
            .await;
        asked.map_err(|error| self.judge(shard, operation, &address, error))
    }

    /// What a failed attempt says about the next one.
    fn judge(
        &self,
        shard: Option<ShardId>,
        operation: Operation,
        address: &str,
        error: AskError,
    ) -> Attempt {
        let refusal = match error {
            AskError::Call(CallError::Refused { message, .. }) => {
                match codec::decode::<Refusal>(&message) {
                    Ok(refusal) => refusal,
                    Err(_) => return Attempt::Failed(CallFailure::Malformed(operation)),
                }
            }
            AskError::Call(CallError::NotAuthorised) => {
                return Attempt::Failed(CallFailure::NotAuthorised(operation));
            }
            AskError::Call(CallError::TooLarge { .. }) => {
                return Attempt::Failed(CallFailure::Malformed(operation));
            }
            error => {
                self.forget(shard);
                let (unknown, why) = (error.unknown(), format!("{address}: {error}"));
                return Attempt::Again { unknown, why };
            }
        };
        match refusal {
            Refusal::NotLeader {
                leader: Some((_, next)),
            } if next != address => {
                lock(&self.inner.leaders).insert(shard, next);
                Attempt::Redirected
            }
            Refusal::NotLeader { .. } | Refusal::NoSuchShard(_) => {
                self.forget(shard);
                Attempt::Again {
                    unknown: false,
                    why: format!("{address}: {refusal}"),
                }
            }
            refusal if refusal.is_transient() => Attempt::Again {
                unknown: refusal == Refusal::Unknown,
                why: format!("{address}: {refusal}"),
            },
            refusal => Attempt::Failed(CallFailure::Refused(refusal)),
        }
    }

    /// What is known of a group may be out of date: the next attempt asks the directory anew.
    fn forget(&self, shard: Option<ShardId>) {
        lock(&self.inner.leaders).remove(&shard);
        *lock(&self.inner.description) = None;
    }

    /// Where the leader of a group probably is.
    async fn leader(&self, shard: Option<ShardId>, until: Instant) -> Result<String, CallFailure> {
        if let Some(address) = lock(&self.inner.leaders).get(&shard) {
            return Ok(address.clone());
        }
        let known = lock(&self.inner.description).clone();
        let description = match known {
            Some(known) if group_of(&known, shard).is_some() => known,
            _ => self.describe_until(until).await?,
        };
        let missing = || CallFailure::Deadline {
            outcome_unknown: false,
            last: match shard {
                Some(shard) => format!("the cluster has no shard {shard}"),
                None => "the cluster has no directory yet".to_owned(),
            },
        };
        let Some(group) = group_of(&description, shard) else {
            // Before the cluster is initialised every node is as good as any other.
            *lock(&self.inner.description) = None;
            return match (shard, description.nodes.choose(&mut rand::rng())) {
                (None, Some(node)) => Ok(node.address.clone()),
                _ => Err(missing()),
            };
        };
        if let Some(leader) = self.leader_in(&description, shard) {
            return Ok(leader);
        }
        // Only nodes that host a group know who leads it.
        let voters = voters_in(&description, group);
        let soon = until.min(Instant::now() + LOCATE);
        let knows = |described: &ClusterDescription| self.leader_in(described, shard).is_some();
        let asked = self.described_by(voters, soon, knows);
        if let Ok(Ok(described)) = tokio::time::timeout_at(soon, asked).await
            && let Some(leader) = self.leader_in(&described, shard)
        {
            return Ok(leader);
        }
        // They may have told of other voters.
        let latest = lock(&self.inner.description).clone().unwrap_or(description);
        let group = group_of(&latest, shard).ok_or_else(missing)?;
        let mut voters = voters_in(&latest, group);
        rand::seq::SliceRandom::shuffle(voters.as_mut_slice(), &mut rand::rng());
        let chosen = voters.iter().find(|voter| !self.is_shunned(voter));
        chosen.or(voters.first()).cloned().ok_or_else(missing)
    }

    /// The leader of a group as a description has it, unless it could not be reached just now.
    fn leader_in(
        &self,
        description: &ClusterDescription,
        shard: Option<ShardId>,
    ) -> Option<String> {
        let leader = group_of(description, shard)?.leader?;
        let address = &description.node(leader)?.address;
        (!self.is_shunned(address)).then(|| address.clone())
    }

    /// Whether the node could not be reached a short time ago.
    fn is_shunned(&self, address: &str) -> bool {
        let mut unreachable = lock(&self.inner.unreachable);
        unreachable.retain(|_, failed| failed.elapsed() < SHUNNED);
        unreachable.contains_key(address)
    }

    fn shun(&self, address: &str) {
        let mut unreachable = lock(&self.inner.unreachable);
        // As many as the cluster has nodes, and for a second only.
        unreachable.insert(address.to_owned(), Instant::now());
    }

    async fn ask(
        &self,
        address: &str,
        operation: Operation,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, AskError> {
        let expect = ExpectedPeer::vault();
        let begun = Instant::now();
        let pool = &self.inner.pool;
        let connecting = pool.connection(address, &expect, Purpose::Interactive);
        // A node that swallows packets must not use up the time of the others.
        let connected = tokio::time::timeout(deadline, connecting).await;
        let connection = connected
            .map_err(|_| "no connection in time".to_owned())
            .and_then(|connected| connected.map_err(|error| error.to_string()))
            .map_err(|why| {
                self.shun(address);
                AskError::Connect(why)
            })?;
        let left = deadline.saturating_sub(begun.elapsed());
        let left = left.max(Duration::from_millis(1));
        connection
            .call(operation, payload, left)
            .await
            .map_err(AskError::Call)
    }
}

fn group_of(description: &ClusterDescription, shard: Option<ShardId>) -> Option<&GroupDescription> {
    description.groups.iter().find(|group| group.shard == shard)
}

/// The addresses of a group's voters.
fn voters_in(description: &ClusterDescription, group: &GroupDescription) -> Vec<String> {
    let address = |id: &NodeId| description.node(*id).map(|node| node.address.clone());
    group.voters.iter().filter_map(address).collect()
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{0}")]
    Connect(String),
    #[error("{0}")]
    Call(CallError),
}

impl AskError {
    fn unknown(&self) -> bool {
        matches!(self, Self::Call(error) if error.outcome_unknown())
    }
}

async fn pause(backoff: &mut Duration) {
    let jitter = rand::rng().random_range(0.5..1.5);
    tokio::time::sleep(backoff.mul_f64(jitter)).await;
    *backoff = (*backoff * 2).min(BACKOFF_CEILING);
}
