//! What an operator runs on a machine at night: `config check` and `operator diagnose` name what is wrong and
//! nothing else, and a bundle of `operator debug` has no identifier and no secret in it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, ensure};
use bailiwick_cli::dev::layout::OPERATOR;
use bailiwick_tests::shared::Shared;
use bailiwick_tests::{Running, failed, inside, ip, phone, window};
use serde::Deserialize;

static CLUSTER: Shared = Shared::new();

const ACCOUNT: &str = "canary-account-7731";
const PHONE: &str = "33698765432";
const ADDRESS: &str = "2001:db8:77::31";
/// What some other program wrote into a service's log.
const FOREIGN: &str = "GET /?n=+33698765432 from 203.0.113.77:5555, then [2001:db8:77::31]:443";
const COMMENT: &str = "canary-hunter2";

#[derive(Debug, Deserialize)]
struct Line {
    level: String,
    check: String,
    found: String,
    remedy: String,
}

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_bailiwick-process")
}

fn run(arguments: &[&str]) -> anyhow::Result<Output> {
    let ran = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    Ok(ran)
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the path is text")
}

fn config_of(cluster: &Running, name: &str) -> PathBuf {
    cluster.root().join(name).join(format!("{name}.toml"))
}

fn diagnose(config: &Path) -> anyhow::Result<(Option<i32>, Vec<Line>)> {
    let config = path(config)?;
    let ran = run(&[
        "--output", "json", "operator", "diagnose", "--config", config,
    ])?;
    let lines = serde_json::from_slice(&ran.stdout)
        .with_context(|| String::from_utf8_lossy(&ran.stderr).into_owned())?;
    Ok((ran.status.code(), lines))
}

fn check(config: &Path) -> anyhow::Result<(Option<i32>, String)> {
    let ran = run(&["config", "check", path(config)?])?;
    let said = [ran.stdout, ran.stderr].concat();
    Ok((
        ran.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

/// The level of a check's worst line whose finding has these words in it.
fn level<'a>(lines: &'a [Line], check: &str, words: &str) -> Option<&'a str> {
    let found = lines
        .iter()
        .filter(|line| line.check == check && line.found.contains(words));
    let mut levels: Vec<&str> = found.map(|line| line.level.as_str()).collect();
    levels.sort_by_key(|level| {
        ["fail", "warn", "ok"]
            .iter()
            .position(|known| known == level)
    });
    levels.first().copied()
}

/// A copy of a service's configuration beside it, changed.
fn changed(
    cluster: &Running,
    name: &str,
    change: impl FnOnce(&str) -> String,
) -> anyhow::Result<PathBuf> {
    let config = config_of(cluster, name);
    let text = std::fs::read_to_string(&config)?;
    let after = change(&text);
    ensure!(after != text, "the change changes something");
    let copy = config.with_file_name("changed.toml");
    std::fs::write(&copy, after)?;
    Ok(copy)
}

/// Everything is well but for what depends on the machine that the test runs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_well_is_said_to_be_well() -> anyhow::Result<()> {
    CLUSTER
        .story(binary(), async |cluster| {
            for name in ["vault-1", "workflow-1", "edge-1"] {
                let (_, lines) = diagnose(&config_of(cluster, name))?;
                for line in &lines {
                    let of_machine = ["disk", "clock"].contains(&line.check.as_str());
                    let slow = line.level == "warn" && line.check == "peers";
                    ensure!(line.level == "ok" || of_machine || slow, "{name}: {line:?}");
                    ensure!((line.level == "ok") == line.remedy.is_empty(), "{line:?}");
                }
                for check in [
                    "permissions",
                    "files",
                    "certificate",
                    "ports",
                    "peers",
                    "disk",
                    "clock",
                ] {
                    ensure!(
                        level(&lines, check, "").is_some(),
                        "{name}: no line of {check}"
                    );
                }
                let peers = lines.iter().filter(|line| line.check == "peers").count();
                ensure!(peers >= 3, "{name}: {lines:?}");
                let (code, said) = check(&config_of(cluster, name))?;
                ensure!(code == Some(0), "{name}: {said}");
            }
            let (_, lines) = diagnose(&config_of(cluster, "vault-1"))?;
            ensure!(level(&lines, "write-ahead log", "segments") == Some("ok"));
            ensure!(
                level(&lines, "versions", "all peers run") == Some("ok"),
                "{lines:?}"
            );
            Ok(())
        })
        .await
}

