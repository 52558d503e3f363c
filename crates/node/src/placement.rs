//! What lies in a vault node's data folder, and whether it may: the proof that no record of another
//! jurisdiction is there.
//!
//! Every file is accounted for: segments of the log entry by entry, by what each is about and not only
//! by its group's number; record stores and snapshots by the group whose folder they are in, by the shard
//! that they say they are of, and by what the headers of their sessions say. A file that nobody knows is
//! named like one that must not be there. Nothing is changed, also not by reading.

mod contents;
mod shadow;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bailiwick_api::placement::{FolderReport, Violation};
use bailiwick_shard::audit::ShardAudit;
use bailiwick_shard::belongs::{foreign_session, holds_session};
use bailiwick_shard::directory::{self, ClusterView};
use bailiwick_shard::query;
use bailiwick_storage::{
    RecordStore, RecordStoreOptions, SnapshotReader, StoreView, inspect_entries,
};
use bailiwick_types::store::StoreError;
use bailiwick_types::{GroupId, NodeId, SessionId, ShardId};

use contents::{Contents, Finding};
use shadow::Shadow;

/// Deepest folder below a data folder that is looked into: three are in use.
const DEPTH_LIMIT: usize = 8;
/// Pages of a store that is looked into.
const CACHE_BYTES: usize = 8 << 20;
/// The node's own files at the top of its data folder.
const OWN_FILES: [&str; 3] = ["note.key", "lock", super::vault::begin::DISK_FILE];

/// Why a data folder was not looked through: its reader's to mend.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No segment of a log says whose folder it is.
    #[error("{0} is no data folder of a vault node: its log names no node")]
    NoNode(PathBuf),
    /// The directory does not know the node.
    #[error("{path} is of node {node}, which the directory does not know")]
    UnknownNode {
        /// The folder.
        path: PathBuf,
        /// The node that its log names.
        node: NodeId,
    },
    /// A store of a running node failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// None of the folders has a directory to judge by.
    #[error("none of the folders holds the cluster's directory")]
    NoDirectory,
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> PlacementError {
    let path = path.to_owned();
    move |source| PlacementError::Read { path, source }
}

/// What a file has of a group.
struct Sighting {
    file: String,
    group: GroupId,
    /// The shard that the file itself names.
    shard: Option<ShardId>,
}

/// What lies in a data folder; not yet whether it may.
pub struct Inspection {
    folder: PathBuf,
    node: Option<NodeId>,
    files: u64,
    bytes: u64,
    sightings: Vec<Sighting>,
    strange: Vec<Violation>,
    unread: Vec<Violation>,
    directory: Option<ClusterView>,
    contents: Contents,
}

impl Inspection {
    /// Asks the stores for the sessions of blocks whose opening is in the log no more. `holds` says
    /// whether a group's store has a session; of a group that has no store it is false.
    ///
    /// # Errors
    /// Those of `holds`.
    pub fn settle<E>(
        &mut self,
        mut holds: impl FnMut(GroupId, SessionId) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut groups: BTreeSet<GroupId> = self.sightings.iter().map(|seen| seen.group).collect();
        groups.remove(&GroupId::DIRECTORY);
        for (group, sid) in self.contents.unopened() {
            if holds(group, sid)? {
                self.contents.known(group, sid);
                continue;
            }
            // Whose it is then: the report names it.
            for other in groups.iter().filter(|other| **other != group) {
                if holds(*other, sid)? {
                    self.contents.known(*other, sid);
                }
            }
        }
        Ok(())
    }

    /// The directory as this folder's store has it.
    pub fn directory(&self) -> Option<&ClusterView> {
        self.directory.as_ref()
    }

    /// The node whose log it holds.
    pub fn node(&self) -> Option<NodeId> {
        self.node
    }
}

/// Looks through the folders of stopped nodes and judges each by the newest directory among them.
///
/// # Errors
/// [`PlacementError`] names the folder or file.
pub fn check_folders(folders: &[PathBuf]) -> Result<Vec<FolderReport>, PlacementError> {
    let mut looked: Vec<Inspection> = folders
        .iter()
        .map(|folder| inspect(folder, true))
        .collect::<Result<_, _>>()?;
    share_sessions(&mut looked);
    let newest = looked
        .iter()
        .filter_map(Inspection::directory)
        .max_by_key(|view| view.version)
        .cloned();
    let view = newest.ok_or(PlacementError::NoDirectory)?;
    looked
        .into_iter()
        .map(|found| judge(found, &view))
        .collect()
}

/// Whose a planted block is, the folder of its true owner may say.
fn share_sessions(looked: &mut [Inspection]) {
    let mut opened = BTreeSet::new();
    let unopened = looked.iter().flat_map(|found| found.contents.unopened());
    for sid in unopened.map(|(_, sid)| sid).collect::<BTreeSet<_>>() {
        for found in looked.iter() {
            opened.extend(found.contents.openers(sid).map(|group| (group, sid)));
        }
    }
    for found in looked {
        for (group, sid) in &opened {
            found.contents.known(*group, *sid);
        }
    }
}

