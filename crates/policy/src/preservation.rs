//! The life cycle of a preservation: fast, with a quorum of its own, and expiring. It needs no key
//! and enables no decryption; what it keeps is disclosed only by a request that it is linked to.
//!
//! ```text
//! Received > Active > Extended | Linked(request) > Released
//! ends       Rejected, NotAvailable, Cancelled, Expired, Released
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use bailiwick_types::{Name, RequestId, Timestamp};

use crate::law::Preservation;
use crate::vocabulary::words;

words! {
    /// The states of a preservation.
    PreservationState {
        /// Received; its quorum has not agreed yet.
        Received = "received",
        /// The hold stands.
        Active = "active",
        /// The hold was extended.
        Extended = "extended",
        /// A request for the same records was entered; the hold stands until it ends.
        Linked = "linked",
        /// The hold was lifted.
        Released = "released",
        /// The sender was not authentic.
        Rejected = "rejected",
        /// There is nothing to keep.
        NotAvailable = "not-available",
        /// The authority cancelled it.
        Cancelled = "cancelled",
        /// Its time is over.
        Expired = "expired",
    }
}

impl PreservationState {
    /// Whether records are kept in this state.
    pub fn holds(self) -> bool {
        matches!(self, Self::Active | Self::Extended | Self::Linked)
    }
}

/// Who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldOrigin {
    /// An authority whose sender was verified: criminals forge freeze requests too.
    Authority(Name),
    /// A moderation case of the platform: its own finding, or a user's report, by reference.
    Moderation(String),
}

/// Why nothing changes: whoever asked is late or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PreservationRefusal {
    /// The state does not allow it.
    #[error("preservation: not possible while it is {0}")]
    State(PreservationState),
    /// The policy allows no further extension.
    #[error("extension: the policy allows {0}")]
    Extensions(u32),
    /// The same person again.
    #[error("person: agreed already")]
    AgreedTwice,
    /// Before the last event.
    #[error("event time: before the last event")]
    TimeBackwards,
}

/// One preservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreservationProcess {
    origin: HoldOrigin,
    terms: Preservation,
    state: PreservationState,
    agreed: BTreeSet<Name>,
    until: Timestamp,
    extensions: u32,
    request: Option<RequestId>,
    last: Timestamp,
}

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 86_400)
}

impl PreservationProcess {
    /// A preservation as it is received, at a log time.
    pub fn new(origin: HoldOrigin, terms: Preservation, at: Timestamp) -> Self {
        Self {
            origin,
            terms,
            state: PreservationState::Received,
            agreed: BTreeSet::new(),
            until: at,
            extensions: 0,
            request: None,
            last: at,
        }
    }

    /// Who asked for it.
    pub fn origin(&self) -> &HoldOrigin {
        &self.origin
    }

    /// The state at a log time.
    pub fn state(&self, at: Timestamp) -> PreservationState {
        use PreservationState as State;
        match self.state {
            State::Active | State::Extended if at >= self.until => State::Expired,
            state => state,
        }
    }

    /// First instant after the hold; it stands on while it is linked.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The request that it is linked to.
    pub fn request(&self) -> Option<RequestId> {
        self.request
    }

    fn step(&mut self, at: Timestamp) -> Result<PreservationState, PreservationRefusal> {
        if at < self.last {
            return Err(PreservationRefusal::TimeBackwards);
        }
        self.last = at;
        self.state = self.state(at);
        Ok(self.state)
    }

    /// A person agrees; with its quorum the hold stands from then on.
    ///
    /// # Errors
    /// [`PreservationRefusal`] in another state than received, or by the same person.
    pub fn agree(&mut self, at: Timestamp, person: Name) -> Result<(), PreservationRefusal> {
        match self.step(at)? {
            PreservationState::Received => {}
            state => return Err(PreservationRefusal::State(state)),
        }
        if !self.agreed.insert(person) {
            return Err(PreservationRefusal::AgreedTwice);
        }
        let needed = self.terms.quorum;
        if needed > 0 && self.agreed.len() >= usize::from(needed) {
            self.state = PreservationState::Active;
            self.until = at.plus(days(self.terms.initial_days));
        }
        Ok(())
    }

    /// Extends a hold that stands, as often as the policy allows.
    ///
    /// # Errors
    /// [`PreservationRefusal`] when no hold stands or it was extended often enough.
    pub fn extend(&mut self, at: Timestamp) -> Result<(), PreservationRefusal> {
        match self.step(at)? {
            PreservationState::Active | PreservationState::Extended => {}
            state => return Err(PreservationRefusal::State(state)),
        }
        if self.extensions >= self.terms.extensions {
            return Err(PreservationRefusal::Extensions(self.terms.extensions));
        }
        self.extensions += 1;
        self.until = self.until.plus(days(self.terms.extension_days));
        self.state = PreservationState::Extended;
        Ok(())
    }

    /// Links it to a request for the same records.
    ///
    /// # Errors
    /// [`PreservationRefusal`] when no hold stands.
    pub fn link(&mut self, at: Timestamp, to: RequestId) -> Result<(), PreservationRefusal> {
        match self.step(at)? {
            PreservationState::Active | PreservationState::Extended => {}
            state => return Err(PreservationRefusal::State(state)),
        }
        self.state = PreservationState::Linked;
        self.request = Some(to);
        Ok(())
    }

    /// Ends it: released, rejected, not available or cancelled.
    ///
    /// # Errors
    /// [`PreservationRefusal`] when it has ended, or cannot end so.
    pub fn end(
        &mut self,
        at: Timestamp,
        end: PreservationState,
    ) -> Result<(), PreservationRefusal> {
        use PreservationState as State;
        let state = self.step(at)?;
        let allowed = match end {
            State::Rejected | State::NotAvailable => state == State::Received,
            State::Cancelled => matches!(state, State::Received | State::Active | State::Extended),
            State::Released => state.holds(),
            _ => false,
        };
        if !allowed {
            return Err(PreservationRefusal::State(state));
        }
        self.state = end;
        Ok(())
    }
}