/// Each thing that goes wrong at night has a line of its own, and an exit code that scripts see.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() -> anyhow::Result<()> {
    CLUSTER
        .story(binary(), async |cluster| {
            // A peer that is down.
            let address = format!("127.0.0.1:{}", cluster.stage.layout.ports().vault(3));
            cluster.stage.stop("vault-3").map_err(failed)?;
            let (code, lines) = diagnose(&config_of(cluster, "vault-1"))?;
            ensure!(code == Some(1), "{code:?}: {lines:?}");
            ensure!(
                level(&lines, "peers", &address) == Some("fail"),
                "{lines:?}"
            );

            // A log of which a segment is gone, of a node that does not run.
            let wal = cluster.root().join("vault-3/data/wal");
            let segment = std::fs::read_dir(&wal)?
                .next()
                .context("a segment")??
                .path();
            let aside = wal.with_file_name("aside");
            std::fs::rename(&segment, &aside)?;
            let (_, lines) = diagnose(&config_of(cluster, "vault-3"))?;
            ensure!(
                level(&lines, "write-ahead log", "no segment") == Some("fail"),
                "{lines:?}"
            );
            std::fs::rename(&aside, &segment)?;
            cluster.stage.start_one("vault-3").map_err(failed)?;
            cluster.ready("vault-3").await?;

            // A key that others can read.
            let key = cluster.root().join("tls/vault-1.key");
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644))?;
            let (code, said) = check(&config_of(cluster, "vault-1"))?;
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600))?;
            ensure!(
                code == Some(1) && said.contains("mode 644"),
                "{code:?}: {said}"
            );
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_not_run() -> anyhow::Result<()> {
    CLUSTER
        .story(binary(), async |cluster| {
            // Another's certificate.
            let other = changed(cluster, "vault-1", |text| {
                text.replace("tls/vault-1.", "tls/vault-2.")
            })?;
            let (code, said) = check(&other)?;
            ensure!(code == Some(1), "{code:?}: {said}");
            ensure!(
                said.contains("vault/eu/vault-2, the configuration"),
                "{said}"
            );

            // A key of the file that nobody knows, and a file that is not there.
            let unknown = changed(cluster, "edge-1", |text| format!("lane = 3\n{text}"))?;
            let (code, said) = check(&unknown)?;
            ensure!(code == Some(2) && said.contains("lane"), "{code:?}: {said}");
            let missing = changed(cluster, "workflow-1", |text| {
                text.replace("trust.toml", "no-such-trust.toml")
            })?;
            let (code, said) = check(&missing)?;
            ensure!(
                code == Some(1) && said.contains("no-such-trust.toml"),
                "{code:?}: {said}"
            );

            // A port of another program.
            let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
            let port = taken.local_addr()?.to_string();
            let listen = format!("127.0.0.1:{}", cluster.stage.layout.ports().edge());
            let busy = changed(cluster, "edge-1", |text| text.replace(&listen, &port))?;
            let (code, said) = check(&busy)?;
            ensure!(
                code == Some(1) && said.contains("another program"),
                "{code:?}: {said}"
            );
            // The same port, taken by the very service, is no fault.
            let (code, said) = check(&config_of(cluster, "edge-1"))?;
            ensure!(
                code == Some(0) && said.contains("this very service"),
                "{code:?}: {said}"
            );
            Ok(())
        })
        .await
}

/// All files below a folder.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    Ok(found)
}

/// What must be in no bundle: the canaries, and every line of every private key.
fn secrets(cluster: &Running) -> anyhow::Result<Vec<String>> {
    let canaries = [ACCOUNT, PHONE, ADDRESS, "203.0.113.77", COMMENT];
    let mut secrets: Vec<String> = canaries.map(str::to_owned).into();
    for file in files(cluster.root())? {
        if file.extension().is_some_and(|extension| extension == "key") {
            let text = std::fs::read_to_string(&file)?;
            let lines = text
                .lines()
                .filter(|line| line.len() > 20 && !line.starts_with("---"));
            secrets.extend(lines.map(str::to_owned));
        }
    }
    ensure!(secrets.len() > 20, "there are keys: {}", secrets.len());
    Ok(secrets)
}

/// A subject's records, a disclosure's worth of log lines, a comment with a password, and a line that another
/// program wrote into a log: none of it is in the bundle.
#[tokio::test(flavor = "multi_thread")]
async fn no_canary_in_a_bundle() -> anyhow::Result<()> {
    CLUSTER
        .story(binary(), async |cluster| {
            let at = inside(window(), 3);
            let number = format!("+{PHONE}");
            let records = vec![
                phone(ACCOUNT, "FR", &number, &at),
                ip(ACCOUNT, "FR", ADDRESS, 4040, &at),
            ];
            cluster.put(records).await?;
            let log = cluster.root().join("logs/edge-1.log");
            let copy = cluster.root().join("edge-1-copy.log");
            let text = std::fs::read_to_string(&log)?;
            std::fs::write(&copy, format!("{text}{FOREIGN}\n"))?;
            let vault = changed(cluster, "vault-1", |text| {
                format!("# password: {COMMENT}\n{text}")
            })?;
            let bundle = cluster.root().join("bundle");
            let profile = cluster.stage.layout.profile(OPERATOR);
            let edge = config_of(cluster, "edge-1");
            let approver = config_of(cluster, "workflow-1");
            let ran = run(&[
                "--profile",
                path(&profile)?,
                "operator",
                "debug",
                "--out",
                path(&bundle)?,
                "--config",
                path(&vault)?,
                "--config",
                path(&edge)?,
                "--config",
                path(&approver)?,
                "--log",
                path(&copy)?,
            ])?;
            ensure!(ran.status.success(), "{ran:?}");

            let secrets = secrets(cluster)?;
            let written = files(&bundle)?;
            ensure!(written.len() >= 18, "{written:?}");
            let mut all = String::new();
            for file in &written {
                let mode = std::fs::metadata(file)?.permissions().mode() & 0o777;
                ensure!(mode == 0o600, "{}: {mode:o}", file.display());
                let text = std::fs::read_to_string(file)?;
                for secret in &secrets {
                    ensure!(
                        !text.contains(secret.as_str()),
                        "{}: {secret}",
                        file.display()
                    );
                }
                all.push_str(&text);
            }
            // The bundle is worth something, and the search can fail.
            for wanted in [
                "[address]",
                "[number]",
                "edge is up",
                "bailiwick_group_leading",
                "\"standing\":\"active\"",
                "listen = ",
                "note.key",
                "\"check\"",
            ] {
                ensure!(all.contains(wanted), "the bundle lacks {wanted}");
            }
            let log = std::fs::read_to_string(&copy)?;
            ensure!(secrets.iter().any(|secret| log.contains(secret.as_str())));

            // What is there is not written over.
            let again = run(&[
                "operator",
                "debug",
                "--out",
                path(&bundle)?,
                "--config",
                path(&edge)?,
            ])?;
            ensure!(again.status.code() == Some(2), "{again:?}");
            Ok(())
        })
        .await
}
