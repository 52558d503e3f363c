//! The Raft operations as other vault nodes ask them of this one.
//!
//! Before openraft hears a message: the group runs here and may, the sender is a member of it and who
//! the message says, and no stamp is too far ahead of this node's clock.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bailiwick_storage::SnapshotReceiver;
use bailiwick_transport::{Operation, Refusal, StreamReceiver, StreamSender};
use bailiwick_types::limits::STAMP_LEAD;
use bailiwick_types::{NodeId, Timestamp};
use bytes::Bytes;
use futures::StreamExt;
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest,
};
use openraft::storage::Snapshot;
use serde::Serialize;

use crate::group::GroupKind;
use crate::host::Host;
use crate::hosted::{Distrusted, Hosted};
use crate::raft::{Types, Vote, decode, encode};
use crate::state_machine::{SnapshotData, blocking};
use crate::wire::{
    Addressed, AppendAnswer, SnapshotHead, Target, Transfer, addressed, decode_append, refusal,
    refuse, split,
};

/// Longest snapshot that a node receives, in bytes: a store of two billion records.
const SNAPSHOT_BYTES: u64 = 1 << 40;

fn malformed(error: &io::Error) -> Refusal {
    refuse(refusal::MALFORMED, error.to_string())
}

fn stopped(error: &impl std::fmt::Display) -> Refusal {
    refuse(refusal::STOPPED, error.to_string())
}

fn reply(answer: &impl Serialize) -> Result<Bytes, Refusal> {
    encode(answer).map_err(|error| malformed(&error))
}

/// A vote names the node that asks for it or leads by it; that must be who is connected.
fn check_sender(from: NodeId, vote: &Vote) -> Result<(), Refusal> {
    if vote.leader_id.voted_for == from.0 {
        Ok(())
    } else {
        let claimed = vote.leader_id.voted_for;
        Err(refuse(
            refusal::IDENTITY,
            format!("node {from} speaks for node {claimed}"),
        ))
    }
}

impl Host {
    /// Serves a Raft call of another node; `from` is the node of its certificate, see
    /// [`Host::peer_of`].
    ///
    /// # Errors
    /// [`Refusal`] travels to the caller: an unknown or misplaced group, a message in another node's
    /// name, a stamp too far ahead, a stopped group, or malformed bytes.
    pub async fn handle_call(
        &self,
        from: NodeId,
        operation: Operation,
        payload: Bytes,
    ) -> Result<Bytes, Refusal> {
        match operation {
            Operation::RaftAppend => {
                let (target, request) = split(payload).map_err(|error| malformed(&error))?;
                self.append(from, target, request).await
            }
            Operation::RaftVote | Operation::RaftPreVote => {
                let Addressed { target, message } = addressed::<VoteRequest<Types>>(&payload)?;
                let group = self.target(from, target)?;
                check_sender(from, &message.vote)?;
                if group.distrusts_candidate(from, self.latest_stamp()) {
                    return Err(refuse(refusal::STAMP, "the candidate's clock is wrong"));
                }
                let voted = if operation == Operation::RaftVote {
                    group.raft.vote(message).await
                } else {
                    group.raft.pre_vote(message).await
                };
                reply(&voted.map_err(|error| stopped(&error))?)
            }
            Operation::RaftTransfer => {
                let Addressed { target, message } = addressed::<Transfer>(&payload)?;
                let group = self.target(from, target)?;
                check_sender(from, &message.from_leader)?;
                let request = TransferLeaderRequest::new(
                    message.from_leader,
                    message.to.0,
                    message.last_log_id,
                );
                let handled = group.raft.handle_transfer_leader(request).await;
                reply(&handled.map_err(|error| stopped(&error))?)
            }
            _ => Err(refuse(refusal::NOT_RAFT, operation.as_str())),
        }
    }

