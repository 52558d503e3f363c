//! An import of a file as a process of its own, in the midst of which a story does something.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use bailiwick_cli::dev::layout::BACKEND;

use crate::{Running, inside, window};

/// A running import; it ends with the story.
pub struct Import {
    process: Child,
    log: PathBuf,
}

impl Drop for Import {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Import {
    /// Begins, or goes on with, the import of a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(binary: &str, cluster: &Running, file: &Path) -> anyhow::Result<Self> {
        let log = file.with_extension("log");
        let output = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)?;
        let process = Command::new(binary)
            .arg("--profile")
            .arg(cluster.stage.layout.profile(BACKEND))
            .args(["record", "import", "--in-flight", "2"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("start the import")?;
        Ok(Self { process, log })
    }

    /// What it has said so far, with the runs before it on the same file.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// Waits for its end, and whether it was a good one.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn end(mut self, patience: Duration) -> anyhow::Result<bool> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status.success());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the import did not end: {}", self.said())
    }
}

/// Writes a file of so many French records, each of an account of its own: `rolling-0` and so on.
///
/// # Errors
/// When it cannot be written.
pub fn import_file(path: &Path, records: usize) -> anyhow::Result<PathBuf> {
    let at = inside(window(), 5);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for number in 0..records {
        let (host, port) = (number % 250 + 1, 1024 + number % 60_000);
        writeln!(
            file,
            r#"{{"account":"rolling-{number}","residence":"FR","ip":{{"address":"192.0.2.{host}","port":{port},"transport":"tcp","event":"login","seen_at":"{at}"}}}}"#
        )?;
    }
    file.flush()?;
    Ok(path.to_owned())
}
