//! deploy/certificates/certificates.sh: what it makes is what the product wants, and a wrong role is refused, by the
//! script and by the product.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_transport::{
    CallError, ConnectOptions, Connection, ExpectedPeer, Handler, Operation, Refusal, Server,
    ServerOptions, StreamReceiver, StreamSender, TlsFiles, TlsIdentity,
};
use bailiwick_types::{Identity, PeerRole};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{run, shipped, told};

const OPENSSL: &str = "apt-get install openssl";
const DOMAIN: &str = "bailiwick.example";
/// How long a call over loopback may take.
const SOON: Duration = Duration::from_secs(10);

/// The four families, with a few certificates and everything bundled.
struct Authorities {
    folder: tempfile::TempDir,
}

impl Authorities {
    fn new() -> anyhow::Result<Self> {
        told(Command::new("openssl").arg("version"), OPENSSL)?;
        let folder = tempfile::tempdir()?;
        let authorities = Self { folder };
        for family in ["storage", "service", "workflow", "legal-review"] {
            authorities.does(&["authority", family])?;
        }
        for wanted in [
            "issue storage vault vault-1 eu",
            "issue service edge edge-1",
            "issue workflow approver-workflow workflow-1",
            "issue legal-review approver-legal-review legal-1",
        ] {
            authorities.does(&wanted.split(' ').collect::<Vec<_>>())?;
        }
        authorities.does(&["bundle"])?;
        Ok(authorities)
    }

    fn script(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(shipped("certificates/certificates.sh"));
        command
            .args(arguments)
            .env("BAILIWICK_TRUST_DOMAIN", DOMAIN)
            .env("BAILIWICK_CERTIFICATES", self.folder.path());
        command
    }

    fn does(&self, arguments: &[&str]) -> anyhow::Result<String> {
        told(&mut self.script(arguments), OPENSSL)
    }

    /// The script's refusal, which says what to do instead.
    fn refuses(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = run(&mut self.script(arguments), OPENSSL)?;
        ensure!(!output.status.success(), "{arguments:?} was done");
        Ok(String::from_utf8(output.stderr)?)
    }

    fn issued(&self, file: &str) -> PathBuf {
        self.folder.path().join("issued").join(file)
    }

    fn load(&self, id: &str) -> anyhow::Result<Arc<TlsIdentity>> {
        let files = TlsFiles {
            certificate: self.issued(&format!("{id}.pem")),
            key: self.issued(&format!("{id}.key")),
            authorities: self.folder.path().join("authorities.pem"),
            families: Vec::new(),
            revocations: Some(self.folder.path().join("revocations.pem")),
        };
        let loaded = TlsIdentity::load(files, DOMAIN.parse()?);
        loaded.with_context(|| format!("load {id}"))
    }
}

/// Answers every call that the matrix lets through.
struct Answering;

impl Handler for Answering {
    fn call(
        &self,
        _: Arc<Identity>,
        _: Operation,
        _: Bytes,
        _: Instant,
    ) -> BoxFuture<'_, Result<Bytes, Refusal>> {
        ready(Ok(Bytes::from_static(b"done"))).boxed()
    }

    fn stream(
        &self,
        _: Arc<Identity>,
        _: Operation,
        _: Bytes,
        _: StreamSender,
        _: StreamReceiver,
    ) -> BoxFuture<'_, Result<(), Refusal>> {
        ready(Ok(())).boxed()
    }
}

async fn serve(tls: Arc<TlsIdentity>) -> anyhow::Result<bailiwick_transport::ServerHandle> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    Ok(Server::serve(
        listener,
        tls,
        Arc::new(Answering),
        ServerOptions::default(),
    )?)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_the_script_are_identities_of_the_product() -> anyhow::Result<()> {
    let authorities = Authorities::new()?;
    for (id, name) in [
        ("vault-1", "vault/eu/vault-1"),
        ("edge-1", "edge/edge-1"),
        ("workflow-1", "approver-workflow/workflow-1"),
        ("legal-1", "approver-legal-review/legal-1"),
    ] {
        let identity = authorities.load(id)?.identity().to_string();
        let expected = format!("spiffe://{DOMAIN}/{name}");
        ensure!(identity == expected, "{identity} for {expected}");
        let key = std::fs::metadata(authorities.issued(&format!("{id}.key")))?;
        let mode = std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777;
        ensure!(mode == 0o600, "{id}.key is readable by others: {mode:o}");
    }

    // A vault serves whom the matrix allows; the same connection may do nothing else.
    let server = serve(authorities.load("vault-1")?).await?;
    let address = server.local_addr().to_string();
    let connect = |tls, expect| {
        let address = address.clone();
        async move { Connection::connect(&address, &tls, expect, ConnectOptions::default()).await }
    };
    let edge = connect(authorities.load("edge-1")?, ExpectedPeer::vault()).await?;
    let done = edge
        .call(Operation::OpenSession, Bytes::new(), SOON)
        .await?;
    ensure!(done == Bytes::from_static(b"done"), "an edge may");
    for id in ["edge-1", "workflow-1", "legal-1"] {
        let peer = connect(authorities.load(id)?, ExpectedPeer::vault()).await?;
        let voted = peer.call(Operation::RaftVote, Bytes::new(), SOON).await;
        ensure!(
            matches!(voted, Err(CallError::NotAuthorised)),
            "{id} voted: {voted:?}"
        );
    }
    // A server that is not of the expected role is not talked to.
    let wrong = ExpectedPeer::role(PeerRole::Edge);
    let refused = connect(authorities.load("edge-1")?, wrong).await;
    ensure!(refused.is_err(), "a vault passed for an edge");
    Ok(())
}

