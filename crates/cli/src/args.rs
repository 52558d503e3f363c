//! The command line: every verb and option, in the habit of Vault and etcd.
//!
//! Only shapes: what a verb does is in `commands`, `dev` and `demo`.

pub mod cluster;
mod freeze;
mod observe;

use std::path::PathBuf;

use bailiwick_types::{Category, Jurisdiction, Name, Region, RequestId, Role};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::backup_args::{RecoverArguments, SnapshotVerb};
use crate::failure::EXIT_CODES;
use crate::output::OutputForm;

pub use freeze::FreezeOptions;
pub use observe::{DebugOptions, DiagnoseOptions};

/// Keeps phone numbers and IP addresses encrypted by jurisdiction, and discloses them only for one
/// logged request that both committees approved.
#[derive(Debug, Parser)]
#[command(name = "bailiwick", version, after_help = EXIT_CODES, propagate_version = true)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    /// Options of all verbs.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of all verbs.
#[derive(Clone, Debug, Args)]
pub struct GlobalOptions {
    /// Who calls, and where the cluster is (TOML; see config/profile-*.toml).
    #[arg(long, global = true, env = "BAILIWICK_PROFILE", value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// The form of results.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: OutputForm,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a vault node.
    Vault(ServiceOptions),
    /// Run an approver node.
    Approver {
        /// The service's options.
        #[command(flatten)]
        service: ServiceOptions,
        /// The committee; must match the configuration.
        #[arg(long)]
        role: Option<Role>,
    },
    /// Run an edge.
    Edge(ServiceOptions),
    /// Show all nodes, groups, leaders and lag.
    Status {
        /// Of this jurisdiction only.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
    },
    /// Set up and change a cluster.
    #[command(subcommand)]
    Operator(OperatorVerb),
    /// Certify, show, verify and generate keys.
    #[command(subcommand)]
    Key(KeyVerb),
    /// Hand in records, and list what is known of a subject.
    #[command(subcommand)]
    Record(RecordVerb),
    /// Enter and follow requests for disclosure.
    #[command(subcommand)]
    Request(RequestVerb),
    /// Decide on a request with the person's own key, on this device.
    #[command(subcommand)]
    Review(ReviewVerb),
    /// Receive what was disclosed.
    #[command(subcommand)]
    Disclose(DiscloseVerb),
    /// Read and verify a jurisdiction's transparency log.
    #[command(subcommand)]
    Log(LogVerb),
    /// Check files before they are used.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Write, read and try out a jurisdiction's policy file, without a cluster.
    #[command(subcommand)]
    Policy(crate::commands::policy::PolicyFileVerb),
    /// Print a shell's completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Run a whole cluster on this machine, for development only.
    Dev(DevOptions),
    /// Run the whole story on a cluster of its own and check every step.
    Demo(DemoOptions),
    /// An approver that returns wrong values; part of the demonstration.
    #[command(hide = true)]
    DemoLiar(LiarOptions),
}

