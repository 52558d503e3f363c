//! Watches the nodes that lead groups here, so that a process that has ended is replaced at once.
//!
//! Election timeouts answer the question whether a silent leader is slow or gone. A process that has
//! ended needs no guess: its connections break, and its address refuses the next dial. Each node looks
//! for itself. Whoever has this evidence ends the leader's lease on itself and, in an order that is the
//! same on all nodes, asks for pre-votes; only voters with the same evidence grant them. One node that
//! cannot reach a living leader therefore changes nothing: the others' leases hold. A host that vanishes
//! without a word, or a process that is suspended, refuses nothing and is left to the timeouts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use bailiwick_types::NodeId;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::host::Host;
use crate::hosted::Hosted;

/// A node that leads nothing here is looked at again after this long.
const IDLE: Duration = Duration::from_millis(250);
/// Before the first candidate asks: the others need the same evidence by then.
const FIRST: Duration = Duration::from_millis(5);
/// Every further candidate waits this much longer, so that votes are not split. A vote is two syncs.
const STEP: Duration = Duration::from_millis(80);
/// Pause before a candidate that nobody heard asks again.
const AGAIN: Duration = Duration::from_millis(100);
/// So often a candidate asks; then the timeouts have run out anyway.
const ATTEMPTS: usize = 10;

/// Which leaders are known to have ended.
#[derive(Default)]
pub(crate) struct Vigil {
    fallen: RwLock<BTreeSet<NodeId>>,
    watches: Mutex<BTreeMap<NodeId, Watch>>,
}

/// The task that watches one node; it ends with the vigil.
struct Watch {
    address: String,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Vigil {
    /// Watches exactly these nodes, at these addresses, from now on.
    pub(crate) fn watch(&self, host: &Weak<Host>, nodes: &BTreeMap<NodeId, String>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|node, watch| nodes.get(node) == Some(&watch.address));
        for (node, address) in nodes {
            watches.entry(*node).or_insert_with(|| Watch {
                address: address.clone(),
                task: tokio::spawn(watch(host.clone(), *node)),
            });
        }
    }

    /// Stops watching.
    pub(crate) fn end(&self) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.clear();
    }

    /// Whether the node's process has ended, as far as this node could see just now.
    pub(crate) fn has_fallen(&self, node: NodeId) -> bool {
        let fallen = self.fallen.read().unwrap_or_else(PoisonError::into_inner);
        fallen.contains(&node)
    }

    /// Notes what was seen; true when a node fell that stood before.
    fn note(&self, node: NodeId, has_fallen: bool) -> bool {
        if has_fallen == self.has_fallen(node) {
            return false;
        }
        let mut fallen = self.fallen.write().unwrap_or_else(PoisonError::into_inner);
        if has_fallen {
            fallen.insert(node)
        } else {
            fallen.remove(&node);
            false
        }
    }
}

/// Watches one node for as long as the host lives.
async fn watch(host: Weak<Host>, node: NodeId) {
    loop {
        let Some(host) = host.upgrade() else { return };
        let led = host.led_by(node);
        if led.is_empty() {
            host.vigil().note(node, false);
            drop(host);
            sleep(IDLE).await;
            continue;
        }
        let timings = host.timings().clone();
        let pause = match timeout(timings.election_min, host.links().reach(node)).await {
            Ok(Ok(connection)) => {
                host.vigil().note(node, false);
                drop(host);
                connection.closed().await;
                continue;
            }
            Ok(Err(error)) if error.refused() => {
                if host.vigil().note(node, true) {
                    tracing::warn!(%node, groups = led.len(), "a leader's process has ended");
                    for group in led {
                        tokio::spawn(succeed(Arc::downgrade(&host), group, node));
                    }
                }
                timings.heartbeat
            }
            // Slow, or cut off: no evidence.
            Ok(Err(_)) | Err(_) => timings.heartbeat / 4,
        };
        drop(host);
        sleep(pause).await;
    }
}

/// Stands for election in a group whose leader has ended, when it is this node's turn.
async fn succeed(host: Weak<Host>, group: Arc<Hosted>, fallen: NodeId) {
    let Some(turn) = host.upgrade().and_then(|host| turn(&host, &group, fallen)) else {
        return;
    };
    if group.end_lease(fallen).await.is_err() {
        return;
    }
    sleep(FIRST + STEP * turn).await;
    for _ in 0..ATTEMPTS {
        let Some(host) = host.upgrade() else { return };
        if group.leader() != Some(fallen) || !host.vigil().has_fallen(fallen) {
            return;
        }
        drop(host);
        // It only asks; a stopped group has no elections.
        if group.raft.trigger().elect(true).await.is_err() {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// This node's place in the order of candidates; `None` when it does not vote. The order differs from
/// group to group, so that the groups of a node that fell are shared out.
fn turn(host: &Host, group: &Hosted, fallen: NodeId) -> Option<u32> {
    let voters: BTreeSet<u64> = group.raft.voter_ids().collect();
    let candidates: Vec<u64> = voters.into_iter().filter(|id| *id != fallen.0).collect();
    let own = candidates.iter().position(|id| *id == host.node().0)?;
    let first = usize::try_from(group.id.0).unwrap_or(0) % candidates.len();
    let turn = (own + candidates.len() - first) % candidates.len();
    u32::try_from(turn).ok()
}
