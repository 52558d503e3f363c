//! openraft's network: one group's messages to one other node, over the node's shared connections.
//!
//! Appends are pipelined over a stream that is opened when there is something to send and given back
//! when it has been idle: a node of hundreds of groups keeps streams only for those at work, and a
//! group that finds none free sends its appends one by one as calls. Heartbeats and votes are calls.
//! Snapshots go over a connection of their own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_storage::{SnapshotReader, write_snapshot};
use bailiwick_transport::{
    CallError, Operation, Purpose, StreamError, StreamReceiver, StreamSender,
};
use bailiwick_types::NodeId;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::links::{LinkError, Links};
use crate::raft::{Types, Vote, decode, encode};
use crate::state_machine::{GroupMachine, SnapshotData, blocking};
use crate::wire::{AppendAnswer, SnapshotHead, Target, Transfer, address, encode_append};

/// Appends of one group to one node under way at once: what openraft's own receiver queues.
const APPENDS_UNDER_WAY: usize = 64;
/// An append stream is given back after this long without appends.
const STREAM_IDLE: Duration = Duration::from_secs(2);
/// No answer to an append for this long means that the stream is dead. Longer than a slow disk's
/// sync; a dead peer is noticed earlier by its heartbeats.
const APPEND_STALL: Duration = Duration::from_secs(5);
/// Bytes of one message of a snapshot's stream.
const SNAPSHOT_CHUNK: usize = 512 << 10;
/// A receiver of a snapshot may take this long to load it once it has all of it.
const SNAPSHOT_INSTALL: Duration = Duration::from_secs(10 * 60);
/// A chunk of a snapshot that finds no room for this long means that the receiver is stuck.
const SNAPSHOT_STALL: Duration = Duration::from_secs(30);

/// Makes the networks of one group.
#[derive(Clone)]
pub(crate) struct Network {
    links: Arc<Links>,
    target: Target,
    machine: GroupMachine,
    /// Shortest patience for votes and transfers; openraft's own is its heartbeat's.
    patience: Duration,
}

impl Network {
    pub(crate) fn new(
        links: Arc<Links>,
        target: Target,
        machine: GroupMachine,
        patience: Duration,
    ) -> Self {
        Self {
            links,
            target,
            machine,
            patience,
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer {
            to: NodeId(target),
            network: self.clone(),
            single: false,
        }
    }

    async fn new_heartbeat_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer {
            to: NodeId(target),
            network: self.clone(),
            single: true,
        }
    }
}

/// One group's messages to one other node.
pub(crate) struct Peer {
    to: NodeId,
    network: Network,
    /// For heartbeats, which are a session of one append each: a call is cheaper than a stream.
    single: bool,
}

fn rpc_error(error: LinkError) -> RPCError<Types> {
    if error.unreachable() {
        RPCError::Unreachable(Unreachable::new(&error))
    } else {
        RPCError::Network(NetworkError::new(&error))
    }
}

fn streaming_error(error: LinkError) -> StreamingError<Types> {
    if error.unreachable() {
        StreamingError::Unreachable(Unreachable::new(&error))
    } else {
        StreamingError::Network(NetworkError::new(&error))
    }
}

impl Network {
    async fn small<T: Serialize, R: DeserializeOwned>(
        &self,
        to: NodeId,
        operation: Operation,
        message: T,
        deadline: Duration,
    ) -> Result<R, RPCError<Types>> {
        let ask = async {
            let payload = address(self.target, message).map_err(LinkError::Malformed)?;
            let reply = self.links.call(to, operation, payload, deadline).await?;
            decode(&reply).map_err(LinkError::Malformed)
        };
        ask.await.map_err(rpc_error)
    }

    /// One append as a call: for heartbeats, and when no stream is free.
    async fn append_once(
        &self,
        to: NodeId,
        request: &AppendEntriesRequest<Types>,
        deadline: Duration,
    ) -> Result<AppendAnswer, LinkError> {
        let append = encode_append(request).map_err(LinkError::Malformed)?;
        // The target first, then the append as it is: no second copy of the commands in bincode.
        let target = encode(&self.target).map_err(LinkError::Malformed)?;
        let payload = crate::wire::join(&target, &append);
        let reply = self
            .links
            .call(to, Operation::RaftAppend, payload, deadline)
            .await?;
        decode(&reply).map_err(LinkError::Malformed)
    }
}

/// Stops a task when the stream that it feeds is dropped.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Answers = mpsc::Sender<Result<StreamAppendResult<Types>, RPCError<Types>>>;

