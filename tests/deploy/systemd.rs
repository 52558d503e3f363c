//! The units: their exposure as systemd rates it, their syntax, and the system calls that they allow.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use bailiwick_tests::{cluster, inside, ip, window};

use super::{shipped, told};

/// The worst exposure that a unit may have; systemd's scale is 0 to 10, lower is better.
const EXPOSURE: f64 = 2.0;
const SYSTEMD: &str = "apt-get install systemd";
const STRACE: &str = "apt-get install strace";

fn units() -> anyhow::Result<Vec<PathBuf>> {
    let mut units = Vec::new();
    for entry in std::fs::read_dir(shipped("systemd"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "service") {
            units.push(path);
        }
    }
    units.sort();
    ensure!(units.len() >= 3, "vault, approver and edge have units");
    Ok(units)
}

/// The number behind `Overall exposure level for <unit>:`.
fn exposure(analysis: &str) -> anyhow::Result<f64> {
    let line = analysis
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .context("the analysis has no overall exposure level")?;
    let rating = line
        .rsplit(": ")
        .next()
        .context("the level is after a colon")?;
    let number = rating
        .split_whitespace()
        .next()
        .context("the level is a number")?;
    number
        .parse()
        .with_context(|| format!("{number} is the level"))
}

fn rate(unit: &Path) -> anyhow::Result<f64> {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager"]);
    exposure(&told(command.arg(unit), SYSTEMD)?)
}

#[test]
fn every_unit_is_exposed_at_most_as_promised() -> anyhow::Result<()> {
    for unit in units()? {
        let level = rate(&unit)?;
        ensure!(level <= EXPOSURE, "{} is at {level}", unit.display());
    }
    Ok(())
}

/// The control of the test above: a unit without its hardening is rated above the limit.
#[test]
fn a_unit_without_hardening_is_seen() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let unit = folder.path().join("bare.service");
    std::fs::write(&unit, "[Service]\nExecStart=/usr/bin/true\n")?;
    let level = rate(&unit)?;
    ensure!(level > EXPOSURE, "a bare unit is at {level}");
    Ok(())
}

/// systemd reads every line: an unknown key or a bad value is a line on its standard error.
#[test]
fn systemd_understands_every_line() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for unit in units()? {
        // The program is not installed where this runs; a template is verified as an instance.
        let text = std::fs::read_to_string(&unit)?.replace("/usr/bin/bailiwick", "/usr/bin/true");
        let name = unit.file_name().context("a name")?.to_string_lossy();
        let copy = folder.path().join(name.replace('@', "@workflow"));
        std::fs::write(&copy, text)?;
        let mut command = Command::new("systemd-analyze");
        let output = super::run(command.arg("verify").arg(&copy), SYSTEMD)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let clean = output.status.success() && errors.is_empty();
        ensure!(clean, "{}: {errors}", unit.display());
    }
    Ok(())
}

/// The names of a filter set, sets within it included.
fn expand(set: &str, into: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let mut command = Command::new("systemd-analyze");
    command.args(["syscall-filter", "--no-pager", set]);
    for line in told(&mut command, SYSTEMD)?.lines().skip(1) {
        let name = line.trim();
        if name.starts_with('@') {
            expand(name, into)?;
        } else if !name.is_empty() && !name.starts_with('#') {
            into.insert(name.to_owned());
        }
    }
    Ok(())
}

/// What a unit's `SystemCallFilter=` lines allow, read in their order as systemd does.
fn allowed_calls(unit: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut allowed = BTreeSet::new();
    expand("@default", &mut allowed)?;
    for line in std::fs::read_to_string(unit)?.lines() {
        let Some(filter) = line.strip_prefix("SystemCallFilter=") else {
            continue;
        };
        let denied = filter.starts_with('~');
        for name in filter.trim_start_matches('~').split_whitespace() {
            let mut calls = BTreeSet::new();
            match name.starts_with('@') {
                true => expand(name, &mut calls)?,
                false => drop(calls.insert(name.to_owned())),
            }
            match denied {
                true => allowed.retain(|call| !calls.contains(call)),
                false => allowed.extend(calls),
            }
        }
    }
    ensure!(allowed.contains("read"), "a unit that may not even read");
    Ok(allowed)
}

/// A program that runs the product and writes down every system call outside of `allowed`.
fn watched(folder: &Path, allowed: &BTreeSet<String>) -> anyhow::Result<PathBuf> {
    // The question mark: a name that this strace does not know is no error.
    let names: Vec<_> = allowed.iter().map(|name| format!("?{name}")).collect();
    let product = env!("CARGO_BIN_EXE_bailiwick-process");
    let script = format!(
        "#!/bin/sh\nexec strace -D -f --seccomp-bpf -qq -e signal=none -o '{}'/$$.calls \
         -e 'trace=!{}' '{product}' \"$@\"\n",
        folder.display(),
        names.join(","),
    );
    let path = folder.join("watched");
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// All system calls that were written down, and by how many processes they could have been.
fn seen(folder: &Path) -> anyhow::Result<(usize, Vec<String>)> {
    let (mut files, mut calls) = (0, Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "calls") {
            files += 1;
            let text = std::fs::read_to_string(&path)?;
            calls.extend(text.lines().map(str::to_owned));
        }
    }
    Ok((files, calls))
}

/// A filter that is too narrow ends a service in production, where nobody tried it. So a whole cluster stores,
/// decides and discloses, and nobody in it makes a call that the units forbid.
#[tokio::test(flavor = "multi_thread")]
async fn no_service_needs_a_system_call_that_its_unit_forbids() -> anyhow::Result<()> {
    told(Command::new("strace").arg("--version"), STRACE)?;
    let units = units()?;
    let allowed = allowed_calls(&units[0])?;
    for unit in &units {
        ensure!(allowed_calls(unit)? == allowed, "the units differ");
    }
    let folder = tempfile::tempdir()?;
    let program = watched(folder.path(), &allowed)?;
    {
        let cluster = cluster(&program.display().to_string(), &[]).await?;
        let at = inside(window(), 3);
        cluster
            .put(vec![ip("filtered", "FR", "192.0.2.7", 4711, &at)])
            .await?;
        let request = cluster.request("filtered", "filter-1").await?.id;
        cluster
            .approve(request, &["anna", "ben", "dora", "emil"])
            .await?;
        ensure!(cluster.values(request).await? == ["192.0.2.7"], "opened");
    }
    let (files, calls) = seen(folder.path())?;
    ensure!(files >= 13, "{files} services were watched");
    ensure!(calls.is_empty(), "forbidden calls were made: {calls:#?}");
    Ok(())
}
