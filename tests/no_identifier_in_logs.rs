//! Canaries: no identifier, hashed or not in any encoding that is looked for, stands in a log, a metric
//! or a file of any process of a whole run. (vault issue 1763: phone numbers in audit logs.)

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use bailiwick_cli::commands::disclose::disclosed;
use bailiwick_cli::connect::edge;
use bailiwick_cli::dev::layout::BACKEND;
use bailiwick_tests::{Running, cluster, failed, files, inside, ip, phone, window};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ACCOUNT: &str = "canary-account-7f3a9c";
const PHONE: &str = "33698765432";
const REFUSED_PHONE: &str = "33698765432109876";
const ADDRESS: &str = "2001:db8:dead:beef:cafe:f00d:1234:5678";

/// What must not be found: the identifiers as text, as hexadecimal, as base64 and as bytes.
fn needles() -> anyhow::Result<Vec<Vec<u8>>> {
    let address: std::net::Ipv6Addr = ADDRESS.parse()?;
    let sha = bailiwick_envelope::sha256(PHONE.as_bytes());
    let mut needles = vec![
        ACCOUNT.as_bytes().to_vec(),
        PHONE.as_bytes().to_vec(),
        REFUSED_PHONE.as_bytes().to_vec(),
        ADDRESS.as_bytes().to_vec(),
        address.octets().to_vec(),
        sha.0.to_vec(),
    ];
    for needle in needles.clone() {
        needles.push(hex::encode(&needle).into_bytes());
    }
    needles.push(b"Y2FuYXJ5LWFjY291bnQt".to_vec());
    needles.push(b"MzM2OTg3NjU0MzI".to_vec());
    Ok(needles)
}

/// Bytes as text of the same length in characters: the standard library then searches fast, and no
/// byte is lost.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn found(bytes: &[u8], needles: &[Vec<u8>]) -> Option<String> {
    let text = latin(bytes);
    let hit = needles
        .iter()
        .find(|needle| text.contains(&latin(needle)))?;
    Some(String::from_utf8_lossy(hit).into_owned())
}

/// A plain HTTP page.
async fn page(port: u16, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{path} on {port} answers"
    );
    Ok(answer)
}

fn search_files(root: &Path, needles: &[Vec<u8>]) -> anyhow::Result<usize> {
    let mut searched = 0;
    for path in files(root)? {
        let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        if let Some(hit) = found(&bytes, needles) {
            anyhow::bail!("{} holds {hit:?}", path.display());
        }
        searched += 1;
    }
    Ok(searched)
}

async fn run(cluster: &Running) -> anyhow::Result<()> {
    let window = window();
    let at = inside(window, 3);
    let records = vec![
        phone(ACCOUNT, "FR", &format!("+{PHONE}"), &at),
        ip(ACCOUNT, "FR", ADDRESS, 4001, &at),
    ];
    ensure!(
        cluster.stage.put(records, 1).await.map_err(failed)? == 2,
        "both are stored"
    );

    // Refused records: their values must not be repeated anywhere either, nor in the answer.
    let backend = cluster.stage.profile(BACKEND).map_err(failed)?;
    let client = edge(&backend).map_err(failed)?;
    let bad = bailiwick_api::edge::PutRecords {
        records: vec![
            phone(ACCOUNT, "FR", &format!("+{REFUSED_PHONE}"), &at),
            ip(ACCOUNT, "XK", ADDRESS, 70_000, &at),
        ],
    };
    let refused = client.put(&bad).await?;
    let answer = serde_json::to_vec(&refused)?;
    ensure!(
        found(&answer, &needles()?).is_none(),
        "a refusal repeats no value"
    );
    ensure!(
        refused.results.iter().all(|result| result.error.is_some()),
        "both are refused"
    );

    // A whole disclosure.
    let request = cluster
        .stage
        .request(ACCOUNT, window, "case-1")
        .await
        .map_err(failed)?
        .id;
    for person in ["anna", "ben", "dora", "emil"] {
        cluster
            .stage
            .approve(person, request)
            .await
            .map_err(failed)?;
    }
    let patience = Duration::from_secs(15);
    let (recipient, opened) = cluster
        .stage
        .open(request, patience, false)
        .await
        .map_err(failed)?;
    let opened = opened?;
    recipient.acknowledge(&opened).await?;
    // The control: the search does find it where it must be, at the recipient.
    let values = serde_json::to_vec(&disclosed(&opened.opening))?;
    ensure!(
        found(&values, &needles()?).is_some(),
        "the recipient has it"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_identifier_in_logs() -> anyhow::Result<()> {
    let mut cluster = cluster(env!("CARGO_BIN_EXE_bailiwick-process"), &[]).await?;
    run(&cluster).await?;
    let needles = needles()?;
    let services = cluster.stage.layout.services();
    for service in &services {
        let metrics = page(service.health, "/metrics").await?;
        ensure!(metrics.len() > 200, "{} has metrics", service.name);
        ensure!(
            found(&metrics, &needles).is_none(),
            "metrics of {}",
            service.name
        );
    }
    // Stopped in order, so that every store and log is on disk.
    for service in &services {
        cluster.stage.stop(service.name.as_str()).map_err(failed)?;
    }
    let root = cluster.root().to_owned();
    let searched = search_files(&root, &needles)?;
    ensure!(
        searched > 60,
        "all files of 13 processes were searched: {searched}"
    );
    ensure!(
        files(&root.join("logs"))?.len() == services.len(),
        "every process has a log"
    );

    // The control: one planted file is found.
    let planted = root.join("vault-1/data/planted");
    let address: std::net::Ipv6Addr = ADDRESS.parse()?;
    std::fs::write(&planted, [&[1, 2, 3][..], &address.octets(), &[4]].concat())?;
    let hit = search_files(&root, &needles);
    ensure!(
        hit.is_err_and(|e| e.to_string().contains("planted")),
        "the search can fail"
    );
    Ok(())
}
