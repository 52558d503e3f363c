//! Proposals and linearizable reads, and which of openraft's answers mean what.
//!
//! `ForwardToLeader` means that nothing was appended; everything else that is no outcome leaves the
//! outcome unknown.

use std::time::Duration;

use bailiwick_storage::StoreView;
use bailiwick_types::{GroupId, NodeId};
use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::errors::{
    ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError,
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::{ProposeError, ReadError};
use crate::group::Leader;
use crate::host::Host;
use crate::hosted::Hosted;
use crate::raft::{Proposal, Types};

/// First pause before what was not appended is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// What to do about a request that this node could not take.
enum Elsewhere {
    /// Somebody else leads.
    There(Leader),
    /// Passing: a new leader's lease, a transfer, an election.
    Wait,
    /// Passing, but for want of a known leader.
    Unknown,
}

impl Host {
    /// Proposes a command; returns its encoded outcome once a quorum has it on disk and this node
    /// applied it. What was definitely not appended is repeated within the deadline.
    ///
    /// # Errors
    /// [`ProposeError`] says whether the outcome is known.
    pub async fn propose(&self, id: GroupId, command: Bytes) -> Result<Bytes, ProposeError> {
        if command.len() > Self::COMMAND_BYTES {
            return Err(ProposeError::TooLarge {
                length: command.len(),
            });
        }
        if self.is_closed() {
            return Err(ProposeError::ShuttingDown);
        }
        let group = self.hosted(id).ok_or(ProposeError::NoSuchGroup(id))?;
        let _place = group
            .room
            .try_acquire()
            .map_err(|_| ProposeError::Overloaded)?;
        let deadline = Instant::now() + self.timings().propose_deadline;
        let patience = Instant::now() + self.timings().election_max;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.propose_once(&group, command.clone(), deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error?,
            };
            match self.elsewhere(&error) {
                Elsewhere::There(leader) => {
                    return Err(ProposeError::NotLeader {
                        leader: Some(leader),
                    });
                }
                Elsewhere::Unknown if Instant::now() >= patience => {
                    return Err(ProposeError::NotLeader { leader: None });
                }
                Elsewhere::Wait if Instant::now() >= deadline => return Err(ProposeError::Retry),
                Elsewhere::Wait | Elsewhere::Unknown => {}
            }
            if self.is_closed() {
                return Err(ProposeError::ShuttingDown);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One try: an outcome, a definite no, or an error to end with.
    async fn propose_once(
        &self,
        group: &Hosted,
        command: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Result<ForwardToLeader<Types>, ProposeError>> {
        group.works();
        let stamp = group.stamp(self.now());
        let begun = Instant::now();
        let write = group.raft.client_write(Proposal { stamp, command });
        match timeout_at(deadline, write).await {
            Ok(Ok(response)) => {
                group.machine.recorders().commit.record(begun.elapsed());
                Ok(response.data.0)
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(Ok(forward))
            }
            // Discarded from this log, stopped, or too slow: it may yet be committed.
            Ok(Err(_)) | Err(_) => Err(Err(ProposeError::Unknown)),
        }
    }

    fn elsewhere(&self, forward: &ForwardToLeader<Types>) -> Elsewhere {
        match (forward.reason, forward.leader_id) {
            (ForwardReason::NotLeader, Some(leader))
                if leader != self.node().0 && !self.vigil().has_fallen(NodeId(leader)) =>
            {
                Elsewhere::There(self.leader_of(NodeId(leader)))
            }
            (ForwardReason::NotLeader, _) => Elsewhere::Unknown,
            (ForwardReason::LeaseExpired | ForwardReason::LeadershipTransfer, _) => Elsewhere::Wait,
        }
    }

    /// A view that holds at least everything that was acknowledged before the call: a quorum confirms
    /// the leadership first (ReadIndex); no lease is trusted.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&self, id: GroupId) -> Result<StoreView, ReadError> {
        if self.is_closed() {
            return Err(ReadError::ShuttingDown);
        }
        let group = self.hosted(id).ok_or(ReadError::NoSuchGroup(id))?;
        let deadline = Instant::now() + self.timings().read_deadline;
        let patience = Instant::now() + self.timings().election_max;
        let mut pause = FIRST_PAUSE;
        loop {
            match timeout_at(deadline, confirm(&group)).await {
                Err(_) => return Err(ReadError::Unconfirmed),
                Ok(Ok(())) => {
                    let view = group.machine.view();
                    return view.map_err(|error| ReadError::Storage(error.to_string()));
                }
                Ok(Err(Unconfirmed::Stopped)) => return Err(ReadError::ShuttingDown),
                Ok(Err(Unconfirmed::NoQuorum)) => {}
                Ok(Err(Unconfirmed::Elsewhere(forward))) => match self.elsewhere(&forward) {
                    Elsewhere::There(leader) => {
                        return Err(ReadError::NotLeader {
                            leader: Some(leader),
                        });
                    }
                    Elsewhere::Unknown if Instant::now() >= patience => {
                        return Err(ReadError::NotLeader { leader: None });
                    }
                    Elsewhere::Wait | Elsewhere::Unknown => {}
                },
            }
            if Instant::now() + pause >= deadline {
                return Err(ReadError::Unconfirmed);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

enum Unconfirmed {
    Elsewhere(ForwardToLeader<Types>),
    NoQuorum,
    Stopped,
}

/// Has a quorum confirm the leadership, then waits until everything committed by then is applied.
async fn confirm(group: &Hosted) -> Result<(), Unconfirmed> {
    let linearizer = group.raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
    let linearizer = linearizer.map_err(|error| match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            Unconfirmed::Elsewhere(forward)
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => Unconfirmed::NoQuorum,
        RaftError::Fatal(_) => Unconfirmed::Stopped,
    })?;
    match linearizer.await_ready(&group.raft).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Unconfirmed::Stopped),
    }
}
