//! A scripted vault on loopback, and a jurisdiction whose members are all played by the test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bailiwick_api::Refusal;
use bailiwick_api::cluster::{ClusterDescription, GroupDescription, NodeDescription};
use bailiwick_api::log::{LogPage, ProvenLeaf, ReadLog};
use bailiwick_api::session::{Certificates, LoggedCertificate};
use bailiwick_client::{Cluster, ClusterOptions, TrustFile};
use bailiwick_envelope::certificate::{
    CertificateBody, Committee, KeyCertificate, Member, MemberSignature, Period,
};
use bailiwick_envelope::leaf::{LeafContent, OpenedLeaf};
use bailiwick_envelope::{IdentityKey, SUITE, SigningKey};
use bailiwick_threshold::DecapsulationKey;
use bailiwick_tlog::{
    Checkpoint, MerkleTree, SignedCheckpoint, cosign, leaf_hash, sign_checkpoint,
};
use bailiwick_transport::{
    Handler, Operation, Server, ServerHandle, ServerOptions, StreamReceiver, StreamSender,
    TlsFiles, TlsIdentity,
};
use bailiwick_types::{
    Digest, GroupId, Identity, Jurisdiction, Name, NodeId, Role, ShardId, Slot, Threshold,
    Timestamp, codec,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::Instant;

pub(crate) const ORIGIN: &str = "bailiwick.example/fr";
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn france() -> Jurisdiction {
    "FR".parse().expect("a code")
}

pub(crate) fn home() -> ShardId {
    ShardId::home(france())
}

pub(crate) fn slot(number: u8) -> Slot {
    Slot::new(number).expect("1 to 7")
}

/// The fixed identity of a role.
pub(crate) fn tls(role: &str) -> Arc<TlsIdentity> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/client/fixtures");
    let files = TlsFiles {
        certificate: folder.join(format!("{role}.pem")),
        key: folder.join(format!("{role}.key.pem")),
        authorities: folder.join("authorities.pem"),
        families: Vec::new(),
        revocations: None,
    };
    TlsIdentity::load(files, name("bailiwick.example")).expect("the fixtures load")
}

/// What a scripted vault answers.
pub(crate) type Answer = Result<Bytes, Refusal>;

pub(crate) fn answer<T: Serialize>(reply: &T) -> Answer {
    Ok(codec::encode(reply).expect("encodes").into())
}

pub(crate) fn rejected<T>(code: &str) -> Result<T, Refusal> {
    Err(Refusal::Rejected {
        code: code.to_owned(),
        message: code.to_owned(),
    })
}

type Script = dyn Fn(Operation, &Bytes) -> Answer + Send + Sync;

/// Answers by its script and remembers what it was asked.
struct Scripted {
    script: Box<Script>,
    asked: Mutex<Vec<(Operation, Bytes)>>,
}

impl Handler for Scripted {
    fn call(
        &self,
        _peer: Arc<Identity>,
        operation: Operation,
        payload: Bytes,
        _deadline: Instant,
    ) -> BoxFuture<'_, Result<Bytes, bailiwick_transport::Refusal>> {
        Box::pin(async move {
            let asked = (operation, payload.clone());
            self.asked.lock().expect("not poisoned").push(asked);
            (self.script)(operation, &payload).map_err(|refusal| {
                let message = codec::encode(&refusal).expect("encodes");
                bailiwick_transport::Refusal::new(1, message)
            })
        })
    }

    fn stream(
        &self,
        _peer: Arc<Identity>,
        _operation: Operation,
        _header: Bytes,
        _sender: StreamSender,
        _receiver: StreamReceiver,
    ) -> BoxFuture<'_, Result<(), bailiwick_transport::Refusal>> {
        Box::pin(async { Ok(()) })
    }
}

/// A vault node that answers what the test says.
pub(crate) struct Vault {
    server: ServerHandle,
    scripted: Arc<Scripted>,
}

impl Vault {
    pub(crate) async fn start(
        script: impl Fn(Operation, &Bytes) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        Self::on(listener, script)
    }

