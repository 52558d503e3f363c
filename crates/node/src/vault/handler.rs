//! One place where an operation becomes a call: decode, do, encode. The transport has checked role x
//! operation before; for which jurisdiction a peer may act is the state machine's to say.

use std::future::Future;
use std::sync::Arc;

use bailiwick_api::Refusal;
use bailiwick_transport::{Handler, Operation, StreamReceiver, StreamSender};
use bailiwick_types::codec;
use bailiwick_types::{Identity, PeerRole};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Vault;
use super::commands::Asked;
use super::metrics::Answered;

/// The code of every typed refusal; its payload says which.
const REFUSED: u16 = 1;

/// A typed refusal as the transport carries it.
pub(super) fn refuse(refusal: &Refusal) -> bailiwick_transport::Refusal {
    let message = codec::encode(refusal).unwrap_or_default();
    bailiwick_transport::Refusal::new(REFUSED, message)
}

async fn answer<Request, Reply, Done>(
    payload: &Bytes,
    act: impl FnOnce(Request) -> Done,
) -> Result<Bytes, Refusal>
where
    Request: DeserializeOwned,
    Reply: Serialize,
    Done: Future<Output = Result<Reply, Refusal>>,
{
    let request = codec::decode(payload).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let reply = act(request).await?;
    codec::encode(&reply).map(Bytes::from).map_err(|error| {
        tracing::error!(%error, "a reply does not encode");
        Refusal::Store
    })
}

fn encoded<T: Serialize>(reply: &T) -> Result<Bytes, Refusal> {
    codec::encode(reply)
        .map(Bytes::from)
        .map_err(|_| Refusal::Store)
}

impl Vault {
    async fn dispatch(
        &self,
        peer: &Identity,
        operation: Operation,
        payload: &Bytes,
    ) -> Result<Bytes, Refusal> {
        let asked = &Asked {
            peer,
            operation,
            payload,
        };
        let name = &peer.id;
        match operation {
            Operation::Directory => encoded(&self.directory().await),
            Operation::Status => encoded(&self.status().await?),
            Operation::AdministerCluster => answer(payload, |m| self.initialise(asked, m)).await,
            Operation::CreateJurisdiction => {
                answer(payload, |m| self.create_jurisdiction(asked, m)).await
            }
            Operation::ChangePolicy => answer(payload, |m| self.change_policy(asked, m)).await,
            Operation::Enrol => answer(payload, |m| self.enrol(asked, m)).await,
            Operation::Revoke => answer(payload, |m| self.revoke(asked, m)).await,
            Operation::ReadDirectory => encoded(&self.read_directory().await?),
            Operation::ChangeDirectory => {
                answer(payload, |m| self.change_directory(asked, m)).await
            }
            Operation::BeginNode => answer(payload, |m| self.begin_node(asked, m)).await,
            Operation::ReportGroups => encoded(&self.host.group_reports()),
            Operation::StepGroup => answer(payload, |m| self.step_group(peer, m)).await,
            Operation::TransferGroup => answer(payload, |m| self.transfer_group(m)).await,
            Operation::CheckPlacement => encoded(&self.check_placement().await?),
            Operation::OpenSession => answer(payload, |m| self.open_session(asked, m)).await,
            Operation::AppendBlock => answer(payload, |m| self.append_block(asked, m)).await,
            Operation::SessionStatus => answer(payload, |m| self.read_session(m)).await,
            Operation::AcknowledgeSession => {
                answer(payload, |m| self.acknowledge_session(asked, m)).await
            }
            Operation::CallForKeys => answer(payload, |m| self.call_for_keys(asked, m)).await,
            Operation::OfferKeys => answer(payload, |m| self.offer_keys(asked, m)).await,
            Operation::SignCertificate => {
                answer(payload, |m| self.sign_certificate(asked, m)).await
            }
            Operation::ReadCertificate => answer(payload, |m| self.read_certificates(m)).await,
            Operation::ReadLog => answer(payload, |m| self.read_log(peer, m)).await,
            Operation::SubmitRequest => answer(payload, |m| self.submit_request(asked, m)).await,
            Operation::Decide => answer(payload, |m| self.decide(asked, m)).await,
            Operation::RecallRequest => answer(payload, |m| self.recall(asked, m)).await,
            Operation::Freeze => answer(payload, |m| self.freeze(asked, m)).await,
            Operation::ReadRequest => answer(payload, |m| self.read_request(peer, m)).await,
            Operation::ListRequests => answer(payload, |m| self.list_requests(peer, m)).await,
            Operation::ReadEvidence => answer(payload, |m| self.read_evidence(peer, m)).await,
            Operation::ListLabels => answer(payload, |m| self.list_labels(peer, m)).await,
            Operation::AppendRelease => answer(payload, |m| self.append_release(asked, m)).await,
            Operation::PutPartial => answer(payload, |m| self.put_partial(peer, m)).await,
            Operation::ReadPartials => answer(payload, |m| self.read_partials(name, m)).await,
            Operation::ReadCiphertext => answer(payload, |m| self.read_ciphertext(name, m)).await,
            Operation::FreezePart => answer(payload, |m| self.freeze_part(asked, m)).await,
            Operation::ReadPartInputs => answer(payload, |m| self.read_part_inputs(peer, m)).await,
            Operation::MirrorHome => answer(payload, |m| self.mirror_home(peer, m)).await,
            Operation::CheckRelease => answer(payload, |m| self.check_release(peer, m)).await,
            Operation::ReadPart => answer(payload, |m| self.read_part(peer, m)).await,
            Operation::AcknowledgeDelivery => {
                answer(payload, |m| self.acknowledge_delivery(asked, m)).await
            }
            _ => Err(Refusal::NotFound(format!("operation {operation} here"))),
        }
    }