impl Peer {
    /// Sends appends as calls, each after the answer to the one before.
    fn one_by_one<S>(
        &self,
        input: S,
        deadline: Duration,
    ) -> impl Stream<Item = Result<StreamAppendResult<Types>, RPCError<Types>>> + Send + 'static
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let (network, to) = (self.network.clone(), self.to);
        input.then(move |request| {
            let network = network.clone();
            async move {
                let answer = network.append_once(to, &request, deadline).await;
                answer
                    .map(StreamAppendResult::<Types>::from)
                    .map_err(rpc_error)
            }
        })
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self
            .network
            .append_once(
                self.to,
                &request,
                option.soft_ttl().max(self.network.patience),
            )
            .await
            .map_err(rpc_error)?;
        Ok(match answer {
            AppendAnswer::Matched(_) => AppendEntriesResponse::Success,
            AppendAnswer::Conflict(_) => AppendEntriesResponse::Conflict,
            AppendAnswer::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        if self.single {
            let stream = self.one_by_one(input, option.soft_ttl());
            return Box::pin(async move { Ok(Box::pin(stream) as BoxStream<'s, _>) });
        }
        let (answers, receiver) = mpsc::channel(APPENDS_UNDER_WAY);
        let appender = Appender {
            network: self.network.clone(),
            to: self.to,
        };
        let running = Running(tokio::spawn(appender.run(input, answers)));
        let stream =
            futures::stream::unfold((receiver, running), |(mut receiver, running)| async {
                let answer = receiver.recv().await?;
                Some((answer, (receiver, running)))
            });
        Box::pin(async move { Ok(Box::pin(stream) as BoxStream<'s, _>) })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let deadline = option.soft_ttl().max(self.network.patience);
        let network = &self.network;
        network
            .small(self.to, Operation::RaftVote, request, deadline)
            .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let deadline = option.soft_ttl().max(self.network.patience);
        let network = &self.network;
        network
            .small(self.to, Operation::RaftPreVote, request, deadline)
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = send_snapshot(&self.network, self.to, vote, snapshot) => {
                sent.map_err(streaming_error)
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let deadline = option.soft_ttl().max(self.network.patience);
        let message = Transfer {
            from_leader: *request.from_leader(),
            to: NodeId(*request.to_node_id()),
            last_log_id: request.last_log_id().copied(),
        };
        let network = &self.network;
        network
            .small(self.to, Operation::RaftTransfer, message, deadline)
            .await
    }
}

/// Drives one group's appends to one node for as long as openraft feeds it.
struct Appender {
    network: Network,
    to: NodeId,
}

/// Why a stream's turn ended.
enum Turn {
    /// openraft has nothing more to send, or does not listen any more.
    Over,
    /// Nothing to send for a while.
    Idle,
    /// The answer ends openraft's session.
    Answered,
}

impl Appender {
    async fn run<S>(self, mut input: S, answers: Answers)
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin,
    {
        while let Some(first) = input.next().await {
            let turn = match self.open().await {
                Ok((sender, receiver)) => {
                    self.stream(first, &mut input, sender, receiver, &answers)
                        .await
                }
                Err(LinkError::Call(CallError::Busy)) => self.one(&first, &answers).await,
                Err(error) => Err(error),
            };
            match turn {
                Ok(Turn::Idle) => {}
                Ok(Turn::Over | Turn::Answered) => return,
                Err(error) => {
                    tracing::debug!(to = %self.to, group = %self.network.target.group, %error, "append stream ended");
                    // Nobody listens any more when openraft gave the session up.
                    let _ = answers.send(Err(rpc_error(error))).await;
                    return;
                }
            }
        }
    }

    async fn open(&self) -> Result<(StreamSender, StreamReceiver), LinkError> {
        let header = encode(&self.network.target).map_err(LinkError::Malformed)?;
        let patience = self.network.patience;
        self.network
            .links
            .open(
                self.to,
                Operation::RaftAppend,
                header,
                Purpose::Interactive,
                patience,
            )
            .await
    }

    async fn one(
        &self,
        request: &AppendEntriesRequest<Types>,
        answers: &Answers,
    ) -> Result<Turn, LinkError> {
        let answer = self
            .network
            .append_once(self.to, request, APPEND_STALL)
            .await?;
        Ok(forward(answer, answers).await.unwrap_or(Turn::Idle))
    }

    /// Sends and receives until there is nothing to send, with many appends under way.
    async fn stream<S>(
        &self,
        first: AppendEntriesRequest<Types>,
        input: &mut S,
        mut sender: StreamSender,
        mut receiver: StreamReceiver,
        answers: &Answers,
    ) -> Result<Turn, LinkError>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin,
    {
        // One permit for each append under way, so that both sides know what is outstanding.
        let (under_way, mut outstanding) = mpsc::channel::<()>(APPENDS_UNDER_WAY);
        let send = async move {
            let mut next = Some(first);
            while let Some(request) = next {
                let message = encode_append(&request).map_err(LinkError::Malformed)?;
                if under_way.send(()).await.is_err() {
                    return Ok(Turn::Over);
                }
                sender.send(message).await?;
                next = match tokio::time::timeout(STREAM_IDLE, input.next()).await {
                    Ok(Some(request)) => Some(request),
                    Ok(None) => {
                        finish(sender).await;
                        return Ok(Turn::Over);
                    }
                    Err(_) => {
                        finish(sender).await;
                        return Ok(Turn::Idle);
                    }
                };
            }
            Ok::<_, LinkError>(Turn::Over)
        };
        let receive = async move {
            while outstanding.recv().await.is_some() {
                let message = tokio::time::timeout(APPEND_STALL, receiver.recv())
                    .await
                    .map_err(|_| LinkError::Timeout)??;
                let message = message.ok_or(LinkError::Stream(StreamError::Reset))?;
                let answer = decode(&message).map_err(LinkError::Malformed)?;
                if let Some(turn) = forward(answer, answers).await {
                    return Ok::<_, LinkError>(Some(turn));
                }
            }
            Ok(None)
        };
        both(send, receive).await
    }
}

/// Waits for the sending side and then for what is outstanding; the receiving side may end it all.
async fn both(
    send: impl Future<Output = Result<Turn, LinkError>>,
    receive: impl Future<Output = Result<Option<Turn>, LinkError>>,
) -> Result<Turn, LinkError> {
    let (mut send, mut receive) = (std::pin::pin!(send), std::pin::pin!(receive));
    let sent = tokio::select! {
        received = &mut receive => {
            // It ends by itself only for a turn or an error: the sending side still runs.
            return received.map(|turn| turn.unwrap_or(Turn::Over));
        }
        sent = &mut send => sent,
    };
    match sent {
        // The receiving side knows better why: a refusal, for example.
        Err(error) => match receive.await {
            Err(reason) => Err(reason),
            Ok(_) => Err(error),
        },
        Ok(turn) => Ok(receive.await?.unwrap_or(turn)),
    }
}

async fn finish(mut sender: StreamSender) {
    // The stream ends either way; a broken one is noticed by its receiving side.
    let _ = sender.finish().await;
}

/// Passes an answer on; says if it was the last one of the session.
async fn forward(answer: AppendAnswer, answers: &Answers) -> Option<Turn> {
    let last = !matches!(answer, AppendAnswer::Matched(_));
    if answers.send(Ok(answer.into())).await.is_err() {
        return Some(Turn::Over);
    }
    last.then_some(Turn::Answered)
}

/// Writes the snapshot to a file, sends it in chunks and waits until it is installed.
async fn send_snapshot(
    network: &Network,
    to: NodeId,
    vote: Vote,
    snapshot: openraft::alias::SnapshotOf<Types, SnapshotData>,
) -> Result<SnapshotResponse<Types>, LinkError> {
    let machine = network.machine.clone();
    let meta = snapshot.meta.clone();
    let data = snapshot.snapshot;
    let path = machine.path(&format!("to-{to}.snapshot"));
    let file = Leftover {
        machine: machine.clone(),
        path: path.clone(),
    };
    let reader = blocking(move || {
        let disk = machine.disk().as_ref();
        let path = match data {
            SnapshotData::File(path) => path,
            SnapshotData::View(view) => {
                write_snapshot(disk, &path, &encode(&meta)?, &view).map_err(io::Error::other)?;
                path
            }
        };
        SnapshotReader::open(disk, &path).map_err(io::Error::other)
    })
    .await
    .map_err(LinkError::Malformed)?;
    let head = SnapshotHead {
        vote,
        meta: snapshot.meta,
        length: reader.length(),
    };
    let header = address(network.target, head).map_err(LinkError::Malformed)?;
    let (sender, mut receiver) = network
        .links
        .open(
            to,
            Operation::RaftSnapshot,
            header,
            Purpose::Bulk,
            network.patience,
        )
        .await?;
    send_file(reader, sender).await?;
    let answer = tokio::time::timeout(SNAPSHOT_INSTALL, receiver.recv())
        .await
        .map_err(|_| LinkError::Timeout)??
        .ok_or(LinkError::Stream(StreamError::Reset))?;
    drop(file);
    decode(&answer).map_err(LinkError::Malformed)
}

async fn send_file(mut reader: SnapshotReader, mut sender: StreamSender) -> Result<(), LinkError> {
    let mut offset = 0;
    loop {
        let (returned, chunk) = blocking(move || {
            let chunk = reader
                .read_raw(offset, SNAPSHOT_CHUNK)
                .map_err(io::Error::other)?;
            Ok((reader, chunk))
        })
        .await
        .map_err(LinkError::Malformed)?;
        reader = returned;
        if chunk.is_empty() {
            finish(sender).await;
            return Ok(());
        }
        offset += chunk.len() as u64;
        tokio::time::timeout(SNAPSHOT_STALL, sender.send(Bytes::from(chunk)))
            .await
            .map_err(|_| LinkError::Timeout)??;
    }
}

/// A file to be removed when it is of no more use.
struct Leftover {
    machine: GroupMachine,
    path: String,
}

impl Drop for Leftover {
    fn drop(&mut self) {
        // Left behind, it is overwritten by the next one and removed at the next start.
        let _ = self.machine.disk().remove(&self.path);
    }
}