/// Looks through a data folder. The stores of a running node are not opened (`stopped`): it judges
/// them by what it runs.
///
/// # Errors
/// [`PlacementError::Read`] names the file.
pub fn inspect(folder: &Path, stopped: bool) -> Result<Inspection, PlacementError> {
    let mut found = Inspection {
        folder: folder.to_owned(),
        node: None,
        files: 0,
        bytes: 0,
        sightings: Vec::new(),
        strange: Vec::new(),
        unread: Vec::new(),
        directory: None,
        contents: Contents::default(),
    };
    let mut files = Vec::new();
    walk(folder, folder, 0, &mut files)?;
    for (name, length) in files {
        found.files += 1;
        found.bytes += length;
        found.file(&name, stopped)?;
    }
    if stopped {
        found.settle_offline();
    }
    Ok(found)
}

fn walk(
    root: &Path,
    folder: &Path,
    depth: usize,
    files: &mut Vec<(String, u64)>,
) -> Result<(), PlacementError> {
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let entry = entry.map_err(unreadable(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(unreadable(&path))?;
        if kind.is_dir() && depth < DEPTH_LIMIT {
            walk(root, &path, depth + 1, files)?;
            continue;
        }
        // A file of a running node may go while the others are listed.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let name = path.strip_prefix(root).unwrap_or(&path);
        files.push((name.display().to_string(), metadata.len()));
    }
    files.sort();
    Ok(())
}

impl Inspection {
    fn file(&mut self, name: &str, stopped: bool) -> Result<(), PlacementError> {
        let parts: Vec<&str> = name.split('/').collect();
        match parts.as_slice() {
            [own] if OWN_FILES.contains(own) => {}
            ["wal", segment] if segment.ends_with(".wal") => self.segment(name)?,
            ["groups", group, file] => match group.parse::<u32>() {
                Ok(group) => self.group_file(name, GroupId(group), file, stopped),
                Err(_) => self.strange(name, "in the folder of no group"),
            },
            _ => self.strange(name, "no file of a vault node"),
        }
        Ok(())
    }

    fn strange(&mut self, file: &str, reason: impl Into<String>) {
        let (file, reason) = (file.to_owned(), reason.into());
        self.strange.push(Violation { file, reason });
    }

    fn segment(&mut self, name: &str) -> Result<(), PlacementError> {
        let path = self.folder.join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // A running node has deleted it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(&path)(error)),
        };
        let entries = &mut self.contents;
        let looked = inspect_entries(&bytes, |group, record| entries.take(name, group, record));
        let Some(contents) = looked else {
            if !bytes.is_empty() {
                self.strange(name, "no segment of a log");
            }
            return Ok(());
        };
        if *self.node.get_or_insert(contents.node) != contents.node {
            self.strange(name, format!("part of the log of node {}", contents.node));
        }
        if contents.foreign_bytes > 0 {
            let (file, foreign) = (name.to_owned(), contents.foreign_bytes);
            let reason = format!("{foreign} bytes belong to no record: a torn write, or damage");
            self.unread.push(Violation { file, reason });
        }
        self.sightings
            .extend(contents.groups.into_keys().map(|group| Sighting {
                file: name.to_owned(),
                group,
                shard: None,
            }));
        Ok(())
    }

    fn group_file(&mut self, name: &str, group: GroupId, file: &str, stopped: bool) {
        let is_store = file == "records.redb";
        let is_known = is_store || file.starts_with("records.redb.") || file.contains(".snapshot");
        if !is_known {
            self.strange(name, "no file of a group");
        }
        let mut shard = None;
        let looked = if is_store && stopped {
            self.look_into(name, group)
        } else if file.contains(".snapshot") && group != GroupId::DIRECTORY {
            self.look_into_snapshot(name)
        } else {
            Ok(None)
        };
        match looked {
            Ok(named) => shard = named,
            Err(reason) => {
                let file = name.to_owned();
                self.unread.push(Violation { file, reason });
            }
        }
        let file = name.to_owned();
        self.sightings.push(Sighting { file, group, shard });
    }

    fn store(&self, name: &str) -> Result<StoreView, String> {
        let disk: Arc<dyn bailiwick_storage::Disk> = Arc::new(Shadow::new(self.folder.clone()));
        let options = RecordStoreOptions {
            cache_bytes: CACHE_BYTES,
            ..RecordStoreOptions::default()
        };
        let store = RecordStore::open(&disk, name, &options).map_err(|error| error.to_string())?;
        store.read().map_err(|error| error.to_string())
    }

    /// The shard that a record store says it is of, or that one of its sessions says; of the
    /// directory's store, the directory.
    fn look_into(&mut self, name: &str, group: GroupId) -> Result<Option<ShardId>, String> {
        let view = self.store(name)?;
        if group == GroupId::DIRECTORY {
            self.directory = directory::description(&view).map_err(|error| error.to_string())?;
        }
        let info = query::shard_info(&view).map_err(|error| error.to_string())?;
        let Some(shard) = info.map(|info| info.shard) else {
            return Ok(None);
        };
        let foreign = foreign_session(&view, shard).map_err(|error| error.to_string())?;
        Ok(Some(foreign.map_or(shard, |(_, other)| other)))
    }

    /// The shard that a snapshot file of a group says it is of. One that is being written or received
    /// is not whole yet, and says so.
    fn look_into_snapshot(&mut self, name: &str) -> Result<Option<ShardId>, String> {
        let disk = Shadow::new(self.folder.clone());
        let reader = SnapshotReader::open(&disk, name).map_err(|error| error.to_string())?;
        let mut audit = ShardAudit::new(0);
        let read = reader.for_each_row(|table, key, value| {
            audit
                .take(table, key, value)
                .map_err(|error| StoreError(error.to_string()))
        });
        read.map_err(|error| error.to_string())?;
        let facts = audit.finish().map_err(|error| error.to_string())?;
        Ok(Some(facts.shard))
    }

    /// Asks the stores of a stopped node for sessions whose opening is in the log no more.
    fn settle_offline(&mut self) {
        let mut stores: BTreeMap<GroupId, Option<StoreView>> = BTreeMap::new();
        let groups = self.contents.unopened();
        for group in groups.iter().map(|(group, _)| *group) {
            self.open_for(group, &mut stores);
        }
        if !groups.is_empty() {
            let seen: BTreeSet<GroupId> = self.sightings.iter().map(|seen| seen.group).collect();
            for group in seen {
                self.open_for(group, &mut stores);
            }
        }
        let settled = self.settle(|group, sid| match stores.get(&group) {
            Some(Some(view)) => holds_session(view, &sid),
            _ => Ok(false),
        });
        if let Err(error) = settled {
            let (file, reason) = ("groups".to_owned(), error.to_string());
            self.unread.push(Violation { file, reason });
        }
    }

    fn open_for(&self, group: GroupId, stores: &mut BTreeMap<GroupId, Option<StoreView>>) {
        let name = format!("groups/{group}/records.redb");
        // A store that does not open was named when it was looked into.
        stores
            .entry(group)
            .or_insert_with(|| self.store(&name).ok());
    }
}