    /// Serves a Raft stream of another node; `from` is the node of its certificate, see
    /// [`Host::peer_of`].
    ///
    /// # Errors
    /// As [`Host::handle_call`], and for a snapshot that does not check.
    pub async fn handle_stream(
        &self,
        from: NodeId,
        operation: Operation,
        header: Bytes,
        sender: StreamSender,
        receiver: StreamReceiver,
    ) -> Result<(), Refusal> {
        match operation {
            Operation::RaftAppend => {
                let target = decode(&header).map_err(|error| malformed(&error))?;
                self.append_stream(from, target, sender, receiver).await
            }
            Operation::RaftSnapshot => {
                let Addressed { target, message } = addressed::<SnapshotHead>(&header)?;
                self.receive_snapshot(from, target, message, sender, receiver)
                    .await
            }
            _ => Err(refuse(refusal::NOT_RAFT, operation.as_str())),
        }
    }

    /// The group a message is for, if it runs here and may, and the sender takes part in it.
    fn target(&self, from: NodeId, target: Target) -> Result<Arc<Hosted>, Refusal> {
        self.check_placement(&target.kind)?;
        let group = self
            .hosted(target.group)
            .ok_or_else(|| refuse(refusal::NO_SUCH_GROUP, target.group.to_string()))?;
        if group.kind != target.kind {
            return Err(refuse(
                refusal::PLACEMENT,
                "the group has another state machine here",
            ));
        }
        self.check_member(from, &group)?;
        Ok(group)
    }

    fn check_placement(&self, kind: &GroupKind) -> Result<(), Refusal> {
        if self.placed_here(kind) {
            Ok(())
        } else {
            Err(refuse(
                refusal::PLACEMENT,
                "this region may not hold the group",
            ))
        }
    }

    fn check_member(&self, from: NodeId, group: &Hosted) -> Result<(), Refusal> {
        if self.is_member(from, group) {
            Ok(())
        } else {
            Err(refuse(
                refusal::MEMBER,
                format!("node {from} is no member of the group"),
            ))
        }
    }

    /// The latest stamp that this node accepts now.
    fn latest_stamp(&self) -> Timestamp {
        self.now().plus(STAMP_LEAD)
    }

    /// Whether an append may be heard.
    fn check_append(
        &self,
        from: NodeId,
        group: &Hosted,
        request: &AppendEntriesRequest<Types>,
    ) -> Result<(), Refusal> {
        // A stream lives long: what was placed here when it was opened may not be any more.
        self.check_placement(&group.kind)?;
        self.check_member(from, group)?;
        check_sender(from, &request.vote)?;
        let term = request.vote.leader_id.term;
        let latest = self.latest_stamp();
        let ahead = request
            .entries
            .iter()
            .find_map(|entry| match &entry.payload {
                EntryPayload::Normal(proposal) if proposal.stamp > latest => Some(proposal.stamp),
                _ => None,
            });
        if let Some(stamp) = ahead {
            tracing::error!(group = %group.id, leader = %from, %stamp, "the leader's clock, or this node's, is wrong");
            group.distrust(Distrusted {
                node: from,
                term,
                stamp,
            });
        }
        if group.distrusts_leader(term) {
            return Err(refuse(
                refusal::STAMP,
                "a stamp is too far ahead of this node's clock",
            ));
        }
        group.machine.recorders().heard();
        group.hears_leader();
        if !request.entries.is_empty() {
            group.works();
        }
        Ok(())
    }

    async fn append(
        &self,
        from: NodeId,
        target: Target,
        request: AppendEntriesRequest<Types>,
    ) -> Result<Bytes, Refusal> {
        let group = self.target(from, target)?;
        self.check_append(from, &group, &request)?;
        let previous = request.prev_log_id;
        let last = request
            .entries
            .last()
            .map(|entry| entry.log_id)
            .or(previous);
        let appended = group.raft.append_entries(request).await;
        reply(&match appended.map_err(|error| stopped(&error))? {
            AppendEntriesResponse::Success => AppendAnswer::Matched(last),
            AppendEntriesResponse::PartialSuccess(matched) => AppendAnswer::Matched(matched),
            AppendEntriesResponse::HigherVote(vote) => AppendAnswer::HigherVote(vote),
            AppendEntriesResponse::Conflict => match previous {
                Some(previous) => AppendAnswer::Conflict(previous),
                // Nothing precedes it, so nothing can conflict.
                None => {
                    return Err(refuse(
                        refusal::MALFORMED,
                        "conflict before the first entry",
                    ));
                }
            },
        })
    }

