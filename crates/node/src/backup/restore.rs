//! Restoring snapshot files into the empty data folder of a stopped node.
//!
//! Two cases. After the loss of *all* nodes the directory's snapshot comes first: the cluster goes on
//! under its own id on new nodes with numbers that were never used, so that a node of before that
//! turns up after all is nobody. Every new node is restored from the same files with the same list
//! and comes to the same placement. In a cluster whose directory lives, a node that the directory
//! lists as a voter of a group gets that group alone.
//!
//! A group begins behind its snapshot; nothing is merged. What was acknowledged after the snapshot is
//! lost, which is why no log may come back below its last cosigned size.

use std::path::{Path, PathBuf};

use bailiwick_consensus::{OfflineError, OfflineNode};
use bailiwick_shard::directory::{self, ClusterView, NodeEntry, RelocateError, relocate};
use bailiwick_shard::query;
use bailiwick_types::store::StoreError;
use bailiwick_types::{ClusterId, Digest, GroupId, Jurisdiction, Name, NodeId, Region};

use super::checkpoint::{KnownCheckpoints, LogFault};
use super::verify::{VerifiedSnapshot, VerifyError, verify};
use crate::config::VaultConfig;
use crate::data_lock::{DataLock, DataLockError};

/// Stands in a folder while it is being filled; a node does not start with it.
const UNFINISHED: &str = "restore.unfinished";

/// What is to be restored.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The snapshot files.
    pub files: Vec<PathBuf>,
    /// The new nodes, when all were lost; none when the directory lives.
    pub nodes: Option<Vec<NodeEntry>>,
    /// What is known of cosigned sizes, besides what the files say.
    pub checkpoints: KnownCheckpoints,
    /// Whether a log may come back of which no cosigned checkpoint is known.
    pub without_checkpoint: bool,
}

