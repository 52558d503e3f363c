//! docs/operations.md is true: its `sh` blocks are run line by line, with the program that was just built, on loopback,
//! in the order in which they stand; and the log lines that it explains are lines of the code.

use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use bailiwick_tests::free_ports;

/// Seconds that the whole page may take; then everything that it started is ended.
const SECONDS: &str = "280";
/// Lines of output that a failure shows.
const SHOWN: usize = 60;
/// Where a failing command stands in the page, and what it was.
const STRICT: &str = "set -Eeuo pipefail; trap 'echo \"operations.md line $LINENO: $BASH_COMMAND\" >&2' ERR; source ";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> anyhow::Result<String> {
    let path = repository().join("docs/operations.md");
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// The page with every line blanked that is not in an `sh` block, so that line numbers stay.
fn commands(page: &str) -> String {
    let mut inside = false;
    let lines = page.lines().map(|line| {
        let fence = line.starts_with("```");
        let command = inside && !fence;
        if fence {
            inside = line == "```sh";
        }
        if command { line } else { "" }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// The shell with all that it started. They end with this, however the test ends.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // A negative number is the process group; when all have ended there is nobody to tell.
        let _ = Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.0.id())])
            .stderr(Stdio::null())
            .status();
        let _ = self.0.wait();
    }
}

/// A folder that looks like the checked-out repository after `cargo build --release`.
fn checked_out(folder: &Path) -> anyhow::Result<PathBuf> {
    let root = folder.join("repository");
    let programs = root.join("target/release");
    std::fs::create_dir_all(&programs)?;
    symlink(
        env!("CARGO_BIN_EXE_bailiwick-process"),
        programs.join("bailiwick"),
    )?;
    for shared in ["deploy", "config"] {
        symlink(repository().join(shared), root.join(shared))?;
    }
    Ok(root)
}

fn begin(folder: &Path, commands: &str, output: &Path) -> anyhow::Result<Group> {
    let root = checked_out(folder)?;
    let script = folder.join("operations.sh");
    std::fs::write(&script, commands)?;
    let programs = std::env::join_paths(std::iter::once(root.join("target/release")).chain(
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()),
    ))?;
    let written = std::fs::File::create(output)?;
    // `timeout` ends the whole group by itself, should this test be ended before.
    let shell = Command::new("timeout")
        .args(["--kill-after=5", SECONDS, "bash", "-c"])
        .arg(format!("{STRICT} '{}'", script.display()))
        .current_dir(&root)
        .env("PATH", programs)
        .env("TMPDIR", folder)
        .env("PORT", free_ports()?.to_string())
        .env_remove("BAILIWICK_PROFILE")
        .stdin(Stdio::null())
        .stdout(written.try_clone()?)
        .stderr(written)
        .process_group(0)
        .spawn();
    Ok(Group(shell.context(
        "run timeout and bash (apt-get install coreutils bash)",
    )?))
}

#[test]
fn every_command_of_the_page_works() -> anyhow::Result<()> {
    for tool in ["openssl", "curl"] {
        let found = Command::new(tool)
            .arg("--help")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.with_context(|| format!("{tool} is not there: apt-get install {tool}"))?;
    }
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("output.txt");
    let mut group = begin(folder.path(), &commands(&page()?), &output)?;
    let ended = group.0.wait()?;
    let told = std::fs::read_to_string(&output)?;
    let from = told.lines().count().saturating_sub(SHOWN);
    let last: Vec<_> = told.lines().skip(from).collect();
    ensure!(ended.success(), "{ended}:\n{}", last.join("\n"));
    Ok(())
}

/// Only what is marked `sh` is run, and it stays on its line.
#[test]
fn blocks_of_other_kinds_are_not_run() {
    let page = "text\n```console\nreboot\n```\n```sh\ntrue\n```\nfalse\n";
    assert_eq!(commands(page), "\n\n\n\n\ntrue\n\n\n");
}

/// The first column of *Why a service stops*: what somebody at the log will search for.
#[test]
fn every_log_line_that_is_explained_exists() -> anyhow::Result<()> {
    let page = page()?;
    let section = page.split("## Why a service stops").nth(1);
    let table = section
        .context("the section")?
        .lines()
        .filter(|line| line.starts_with("| `"));
    let phrases: Vec<_> = table.filter_map(|line| line.split('`').nth(1)).collect();
    ensure!(
        phrases.len() >= 5,
        "the table has {} phrases",
        phrases.len()
    );
    let mut sources = String::new();
    read_sources(&repository().join("crates"), &mut sources)?;
    for phrase in phrases {
        ensure!(sources.contains(phrase), "no code says {phrase:?}");
    }
    Ok(())
}

fn read_sources(folder: &Path, into: &mut String) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_sources(&path, into)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
