//! Lets groups rest in which nothing happens, so that a node of hundreds of groups does not spend its
//! processor on their ticks and heartbeats.
//!
//! openraft ticks every group of a node fifty times a second, and its leaders show that they live ten
//! times. A group without work for [`RESTS_AFTER`] is not ticked: its leader is made to show that it
//! lives just often enough that the lease never runs out, and its followers look up as soon as they
//! have not heard it for as long as a lease. From then on they tick again, and are where they would
//! have been: a silent leader is replaced no later than in a group at work.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::host::Host;
use crate::hosted::Hosted;

/// A group in which nothing was appended for this long rests.
const RESTS_AFTER: Duration = Duration::from_secs(3);
/// How often all groups are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What happened last in a group, and whether it rests.
pub(crate) struct Activity {
    begun: Instant,
    /// All three in microseconds since `begun`.
    work: AtomicU64,
    contact: AtomicU64,
    beat: AtomicU64,
    rests: AtomicBool,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            work: AtomicU64::new(0),
            contact: AtomicU64::new(0),
            beat: AtomicU64::new(0),
            rests: AtomicBool::new(false),
        }
    }

    fn note(&self, what: &AtomicU64) {
        let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        what.store(now, Ordering::Relaxed);
    }

    fn since(&self, what: &AtomicU64) -> Duration {
        let at = Duration::from_micros(what.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(at)
    }
}

impl Hosted {
    /// Something is appended: the group does not rest.
    pub(crate) fn works(&self) {
        self.activity.note(&self.activity.work);
        self.wake();
    }

    /// The leader was heard.
    pub(crate) fn hears_leader(&self) {
        self.activity.note(&self.activity.contact);
    }

    fn wake(&self) {
        if self.activity.rests.swap(false, Ordering::AcqRel) {
            self.raft.runtime_config().tick(true);
        }
    }

    fn rest(&self) {
        if !self.activity.rests.swap(true, Ordering::AcqRel) {
            self.raft.runtime_config().tick(false);
        }
    }

    /// Whether the group rests.
    pub(crate) fn rests(&self) -> bool {
        self.activity.rests.load(Ordering::Acquire)
    }

    /// Decides whether the group rests from now on. `lease` is how long a leader is believed in.
    async fn look(&self, host: &Host, lease: Duration) {
        let activity = &self.activity;
        let quiet = activity.since(&activity.work) >= RESTS_AFTER;
        match self.leader() {
            Some(leader) if quiet && leader == host.node() => {
                self.rest();
                // The look after the next is the latest that keeps the lease.
                if activity.since(&activity.beat) + 2 * LOOK >= lease {
                    activity.note(&activity.beat);
                    // It only asks; a stopped group has nobody to convince.
                    let _ = self.raft.trigger().heartbeat().await;
                }
            }
            Some(_) if quiet && activity.since(&activity.contact) < lease => self.rest(),
            _ => self.wake(),
        }
    }
}

/// Looks at all groups as long as the host lives.
pub(crate) async fn watch(host: Weak<Host>) {
    loop {
        sleep(LOOK).await;
        let Some(host) = host.upgrade() else { return };
        let lease = host.timings().election_max;
        for group in host.all() {
            group.look(&host, lease).await;
        }
    }
}
