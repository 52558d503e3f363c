//! An approver whose keys rest under a key inside a PKCS#11 token: it wraps them, starts with them,
//! releases with them, and without the token neither starts nor says anything.
//!
//! The token is a software one (SoftHSM), which .ci/tools unpacks.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use bailiwick_node::config::ApproverConfig;
use bailiwick_tests::{Running, cluster, failed, inside, phone, window};

/// Which approver has a token, and which one is off, so that the first one's part is needed.
const HOLDER: &str = "workflow-1";
const OFF: &str = "workflow-3";
/// Where the token's software finds its configuration.
const CONFIGURATION: &str = "SOFTHSM2_CONF";

/// A software token in a folder of its own.
struct Token {
    folder: PathBuf,
    module: PathBuf,
    tools: PathBuf,
}

impl Token {
    fn find() -> anyhow::Result<(PathBuf, PathBuf)> {
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/softhsm");
        for root in [unpacked, PathBuf::from("/")] {
            let module = root.join("usr/lib/softhsm/libsofthsm2.so");
            if module.exists() {
                return Ok((module, root.join("usr/bin/softhsm2-util")));
            }
        }
        anyhow::bail!("SoftHSM is missing: `bash .ci/tools` unpacks Debian's packages")
    }

    /// Writes the configuration and makes a token with a PIN in a file.
    fn make(folder: PathBuf) -> anyhow::Result<Self> {
        let (module, tools) = Self::find()?;
        std::fs::create_dir_all(folder.join("tokens"))?;
        let tokens = folder.join("tokens").display().to_string();
        std::fs::write(
            folder.join("softhsm2.conf"),
            format!(
                "directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
            ),
        )?;
        std::fs::write(folder.join("pin"), "4321-token\n")?;
        let token = Self {
            folder,
            module,
            tools,
        };
        token.initialise()?;
        Ok(token)
    }

    /// A token of our label without any key in it.
    fn initialise(&self) -> anyhow::Result<()> {
        let output = self
            .command(&self.tools)
            .args(["--init-token", "--free", "--label", "bailiwick"])
            .args(["--so-pin", "87654321", "--pin", "4321-token", "--module"])
            .arg(&self.module)
            .output()
            .context("make a token")?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(())
    }

    /// Runs an approver that must not start, and returns what it says.
    fn refused(&self, config: &Path) -> anyhow::Result<String> {
        let mut command = self.command(Path::new(binary()));
        command.args(["approver", "--config"]).arg(config);
        let ended = command.output()?;
        ensure!(!ended.status.success(), "it starts without its key");
        Ok(said(&ended))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env(CONFIGURATION, self.folder.join("softhsm2.conf"));
        command
    }

    fn wrap(&self, data: &Path, more: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.command(Path::new(binary()));
        command
            .args(["key", "wrap", "--data"])
            .arg(data)
            .arg("--pkcs11-module")
            .arg(&self.module)
            .args(["--token", "bailiwick", "--token-key", "wrapping"])
            .arg("--pin-file")
            .arg(self.folder.join("pin"))
            .args(more);
        command.output().context("key wrap")
    }
}

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_bailiwick-process")
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// The token's software reads its configuration's place from the environment, which a program can
/// change for its children only: this one starts itself anew.
fn with_token(folder: &Path) -> anyhow::Result<()> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--exact", "keys_rest_under_a_token", "--nocapture"])
        .env(CONFIGURATION, folder.join("softhsm2.conf"))
        .output()?;
    let passed = output.status.success() && said(&output).contains("1 passed");
    ensure!(passed, "{}", said(&output));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rest_under_a_token() -> anyhow::Result<()> {
    match std::env::var_os(CONFIGURATION) {
        Some(configuration) => {
            let folder = Path::new(&configuration).parent().context("a folder")?;
            story(folder.to_owned()).await
        }
        None => with_token(tempfile::tempdir()?.path()),
    }
}

async fn story(folder: PathBuf) -> anyhow::Result<()> {
    let token = Token::make(folder)?;
    let mut running = cluster(binary(), &[]).await?;
    let at = inside(window(), 5);
    running
        .put(vec![phone("alice", "FR", "+33612345678", &at)])
        .await?;
    running.stage.stop(OFF).map_err(failed)?;
    running.stage.stop(HOLDER).map_err(failed)?;
    let path = running.root().join(HOLDER).join(format!("{HOLDER}.toml"));
    let data = ApproverConfig::load(&path)?.data;

    refuses_wrong_pin_and_label(&token, &data)?;
    let wrapped = token.wrap(&data, &["--yes"])?;
    ensure!(wrapped.status.success(), "{}", said(&wrapped));
    ensure!(
        said(&wrapped).contains("never leaves it"),
        "says what it protects"
    );

    let module = token.module.display();
    let pin = token.folder.join("pin").display().to_string();
    let line = format!(
        "wrapping = {{ pkcs11 = {{ module = \"{module}\", token = \"bailiwick\", key = \"wrapping\", \
         pin-file = \"{pin}\" }} }}\n"
    );
    let config = std::fs::read_to_string(&path)?;
    std::fs::write(&path, format!("{line}{config}"))?;
    running.stage.start_one(HOLDER).map_err(failed)?;
    running.ready(HOLDER).await?;
    opens(&running).await?;

    // A thief of the disk, or a machine without its token.
    running.stage.stop(HOLDER).map_err(failed)?;
    std::fs::rename(token.folder.join("tokens"), token.folder.join("taken"))?;
    std::fs::create_dir(token.folder.join("tokens"))?;
    let text = token.refused(&path)?;
    ensure!(text.contains("0 tokens have the label bailiwick"), "{text}");
    // Another token of the same label: a new key would be no master of these keys.
    token.initialise()?;
    let text = token.refused(&path)?;
    ensure!(
        text.contains("0 secret keys in the token have the label wrapping"),
        "{text}"
    );
    Ok(())
}

fn refuses_wrong_pin_and_label(token: &Token, data: &Path) -> anyhow::Result<()> {
    std::fs::write(token.folder.join("pin"), "0000\n")?;
    let refused = token.wrap(data, &["--yes"])?;
    ensure!(!refused.status.success(), "a wrong PIN wraps");
    ensure!(
        said(&refused).contains("take the PIN"),
        "{}",
        said(&refused)
    );
    ensure!(!data.join("wrapping").exists(), "a note of no master");
    std::fs::write(token.folder.join("pin"), "4321-token\n")?;
    Ok(())
}

/// Two of three must act, and one is off: the approver with the token is needed.
async fn opens(running: &Running) -> anyhow::Result<()> {
    let request = running.request("alice", "token-1").await?.id;
    running
        .approve(request, &["anna", "ben", "dora", "emil"])
        .await?;
    let values = running.values(request).await?;
    ensure!(values == ["+33612345678"], "{values:?}");
    Ok(())
}