/// A committee's authority makes no certificate of the other committee, nor of a vault.
#[test]
fn an_authority_vouches_for_its_own_roles_only() -> anyhow::Result<()> {
    let authorities = Authorities::new()?;
    let told = authorities.refuses(&["issue", "workflow", "approver-legal-review", "legal-9"])?;
    ensure!(told.contains("does not vouch"), "{told}");
    let told = authorities.refuses(&["issue", "legal-review", "vault", "vault-9", "eu"])?;
    ensure!(told.contains("does not vouch"), "{told}");
    let told = authorities.refuses(&["issue", "storage", "vault", "vault-9"])?;
    ensure!(told.contains("has a region"), "{told}");
    // Nothing is overwritten by a slip, and no other family renews it.
    let told = authorities.refuses(&["issue", "service", "edge", "edge-1"])?;
    ensure!(told.contains("renew"), "{told}");
    let told = authorities.refuses(&["renew", "workflow", "edge-1"])?;
    ensure!(told.contains("not one of the authority"), "{told}");
    let told = authorities.refuses(&["authority", "workflow"])?;
    ensure!(told.contains("there already"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_taken_by_a_running_process_and_a_revocation_ends_it() -> anyhow::Result<()> {
    let authorities = Authorities::new()?;
    let vault = authorities.load("vault-1")?;
    let server = serve(vault.clone()).await?;
    let address = server.local_addr().to_string();
    let edge = authorities.load("edge-1")?;
    let options = ConnectOptions::default;
    let dial = || Connection::connect(&address, &edge, ExpectedPeer::vault(), options());

    let stolen = copy(&authorities, "edge-1")?;
    authorities.does(&["renew", "storage", "vault-1"])?;
    authorities.does(&["renew", "service", "edge-1"])?;
    vault.reload()?;
    edge.reload()?;
    dial().await.context("both with new certificates")?;
    // The certificate before the renewal is good until its end, or until it is revoked.
    let thief = TlsIdentity::load(stolen.1, DOMAIN.parse()?)?;
    let old = Connection::connect(&address, &thief, ExpectedPeer::vault(), options()).await;
    ensure!(old.is_ok(), "a renewal revokes nothing");

    authorities.does(&["revoke", "service", "edge-1"])?;
    authorities.does(&["bundle"])?;
    vault.reload()?;
    ensure!(dial().await.is_err(), "the revoked certificate");
    let old = Connection::connect(&address, &thief, ExpectedPeer::vault(), options()).await;
    ensure!(old.is_err(), "the one before it is revoked as well");
    authorities.does(&["renew", "service", "edge-1"])?;
    edge.reload()?;
    dial().await.context("a new one after the revocation")?;
    Ok(())
}

/// A thief's copy of a certificate and its key, with the folder that holds it.
fn copy(authorities: &Authorities, id: &str) -> anyhow::Result<(tempfile::TempDir, TlsFiles)> {
    let folder = tempfile::tempdir()?;
    let at = |file: &str| folder.path().join(file);
    for end in ["pem", "key"] {
        let file = format!("{id}.{end}");
        std::fs::copy(authorities.issued(&file), at(&file))?;
    }
    let whole: &Path = authorities.folder.path();
    let files = TlsFiles {
        certificate: at(&format!("{id}.pem")),
        key: at(&format!("{id}.key")),
        authorities: whole.join("authorities.pem"),
        families: Vec::new(),
        revocations: None,
    };
    Ok((folder, files))
}
