//! What deploy/ ships, checked with the tools that will read it: systemd's own analysis of the units,
//! certificates of the shipped script against the product, manifests rendered and against the schemas
//! of Kubernetes, the image's recipe and the compose file. A tool that is missing fails the test and names the line that installs it.
//!
//! Not here: running under a booted systemd or in a container engine; deploy/ says what was not run.

#[path = "deploy/certificates.rs"]
mod certificates;
#[path = "deploy/container.rs"]
mod container;
#[path = "deploy/kubernetes.rs"]
mod kubernetes;
#[path = "deploy/systemd.rs"]
mod systemd;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, ensure};

/// A folder or file of deploy/.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}

/// The line that installs the tools of [`tool`].
const TOOLS: &str = "bash .ci/tools";

/// A tool of `.ci/tools`, else the one on the path.
fn tool(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/bin");
    let own = own.join(name);
    if own.exists() { own } else { name.into() }
}

/// Reads YAML documents, writes them as one JSON array.
const AS_JSON: &str = "import sys, json, yaml\n\
    print(json.dumps([d for d in yaml.safe_load_all(open(sys.argv[1])) if d]))";

/// The documents of a YAML file.
fn yaml(file: &Path) -> anyhow::Result<Vec<serde_json::Value>> {
    let mut python = Command::new(tool("python"));
    let json = told(python.args(["-c", AS_JSON]).arg(file), TOOLS)?;
    Ok(serde_json::from_str(&json)?)
}

/// Runs a tool to its end. `install` is the line that brings it.
fn run(command: &mut Command, install: &str) -> anyhow::Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .with_context(|| format!("{program} does not run; install it: {install}"))
}

/// What a tool that must succeed says on standard output.
fn told(command: &mut Command, install: &str) -> anyhow::Result<String> {
    let output = run(command, install)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} failed: {errors}its tools are installed by: {install}"
    );
    String::from_utf8(output.stdout).with_context(|| format!("the output of {command:?}"))
}
