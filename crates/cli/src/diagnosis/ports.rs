//! The addresses that a service listens on: parseable, free, or taken by the service itself.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::Context;
use bailiwick_node::health::HealthReport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Finding;
use super::service::ServiceFile;

/// How long the own health listener may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most bytes of an answer that are read.
const ANSWER_BYTES: u64 = 8 << 20;

/// What the service itself says, when it runs.
pub(super) async fn running(service: &ServiceFile) -> Option<HealthReport> {
    let (_, body) = get(service.health(), "/v1/sys/health").await.ok()?;
    let report: HealthReport = serde_json::from_str(&body).ok()?;
    let same = report.service == service.kind() && report.name == *service.name();
    same.then_some(report)
}

/// Looks at all addresses.
pub(super) async fn check(service: &ServiceFile) -> Vec<Finding> {
    let running = running(service).await;
    let mut findings = Vec::new();
    if let Some(address) = service.listen() {
        let own = running.as_ref().and_then(|report| report.listen.as_deref());
        findings.push(port("listen", address, own == Some(address)));
    }
    findings.push(port("health", service.health(), running.is_some()));
    match running {
        Some(report) if !report.missing.is_empty() => {
            let found = format!("it runs and lacks: {}", report.missing.join("; "));
            findings.push(Finding::warn("service", found, "see the lines about peers"));
        }
        Some(report) => {
            let found = format!("version {} runs and lacks nothing", report.version);
            findings.push(Finding::ok("service", found));
        }
        None => {}
    }
    findings
}

fn port(key: &str, address: &str, is_own: bool) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("ports", format!("{key} {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_own => {
            let found = format!("{key} {address} is in use by this very service");
            Finding::ok("ports", found)
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let found = format!("{key} {address} is in use by another program");
            let remedy = "`ss -ltnp` names it; stop it, or choose another port";
            Finding::fail("ports", found, remedy)
        }
        Err(error) => {
            let found = format!("{key} {address}: {error}");
            Finding::fail("ports", found, "correct the address")
        }
    }
}

/// The status and the body of a GET on a health listener.
///
/// # Errors
/// When nobody answers in time, or not in HTTP.
pub(super) async fn get(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split_whitespace().nth(1).context("no status line")?;
        Ok((status.parse()?, body.to_owned()))
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .context("no answer in time")?
}
