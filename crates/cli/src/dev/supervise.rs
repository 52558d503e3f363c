//! The child processes of a development cluster: started from this very binary, logging to files,
//! and ending with their parent.
//!
//! Every child holds the reading end of a pipe as its standard input (`--exit-with-parent`): when
//! this process ends, however it ends, the pipe closes and the child stops in order. That needs no
//! unsafe call, which PR_SET_PDEATHSIG would, and it is also how this process asks for an orderly
//! stop. Not here: restarting what ended; a crash in development is to be seen.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// How long a child may take to stop in order before it is killed.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// How often a stopping child is looked at.
const POLL: Duration = Duration::from_millis(20);

/// One running child.
struct Running {
    process: Child,
    lifeline: Option<ChildStdin>,
}

/// The children of a cluster by name.
pub struct Fleet {
    binary: PathBuf,
    logs: PathBuf,
    children: BTreeMap<String, Running>,
}

impl Fleet {
    /// A fleet whose children run this very binary and log into a folder.
    ///
    /// # Errors
    /// When this binary's path is unknown or the folder cannot be made.
    pub fn new(logs: &Path) -> anyhow::Result<Self> {
        Self::with_binary(std::env::current_exe().context("find this binary")?, logs)
    }

    /// No processes yet, of another program that has this one's verbs.
    ///
    /// # Errors
    /// When the folder of the logs cannot be made.
    pub fn with_binary(binary: PathBuf, logs: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(logs).with_context(|| format!("create {}", logs.display()))?;
        Ok(Self {
            binary,
            logs: logs.to_owned(),
            children: BTreeMap::new(),
        })
    }

    /// Starts a child; its log is appended to `<name>.log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the process not started, or one of that name runs.
    pub fn start(&mut self, name: &str, arguments: &[String]) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.children.contains_key(name),
            "{name} is running already"
        );
        let log = self.log_of(name);
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let mut process = Command::new(&self.binary)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(open().with_context(|| format!("open {}", log.display()))?)
            .stderr(open().with_context(|| format!("open {}", log.display()))?)
            .env_remove("BAILIWICK_PROFILE")
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let lifeline = process.stdin.take();
        self.children
            .insert(name.to_owned(), Running { process, lifeline });
        Ok(())
    }

    /// Where a child logs.
    pub fn log_of(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Whether a child of that name runs.
    pub fn runs(&self, name: &str) -> bool {
        self.children.contains_key(name)
    }

    /// Kills a child at once (SIGKILL), as a power failure would.
    ///
    /// # Errors
    /// When no child of that name runs, or the system refuses.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let mut child = self.take(name)?;
        child
            .process
            .kill()
            .with_context(|| format!("kill {name}"))?;
        child
            .process
            .wait()
            .with_context(|| format!("wait for {name}"))?;
        Ok(())
    }

    /// Stops a child in order, and kills it when it has not ended after [`STOP_GRACE`].
    ///
    /// # Errors
    /// When no child of that name runs, or the system refuses.
    pub fn stop(&mut self, name: &str) -> anyhow::Result<ExitStatus> {
        let mut child = self.take(name)?;
        child.lifeline = None;
        end(&mut child.process, Instant::now() + STOP_GRACE)
            .with_context(|| format!("wait for {name}"))
    }

    /// Stops all children at once, in order first; what has not ended after [`STOP_GRACE`] is
    /// killed. Returns the names of those that had to be killed.
    pub fn stop_all(&mut self) -> Vec<String> {
        for child in self.children.values_mut() {
            child.lifeline = None;
        }
        let deadline = Instant::now() + STOP_GRACE;
        let mut killed = Vec::new();
        for (name, mut child) in std::mem::take(&mut self.children) {
            let ended = end(&mut child.process, deadline);
            if ended.is_err() || Instant::now() >= deadline {
                killed.push(name);
            }
        }
        killed
    }

    /// Children that ended without being asked to, each once.
    pub fn ended(&mut self) -> Vec<(String, ExitStatus)> {
        let ended: Vec<_> = self
            .children
            .iter_mut()
            .filter_map(|(name, child)| {
                let status = child.process.try_wait().ok().flatten()?;
                Some((name.clone(), status))
            })
            .collect();
        for (name, _) in &ended {
            self.children.remove(name);
        }
        ended
    }

    fn take(&mut self, name: &str) -> anyhow::Result<Running> {
        self.children
            .remove(name)
            .with_context(|| format!("{name} is not running"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop_all();
    }
}

fn end(process: &mut Child, deadline: Instant) -> std::io::Result<ExitStatus> {
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            process.kill()?;
            return process.wait();
        }
        std::thread::sleep(POLL);
    }
}
