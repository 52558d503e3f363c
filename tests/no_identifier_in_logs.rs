//! Canaries: no identifier, hashed or not, in any encoding that is looked for, stands in a log, a metric,
//! an answer or a file of any process of a whole run. (vault issue 1763: phone numbers in audit logs.)

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use bailiwick_api::edge::PutRecords;
use bailiwick_cli::commands::disclose::disclosed;
use bailiwick_cli::connect::edge;
use bailiwick_cli::dev::layout::BACKEND;
use bailiwick_envelope::sha256;
use bailiwick_tests::{
    PATIENCE, Running, failed, files, inside, ip, phone, prepared_cluster, window,
};
use bailiwick_transport::ExpectedPeer;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ACCOUNT: &str = "canary-account-7f3a9c";
const PHONE: &str = "33698765432";
/// Too long for a number, so that it is refused.
const REFUSED_PHONE: &str = "33698765432109876";
const ADDRESS_6: &str = "2001:db8:dead:beef:cafe:f00d:1234:5678";
const ADDRESS_4: &str = "203.0.113.219";
const PORT: u16 = 47_531;

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_bailiwick-process")
}

/// The base64 characters that bytes give wherever they stand in what is encoded.
fn base64(bytes: &[u8], shift: usize) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded = [&vec![0; shift][..], bytes].concat();
    let (whole, _) = padded.as_chunks::<3>();
    let digits = whole.iter().flat_map(|[a, b, c]| {
        let bits = u32::from_be_bytes([0, *a, *b, *c]);
        [18, 12, 6, 0].map(|at| DIGITS[(bits >> at & 63) as usize])
    });
    // The first digits are of what stands before.
    digits.skip((shift * 8).div_ceil(6)).collect()
}

/// What must be found nowhere, with what each is.
struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    /// The canaries as text, hexadecimal, base64 at any place, digest, and as bytes and numbers.
    fn of_canaries() -> anyhow::Result<Self> {
        let mut needles = Self(Vec::new());
        for text in [ACCOUNT, PHONE, REFUSED_PHONE, ADDRESS_6, ADDRESS_4] {
            needles.add_encodings(text, text.as_bytes());
            needles.add_encodings(&format!("SHA-256 of {text}"), &sha256(text.as_bytes()).0);
        }
        let plus = format!("+{PHONE}");
        needles.add_encodings("SHA-256 of the number", &sha256(plus.as_bytes()).0);
        let number: u64 = PHONE.parse()?;
        needles.add("the number, big-endian", &number.to_be_bytes());
        needles.add("the number, little-endian", &number.to_le_bytes());
        let six: Ipv6Addr = ADDRESS_6.parse()?;
        let four: Ipv4Addr = ADDRESS_4.parse()?;
        needles.add_encodings("the IPv6 address", &six.octets());
        let mut backwards = six.octets();
        backwards.reverse();
        needles.add_encodings("the IPv6 address backwards", &backwards);
        // Four bytes alone stand somewhere by chance; with the port beside them they do not.
        for port in [PORT.to_be_bytes(), PORT.to_le_bytes()] {
            needles.add("address and port", &[&four.octets()[..], &port].concat());
        }
        Ok(needles)
    }

    /// The pseudonym, which vaults must have on disk, and nobody in a log or metric.
    fn with_pseudonym(mut self, cluster: &Running) -> anyhow::Result<Self> {
        let subject = cluster.subject(ACCOUNT)?;
        self.add_encodings("the pseudonym", &subject.0);
        Ok(self)
    }

    fn add(&mut self, what: &str, bytes: &[u8]) {
        self.0.push((what.to_owned(), bytes.to_vec()));
    }

    fn add_encodings(&mut self, what: &str, bytes: &[u8]) {
        self.add(what, bytes);
        let hexadecimal = hex::encode(bytes);
        self.add(what, hexadecimal.as_bytes());
        self.add(what, hexadecimal.to_uppercase().as_bytes());
        for shift in 0..3 {
            let digits = base64(bytes, shift);
            let for_urls = digits.iter().map(|digit| match digit {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            });
            self.add(what, &for_urls.collect::<Vec<_>>());
            self.add(what, &digits);
        }
    }

    /// What of it stands in these bytes, if anything.
    fn found_in(&self, bytes: &[u8]) -> Option<&str> {
        // As text of the same length in characters the standard library searches fast, and no byte is
        // lost.
        let latin = |bytes: &[u8]| -> String { bytes.iter().map(|b| char::from(*b)).collect() };
        let text = latin(bytes);
        let hit = self
            .0
            .iter()
            .find(|(_, needle)| text.contains(&latin(needle)));
        hit.map(|(what, _)| what.as_str())
    }

    fn in_no_file(&self, folder: &Path, except: &Path) -> anyhow::Result<usize> {
        let mut searched = 0;
        for path in files(folder)?.into_iter().filter(|path| path != except) {
            let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let found = self.found_in(&bytes);
            ensure!(found.is_none(), "{} holds {found:?}", path.display());
            searched += 1;
        }
        Ok(searched)
    }
}

