//! `bailiwick demo`: the main job, end to end, on real processes, as a timeline of steps of which each
//! is asserted. Any deviation ends it with what was expected and what was seen.
//!
//! The cluster is `dev::stage`'s; here are its `people` and their records, the steps of the `story`,
//! and the `timeline` that is printed.

pub mod liar;
mod people;
mod story;
mod timeline;

use crate::args::DemoOptions;
use crate::commands::service;
use crate::dev::stage::Stage;
use crate::failure::Failure;
use timeline::Timeline;

/// Runs the verb.
///
/// # Errors
/// [`Failure`] when the cluster cannot be set up, or a step does not go as it must.
pub fn run(options: &DemoOptions) -> Result<(), Failure> {
    let mut timeline = Timeline::start();
    let binary =
        std::env::current_exe().map_err(|error| anyhow::anyhow!("find this binary: {error}"))?;
    let mut stage = Stage::build(options.data.clone(), options.port, options.keep, binary)?;
    let told = service::run(async {
        tokio::select! {
            told = story::tell(&mut stage, &mut timeline, options.records) => told,
            () = service::told_to_stop(false) => Err(Failure::refused(
                "the demonstration was interrupted",
                "a signal told it to stop",
                "run it again",
            )),
        }
    });
    stage.end();
    told?;
    timeline.end(stage.kept());
    Ok(())
}