    async fn append_stream(
        &self,
        from: NodeId,
        target: Target,
        mut sender: StreamSender,
        receiver: StreamReceiver,
    ) -> Result<(), Refusal> {
        let group = self.target(from, target)?;
        let refused = Arc::new(Mutex::new(None));
        let requests = Requests {
            host: self.myself(),
            group: group.clone(),
            from,
            receiver,
            refused: refused.clone(),
        };
        let requests = futures::stream::unfold(requests, |mut requests| async {
            let request = requests.next().await?;
            Some((request, requests))
        });
        let mut answers = pin!(group.raft.stream_append(requests));
        while let Some(answer) = answers.next().await {
            let answer = AppendAnswer::from(answer.map_err(|error| stopped(&error))?);
            if sender.send(reply(&answer)?).await.is_err() {
                // The leader is gone; it asks again when it is back.
                return Ok(());
            }
        }
        let refusal = refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match refusal {
            Some(refusal) => Err(refusal),
            None => {
                // The stream ends either way.
                let _ = sender.finish().await;
                Ok(())
            }
        }
    }

    async fn receive_snapshot(
        &self,
        from: NodeId,
        target: Target,
        head: SnapshotHead,
        mut sender: StreamSender,
        receiver: StreamReceiver,
    ) -> Result<(), Refusal> {
        let group = self.target(from, target)?;
        check_sender(from, &head.vote)?;
        if head.length > SNAPSHOT_BYTES {
            return Err(refuse(refusal::SNAPSHOT, "the snapshot is too long"));
        }
        let path = group.machine.path(&format!("from-{from}.snapshot"));
        receive_file(&group, &path, head.length, receiver)
            .await
            .map_err(|error| refuse(refusal::SNAPSHOT, error.to_string()))?;
        // What was placed here when it began may not be any more.
        let group = self.target(from, target)?;
        let snapshot = Snapshot {
            meta: head.meta,
            snapshot: SnapshotData::File(path),
        };
        let installed = group.raft.install_full_snapshot(head.vote, snapshot).await;
        let answer = reply(&installed.map_err(|error| stopped(&error))?)?;
        if sender.send(answer).await.is_ok() {
            let _ = sender.finish().await;
        }
        Ok(())
    }
}

/// Receives a snapshot into a file and checks it.
async fn receive_file(
    group: &Hosted,
    path: &str,
    length: u64,
    mut receiver: StreamReceiver,
) -> io::Result<()> {
    let (disk, path) = (group.machine.disk().clone(), path.to_owned());
    let mut file =
        blocking(move || SnapshotReceiver::create(disk, &path).map_err(io::Error::other)).await?;
    let mut received = 0;
    while let Some(chunk) = receiver.recv().await.map_err(io::Error::other)? {
        received += chunk.len() as u64;
        if received > length {
            return Err(io::Error::other("the snapshot is longer than announced"));
        }
        file = blocking(move || {
            file.write(&chunk).map_err(io::Error::other)?;
            Ok(file)
        })
        .await?;
    }
    if received != length {
        return Err(io::Error::other("the snapshot ended early"));
    }
    blocking(move || file.finish().map_err(io::Error::other)).await?;
    Ok(())
}

/// The appends of one stream, checked one by one.
struct Requests {
    host: Arc<Host>,
    group: Arc<Hosted>,
    from: NodeId,
    receiver: StreamReceiver,
    /// Why the stream ends, for the leader.
    refused: Arc<Mutex<Option<Refusal>>>,
}

impl Requests {
    async fn next(&mut self) -> Option<AppendEntriesRequest<Types>> {
        // A broken connection ends the stream as its end does: the leader begins a new one.
        let message = self.receiver.recv().await.ok()??;
        let checked = decode_append(message)
            .map_err(|error| malformed(&error))
            .and_then(|request| {
                self.host.check_append(self.from, &self.group, &request)?;
                Ok(request)
            });
        match checked {
            Ok(request) => Some(request),
            Err(refusal) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                None
            }
        }
    }
}
