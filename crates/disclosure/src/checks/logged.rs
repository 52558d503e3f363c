//! Step 9: "append the release leaf, wait for a cosigned checkpoint, look for recall and freeze once
//! more."

use bailiwick_types::{RequestId, Timestamp};

use crate::checks::checkpoint::CosignedCheckpoint;
use crate::checks::freeze::{FrozenRefusal, NotFrozen};
use crate::checks::policy::{PolicyRefusal, check_budget, check_budget_of_day, day_of};
use crate::checks::request::{RequestRefusal, check_alive};
use crate::facts::LoggedRelease;
use crate::follower::LogFollower;
use crate::release::Approvable;
use crate::trust::JurisdictionTrust;

/// The own release is logged after the quorum, under a later cosigned checkpoint, and nothing has
/// happened since that forbids it. Only [`ReleaseLogged::verify`] makes one.
#[derive(Clone, Debug)]
pub struct ReleaseLogged {
    request: RequestId,
    leaf_index: u64,
}

/// Why a logged release is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseLoggedRefusal {
    /// The checkpoint is of another log, or older than the one that the checks were made under.
    #[error("the checkpoint is older than the checks, or of another log")]
    Checkpoint,
    /// The own intent is not logged between the quorum and the checkpoint.
    #[error("the own release is not logged between leaf {from} and leaf {to}")]
    NotLogged {
        /// The size at which the quorum was complete.
        from: u64,
        /// The checkpoint's size.
        to: u64,
    },
    /// The own slot has logged another release for this request: other recipient or selection.
    #[error("leaf {index} releases this request to another recipient or for another selection")]
    OtherRelease {
        /// The other release's leaf.
        index: u64,
    },
    /// The request was recalled, refused or has expired meanwhile.
    #[error("the request is not alive any more")]
    Request(#[from] RequestRefusal),
    /// The jurisdiction was frozen meanwhile.
    #[error("the jurisdiction was frozen meanwhile")]
    Frozen(#[from] FrozenRefusal),
    /// The budget was used up meanwhile.
    #[error("the budget was used up meanwhile")]
    Budget(#[from] PolicyRefusal),
    /// A key involved became due for erasure meanwhile.
    #[error("a key involved is due for erasure")]
    EraseBy,
}

impl ReleaseLogged {
    /// Looks for the own leaf under a later checkpoint, and once more for everything that can
    /// forbid the release.
    ///
    /// # Errors
    /// [`ReleaseLoggedRefusal`] names the first check that fails.
    pub fn verify(
        approvable: &Approvable,
        checkpoint: &CosignedCheckpoint,
        follower: &LogFollower,
        trust: &JurisdictionTrust,
        now: Timestamp,
    ) -> Result<Self, ReleaseLoggedRefusal> {
        let before = approvable.checkpoint();
        let reference = checkpoint.reference();
        if reference.jurisdiction != before.jurisdiction
            || trust.jurisdiction() != before.jurisdiction
            || follower.origin() != trust.origin()
            || reference.size < before.size
        {
            return Err(ReleaseLoggedRefusal::Checkpoint);
        }
        let (from, to) = (approvable.quorum().complete_at(), reference.size);
        let missing = ReleaseLoggedRefusal::NotLogged { from, to };
        let request = approvable.request();
        let history = follower.facts().request(request.id());
        let history = history.ok_or(missing.clone())?;
        let own: Vec<&LoggedRelease> = history.releases_of(approvable.seat()).collect();
        let intent = approvable.intent();
        if let Some(other) = own.iter().find(|release| {
            release.intent.recipient != intent.recipient
                || release.intent.selection != intent.selection
        }) {
            let index = other.place.index;
            return Err(ReleaseLoggedRefusal::OtherRelease { index });
        }
        let logged = own.iter().find(|release| {
            let index = release.place.index;
            release.intent == *intent && index >= from && index < to
        });
        let place = logged.ok_or(missing)?.place;
        let leaf_index = place.index;
        check_alive(request.request(), history, follower, now)?;
        NotFrozen::verify(checkpoint, follower)?;
        let (quorum, seat) = (approvable.quorum(), approvable.seat());
        check_budget(trust, follower, quorum, seat, now)?;
        // The leaves that are counted carry the leader's stamps, and a leader can let them stand still:
        // then they all fall on one day that is not this clock's.
        check_budget_of_day(trust, follower, quorum, seat, day_of(place.logged_at))?;
        if approvable.labels().erase_by() <= now {
            return Err(ReleaseLoggedRefusal::EraseBy);
        }
        Ok(Self {
            request: request.id(),
            leaf_index,
        })
    }

    /// The request.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The index of the own release's leaf.
    pub fn leaf_index(&self) -> u64 {
        self.leaf_index
    }
}