/// Options of a service.
#[derive(Clone, Debug, Args)]
pub struct ServiceOptions {
    /// The service's configuration (TOML; see config/).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// End when standard input closes: for a process whose parent must not outlive it.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// `bailiwick operator`.
#[derive(Debug, Subcommand)]
pub enum OperatorVerb {
    /// Initialise a blank cluster from a list of its nodes.
    Init {
        /// The nodes (TOML: a table array `nodes` of id, name, region, address).
        #[arg(long, value_name = "FILE")]
        nodes: PathBuf,
    },
    /// Nodes, leaders and placement.
    #[command(flatten)]
    Cluster(cluster::ClusterVerb),
    /// Jurisdictions.
    #[command(subcommand)]
    Jurisdiction(JurisdictionVerb),
    /// Say who may act in a jurisdiction.
    #[command(subcommand)]
    Enrol(EnrolVerb),
    /// Policies.
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Stop writes, requests and releases of a jurisdiction; its state can be read.
    Freeze(FreezeOptions),
    /// Let a frozen jurisdiction go on.
    Unfreeze(FreezeOptions),
    /// Save, verify and restore snapshots.
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Make a stopped survivor the only voter of groups whose quorum is lost, offline.
    Recover(RecoverArguments),
    /// Check a service on this machine: files, certificate, ports, disk, clock, log, peers.
    Diagnose(DiagnoseOptions),
    /// Write a bundle without identifiers or secrets, to hand on. With a profile, it has the cluster's
    /// status too.
    Debug(DebugOptions),
}

/// `bailiwick operator jurisdiction`.
#[derive(Debug, Subcommand)]
pub enum JurisdictionVerb {
    /// Create a jurisdiction and its groups.
    Create {
        /// Its ISO 3166-1 alpha-2 code.
        code: Jurisdiction,
        /// A region whose nodes may hold its records; may be repeated.
        #[arg(long = "region", required = true)]
        regions: Vec<Region>,
        /// Voters of each group.
        #[arg(long, default_value_t = 3)]
        replicas: u8,
        /// Groups over which its subjects are spread, 1 to 64; the number stays.
        #[arg(long, default_value_t = 1)]
        partitions: u16,
        /// Its policy file.
        #[arg(long, value_name = "FILE")]
        policy: PathBuf,
    },
    /// Its rules.
    #[command(flatten)]
    Rules(cluster::RulesVerb),
}

/// `bailiwick operator enrol`.
#[derive(Debug, Subcommand)]
pub enum EnrolVerb {
    /// An edge, with the key that signs its headers.
    Edge {
        /// The jurisdiction.
        code: Jurisdiction,
        /// Its id.
        name: Name,
        /// Its public key: 64 hexadecimal digits.
        #[arg(long)]
        key: bailiwick_envelope::IdentityKey,
    },
    /// A disclosure workflow's service.
    Intake {
        /// The jurisdiction.
        code: Jurisdiction,
        /// Its id.
        name: Name,
    },
    /// A recipient, by its public key card.
    Recipient {
        /// The jurisdiction.
        code: Jurisdiction,
        /// Its card, as `bailiwick key generate recipient` writes it.
        #[arg(long, value_name = "FILE")]
        card: PathBuf,
    },
}

/// `bailiwick operator policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Set the policy that new requests must pin.
    Set {
        /// The jurisdiction.
        code: Jurisdiction,
        /// The policy file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// `bailiwick key`.
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Ask the committees for keys of coming days and watch until all have signed.
    Certify {
        /// The jurisdiction.
        code: Jurisdiction,
        /// How many daily periods, at most 39.
        #[arg(long, default_value_t = 7)]
        days: u16,
        /// The first day (YYYY-MM-DD, UTC); today when absent.
        #[arg(long, value_name = "DATE")]
        from: Option<String>,
        /// Days from a period's end until its private keys are destroyed.
        #[arg(long, default_value_t = 30)]
        keep_days: u16,
        /// Give up watching after so many seconds; the call itself stands.
        #[arg(long, default_value_t = 120)]
        wait_seconds: u64,
    },
    /// Show a jurisdiction's key certificates and their periods.
    Show {
        /// The jurisdiction.
        code: Jurisdiction,
    },
    /// Verify a jurisdiction's certificates against this profile's own trust file.
    Verify {
        /// The jurisdiction.
        code: Jurisdiction,
    },
    /// Make a key pair; the private half is written to a new file that only its owner reads.
    Generate {
        /// Which kind.
        kind: KeyKind,
        /// The file of the private half.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The recipient's id, for its card.
        #[arg(long)]
        name: Option<Name>,
        /// The PEM certificate that vouches for a recipient's key.
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
    },
    /// Show how an approver's private keys rest in its data folder; opens none, needs no cluster.
    Audit {
        /// The approver's data folder.
        #[arg(long, value_name = "FOLDER")]
        data: PathBuf,
    },
    /// Wrap an approver's private keys that rest in clear. The approver must be off.
    Wrap {
        /// The approver's data folder.
        #[arg(long, value_name = "FOLDER")]
        data: PathBuf,
        /// What wraps them.
        #[command(flatten)]
        master: MasterOptions,
        /// Where in a token.
        #[command(flatten)]
        token: TokenOptions,
        /// Say what would be wrapped, and wrap nothing.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// Where the master of an approver's keys comes from: exactly one.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct MasterOptions {
    /// A file whose first line is a passphrase of at least 12 bytes (argon2id).
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// A file with 32 bytes in hexadecimal.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// A systemd credential's name, under CREDENTIALS_DIRECTORY.
    #[arg(long, value_name = "NAME")]
    pub credential: Option<String>,
    /// A vendor's PKCS#11 library; the token's own key wraps, and never leaves it.
    #[arg(long, value_name = "FILE", requires_all = ["token", "token_key", "pin_file"])]
    pub pkcs11_module: Option<PathBuf>,
}

/// Which key of which token, beside the token's library.
#[derive(Clone, Debug, clap::Args)]
pub struct TokenOptions {
    /// The token's label.
    #[arg(long, value_name = "LABEL", requires = "pkcs11_module")]
    pub token: Option<String>,
    /// The label of the token's secret key; the token makes one if it has none.
    #[arg(long, value_name = "LABEL", requires = "pkcs11_module")]
    pub token_key: Option<String>,
    /// A file whose first line is the token's user PIN.
    #[arg(long, value_name = "FILE", requires = "pkcs11_module")]
    pub pin_file: Option<PathBuf>,
}

/// The kind of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// An approver's or edge's Ed25519 key.
    Identity,
    /// A recipient's X-Wing key; a card with the public half is written beside it.
    Recipient,
    /// A reviewer's Ed25519 key.
    Reviewer,
}

/// `bailiwick record`.
#[derive(Debug, Subcommand)]
pub enum RecordVerb {
    /// Hand in one record through the edge.
    Put(PutOptions),
    /// Hand in a file of records through the edge; an interrupted import goes on where it stopped.
    Import(ImportOptions),
    /// List kind, minute and id of a subject's records; nothing is opened.
    List {
        /// The subject's account id at the service.
        #[arg(long)]
        subject: String,
        /// The custody jurisdiction; the profile's when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
        /// Begin of the window (RFC 3339); everything when absent.
        #[arg(long)]
        from: Option<String>,
        /// End of the window (RFC 3339).
        #[arg(long)]
        to: Option<String>,
        /// Most records shown.
        #[arg(long, default_value_t = 1000)]
        limit: u32,
    },
}

/// `bailiwick record put`.
#[derive(Debug, Args)]
pub struct PutOptions {
    /// The subject's account id at the service.
    #[arg(long)]
    pub account: String,
    /// The subject's declared or verified residence.
    #[arg(long)]
    pub residence: Option<String>,
    /// A phone number (E.164 with its plus).
    #[arg(long, conflicts_with = "address", required_unless_present = "address")]
    pub phone: Option<String>,
    /// An IP address.
    #[arg(long)]
    pub address: Option<String>,
    /// Its source port.
    #[arg(long, requires = "address")]
    pub port: Option<u32>,
    /// `tcp` or `udp`.
    #[arg(long, requires = "address", default_value = "tcp")]
    pub transport: String,
    /// `login`, `session` or `message`.
    #[arg(long, requires = "address", default_value = "login")]
    pub event: String,
    /// When it was seen or confirmed (RFC 3339).
    #[arg(long)]
    pub at: String,
    /// The record's id (a lower-case UUID), so that a repetition is the same record.
    #[arg(long)]
    pub id: Option<String>,
}

/// `bailiwick record import`.
#[derive(Debug, Args)]
pub struct ImportOptions {
    /// A `.csv` or `.ndjson` file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Calls of 1,000 records under way at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub in_flight: u8,
}

/// `bailiwick request`.
#[derive(Debug, Subcommand)]
pub enum RequestVerb {
    /// Enter a request for one subject.
    New(Box<NewRequestOptions>),
    /// Show a request with everything that happened to it.
    Show {
        /// The request.
        request: RequestId,
        /// The custody jurisdiction; the profile's when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
    },
    /// List requests.
    List {
        /// The custody jurisdiction; the profile's when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
        /// Only those that wait for decisions.
        #[arg(long)]
        open: bool,
    },
    /// Follow a request until it is final.
    Watch {
        /// The request.
        request: RequestId,
        /// The custody jurisdiction; the profile's when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
    },
    /// Recall a request: nothing more is released for it.
    Recall {
        /// The request.
        request: RequestId,
        /// The custody jurisdiction; the profile's when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
        /// Why; it is logged.
        #[arg(long)]
        reason: String,
    },
}

/// `bailiwick request new`.
#[derive(Clone, Debug, Args)]
pub struct NewRequestOptions {
    /// The subject's account id at the service; only its pseudonym leaves this device.
    #[arg(long)]
    pub subject: String,
    /// The custody jurisdiction; the profile's when absent.
    #[arg(long)]
    pub jurisdiction: Option<Jurisdiction>,
    /// The state that issued the order; the custody jurisdiction when absent.
    #[arg(long)]
    pub forum: Option<Jurisdiction>,
    /// What kind of record; may be repeated.
    #[arg(long = "kind", required = true)]
    pub kinds: Vec<Category>,
    /// Begin of the window (RFC 3339); rounded down to a whole minute.
    #[arg(long)]
    pub from: String,
    /// End of the window (RFC 3339); rounded up to a whole minute.
    #[arg(long)]
    pub to: String,
    /// What the values are for.
    #[arg(long, value_enum)]
    pub purpose: PurposeWord,
    /// The law that the order cites.
    #[arg(long)]
    pub legal_basis: String,
    /// The authority, as enrolled.
    #[arg(long)]
    pub authority: Name,
    /// The authority's case reference.
    #[arg(long)]
    pub reference: String,
    /// The recipient's card, as `bailiwick key generate recipient` writes it.
    #[arg(long, value_name = "FILE")]
    pub recipient: PathBuf,
    /// Most records that may be disclosed.
    #[arg(long, default_value_t = 100)]
    pub cap: u32,
    /// Hours until the request lapses.
    #[arg(long, default_value_t = 72)]
    pub valid_hours: u32,
    /// The custody jurisdiction's policy file; from the profile's folder of policies when absent.
    #[arg(long, value_name = "FILE")]
    pub custody_policy: Option<PathBuf>,
    /// The forum's policy file; from the profile's folder of policies when absent.
    #[arg(long, value_name = "FILE")]
    pub forum_policy: Option<PathBuf>,
    /// The order's document; sealed to the members of both committees.
    #[arg(long, value_name = "FILE")]
    pub document: Option<PathBuf>,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PurposeWord {
    /// To identify the user behind a known point in time.
    Identify,
    /// A history: traffic data.
    History,
}

/// `bailiwick review`.
#[derive(Debug, Subcommand)]
pub enum ReviewVerb {
    /// Approve exactly this request and its frozen selection.
    Approve(ReviewOptions),
    /// Refuse it.
    Refuse {
        /// What all decisions need.
        #[command(flatten)]
        review: ReviewOptions,
        /// The refusal's code, such as `overbroad`; see docs/legal-process.md.
        #[arg(long)]
        code: String,
    },
}

/// What all decisions need.
#[derive(Clone, Debug, Args)]
pub struct ReviewOptions {
    /// The request.
    pub request: RequestId,
    /// The custody jurisdiction; the profile's when absent.
    #[arg(long)]
    pub jurisdiction: Option<Jurisdiction>,
    /// The reviewer's checklist; only its digest is signed and logged.
    #[arg(long, value_name = "FILE")]
    pub checklist: Option<PathBuf>,
    /// Sign without asking.
    #[arg(long)]
    pub yes: bool,
}

/// `bailiwick disclose`.
#[derive(Debug, Subcommand)]
pub enum DiscloseVerb {
    /// Collect the members' parts, open the records, and acknowledge.
    Open {
        /// The request.
        request: RequestId,
        /// The custody jurisdiction; the profile's when absent.
        #[arg(long)]
        jurisdiction: Option<Jurisdiction>,
        /// Write the records to a new file (NDJSON) that only its owner reads.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Wait at most so many seconds for the members.
        #[arg(long, default_value_t = 60)]
        wait_seconds: u64,
        /// Do not acknowledge the delivery.
        #[arg(long)]
        no_acknowledgement: bool,
    },
}

/// `bailiwick log`.
#[derive(Debug, Subcommand)]
pub enum LogVerb {
    /// Show the last leaves.
    Tail {
        /// The jurisdiction.
        code: Jurisdiction,
        /// How many.
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: u32,
    },
    /// Recompute the whole log, and verify checkpoint and cosignatures against the trust file.
    Verify {
        /// The jurisdiction.
        code: Jurisdiction,
    },
}

/// `bailiwick config`.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Parse a file with the types that use it, and name what is wrong.
    Check {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What it is; guessed from its keys when absent.
        #[arg(long, value_enum)]
        kind: Option<ConfigKind>,
    },
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfigKind {
    /// A vault node's configuration.
    Vault,
    /// An approver's configuration.
    Approver,
    /// An edge's configuration.
    Edge,
    /// A client profile.
    Profile,
    /// A trust file.
    Trust,
    /// A jurisdiction's policy.
    Policy,
}

/// `bailiwick dev`.
#[derive(Clone, Debug, Args)]
pub struct DevOptions {
    /// The cluster's folder; made when absent, else the cluster goes on with its data.
    #[arg(long, default_value = "./bailiwick-dev", value_name = "DIR")]
    pub data: PathBuf,
    /// The first port; the cluster uses this and the 59 after it, on loopback.
    #[arg(long, default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    pub port: u16,
}

/// `bailiwick demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoOptions {
    /// The cluster's folder, which is kept; a temporary one when absent.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Keep the temporary folder.
    #[arg(long)]
    pub keep: bool,
    /// The first port; the cluster uses this and the 59 after it, on loopback.
    #[arg(long, default_value_t = 7600, value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    pub port: u16,
    /// Records handed in.
    #[arg(long, default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(10_000..=1_000_000))]
    pub records: u32,
}

/// `bailiwick demo-liar`.
#[derive(Clone, Debug, Args)]
pub struct LiarOptions {
    /// The service's options.
    #[command(flatten)]
    pub service: ServiceOptions,
    /// The card of the recipient that the wrong values are sealed to.
    #[arg(long, value_name = "FILE")]
    pub recipient: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_documents_every_exit_code() {
        let help = Arguments::command().render_long_help().to_string();
        for code in [
            "0  done",
            "1  refused",
            "2  usage",
            "3  unreachable",
            "4  outcome unknown",
        ] {
            assert!(help.contains(code), "{code} is missing");
        }
    }
}
