//! Measures calls per second and megabytes per second over one loopback connection.
//!
//! `cargo run --release -p bailiwick-transport --example throughput`. Client and server share the
//! process and its cores, so the figures are for both sides together.
#![allow(clippy::print_stdout, reason = "the figures are its output")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_transport::{
    ConnectOptions, Connection, ExpectedPeer, Handler, Operation, Refusal, Server, ServerOptions,
    StreamReceiver, StreamSender, TlsFiles, TlsIdentity,
};
use bailiwick_types::Identity;
use bytes::Bytes;
use futures::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const WARM_UP: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(30);

struct Sink;

impl Handler for Sink {
    fn call(
        &self,
        _peer: Arc<Identity>,
        _operation: Operation,
        _payload: Bytes,
        _deadline: tokio::time::Instant,
    ) -> BoxFuture<'_, Result<Bytes, Refusal>> {
        Box::pin(async { Ok(Bytes::from_static(&[1; 32])) })
    }

    fn stream(
        &self,
        _peer: Arc<Identity>,
        _operation: Operation,
        _header: Bytes,
        _sender: StreamSender,
        mut receiver: StreamReceiver,
    ) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            while let Ok(Some(_)) = receiver.recv().await {}
            Ok(())
        })
    }
}

fn issue(
    issuer: &Issuer<'_, KeyPair>,
    authority: &str,
    directory: &std::path::Path,
    uri: &str,
) -> Outcome<Arc<TlsIdentity>> {
    let directory = directory.join(uri.replace(['/', ':'], "_"));
    std::fs::create_dir_all(&directory)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    let key = KeyPair::generate()?;
    let files = TlsFiles {
        certificate: directory.join("certificate.pem"),
        key: directory.join("key.pem"),
        authorities: directory.join("authorities.pem"),
        families: Vec::new(),
        revocations: None,
    };
    std::fs::write(&files.certificate, params.signed_by(&key, issuer)?.pem())?;
    std::fs::write(&files.key, key.serialize_pem())?;
    std::fs::write(&files.authorities, authority)?;
    Ok(TlsIdentity::load(files, "bailiwick.example".parse()?)?)
}

/// Calls from `callers` tasks for [`MEASURE`]; calls per second.
async fn calls(connection: &Connection, callers: usize, payload: usize) -> Outcome<f64> {
    let payload = Bytes::from(vec![7; payload]);
    let begin = Instant::now() + WARM_UP;
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (connection, payload) = (connection.clone(), payload.clone());
            tokio::spawn(async move {
                let mut done = 0_u64;
                while begin.elapsed() < MEASURE {
                    let call = connection.call(Operation::AppendBlock, payload.clone(), DEADLINE);
                    call.await?;
                    done += u64::from(Instant::now() >= begin);
                }
                Outcome::Ok(done)
            })
        })
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(total as f64 / MEASURE.as_secs_f64())
}

async fn stream(connection: &Connection, payload: usize) -> Outcome<f64> {
    let payload = Bytes::from(vec![7; payload]);
    let (mut sender, mut receiver) = connection
        .open(Operation::AppendBlock, Bytes::new())
        .await?;
    let (begin, mut sent) = (Instant::now(), 0_usize);
    while begin.elapsed() < MEASURE {
        sender.send(payload.clone()).await?;
        sent += payload.len();
    }
    sender.finish().await?;
    receiver.recv().await?;
    Ok(sent as f64 / 1e6 / begin.elapsed().as_secs_f64())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let vault = "spiffe://bailiwick.example/vault/eu/1";
    let edge = "spiffe://bailiwick.example/edge/1";
    let server_tls = issue(&issuer, &authority, directory.path(), vault)?;
    let client_tls = issue(&issuer, &authority, directory.path(), edge)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let options = ServerOptions::default();
    let server = Server::serve(listener, server_tls, Arc::new(Sink), options)?;
    let address = server.local_addr().to_string();
    let options = ConnectOptions::default();
    let connection =
        Connection::connect(&address, &client_tls, ExpectedPeer::vault(), options).await?;
    let one = calls(&connection, 1, 100).await?;
    println!("1 caller, 100 B: {one:.0} calls/s");
    let small = calls(&connection, 64, 100).await?;
    println!("64 callers, 100 B: {small:.0} calls/s");
    let large = calls(&connection, 8, 1 << 20).await?;
    println!("8 callers, 1 MiB: {:.0} MB/s", large * 1.048_576);
    let streamed = stream(&connection, 1 << 20).await?;
    println!("one stream, 1 MiB messages: {streamed:.0} MB/s");
    Ok(())
}
