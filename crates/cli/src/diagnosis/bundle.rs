//! The bundle of `operator debug`: a folder that may be handed on. No identifier of a person, no key and
//! no record is in it: configurations go without comments and name secrets by their paths only, data
//! folders are listed and never copied, logs are cut to their end and scrubbed.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bailiwick_client::Cluster;
use bailiwick_client::operator::Operator;
use serde::Serialize;

use super::ports::get;
use super::scrub::Scrubber;
use super::service::ServiceFile;
use super::{Finding, of_service};
use crate::failure::Failure;

/// Bytes of a log's end that are taken.
const LOG_BYTES: u64 = 1 << 20;
/// Most files of a data folder that are listed.
const LISTED_FILES: usize = 10_000;
/// What is read from a running service's health listener, and the file that it becomes.
const PAGES: [(&str, &str); 3] = [
    ("/v1/sys/health", "health.json"),
    ("/readyz", "readyz.txt"),
    ("/metrics", "metrics.txt"),
];
/// What the bundle says of itself.
const README: &str = "\
A bundle of `bailiwick operator debug`. It holds no identifier of a person, no key and no record:
configurations without comments, secrets named by their paths only, data folders listed and never
copied, the ends of logs without addresses and numbers that are not the cluster's own.
Read it before you hand it on.
";

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its path in the bundle.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
}

/// A bundle that is being written.
pub struct Bundle {
    root: PathBuf,
    scrubber: Scrubber,
    entries: Vec<Entry>,
}

impl Bundle {
    /// Makes the folder, which only its owner reads; it must not be there yet.
    ///
    /// # Errors
    /// [`Failure`] (usage) when it exists or cannot be made.
    pub fn create(root: &Path, services: &[ServiceFile]) -> Result<Self, Failure> {
        let made = std::fs::DirBuilder::new().mode(0o700).create(root);
        made.map_err(|error| Failure::file(root, &error))?;
        let mut own: Vec<String> = Vec::new();
        for service in services {
            own.extend(service.listen().map(str::to_owned));
            own.push(service.health().to_owned());
            own.extend(service.peers().into_iter().map(|peer| peer.address));
        }
        let mut bundle = Self {
            root: root.to_owned(),
            scrubber: Scrubber::sparing(own.iter().map(String::as_str)),
            entries: Vec::new(),
        };
        bundle.write("README.txt", README)?;
        Ok(bundle)
    }

    /// The files so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds what there is to know of a service on this machine; returns its diagnosis.
    ///
    /// # Errors
    /// [`Failure`] when the bundle cannot be written.
    pub async fn add_service(&mut self, service: &ServiceFile) -> Result<Vec<Finding>, Failure> {
        let name = service.name().to_string();
        let folder = self.root.join(&name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| Failure::file(&folder, &error))?;
        let configuration = service.to_toml();
        self.write(&format!("{name}/configuration.toml"), &configuration)?;
        let findings = of_service(service).await;
        self.write_json(&format!("{name}/diagnosis.json"), &findings)?;
        self.write(&format!("{name}/files.txt"), &listing(service.data()))?;
        for (page, file) in PAGES {
            let text = match get(service.health(), page).await {
                Ok((_, body)) => body,
                Err(error) => format!("not answered: {error:#}\n"),
            };
            self.write(&format!("{name}/{file}"), &text)?;
        }
        Ok(findings)
    }

    /// Adds the end of a log, scrubbed.
    ///
    /// # Errors
    /// [`Failure`] when the log cannot be read or the bundle cannot be written.
    pub fn add_log(&mut self, log: &Path) -> Result<(), Failure> {
        let tail = tail(log).map_err(|error| Failure::file(log, &error))?;
        let name = log
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let number = self.entries.len();
        let file = format!("log-{number}-{}", name.unwrap_or_default());
        let clean = self.scrubber.scrub(&tail);
        self.write(&file, &clean)
    }

    /// Adds what the whole cluster says, as the operator sees it.
    ///
    /// # Errors
    /// [`Failure`] when the bundle cannot be written; a cluster that does not answer is noted.
    pub async fn add_cluster(&mut self, cluster: &Cluster) -> Result<(), Failure> {
        match cluster.describe().await {
            Ok(description) => self.write_json("cluster.json", &description)?,
            Err(error) => self.write("cluster.txt", &format!("not answered: {error}\n"))?,
        }
        match Operator::new(cluster.clone()).status().await {
            Ok(nodes) => {
                let nodes: Vec<_> = nodes
                    .into_iter()
                    .map(|(node, status)| (node, status.map_err(|error| error.to_string())))
                    .collect();
                self.write_json("status.json", &nodes)
            }
            Err(error) => self.write("status.txt", &format!("not answered: {error}\n")),
        }
    }

    fn write_json(&mut self, file: &str, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value);
        let text = text.map_err(|error| anyhow::anyhow!("write {file} as JSON: {error}"))?;
        self.write(file, &text)
    }

    fn write(&mut self, file: &str, text: &str) -> Result<(), Failure> {
        let path = self.root.join(file);
        let mut options = std::fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(&path);
        opened
            .and_then(|mut opened| std::io::Write::write_all(&mut opened, text.as_bytes()))
            .map_err(|error| Failure::file(&path, &error))?;
        self.entries.push(Entry {
            file: file.to_owned(),
            bytes: text.len() as u64,
        });
        Ok(())
    }
}

/// The last part of a log, from the begin of a line on.
fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(log)?;
    let length = file.metadata()?.len();
    let begin = length.saturating_sub(LOG_BYTES);
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if begin == 0 {
        return Ok(text);
    }
    Ok(text
        .split_once('\n')
        .map_or(String::new(), |(_, whole)| whole.to_owned()))
}

/// Names and sizes of the files of a data folder; what is in them stays there.
fn listing(data: &Path) -> String {
    let mut lines = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            let shown = path.strip_prefix(data).unwrap_or(&path).display();
            lines.push(format!("{bytes:>14}  {shown}"));
            if lines.len() >= LISTED_FILES {
                folders.clear();
                break;
            }
        }
    }
    lines.sort_by(|left, right| left[16..].cmp(&right[16..]));
    lines.join("\n") + "\n"
}
