//! The library shared by the stories: a development cluster of real processes on ports of its own, and
//! small helpers to wait and to look.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use bailiwick_api::edge::{IpInput, PhoneInput, RecordInput};
use bailiwick_cli::dev::ports::Ports;
use bailiwick_cli::dev::stage::{Stage, Window};
use bailiwick_cli::failure::Failure;
use bailiwick_envelope::record::{IpEvent, TransportProtocol};
use bailiwick_types::Timestamp;
use bailiwick_types::time::MICROS_PER_MINUTE;

/// Ports that one cluster takes.
const SPAN: u16 = 60;

/// Turns a failure of three lines into an error of a test.
pub fn failed(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

/// A cluster of real processes, set up, on free ports, in a temporary folder that goes with it.
///
/// `binary` is the test package's own program (`env!("CARGO_BIN_EXE_bailiwick-process")`); `except`
/// names services that are not started.
///
/// # Errors
/// When no ports are free or a process does not come up.
pub async fn cluster(binary: &str, except: &[&str]) -> anyhow::Result<Running> {
    let mut stage = build(binary)?;
    stage.start(except).await.map_err(failed)?;
    stage.set_up(|_| {}).await.map_err(failed)?;
    Ok(Running { stage })
}

fn build(binary: &str) -> anyhow::Result<Stage> {
    // Several test programs may look at once: each begins elsewhere, and a taken port is seen.
    let begin = 20_000 + (std::process::id() as u16 % 400) * SPAN;
    for step in 0..200u16 {
        let port = 20_000 + (begin - 20_000 + step * SPAN) % 40_000;
        if Ports::from_base(port).check_free().is_ok() {
            return Stage::build(None, port, false, PathBuf::from(binary)).map_err(failed);
        }
    }
    anyhow::bail!("no {SPAN} ports in a row are free")
}

/// A running cluster; its processes and its folder end with it.
pub struct Running {
    /// The stage.
    pub stage: Stage,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stage.end();
    }
}

impl Running {
    /// The cluster's folder.
    pub fn root(&self) -> &Path {
        self.stage.layout.root()
    }
}

/// A window of an hour that ended half an hour ago.
pub fn window() -> Window {
    let now = bailiwick_client::now().0 / MICROS_PER_MINUTE;
    let minute = |ago: u64| Timestamp((now - ago) * MICROS_PER_MINUTE);
    Window {
        from: minute(90),
        to: minute(30),
    }
}

/// An instant in the window, `minutes` after its begin, as the edge takes it.
pub fn inside(window: Window, minutes: u64) -> String {
    let at = Timestamp(window.from.0 + minutes * MICROS_PER_MINUTE);
    Timestamp::from_seconds(at.seconds()).to_string()
}

/// An IP record.
pub fn ip(account: &str, residence: &str, address: &str, port: u32, at: &str) -> RecordInput {
    let ip = IpInput {
        address: address.to_owned(),
        port: Some(port),
        transport: TransportProtocol::Tcp,
        event: IpEvent::Login,
        seen_at: at.to_owned(),
        accuracy_ms: 0,
    };
    let (account, residence) = (account.to_owned(), Some(residence.to_owned()));
    RecordInput {
        id: None,
        account,
        residence,
        phone: None,
        ip: Some(ip),
    }
}

/// A phone record.
pub fn phone(account: &str, residence: &str, number: &str, at: &str) -> RecordInput {
    let phone = PhoneInput {
        number: number.to_owned(),
        confirmed_at: at.to_owned(),
    };
    let (account, residence) = (account.to_owned(), Some(residence.to_owned()));
    RecordInput {
        id: None,
        account,
        residence,
        phone: Some(phone),
        ip: None,
    }
}

/// Looks until something is there, or `patience` is over.
///
/// # Errors
/// When it is over; names what was waited for.
pub async fn eventually<T, F: Future<Output = anyhow::Result<Option<T>>>>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let until = Instant::now() + patience;
    loop {
        let seen = look().await;
        match seen {
            Ok(Some(found)) => return Ok(found),
            other if Instant::now() >= until => {
                other.with_context(|| format!("waited for {what}"))?;
                anyhow::bail!("waited for {what}");
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// All files below a folder.
///
/// # Errors
/// When one cannot be listed.
pub fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