    pub(crate) fn on(
        listener: TcpListener,
        script: impl Fn(Operation, &Bytes) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let scripted = Arc::new(Scripted {
            script: Box::new(script),
            asked: Mutex::default(),
        });
        let options = ServerOptions::default();
        let server = Server::serve(listener, tls("vault"), scripted.clone(), options);
        Self {
            server: server.expect("serves"),
            scripted,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.server.local_addr().to_string()
    }

    pub(crate) fn stop(&self) {
        self.server.shutdown();
    }

    /// The payloads of an operation, in the order in which they came.
    pub(crate) fn asked(&self, operation: Operation) -> Vec<Bytes> {
        let asked = self.scripted.asked.lock().expect("not poisoned");
        let of = asked.iter().filter(|(of, _)| *of == operation);
        of.map(|(_, payload)| payload.clone()).collect()
    }
}

/// A directory in which these nodes, from 1, hold the home group of France.
pub(crate) fn directory(addresses: &[String]) -> ClusterDescription {
    let ids: Vec<NodeId> = (1..=addresses.len() as u64).map(NodeId).collect();
    let node = |(id, address): (&NodeId, &String)| NodeDescription {
        id: *id,
        name: name(&format!("vault-{id}")),
        region: name("eu-west"),
        address: address.clone(),
    };
    let group = |id: u32, shard| GroupDescription {
        id: GroupId(id),
        shard,
        voters: ids.clone(),
        leader: None,
    };
    ClusterDescription {
        cluster: None,
        version: 1,
        answered_by: NodeId(1),
        nodes: ids.iter().zip(addresses).map(node).collect(),
        groups: vec![group(0, None), group(1, Some(home()))],
    }
}

pub(crate) fn cluster(seeds: &[&Vault], role: &str, deadline: Duration) -> Cluster {
    Cluster::new(ClusterOptions {
        seeds: seeds.iter().map(|vault| vault.address()).collect(),
        tls: tls(role),
        deadline,
    })
}

fn proof(tree: &MerkleTree, index: usize) -> Vec<Digest> {
    let proof = tree.prove(index as u64);
    proof.expect("inside").into_iter().map(Digest).collect()
}

/// Two committees of 2-of-3 with a certificate for now, and their log.
pub(crate) struct World {
    pub(crate) certificate: KeyCertificate,
    pub(crate) leaves: Vec<OpenedLeaf>,
    pub(crate) members: BTreeMap<(Role, Slot), SigningKey>,
}

fn member_key(whose: u8, role: Role, slot: Slot) -> SigningKey {
    SigningKey::from_bytes(&[whose + role.code() * 16 + slot.number(); 32])
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(0)
    }

    /// The same seats and names with other people's keys: sound in itself, trusted by nobody.
    pub(crate) fn of_strangers() -> Self {
        Self::of(100)
    }

    /// A certificate of one period of a day that began an hour ago.
    fn of(whose: u8) -> Self {
        let now = bailiwick_client::now();
        let mut members = BTreeMap::new();
        let mut committee = |role: Role| {
            let threshold = Threshold::new(2, 3).expect("a threshold");
            let member = |slot: Slot| {
                let identity = member_key(whose, role, slot);
                let encapsulation = |which: u8| {
                    let seed = [which * 64 + role.code() * 16 + slot.number(); 32];
                    DecapsulationKey::from_bytes(&seed).encapsulation_key()
                };
                let reviewer = [128 + role.code() * 16 + slot.number(); 32];
                members.insert((role, slot), identity.clone());
                Member {
                    slot,
                    organisation: name(&format!("{role}-organisation-{slot}")),
                    name: name(&format!("{role}-{slot}")),
                    identity: IdentityKey::of(&identity),
                    reviewers: vec![IdentityKey::of(&SigningKey::from_bytes(&reviewer))],
                    documents: encapsulation(1),
                    periods: vec![encapsulation(2)],
                }
            };
            Committee {
                threshold,
                members: threshold.slots().map(member).collect(),
            }
        };
        let (workflow, legal_review) = (committee(Role::Workflow), committee(Role::LegalReview));
        let (not_before, not_after) = (now.minus(HOUR), now.plus(HOUR * 23));
        let body = CertificateBody {
            suite: SUITE,
            jurisdiction: france(),
            not_before,
            not_after,
            periods: vec![Period {
                not_before,
                not_after,
                erase_by: not_after.plus(HOUR * 24 * 30),
            }],
            workflow,
            legal_review,
        };
        let signature = |(role, member): (Role, &Member)| MemberSignature {
            role,
            slot: member.slot,
            signature: body.sign(&members[&(role, member.slot)]),
        };
        let signatures = body.members().map(signature).collect();
        let certificate = KeyCertificate { body, signatures };
        let genesis = LeafContent::Genesis {
            origin: ORIGIN.to_owned(),
        };
        let logged = LeafContent::Certificate {
            certificate: certificate.body.id(),
        };
        let mut world = Self {
            certificate,
            leaves: Vec::new(),
            members,
        };
        world.log(genesis);
        world.log(logged);
        world
    }