/// Why nothing is restored; the folder is as before unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Another process works on the folder.
    #[error(transparent)]
    Lock(#[from] DataLockError),
    /// A file is not believed.
    #[error(transparent)]
    File(#[from] VerifyError),
    /// Two files hold the same group.
    #[error("{} and another file both hold {subject}", path.display())]
    Twice {
        /// The second file.
        path: PathBuf,
        /// What both hold.
        subject: String,
    },
    /// The file is of another cluster.
    #[error("{} is of cluster {found}; this is cluster {expected}", path.display())]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// The cluster that it is of.
        found: ClusterId,
        /// The cluster that is being restored, or whose directory the folder has.
        expected: ClusterId,
    },
    /// The file is of another trust domain than this node's configuration.
    #[error("{} is of trust domain {found}; this node is of {expected}", path.display())]
    OtherTrustDomain {
        /// The file.
        path: PathBuf,
        /// The file's.
        found: Name,
        /// The configuration's.
        expected: Name,
    },
    /// The jurisdiction is not allowed where this node stands.
    #[error(
        "{jurisdiction} may not be in region {region}; it may be in {}",
        list(allowed)
    )]
    ForbiddenRegion {
        /// The jurisdiction.
        jurisdiction: Jurisdiction,
        /// This node's region.
        region: Region,
        /// Where it may be.
        allowed: Vec<Region>,
    },
    /// The log would come back shorter or other than what was cosigned.
    #[error("{subject}: {fault}")]
    Log {
        /// The group.
        subject: String,
        /// What is wrong.
        fault: LogFault,
    },
    /// All nodes were lost, and the list of new ones or the directory's snapshot is missing.
    #[error("the folder is empty, and {0} is missing: a whole cluster begins with both")]
    Incomplete(&'static str),
    /// The folder has a directory and the directory's snapshot was given, or a list of nodes.
    #[error("the folder has a directory already: only groups that it lacks can be restored")]
    DirectoryHere,
    /// This node is not in the list.
    #[error("node {0} is not in the list of new nodes with this name, region and address")]
    NotListed(NodeId),
    /// The directory places a group on this node and no file holds it.
    #[error("{0} belongs on this node and no file holds it: it would begin blank")]
    Missing(String),
    /// The directory does not know the group.
    #[error("{subject}: the directory knows no such group {group}")]
    UnknownGroup {
        /// The group's name.
        subject: String,
        /// Its number.
        group: GroupId,
    },
    /// Nothing of what was given belongs on this node.
    #[error("none of these files belongs on node {0}")]
    NothingHere(NodeId),
    /// The new nodes cannot hold the cluster.
    #[error(transparent)]
    Relocate(#[from] RelocateError),
    /// The files of the folder failed.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// The mark of an unfinished restore cannot be written or removed, or is there already.
    #[error("{}", path.display())]
    Mark {
        /// The mark.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was written is not what the file said. The folder must be emptied.
    #[error("{0} came out with another log than the file has; empty the folder")]
    CameOutOther(String),
}

fn list(regions: &[Region]) -> String {
    let regions: Vec<_> = regions.iter().map(Region::to_string).collect();
    regions.join(", ")
}

/// A group that will be restored here.
#[derive(Debug)]
pub struct PlannedGroup {
    /// The file.
    pub snapshot: VerifiedSnapshot,
    /// Its voters afterwards.
    pub voters: Vec<NodeId>,
    /// Its learners afterwards; the directory alone has some.
    pub learners: Vec<NodeId>,
    /// The log's root, by which what was written is checked again.
    root: Option<Digest>,
}

/// What a restore will do. The folder stays locked while it lives.
#[derive(Debug)]
pub struct RestorePlan {
    /// The cluster.
    pub cluster: ClusterId,
    /// The groups that this node gets, the directory first.
    pub groups: Vec<PlannedGroup>,
    /// Files that belong on other nodes.
    pub elsewhere: Vec<(String, Vec<NodeId>)>,
    /// What may be wrong with the files together, in sentences.
    pub warnings: Vec<String>,
    node: NodeId,
    data: PathBuf,
    nodes: Option<Vec<NodeEntry>>,
    _lock: DataLock,
}

/// Whether a node must not start: a restore into its folder was interrupted.
pub fn is_unfinished(data: &Path) -> bool {
    data.join(UNFINISHED).exists()
}

/// Verifies all files and says what a restore into this node's folder would do; changes nothing in
/// the folder.
///
/// # Errors
/// [`RestoreError`] names what is refused.
pub fn plan_restore(
    config: &VaultConfig,
    options: RestoreOptions,
) -> Result<RestorePlan, RestoreError> {
    let lock = DataLock::take(&config.data)?;
    let mark = config.data.join(UNFINISHED);
    if mark.exists() {
        let source = std::io::Error::other(
            "a restore was interrupted: empty the data folder and begin again",
        );
        return Err(RestoreError::Mark { path: mark, source });
    }
    let snapshots = read_all(config, &options.files)?;
    let here = local_directory(config, &snapshots, options.nodes.is_some())?;
    let whole = here.is_none();
    let view = match here {
        Some(view) => view,
        None => relocated(config, &snapshots, options.nodes.as_ref())?,
    };
    let mut plan = RestorePlan {
        cluster: view.cluster,
        groups: Vec::new(),
        elsewhere: Vec::new(),
        warnings: Vec::new(),
        node: config.node,
        data: config.data.clone(),
        nodes: options.nodes.clone(),
        _lock: lock,
    };
    for snapshot in snapshots {
        plan.place(config, &view, whole, snapshot, &options)?;
    }
    plan.groups
        .sort_by_key(|planned| planned.snapshot.header.group);
    if whole {
        plan.check_complete(&view)?;
    }
    plan.compare_partitions();
    if plan.groups.is_empty() {
        return Err(RestoreError::NothingHere(config.node));
    }
    Ok(plan)
}

fn read_all(
    config: &VaultConfig,
    files: &[PathBuf],
) -> Result<Vec<VerifiedSnapshot>, RestoreError> {
    let mut snapshots: Vec<VerifiedSnapshot> = Vec::new();
    for path in files {
        let snapshot = verify(path)?;
        let header = &snapshot.header;
        if header.trust_domain != config.trust_domain {
            return Err(RestoreError::OtherTrustDomain {
                path: path.clone(),
                found: header.trust_domain.clone(),
                expected: config.trust_domain.clone(),
            });
        }
        if snapshots.iter().any(|other| {
            (other.header.group, other.header.shard()) == (header.group, header.shard())
        }) {
            return Err(RestoreError::Twice {
                path: path.clone(),
                subject: header.subject(),
            });
        }
        snapshots.push(snapshot);
    }
    Ok(snapshots)
}

/// The directory as the folder has it; `None` for an empty folder. Refuses a group that is there.
fn local_directory(
    config: &VaultConfig,
    snapshots: &[VerifiedSnapshot],
    all_lost: bool,
) -> Result<Option<ClusterView>, RestoreError> {
    // Opening writes: an empty folder is left as it is.
    if !config.data.join("groups").exists() {
        return Ok(None);
    }
    let node = OfflineNode::open(config.node, config.data.clone())?;
    if !node.holds(GroupId::DIRECTORY)? {
        // What a node has without a directory is the rest of something: nothing goes over it.
        return match node.groups().first() {
            None => Ok(None),
            Some(group) => Err(OfflineError::Exists(*group).into()),
        };
    }
    if all_lost {
        return Err(RestoreError::DirectoryHere);
    }
    let shards = snapshots.iter().map(|snapshot| snapshot.header.group);
    for group in shards.filter(|group| *group != GroupId::DIRECTORY) {
        if node.holds(group)? {
            return Err(OfflineError::Exists(group).into());
        }
    }
    let view = node.read(GroupId::DIRECTORY, |rows| directory::description(rows))?;
    view.ok_or(RestoreError::Relocate(RelocateError::Blank))
        .map(Some)
}

/// The directory as it will be on the new nodes.
fn relocated(
    config: &VaultConfig,
    snapshots: &[VerifiedSnapshot],
    nodes: Option<&Vec<NodeEntry>>,
) -> Result<ClusterView, RestoreError> {
    let nodes = nodes.ok_or(RestoreError::Incomplete("the list of new nodes"))?;
    let directory = snapshots
        .iter()
        .find(|snapshot| snapshot.directory.is_some())
        .ok_or(RestoreError::Incomplete("the directory's snapshot"))?;
    let mut rows = directory.directory_rows()?;
    let view = relocate(&mut rows, nodes.clone())?;
    let itself = view.node(config.node).filter(|node| {
        let seed = config.seeds.iter().find(|seed| seed.id == config.node);
        node.name == config.name
            && node.region == config.region
            && seed.is_some_and(|seed| seed.address == node.address)
    });
    itself.ok_or(RestoreError::NotListed(config.node))?;
    Ok(view)
}

impl RestorePlan {
    fn place(
        &mut self,
        config: &VaultConfig,
        view: &ClusterView,
        whole: bool,
        snapshot: VerifiedSnapshot,
        options: &RestoreOptions,
    ) -> Result<(), RestoreError> {
        let header = &snapshot.header;
        if header.cluster != view.cluster {
            return Err(RestoreError::OtherCluster {
                path: snapshot.file.path().to_owned(),
                found: header.cluster,
                expected: view.cluster,
            });
        }
        let Some(shard) = header.shard() else {
            if !whole {
                return Err(RestoreError::DirectoryHere);
            }
            self.place_directory(view, snapshot);
            return Ok(());
        };
        let subject = header.subject();
        check_region(config, view, &snapshot)?;
        let known = view
            .group_of(shard)
            .filter(|group| group.id == header.group);
        let Some(known) = known else {
            let group = header.group;
            return Err(RestoreError::UnknownGroup { subject, group });
        };
        if !known.voters.contains(&config.node) {
            self.elsewhere.push((subject, known.voters.clone()));
            return Ok(());
        }
        check_log(&snapshot, options)?;
        let root = Some(header.root);
        self.groups.push(PlannedGroup {
            voters: known.voters.clone(),
            learners: Vec::new(),
            root,
            snapshot,
        });
        Ok(())
    }

    fn place_directory(&mut self, view: &ClusterView, snapshot: VerifiedSnapshot) {
        let all = view.nodes.iter().map(|node| node.id);
        let voters = view.directory_voters.clone();
        let learners = all.filter(|node| !voters.contains(node)).collect();
        self.groups.push(PlannedGroup {
            snapshot,
            voters,
            learners,
            root: None,
        });
    }

    /// A home group's log commits to what its further partitions have: they should not be older.
    fn compare_partitions(&mut self) {
        let headers = || self.groups.iter().map(|planned| &planned.snapshot.header);
        let mut warnings = Vec::new();
        for further in headers().filter(|header| header.partition > 0) {
            let mut homes = headers().filter(|header| header.partition == 0);
            let home = homes.find(|home| home.jurisdiction == further.jurisdiction);
            // Both are RFC 3339 in whole seconds and UTC, which sort by age.
            if home.is_some_and(|home| further.taken_at < home.taken_at) {
                let subject = further.subject();
                warnings.push(format!(
                    "{subject} is older than its home group's file: records that the log commits \
                     to may be missing, and are then refused; take a newer file of {subject}"
                ));
            }
        }
        self.warnings = warnings;
    }

    /// A group without a file would begin blank, with a log that begins anew.
    fn check_complete(&self, view: &ClusterView) -> Result<(), RestoreError> {
        for group in &view.groups {
            let here = group.voters.contains(&self.node);
            let mut planned = self.groups.iter();
            if here && !planned.any(|planned| planned.snapshot.header.group == group.id) {
                return Err(RestoreError::Missing(group.shard.to_string()));
            }
        }
        Ok(())
    }

    /// Does it. Every group is durable and checked against its file when this returns.
    ///
    /// # Errors
    /// [`RestoreError`]; the folder must then be emptied before it is tried again, and a node does
    /// not start with it.
    pub fn execute(self) -> Result<(), RestoreError> {
        let mark = self.data.join(UNFINISHED);
        let failed = |source| RestoreError::Mark {
            path: mark.clone(),
            source,
        };
        crate::files::replace(&mark, b"").map_err(failed)?;
        let node = OfflineNode::open(self.node, self.data.clone())?;
        for planned in &self.groups {
            restore_one(&node, planned, self.nodes.as_ref())?;
        }
        node.close();
        std::fs::remove_file(&mark).map_err(failed)?;
        let folder = std::fs::File::open(&self.data).map_err(failed)?;
        folder.sync_all().map_err(failed)
    }
}

fn restore_one(
    node: &OfflineNode,
    planned: &PlannedGroup,
    nodes: Option<&Vec<NodeEntry>>,
) -> Result<(), RestoreError> {
    let header = &planned.snapshot.header;
    let snapshot = planned
        .snapshot
        .file
        .snapshot()
        .map_err(VerifyError::from)?;
    let (voters, learners) = (&planned.voters, &planned.learners);
    node.restore(header.group, &snapshot, voters, learners, |rows| {
        let (None, Some(nodes)) = (planned.root, nodes) else {
            return Ok(());
        };
        let moved = relocate(rows, nodes.clone());
        moved
            .map(drop)
            .map_err(|error| StoreError(error.to_string()))
    })?;
    let Some(root) = planned.root else {
        return Ok(());
    };
    // The file's leaves gave its root; the store must give it too, by the hashes that it keeps.
    let leaves = header.leaves;
    let written = node.read(header.group, |rows| query::log_root(rows, leaves))?;
    if written.map(Digest) == Some(root) {
        return Ok(());
    }
    Err(RestoreError::CameOutOther(header.subject()))
}

/// The directory's rule and the file's own must both allow it: a rule that was widened after the
/// snapshot does not widen what was promised when it was taken.
fn check_region(
    config: &VaultConfig,
    view: &ClusterView,
    snapshot: &VerifiedSnapshot,
) -> Result<(), RestoreError> {
    let header = &snapshot.header;
    let Some(jurisdiction) = header.jurisdiction else {
        return Ok(());
    };
    let rules = view.jurisdiction(jurisdiction);
    let rules = rules.map_or(&[][..], |entry| &entry.allowed_regions);
    for allowed in [rules, &header.allowed_regions] {
        if !allowed.contains(&config.region) {
            return Err(RestoreError::ForbiddenRegion {
                jurisdiction,
                region: config.region.clone(),
                allowed: allowed.to_vec(),
            });
        }
    }
    Ok(())
}

fn check_log(snapshot: &VerifiedSnapshot, options: &RestoreOptions) -> Result<(), RestoreError> {
    let (header, Some(origin)) = (&snapshot.header, &snapshot.origin) else {
        return Ok(());
    };
    // Further partitions hold records only; their home group has the log.
    if header.partition > 0 {
        return Ok(());
    }
    let mut known = options.checkpoints.clone();
    if let Some(note) = &header.checkpoint {
        // It parsed when the file was verified.
        let _ = known.add(note);
    }
    let size = known.of(origin).map_or(0, |cosigned| cosigned.size);
    let outside = options.checkpoints.of(origin).is_some();
    let root = snapshot.root_at(size)?;
    let checked = match known.check(origin, header.leaves, root) {
        Ok(()) if !outside => Err(LogFault::Unknown {
            origin: origin.clone(),
        }),
        checked => checked,
    };
    match checked {
        Err(LogFault::Unknown { .. }) if options.without_checkpoint => Ok(()),
        Err(fault) => Err(RestoreError::Log {
            subject: header.subject(),
            fault,
        }),
        Ok(()) => Ok(()),
    }
}