/// A plain HTTP page.
async fn page(port: u16, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
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

/// Posts bytes to the edge as a backend; the whole answer.
async fn post(cluster: &Running, path: &str, body: &str) -> anyhow::Result<Vec<u8>> {
    let tls = cluster.tls(BACKEND)?;
    let mut config = (*tls.client_config_http_for(&ExpectedPeer::edge())).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", cluster.stage.layout.ports().edge())).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect(ServerName::try_from("localhost")?, stream)
        .await?;
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Some servers close without TLS's goodbye; what came is what counts.
    let _ = stream.read_to_end(&mut answer).await;
    ensure!(answer.starts_with(b"HTTP/1.1 "), "the edge answers");
    Ok(answer)
}

/// Bodies that are refused, each with an identifier where an error text might quote it.
async fn refused_bodies(cluster: &Running, needles: &Needles) -> anyhow::Result<()> {
    let bodies = [
        format!(r#"{{"account":"{ACCOUNT}","phone":"+{PHONE}"}}"#),
        format!(r#"{{"account":"{ACCOUNT}","+{PHONE}":1}}"#),
        format!(r#"{{"account":"{ACCOUNT}","ip":{{"address":"{ADDRESS_4}","port":"{PHONE}"}}}}"#),
        format!(r#"{{"account":"{ACCOUNT}","ip":{{"transport":"{ADDRESS_6}"}}}}"#),
        format!(r#"{{"account":"{ACCOUNT}" +{PHONE}"#),
        format!("+{PHONE} {ADDRESS_6}"),
    ];
    for body in &bodies {
        for (path, body) in [
            ("/v1/record", body.clone()),
            ("/v1/records", format!(r#"{{"records":[{body}]}}"#)),
        ] {
            let answer = post(cluster, path, &body).await?;
            let found = needles.found_in(&answer);
            ensure!(found.is_none(), "the answer to {body} repeats {found:?}");
        }
    }
    // In a path, too.
    let answer = post(cluster, &format!("/v1/record/+{PHONE}/{ACCOUNT}"), "{}").await?;
    ensure!(needles.found_in(&answer).is_none(), "an unknown path");
    Ok(())
}

/// Records that are stored, and such as are refused.
async fn hand_in(cluster: &Running, needles: &Needles) -> anyhow::Result<()> {
    let at = inside(window(), 3);
    let good = vec![
        phone(ACCOUNT, "FR", &format!("+{PHONE}"), &at),
        ip(ACCOUNT, "FR", ADDRESS_6, u32::from(PORT), &at),
        ip(ACCOUNT, "FR", ADDRESS_4, u32::from(PORT), &at),
    ];
    cluster.put(good).await?;
    let backend = cluster.stage.profile(BACKEND).map_err(failed)?;
    let client = edge(&backend).map_err(failed)?;
    let bad = PutRecords {
        records: vec![
            phone(ACCOUNT, "FR", &format!("+{REFUSED_PHONE}"), &at),
            ip(ACCOUNT, "XK", ADDRESS_6, 70_000, &at),
            ip(ACCOUNT, ADDRESS_4, ADDRESS_4, 1, &at),
            ip(ACCOUNT, "FR", PHONE, 1, &at),
            ip(ACCOUNT, "FR", ADDRESS_6, 1, PHONE),
        ],
    };
    let refused = client.put(&bad).await?;
    let errors = refused.results.iter().all(|result| result.error.is_some());
    ensure!(errors, "all are refused: {:?}", refused.results);
    let answer = serde_json::to_vec(&refused)?;
    ensure!(needles.found_in(&answer).is_none(), "{refused:?}");
    refused_bodies(cluster, needles).await
}

/// An import with a line that is refused: what it prints and writes beside its file is searched.
fn import(cluster: &Running, needles: &Needles) -> anyhow::Result<()> {
    let folder = cluster.root().join("import");
    std::fs::create_dir(&folder)?;
    let file = folder.join("records.ndjson");
    let at = inside(window(), 4);
    let line = |number: &str| {
        format!(
            r#"{{"account":"{ACCOUNT}","residence":"FR","phone":{{"number":"+{number}","confirmed_at":"{at}"}}}}"#
        )
    };
    let broken = format!(r#"{{"account":"{ACCOUNT}","phone":"+{PHONE}"}}"#);
    let lines = [line(PHONE), line(REFUSED_PHONE), broken].join("\n");
    std::fs::write(&file, lines + "\n")?;
    let ran = Command::new(binary())
        .arg("--profile")
        .arg(cluster.stage.layout.profile(BACKEND))
        .args(["record", "import"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()?;
    let said = [ran.stdout, ran.stderr].concat();
    ensure!(!said.is_empty(), "it says something");
    let found = needles.found_in(&said);
    ensure!(found.is_none(), "the import prints {found:?}");
    let searched = needles.in_no_file(&folder, &file)?;
    ensure!(searched > 0, "the import keeps a journal");
    std::fs::remove_file(&file)?;
    Ok(())
}

/// A whole disclosure, and the control: the search finds what the recipient has.
async fn disclose(cluster: &Running, needles: &Needles) -> anyhow::Result<()> {
    let request = cluster.request(ACCOUNT, "canary-1").await?.id;
    let people = ["anna", "ben", "chloe", "dora", "emil", "fay"];
    cluster.approve(request, &people).await?;
    let opened = cluster.stage.open(request, PATIENCE, true).await;
    let (recipient, opened) = opened.map_err(failed)?;
    let opened = opened?;
    recipient.acknowledge(&opened).await?;
    let values = serde_json::to_vec(&disclosed(&opened.opening))?;
    ensure!(needles.found_in(&values).is_some(), "the recipient has it");
    Ok(())
}

/// Every process tells more than it would in production.
fn talkative(root: &Path) -> anyhow::Result<()> {
    let layout = bailiwick_cli::dev::layout::Layout::open(root, bailiwick_client::now())?;
    for service in layout.context("the layout")?.services() {
        let mut config: toml::Table = std::fs::read_to_string(&service.config)?.parse()?;
        let log: toml::Table = toml::from_str("filter = 'debug'\nformat = 'json'")?;
        config.insert("log".to_owned(), toml::Value::Table(log));
        std::fs::write(&service.config, toml::to_string(&config)?)?;
    }
    Ok(())
}

/// vault issue 1763. The run has stored and refused records, bodies that are no JSON, an import, a whole
/// disclosure and a crash; everything that processes said and wrote is searched.
#[tokio::test(flavor = "multi_thread")]
async fn no_identifier_in_logs() -> anyhow::Result<()> {
    let mut cluster = prepared_cluster(binary(), &[], talkative).await?;
    let needles = Needles::of_canaries()?;
    hand_in(&cluster, &needles).await?;
    import(&cluster, &needles)?;
    disclose(&cluster, &needles).await?;
    cluster.stage.kill("edge-1").map_err(failed)?;
    cluster.stage.start_one("edge-1").map_err(failed)?;
    cluster.ready("edge-1").await?;

    let spoken = Needles::of_canaries()?.with_pseudonym(&cluster)?;
    let services = cluster.stage.layout.services();
    let mut metrics = BTreeMap::new();
    for service in &services {
        metrics.insert(
            service.name.clone(),
            page(service.health, "/metrics").await?,
        );
    }
    for (name, metrics) in &metrics {
        ensure!(metrics.len() > 200, "{name} has metrics");
        let found = spoken.found_in(metrics);
        ensure!(found.is_none(), "metrics of {name} hold {found:?}");
    }
    // Stopped in order, so that every store and log is on disk.
    for service in &services {
        cluster.stage.stop(service.name.as_str()).map_err(failed)?;
    }
    let root = cluster.root().to_owned();
    let none = Path::new("");
    let logs = spoken.in_no_file(&root.join("logs"), none)?;
    ensure!(logs == services.len(), "every process has a log: {logs}");
    let edge_log = std::fs::read_to_string(root.join("logs/edge-1.log"))?;
    ensure!(edge_log.contains("DEBUG"), "the edge was talkative");
    let searched = needles.in_no_file(&root, none)?;
    ensure!(searched > 100, "all files were searched: {searched}");

    // The controls: the pseudonym is found where it must be, and so is one planted address.
    let on_disk = spoken.in_no_file(&root.join("vault-1/data"), none);
    ensure!(on_disk.is_err(), "vaults have the pseudonym on disk");
    let six: Ipv6Addr = ADDRESS_6.parse()?;
    let planted = [&[1, 2, 3][..], &six.octets(), &[4]].concat();
    std::fs::write(root.join("vault-1/data/planted"), planted)?;
    let hit = needles.in_no_file(&root, none);
    ensure!(
        hit.is_err_and(|error| error.to_string().contains("planted")),
        "the search can fail"
    );
    let text = format!("a line about {PHONE}, in the midst of a log");
    let encoded = base64(text.as_bytes(), 0);
    ensure!(needles.found_in(&encoded).is_some(), "base64 is found");
    Ok(())
}
