//! The processes of the benches' cluster: a bench binary that is asked to serve is one service,
//! as the program `bailiwick` would be, so that the nodes share no allocator, runtime or cache.
//!
//! ```text
//! <bench binary> serve vault|approver|edge <configuration file>
//! ```
//! It differs from `bailiwick vault` in one way: of a development cluster's six nodes and three
//! jurisdictions only the first three nodes and the first jurisdiction take part.

use std::path::Path;
use std::process::ExitCode;

use bailiwick_cli::commands::service::{failed, run, stopper};
use bailiwick_cli::dev::layout::JURISDICTIONS;
use bailiwick_cli::failure::Failure;
use bailiwick_node::approver::ApproverOptions;
use bailiwick_node::config::{ApproverConfig, EdgeConfig, VaultConfig};

/// Nodes that take part: the first of the layout, which stand in one region.
pub const NODES: usize = 3;
/// The word that asks a bench binary to serve.
pub const SERVE: &str = "serve";
/// Blocks that the edge may have under way at once.
pub const EDGE_LANES: u8 = 4;

/// Serves, when the process was started for that; then a bench's `main` is over.
pub fn serve_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != SERVE {
        return None;
    }
    let (verb, path) = (arguments.next()?, arguments.next()?);
    Some(match serve(&verb, Path::new(&path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            bailiwick_cli::output::print_failure(&failure);
            ExitCode::FAILURE
        }
    })
}

fn serve(verb: &str, path: &Path) -> Result<(), Failure> {
    let unfit = |error: &dyn std::error::Error| Failure::file(path, error);
    match verb {
        "vault" => {
            let mut config = VaultConfig::load(path).map_err(|error| unfit(&error))?;
            config.seeds.truncate(NODES);
            run(async {
                failed(
                    "vault",
                    Box::pin(bailiwick_node::vault::run(config, stopper(true))).await,
                )
            })
        }
        "approver" => {
            let mut config = ApproverConfig::load(path).map_err(|error| unfit(&error))?;
            config.seeds.truncate(NODES);
            config.jurisdictions.truncate(1);
            let options = ApproverOptions::default();
            run(async {
                let served = bailiwick_node::approver::run(config, options, stopper(true));
                failed("approver", Box::pin(served).await)
            })
        }
        _ => {
            let mut config = EdgeConfig::load(path).map_err(|error| unfit(&error))?;
            config.seeds.truncate(NODES);
            config
                .pseudonym_keys
                .retain(|code, _| code == JURISDICTIONS[0].0);
            config.lanes = EDGE_LANES;
            run(async {
                failed(
                    "edge",
                    Box::pin(bailiwick_node::edge::run(config, stopper(true))).await,
                )
            })
        }
    }
}
