//! `bailiwick vault`, `approver` and `edge`: run a service until it is told to stop.
//!
//! SIGTERM, SIGINT, and with `--exit-with-parent` the end of standard input, stop it in order.
//! Standard input is the one thing that says without a system call of one's own that the parent is
//! gone: see `dev::supervise`.

use std::future::Future;
use std::io::Read;

use bailiwick_node::approver::ApproverOptions;
use bailiwick_node::config::{ApproverConfig, EdgeConfig, VaultConfig};
use bailiwick_types::Role;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args::ServiceOptions;
use crate::failure::{Failure, chain};

/// Runs a vault node.
///
/// # Errors
/// [`Failure`] when its configuration or the node itself fails.
pub fn vault(options: &ServiceOptions) -> Result<(), Failure> {
    let config = VaultConfig::load(&options.config).map_err(|error| invalid(options, &error))?;
    let stop = options.exit_with_parent;
    run(async move {
        failed(
            "vault",
            bailiwick_node::vault::run(config, stopper(stop)).await,
        )
    })
}

/// Runs an approver.
///
/// # Errors
/// [`Failure`] when its configuration or the approver itself fails, or `--role` contradicts it.
pub fn approver(options: &ServiceOptions, role: Option<Role>) -> Result<(), Failure> {
    let config = ApproverConfig::load(&options.config).map_err(|error| invalid(options, &error))?;
    if let Some(role) = role.filter(|role| *role != config.role) {
        return Err(Failure::usage(
            format!("this is no {role} approver"),
            format!(
                "{} is the configuration of a {} one",
                options.config.display(),
                config.role
            ),
            "name the other file, or leave --role out",
        ));
    }
    let stop = options.exit_with_parent;
    run(async move {
        let options = ApproverOptions::default();
        let stop = stopper(stop);
        failed(
            "approver",
            bailiwick_node::approver::run(config, options, stop).await,
        )
    })
}

/// Runs an edge.
///
/// # Errors
/// [`Failure`] when its configuration or the edge itself fails.
pub fn edge(options: &ServiceOptions) -> Result<(), Failure> {
    let config = EdgeConfig::load(&options.config).map_err(|error| invalid(options, &error))?;
    let stop = options.exit_with_parent;
    run(async move {
        failed(
            "edge",
            bailiwick_node::edge::run(config, stopper(stop)).await,
        )
    })
}

/// Runs a future to its end on a runtime of its own.
///
/// # Errors
/// The future's, or the system's when it gives no runtime.
pub fn run<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::anyhow!("start the runtime: {error}"))?;
    runtime.block_on(future)
}

/// A token that is cancelled when the service is told to stop.
pub fn stopper(exit_with_parent: bool) -> CancellationToken {
    let token = CancellationToken::new();
    let told = token.clone();
    tokio::spawn(async move {
        told_to_stop(exit_with_parent).await;
        told.cancel();
    });
    token
}

/// Ends when the service is told to stop.
pub async fn told_to_stop(exit_with_parent: bool) {
    let parent = async {
        if exit_with_parent {
            parent_ended().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let signals = async {
        let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            tracing::error!("cannot listen for signals; only SIGKILL will end this process");
            return std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        () = parent => tracing::info!("the parent process has ended, stopping"),
        () = signals => tracing::info!("told to stop"),
    }
}

/// A thread of its own waits: a read that blocks must not keep the runtime from ending.
async fn parent_ended() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut input = std::io::stdin().lock();
        while matches!(input.read(&mut buffer), Ok(read) if read > 0) {}
        let _ = sender.send(());
    });
    let _ = receiver.await;
}

/// The failure of a configuration.
pub fn invalid(options: &ServiceOptions, error: &dyn std::error::Error) -> Failure {
    Failure::usage(
        format!("cannot run with {}", options.config.display()),
        chain(error),
        "correct the named key or file; `bailiwick config check` checks it without running",
    )
}

/// The failure of a service.
///
/// # Errors
/// The service's own, in three lines.
pub fn failed<E: Into<anyhow::Error>>(what: &str, result: Result<(), E>) -> Result<(), Failure> {
    result.map_err(|error| {
        let error: anyhow::Error = error.into();
        Failure::refused(
            format!("the {what} has stopped"),
            format!("{error:#}"),
            "look at the log lines before this one; docs/operations.md lists the causes",
        )
    })
}
