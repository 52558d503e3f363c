//! The image's recipe and the compose file, with the files that its script prepares. Neither an engine
//! nor an image is needed, and neither is tried here.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use bailiwick_envelope::SigningKey;
use bailiwick_node::config::{ApproverConfig, EdgeConfig, VaultConfig};
use bailiwick_node::files;
use serde_json::{Value, json};

use super::{TOOLS, run, shipped, told, tool, yaml};

fn against_schema(file: &Path) -> anyhow::Result<Output> {
    let mut command = Command::new(tool("check-jsonschema"));
    command.args(["--builtin-schema", "vendor.compose-spec"]);
    run(command.arg(file), TOOLS)
}

fn compose() -> anyhow::Result<Value> {
    let documents = yaml(&shipped("container/compose.yaml"))?;
    documents.into_iter().next().context("a document")
}

#[test]
fn the_compose_file_is_of_its_schema() -> anyhow::Result<()> {
    let file = shipped("container/compose.yaml");
    let output = against_schema(&file)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{text}");

    // The control: a key that no service has.
    let folder = tempfile::tempdir()?;
    let spoilt = folder.path().join("compose.yaml");
    let text = std::fs::read_to_string(&file)?.replace("read_only:", "readonly:");
    std::fs::write(&spoilt, text)?;
    let output = against_schema(&spoilt)?;
    ensure!(!output.status.success(), "an unknown key passed");
    Ok(())
}

#[test]
fn the_recipe_has_no_fault_that_its_linter_knows() -> anyhow::Result<()> {
    let mut linter = Command::new(tool("hadolint"));
    told(linter.arg(shipped("container/Containerfile")), TOOLS)?;
    let recipe = std::fs::read_to_string(shipped("container/Containerfile"))?;
    ensure!(recipe.contains("\nUSER 65532"), "the image runs as root");
    let built = shipped("container/build-static.sh");
    ensure!(recipe.contains("deploy/container/build-static.sh") && built.exists());
    Ok(())
}

/// Every service is a process that the script prepared, sees its own folder only, and has no right that
/// it does not need.
#[test]
fn every_service_has_what_the_script_prepares() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = prepared(folder.path())?;
    let compose = compose()?;
    let services = compose["services"].as_object().context("services")?;
    let mut regions = std::collections::BTreeSet::new();
    for (id, service) in services {
        confined(id, service)?;
        let volumes = service["volumes"].as_array().context("volumes")?;
        let own = if id == "client" { "clients" } else { id };
        for volume in volumes {
            let from = volume.as_str().context("source:target")?;
            let from = from.split(':').next().context("a source")?;
            let inside = Path::new(from).starts_with(format!("./cluster/{own}"));
            ensure!(inside && root.join(from).is_dir(), "{id} sees {from}");
        }
        if id != "client" {
            let name = configured(service, &root.join("cluster").join(id), &mut regions)?;
            ensure!(name == *id, "{id} is configured as {name}");
        }
    }
    ensure!(regions.len() == 3, "the regions {regions:?}");
    for id in [
        "workflow-1",
        "workflow-2",
        "workflow-3",
        "legal-1",
        "legal-2",
        "legal-3",
    ] {
        follows(&root.join("cluster"), id)?;
    }
    ensure!(services.len() == 17, "{} services", services.len());
    Ok(())
}

/// Runs the script with the program that was just built.
fn prepared(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let programs = folder.join("programs");
    let root = folder.join("made");
    std::fs::create_dir_all(&programs)?;
    std::fs::create_dir_all(&root)?;
    symlink(
        env!("CARGO_BIN_EXE_bailiwick-process"),
        programs.join("bailiwick"),
    )?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(programs).chain(std::env::split_paths(&path));
    let mut script = Command::new(shipped("container/prepare.sh"));
    script
        .env("PATH", std::env::join_paths(path)?)
        .env("BAILIWICK_FOLDER", &root);
    told(&mut script, "apt-get install openssl")?;
    // A second time it leaves everything alone.
    let again = run(&mut script, "")?;
    ensure!(again.status.code() == Some(2), "made twice");
    Ok(root)
}

/// A member follows no log but one that a vault of its trust file signs, with the key that it has.
fn follows(cluster: &Path, member: &str) -> anyhow::Result<()> {
    let trust = std::fs::read_to_string(cluster.join(member).join("trust.toml"))?;
    let trust: toml::Value = toml::from_str(&trust)?;
    let jurisdictions = trust["jurisdictions"].as_array().context("jurisdictions")?;
    for jurisdiction in jurisdictions {
        let voters = jurisdiction.get("voters").and_then(toml::Value::as_array);
        let voters = voters.with_context(|| format!("{member} trusts no vault's note key"))?;
        ensure!(voters.len() == 3, "{member} trusts {} voters", voters.len());
        for voter in voters {
            let name = voter["name"].as_str().context("a name")?;
            let key = files::read_secret(&cluster.join(name).join("data/note.key"))?;
            let key = SigningKey::from_bytes(&key).verifying_key();
            let listed = voter["key"].as_str().context("a key")?;
            ensure!(listed == hex::encode(key.as_bytes()), "{name}'s key");
        }
    }
    Ok(())
}

fn confined(id: &str, service: &Value) -> anyhow::Result<()> {
    ensure!(service["read_only"] == true, "{id} may write");
    ensure!(service["cap_drop"] == json!(["ALL"]), "{id}");
    ensure!(
        service["security_opt"] == json!(["no-new-privileges:true"]),
        "{id}"
    );
    ensure!(service["ulimits"]["core"] == 0, "{id} leaves core files");
    ensure!(
        service["mem_limit"] == service["memswap_limit"],
        "{id}: swap"
    );
    let ports = service["ports"].as_array().into_iter().flatten();
    for port in ports {
        let port = port.as_str().context("a port")?;
        ensure!(port.starts_with("127.0.0.1:"), "{id} is open at {port}");
    }
    ensure!(
        id == "edge-1" || service["ports"].is_null(),
        "{id} is reachable"
    );
    Ok(())
}

/// The name that a service's own configuration gives it; its keys are its own to read.
fn configured(
    service: &Value,
    folder: &Path,
    regions: &mut std::collections::BTreeSet<String>,
) -> anyhow::Result<String> {
    let command = service["command"].as_array().context("a command")?;
    let verb = command[0].as_str().context("a verb")?;
    let file = command.last().and_then(Value::as_str).context("a file")?;
    let file = folder.join(Path::new(file).file_name().context("a file name")?);
    let (name, tls) = match verb {
        "vault" => {
            let config = VaultConfig::load(&file)?;
            regions.insert(config.region.to_string());
            (config.name, config.tls)
        }
        "approver" => {
            let config = ApproverConfig::load(&file)?;
            let role = config.role.to_string();
            ensure!(command[2] == role, "{file:?} is a {role} approver's");
            (config.name, config.tls)
        }
        _ => {
            let config = EdgeConfig::load(&file)?;
            (config.name, config.tls)
        }
    };
    let mode = std::fs::metadata(&tls.key)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{:?} has mode {mode:o}", tls.key);
    let identity =
        bailiwick_transport::TlsIdentity::load(tls.files(), "bailiwick.example".parse()?)
            .with_context(|| format!("the certificate of {name}"))?;
    ensure!(identity.identity().id == name, "{name}'s certificate");
    Ok(name.to_string())
}
