//! The one binary `bailiwick`: arguments, output, progress, the development cluster and the
//! demonstration.
//!
//! A library, so that the story tests run exactly this program ([`main_with`]) without depending on
//! a binary that was built earlier. What services do is in `bailiwick-node`, what clients do in
//! `bailiwick-client`; here is only what people see of it.

pub mod args;
pub mod backup_args;
pub mod commands;
pub mod connect;
pub mod demo;
pub mod dev;
pub mod diagnosis;
pub mod failure;
pub mod keys;
pub mod output;
pub mod profile;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::cluster::{ClusterVerb, PlacementVerb};
use args::{Arguments, KeyVerb, OperatorVerb, Verb};
use commands::service;
use failure::{Failure, FailureKind};
use output::Output;
use profile::Profile;

/// Runs the program with these arguments, the first of which is its name.
pub fn main_with<I>(arguments: I) -> ExitCode
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let shown = error.print();
            let fine = shown.is_ok() && !error.use_stderr();
            return ExitCode::from(if fine { 0 } else { FailureKind::Usage as u8 });
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print_failure(&failure);
            failure.exit_code()
        }
    }
}

/// Runs a parsed command line.
///
/// # Errors
/// [`Failure`] in three lines, with its exit code.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let output = Output::new(arguments.global.output);
    match &arguments.verb {
        Verb::Vault(options) => service::vault(options),
        Verb::Approver { service, role } => service::approver(service, *role),
        Verb::Edge(options) => service::edge(options),
        Verb::DemoLiar(options) => demo::liar::run(options),
        Verb::Dev(options) => dev::run::run(options),
        Verb::Demo(options) => demo::run(options),
        Verb::Config(verb) => commands::config::run(verb, output),
        Verb::Operator(OperatorVerb::Diagnose(options)) => {
            service::run(commands::diagnose::diagnose(options, output))
        }
        Verb::Operator(OperatorVerb::Debug(options)) => {
            let named = arguments.global.profile.as_ref();
            let profile = named.map(|_| load_profile(arguments)).transpose()?;
            service::run(commands::diagnose::debug(profile.as_ref(), options, output))
        }
        Verb::Operator(OperatorVerb::Cluster(ClusterVerb::Placement(PlacementVerb::Check {
            data,
        }))) if !data.is_empty() => commands::cluster::placement::check_folders(data, output),
        Verb::Policy(verb) => commands::policy::run(verb, output),
        Verb::Completions { shell } => {
            print_completions(*shell);
            Ok(())
        }
        Verb::Key(KeyVerb::Generate {
            kind,
            out,
            name,
            certificate,
        }) => {
            let certificate = certificate.as_deref();
            commands::key::generate(*kind, out, name.as_ref(), certificate, output)
        }
        Verb::Key(KeyVerb::Audit { data }) => commands::key_rest::audit(data, output),
        Verb::Key(KeyVerb::Wrap {
            data,
            master,
            token,
            dry_run,
            yes,
        }) => commands::key_rest::wrap(data, (master, token), (*dry_run, *yes), output),
        Verb::Operator(OperatorVerb::Recover(arguments)) => {
            commands::recover::run(arguments, output)
        }
        verb => {
            if let Verb::Operator(OperatorVerb::Snapshot(verb)) = verb
                && let Some(done) = commands::snapshot::run_offline(verb, output)
            {
                return done;
            }
            let profile = load_profile(arguments)?;
            service::run(run_client(&profile, verb, output))
        }
    }
}

async fn run_client(profile: &Profile, verb: &Verb, output: Output) -> Result<(), Failure> {
    if let Verb::Record(verb) = verb {
        return commands::record::run(profile, verb, output).await;
    }
    let cluster = &connect::cluster(profile)?;
    match verb {
        Verb::Status { jurisdiction } => {
            commands::status::run(cluster, *jurisdiction, output).await
        }
        Verb::Operator(verb) => commands::operator::run(cluster, verb, output).await,
        Verb::Key(verb) => commands::key::run(cluster, profile, verb, output).await,
        Verb::Request(verb) => commands::request::run(cluster, profile, verb, output).await,
        Verb::Review(verb) => commands::review::run(cluster, profile, verb, output).await,
        Verb::Disclose(verb) => commands::disclose::run(cluster, profile, verb, output).await,
        Verb::Log(verb) => commands::log::run(cluster, profile, verb, output).await,
        _ => unreachable!("the other verbs need no profile and are run before"),
    }
}

fn load_profile(arguments: &Arguments) -> Result<Profile, Failure> {
    let path = arguments.global.profile.as_ref().ok_or_else(|| {
        Failure::usage(
            "no profile",
            "the command does not say who calls and where the cluster is",
            "give --profile FILE or set BAILIWICK_PROFILE; see config/profile-*.toml",
        )
    })?;
    Profile::load(path)
}

fn print_completions(shell: clap_complete::Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "bailiwick", &mut text);
    output::print(String::from_utf8_lossy(&text).trim_end());
}
