//! What operators do: initialise, create jurisdictions, enrol, call for keys, freeze, look.

use bailiwick_api::cluster::{
    Accepted, ChangePolicy, CreateJurisdiction, Enrol, Enrolment, EnrolmentKind, Initialise,
    NodeDescription, NodeStatus, Revoke,
};
use bailiwick_api::request::Freeze;
use bailiwick_api::session::{CallForKeys, CallForKeysReply, Certificates, ReadCertificates};
use bailiwick_transport::Operation;
use bailiwick_types::{ClusterId, CommandKey, Digest, Jurisdiction, Name, Region, ShardId};

use crate::cluster::{CallFailure, Cluster};

/// An operator's view of a cluster.
#[derive(Clone)]
pub struct Operator {
    cluster: Cluster,
}

fn fresh_key() -> CommandKey {
    CommandKey(rand::random())
}

impl Operator {
    /// An operator of this cluster.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Initialises a blank cluster with its nodes; returns its new id.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn initialise(&self, nodes: Vec<NodeDescription>) -> Result<ClusterId, CallFailure> {
        let cluster = ClusterId(rand::random());
        let message = Initialise { cluster, nodes };
        let _: Accepted = self
            .cluster
            .call(None, Operation::AdministerCluster, &message)
            .await?;
        Ok(cluster)
    }

    /// Creates a jurisdiction with one partition.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn create_jurisdiction(
        &self,
        jurisdiction: Jurisdiction,
        allowed_regions: Vec<Region>,
        replicas: u8,
        policy: Digest,
    ) -> Result<(), CallFailure> {
        self.create_partitioned(jurisdiction, allowed_regions, replicas, 1, policy)
            .await
    }

    /// Creates a jurisdiction with so many groups of records, 1 to 64; their number stays.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn create_partitioned(
        &self,
        jurisdiction: Jurisdiction,
        allowed_regions: Vec<Region>,
        replicas: u8,
        partitions: u16,
        policy: Digest,
    ) -> Result<(), CallFailure> {
        let message = CreateJurisdiction {
            key: fresh_key(),
            jurisdiction,
            allowed_regions,
            replicas,
            partitions,
            policy,
        };
        let _: Accepted = self
            .cluster
            .call(None, Operation::CreateJurisdiction, &message)
            .await?;
        Ok(())
    }

    /// Enrols an identity in a jurisdiction.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn enrol(
        &self,
        jurisdiction: Jurisdiction,
        who: Enrolment,
    ) -> Result<(), CallFailure> {
        let shard = ShardId::home(jurisdiction);
        let message = Enrol {
            key: fresh_key(),
            shard,
            who,
        };
        let _: Accepted = self
            .cluster
            .call(Some(shard), Operation::Enrol, &message)
            .await?;
        Ok(())
    }

    /// Ends an enrolment.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn revoke(
        &self,
        jurisdiction: Jurisdiction,
        kind: EnrolmentKind,
        name: Name,
    ) -> Result<(), CallFailure> {
        let shard = ShardId::home(jurisdiction);
        let message = Revoke {
            key: fresh_key(),
            shard,
            kind,
            name,
        };
        let _: Accepted = self
            .cluster
            .call(Some(shard), Operation::Revoke, &message)
            .await?;
        Ok(())
    }

    /// Sets the policy digest that new requests must pin.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn change_policy(
        &self,
        jurisdiction: Jurisdiction,
        digest: Digest,
        version: u32,
    ) -> Result<(), CallFailure> {
        let shard = ShardId::home(jurisdiction);
        let message = ChangePolicy {
            key: fresh_key(),
            shard,
            digest,
            version,
        };
        let _: Accepted = self
            .cluster
            .call(Some(shard), Operation::ChangePolicy, &message)
            .await?;
        Ok(())
    }

    /// Calls the members for keys of coming periods; returns the draft.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn call_for_keys(&self, call: CallForKeys) -> Result<Digest, CallFailure> {
        let shard = Some(call.shard);
        let reply: CallForKeysReply = self
            .cluster
            .call(shard, Operation::CallForKeys, &call)
            .await?;
        Ok(reply.draft)
    }

    /// The certificates and drafts of a jurisdiction as the cluster shows them, not verified.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn certificates(
        &self,
        jurisdiction: Jurisdiction,
    ) -> Result<Certificates, CallFailure> {
        let shard = ShardId::home(jurisdiction);
        let message = ReadCertificates { shard };
        self.cluster
            .call(Some(shard), Operation::ReadCertificate, &message)
            .await
    }

    /// Freezes or unfreezes all releases and writes of a jurisdiction.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn freeze(
        &self,
        jurisdiction: Jurisdiction,
        frozen: bool,
        reason: &str,
    ) -> Result<(), CallFailure> {
        let shard = ShardId::home(jurisdiction);
        let message = Freeze {
            key: fresh_key(),
            shard,
            frozen,
            reason: reason.to_owned(),
        };
        let _: Accepted = self
            .cluster
            .call(Some(shard), Operation::Freeze, &message)
            .await?;
        Ok(())
    }

    /// Every node's status, or why it did not answer.
    ///
    /// # Errors
    /// [`CallFailure`] when no seed describes the cluster.
    pub async fn status(
        &self,
    ) -> Result<Vec<(NodeDescription, Result<NodeStatus, CallFailure>)>, CallFailure> {
        let description = self.cluster.describe().await?;
        let asked = description.nodes.into_iter().map(|node| async move {
            let asked =
                self.cluster
                    .call_node::<(), NodeStatus>(&node.address, Operation::Status, None);
            let answered = asked.await;
            (node, answered)
        });
        Ok(futures::future::join_all(asked).await)
    }
}