    pub(crate) fn log(&mut self, content: LeafContent) -> u64 {
        let index = self.leaves.len() as u64;
        let salt = [index as u8; 32];
        let now = bailiwick_client::now();
        self.leaves.push(OpenedLeaf::new(now, content, &salt, 0));
        index
    }

    /// Leaves without a meaning, to make the log long.
    pub(crate) fn fill(&mut self, leaves: usize, mark: u8) {
        for _ in 0..leaves {
            let digest = Digest([mark; 32]);
            self.log(LeafContent::Enrolment { digest });
        }
    }

    fn tree(&self, size: usize) -> MerkleTree {
        let leaves = self.leaves[..size].iter();
        MerkleTree::from_leaves(leaves.map(|leaf| leaf_hash(&leaf.data())).collect())
    }

    /// The checkpoint of a size, cosigned by these members at this time.
    pub(crate) fn checkpoint_by(
        &self,
        size: usize,
        at: Timestamp,
        cosigners: impl IntoIterator<Item = (Role, Slot)>,
    ) -> String {
        let root = self.tree(size).root();
        let checkpoint = Checkpoint::new(ORIGIN, size as u64, root).expect("a checkpoint");
        let node = SigningKey::from_bytes(&[99; 32]);
        let first = sign_checkpoint("vault-1", &node, &checkpoint).expect("signs");
        let mut note = SignedCheckpoint::new(checkpoint.clone(), first).expect("a note");
        for (role, slot) in cosigners {
            let key = &self.members[&(role, slot)];
            let member = format!("{role}-{slot}");
            let signature = cosign(&member, key, &checkpoint, at.seconds()).expect("cosigns");
            note.add_signature(signature).expect("fits");
        }
        note.to_text()
    }

    pub(crate) fn checkpoint(&self, size: usize) -> String {
        let everybody = self.members.keys().copied();
        self.checkpoint_by(size, bailiwick_client::now(), everybody)
    }

    /// What a vault answers to a reader of this log under the checkpoint of a size.
    pub(crate) fn page(&self, read: &ReadLog, size: usize) -> LogPage {
        let begin = (read.from as usize).min(size);
        let end = (begin + read.limit as usize).min(size);
        let tree = self.tree(size);
        let leaf = |index: usize| ProvenLeaf {
            index: index as u64,
            leaf: self.leaves[index].clone(),
            proof: proof(&tree, index),
        };
        LogPage {
            checkpoint: Some(self.checkpoint(size)),
            leaves: (begin..end).map(leaf).collect(),
        }
    }

    /// What a vault answers to who asks for certificates.
    pub(crate) fn certificates(&self) -> Certificates {
        self.certificates_under(self.checkpoint(self.leaves.len()))
    }

    /// The certificate beside a leaf that stands in the log, but is another one's.
    pub(crate) fn certificates_with_leaf(&self, index: usize) -> Certificates {
        let mut certificates = self.certificates();
        let shown = &mut certificates.valid[0];
        shown.leaf = self.leaves[index].clone();
        shown.leaf_index = index as u64;
        shown.proof = proof(&self.tree(self.leaves.len()), index);
        certificates
    }

    pub(crate) fn certificates_under(&self, checkpoint: String) -> Certificates {
        Certificates {
            valid: vec![LoggedCertificate {
                certificate: self.certificate.clone(),
                leaf: self.leaves[1].clone(),
                leaf_index: 1,
                proof: proof(&self.tree(self.leaves.len()), 1),
            }],
            drafts: Vec::new(),
            checkpoint: Some(checkpoint),
        }
    }

    /// A trust file that names exactly these members.
    pub(crate) fn trust(&self) -> TrustFile {
        let committee = |role| {
            let committee = self.certificate.body.committee(role);
            let members = committee.members.iter().map(|member| {
                serde_json::json!({
                    "slot": member.slot,
                    "name": member.name,
                    "organisation": member.organisation,
                    "identity": member.identity,
                    "reviewers": [{ "person": "person", "key": member.reviewers[0] }],
                })
            });
            serde_json::json!({ "needed": 2, "members": members.collect::<Vec<_>>() })
        };
        let file = serde_json::json!({ "jurisdictions": [{
            "jurisdiction": "FR",
            "origin": ORIGIN,
            "roster": {
                "workflow": committee(Role::Workflow),
                "legal-review": committee(Role::LegalReview),
            },
        }] });
        let file: TrustFile = serde_json::from_value(file).expect("a trust file");
        file.check().expect("a sound one")
    }
}