    fn is_raft(operation: Operation) -> bool {
        matches!(
            operation,
            Operation::RaftAppend
                | Operation::RaftVote
                | Operation::RaftPreVote
                | Operation::RaftSnapshot
                | Operation::RaftTransfer
        )
    }

    async fn call_raft(
        &self,
        peer: &Identity,
        operation: Operation,
        payload: Bytes,
    ) -> Result<Bytes, bailiwick_transport::Refusal> {
        match self.host.peer_of(peer) {
            Some(node) => self.host.handle_call(node, operation, payload).await,
            None => Err(unknown_vault(peer)),
        }
    }
}

fn unknown_vault(peer: &Identity) -> bailiwick_transport::Refusal {
    debug_assert_eq!(peer.role, PeerRole::Vault);
    tracing::warn!(peer = %peer, "a vault that the directory does not know");
    refuse(&Refusal::NotFound("this vault in the directory".to_owned()))
}

impl Handler for Vault {
    fn call(
        &self,
        peer: Arc<Identity>,
        operation: Operation,
        payload: Bytes,
        _deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, bailiwick_transport::Refusal>> {
        Box::pin(async move {
            if Self::is_raft(operation) {
                return self.call_raft(&peer, operation, payload).await;
            }
            let answered = self.dispatch(&peer, operation, &payload).await;
            let label = if answered.is_ok() {
                Answered::Ok
            } else {
                Answered::Refused
            };
            self.metrics.answered(operation, label);
            answered.map_err(|refusal| {
                tracing::debug!(%operation, peer = %peer, %refusal, "refused");
                refuse(&refusal)
            })
        })
    }

    fn stream(
        &self,
        peer: Arc<Identity>,
        operation: Operation,
        header: Bytes,
        sender: StreamSender,
        receiver: StreamReceiver,
    ) -> BoxFuture<'_, Result<(), bailiwick_transport::Refusal>> {
        Box::pin(async move {
            if Self::is_raft(operation) {
                return match self.host.peer_of(&peer) {
                    Some(node) => {
                        self.host
                            .handle_stream(node, operation, header, sender, receiver)
                            .await
                    }
                    None => Err(unknown_vault(&peer)),
                };
            }
            match operation {
                Operation::Attend => {
                    let attended = self.attend(&peer, &header, sender, receiver).await;
                    attended.map_err(|refusal| refuse(&refusal))
                }
                Operation::SaveSnapshot => {
                    let saved = self.save_snapshot(&header, sender).await;
                    saved.map_err(|refusal| refuse(&refusal))
                }
                _ => Err(refuse(&Refusal::NotFound(format!(
                    "stream {operation} here"
                )))),
            }
        })
    }
}