/// Judges a folder by a directory: which of its files must not be there.
///
/// # Errors
/// [`PlacementError`] when nobody knows whose folder it is.
pub fn judge(found: Inspection, view: &ClusterView) -> Result<FolderReport, PlacementError> {
    let id = found
        .node
        .ok_or_else(|| PlacementError::NoNode(found.folder.clone()))?;
    let mut nodes = view.nodes.iter().chain(&view.removed);
    let node = nodes.find(|node| node.id == id);
    let node = node.ok_or_else(|| PlacementError::UnknownNode {
        path: found.folder.clone(),
        node: id,
    })?;
    let groups: BTreeMap<GroupId, ShardId> = view
        .groups
        .iter()
        .map(|group| (group.id, group.shard))
        .collect();
    let mut shards = BTreeSet::new();
    let mut violations = found.strange;
    let mut unread = found.unread;
    let violation = |finding: Finding| Violation {
        file: finding.file,
        reason: finding.reason,
    };
    violations.extend(found.contents.misplaced(&groups).into_iter().map(violation));
    unread.extend(found.contents.malformed().map(violation));
    for sighting in found.sightings {
        let placed = groups.get(&sighting.group).copied();
        shards.extend(placed);
        shards.extend(sighting.shard);
        let reason = match (sighting.group, placed, sighting.shard) {
            (GroupId::DIRECTORY, _, None) => continue,
            (GroupId::DIRECTORY, _, Some(shard)) => {
                format!("a record store of {shard} in the place of the directory")
            }
            (group, None, _) => format!("group {group} is in the directory no more, or never was"),
            (group, Some(placed), Some(shard)) if placed != shard => {
                format!("a record store of {shard} in the place of group {group}, {placed}")
            }
            (_, Some(placed), _) if view.may_hold(placed.jurisdiction, &node.region) => continue,
            (group, Some(placed), _) => format!(
                "group {group} is {placed}, and {} is not allowed in {}",
                placed.jurisdiction, node.region
            ),
        };
        let file = sighting.file;
        violations.push(Violation { file, reason });
    }
    Ok(FolderReport {
        node: id,
        name: node.name.clone(),
        region: node.region.clone(),
        files: found.files,
        bytes: found.bytes,
        shards: shards.into_iter().collect(),
        violations,
        unread,
    })
}
