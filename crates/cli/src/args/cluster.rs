//! The operator's verbs about nodes, leaders and placement.

use std::path::PathBuf;

use bailiwick_types::{Jurisdiction, Name, NodeId, Region};
use clap::{Args, Subcommand};

/// `bailiwick operator`, as far as it is about nodes, leaders and placement.
#[derive(Debug, Subcommand)]
pub enum ClusterVerb {
    /// Show the nodes: state, region, groups, last contact.
    Members,
    /// Enter a new node; then its process may start with a blank disk.
    Join(JoinOptions),
    /// Let a node without groups leave for good; its id and name never come back.
    Remove {
        /// The node: its number or its name.
        node: String,
        /// Before it is done.
        #[command(flatten)]
        danger: Danger,
    },
    /// Put a new node in the place of one that is lost or goes: join, drain, wait, remove.
    Replace(ReplaceOptions),
    /// Move all groups off a node.
    Drain {
        /// The node: its number or its name.
        node: String,
        /// Let groups be placed there again.
        #[arg(long)]
        undo: bool,
        /// Wait at most so many seconds until nothing is left there.
        #[arg(long, default_value_t = 300)]
        wait_seconds: u64,
        /// Before it is done.
        #[command(flatten)]
        danger: Danger,
    },
    /// Have a group's leader hand over to the voter that has most of the log.
    StepDown {
        /// The jurisdiction; the directory when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
    },
    /// Have a group's leader hand over to a certain voter.
    Transfer {
        /// The jurisdiction; the directory when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
        /// The voter: its number or its name.
        #[arg(long, value_name = "NODE")]
        to: String,
    },
    /// Members of groups, and who shall vote.
    #[command(subcommand)]
    Raft(RaftVerb),
    /// How the cluster judges its nodes.
    #[command(subcommand)]
    Autopilot(AutopilotVerb),
    /// Where replicas are, and why; and that nothing is anywhere else.
    #[command(subcommand)]
    Placement(PlacementVerb),
}

/// Before something dangerous is done.
#[derive(Clone, Copy, Debug, Args)]
pub struct Danger {
    /// Do it without asking.
    #[arg(long)]
    pub yes: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `bailiwick operator join`.
#[derive(Clone, Debug, Args)]
pub struct JoinOptions {
    /// Its name, as in its certificate.
    pub name: Name,
    /// Where it stands, as in its certificate.
    #[arg(long)]
    pub region: Region,
    /// Where its frames port listens: host:port.
    #[arg(long)]
    pub address: String,
    /// Its number; the next free one when absent.
    #[arg(long)]
    pub id: Option<u64>,
}

/// `bailiwick operator replace`.
#[derive(Clone, Debug, Args)]
pub struct ReplaceOptions {
    /// The node that goes: its number or its name.
    pub old: String,
    /// The name of the node that comes, as in its certificate; it may have joined before.
    pub new: Name,
    /// Where the new node stands; the old one's region when absent.
    #[arg(long)]
    pub region: Option<Region>,
    /// Where the new node's frames port listens: host:port; the old one's when absent.
    #[arg(long)]
    pub address: Option<String>,
    /// Wait at most so many seconds until nothing is left on the old node.
    #[arg(long, default_value_t = 600)]
    pub wait_seconds: u64,
    /// Before it is done.
    #[command(flatten)]
    pub danger: Danger,
}

/// `bailiwick operator raft`.
#[derive(Debug, Subcommand)]
pub enum RaftVerb {
    /// Show the members of groups as their leaders see them.
    ListPeers {
        /// Of this jurisdiction only.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
    },
    /// Have a node vote in a group, in the place of another voter.
    Promote {
        /// The node: its number or its name.
        node: String,
        /// The jurisdiction; the directory when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
        /// The voter that goes; the one with the most groups when absent.
        #[arg(long, value_name = "NODE")]
        instead_of: Option<String>,
        /// Before it is done.
        #[command(flatten)]
        danger: Danger,
    },
    /// Have a node vote in a group no more; another one votes in its place.
    Demote {
        /// The node: its number or its name.
        node: String,
        /// The jurisdiction; the directory when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
        /// The node that votes instead; the allowed one with the fewest groups when absent.
        #[arg(long, value_name = "NODE")]
        in_favour_of: Option<String>,
        /// Before it is done.
        #[command(flatten)]
        danger: Danger,
    },
}

/// `bailiwick operator autopilot`.
#[derive(Debug, Subcommand)]
pub enum AutopilotVerb {
    /// Show how the nodes are judged.
    State,
    /// Show the settings, or change those that are given.
    Config(AutopilotOptions),
}

/// `bailiwick operator autopilot config`.
#[derive(Clone, Debug, Args)]
pub struct AutopilotOptions {
    /// Whether the groups of a lost node are filled up elsewhere by themselves.
    #[arg(long)]
    pub cleanup_dead_servers: Option<bool>,
    /// Seconds without contact after which a node is lost.
    #[arg(long, value_name = "SECONDS")]
    pub dead_server_last_contact_threshold: Option<f64>,
    /// Seconds without contact after which a node is not healthy.
    #[arg(long, value_name = "SECONDS")]
    pub last_contact_threshold: Option<f64>,
    /// Entries that a learner may lack and still count as caught up.
    #[arg(long, value_name = "ENTRIES")]
    pub max_trailing_logs: Option<u64>,
    /// Seconds that a learner must have kept up before it votes.
    #[arg(long, value_name = "SECONDS")]
    pub server_stabilization_time: Option<f64>,
}

/// `bailiwick operator placement`.
#[derive(Debug, Subcommand)]
pub enum PlacementVerb {
    /// Say why each replica is where it is.
    Explain {
        /// Of this jurisdiction only.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
    },
    /// Prove from the files of every node that no record of another jurisdiction is there.
    Check {
        /// The data folder of a stopped node; may be repeated. Without any, every running node looks
        /// through its own.
        #[arg(long, value_name = "DIR")]
        data: Vec<PathBuf>,
    },
}

/// `bailiwick operator jurisdiction`, besides `create`.
#[derive(Debug, Subcommand)]
pub enum RulesVerb {
    /// Show the jurisdictions with their rules.
    List,
    /// Change a jurisdiction's rules; replicas move by themselves.
    Change {
        /// The jurisdiction.
        code: Jurisdiction,
        /// A region whose nodes may hold its records; may be repeated; replaces all.
        #[arg(long = "region")]
        regions: Vec<Region>,
        /// Voters of each group.
        #[arg(long)]
        replicas: Option<u8>,
        /// The policy that its groups begin with.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// The version that the change is meant for; the present one when absent.
        #[arg(long)]
        expected_version: Option<u64>,
        /// Before it is done.
        #[command(flatten)]
        danger: Danger,
    },
    /// Let a jurisdiction take no records and requests any more; with `--delete-data` delete a retired
    /// one from all nodes.
    Retire {
        /// The jurisdiction.
        code: Jurisdiction,
        /// Delete what a retired jurisdiction has, on every node. It must be frozen, and hold no record
        /// unless --force names how many.
        #[arg(long)]
        delete_data: bool,
        /// Delete although it still has so many records; must be exactly what is there.
        #[arg(long, value_name = "COUNT", requires = "delete_data")]
        force: Option<u64>,
        /// The version that the change is meant for; the present one when absent.
        #[arg(long)]
        expected_version: Option<u64>,
        /// Before it is done.
        #[command(flatten)]
        danger: Danger,
    },
}

/// A node's number, if the text is one.
pub fn node_number(text: &str) -> Option<NodeId> {
    text.parse().ok().map(NodeId)
}
