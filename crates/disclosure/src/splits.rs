//! One large request as many small ones: each below the cap, all of them together far above it. A cap
//! per request does not see it; this does, from the requests that the member knows and the releases
//! that the log names. It alerts and forbids nothing: several orders in one case are not unusual.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bailiwick_envelope::request::DisclosureRequest;
use bailiwick_types::{Name, RequestId, SubjectPseudonym, Timestamp};

use crate::facts::RequestHistory;

/// A request that was released, and how many records went out for it.
#[derive(Clone, Copy, Debug)]
pub struct ReleasedRequest<'a> {
    request: &'a DisclosureRequest,
    count: u32,
    at: Timestamp,
}

impl<'a> ReleasedRequest<'a> {
    /// What the log says of a request; `None` while nothing of it was released. Several members'
    /// releases, and repeats, are one.
    pub fn of(request: &'a DisclosureRequest, history: &RequestHistory) -> Option<Self> {
        let releases = history.releases().iter();
        let largest = releases.max_by_key(|release| release.intent.count)?;
        Some(Self {
            request,
            count: largest.intent.count,
            at: largest.place.logged_at,
        })
    }
}

/// What the requests have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SplitBy {
    /// One authority's case.
    Case {
        /// The authority.
        authority: Name,
        /// Its reference.
        reference: String,
    },
    /// One subject, asked for by one authority under whatever reference.
    Subject {
        /// The authority.
        authority: Name,
        /// The subject.
        subject: SubjectPseudonym,
    },
}

/// Requests that are each within the cap and together are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitAlert {
    /// What they have in common.
    pub by: SplitBy,
    /// Which requests, by id.
    pub requests: BTreeSet<RequestId>,
    /// How many records went out for all of them within the window.
    pub total: u64,
    /// What one of them may have.
    pub cap: u32,
}

/// Finds groups of at least two requests, released within some `window`, whose records together are
/// more than `cap`, the most that policy lets one request have. Ordered by what they have in common;
/// of each, the window with the most records.
pub fn split_alerts(
    released: &[ReleasedRequest<'_>],
    cap: u32,
    window: Duration,
) -> Vec<SplitAlert> {
    let mut groups: BTreeMap<SplitBy, BTreeMap<RequestId, (u32, Timestamp)>> = BTreeMap::new();
    for one in released {
        let id = one.request.id();
        for by in shared(one.request) {
            let group = groups.entry(by).or_default();
            group.insert(id, (one.count, one.at));
        }
    }
    let alert = |(by, group)| largest_window(by, &group, cap, window);
    groups.into_iter().filter_map(alert).collect()
}

fn shared(request: &DisclosureRequest) -> Vec<SplitBy> {
    let authority = || request.authority.clone();
    let subjects: BTreeSet<SubjectPseudonym> =
        request.scope.iter().map(|line| line.subject).collect();
    let by_subject = subjects.into_iter().map(|subject| SplitBy::Subject {
        authority: authority(),
        subject,
    });
    let reference = request.reference.clone();
    let by_case = SplitBy::Case {
        authority: authority(),
        reference,
    };
    std::iter::once(by_case).chain(by_subject).collect()
}

fn largest_window(
    by: SplitBy,
    group: &BTreeMap<RequestId, (u32, Timestamp)>,
    cap: u32,
    window: Duration,
) -> Option<SplitAlert> {
    let beginnings = group.values().map(|(_, at)| *at);
    let within = |from: Timestamp| {
        let inside = |at: Timestamp| from <= at && at < from.plus(window);
        let chosen = group.iter().filter(|(_, (_, at))| inside(*at));
        let (mut total, mut requests) = (0u64, BTreeSet::new());
        for (id, (count, _)) in chosen {
            total += u64::from(*count);
            requests.insert(*id);
        }
        (total, requests)
    };
    let (total, requests) = beginnings.map(within).max()?;
    (requests.len() > 1 && total > u64::from(cap)).then_some(SplitAlert {
        by,
        requests,
        total,
        cap,
    })
}
