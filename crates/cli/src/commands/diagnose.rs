//! `bailiwick operator diagnose` and `bailiwick operator debug`: what is wrong with a service on its own
//! machine, and a bundle to hand on.

use std::path::Path;

use crate::args::{DebugOptions, DiagnoseOptions};
use crate::connect;
use crate::diagnosis::bundle::Bundle;
use crate::diagnosis::service::ServiceFile;
use crate::diagnosis::{Finding, Level, of_service, print, worst};
use crate::failure::Failure;
use crate::output::Output;
use crate::profile::Profile;

/// Loads a service's configuration.
///
/// # Errors
/// [`Failure`] (usage) names file, key and reason.
pub fn load(path: &Path) -> Result<ServiceFile, Failure> {
    ServiceFile::load(path).map_err(|reason| {
        Failure::usage(
            format!("{} is no service's configuration", path.display()),
            reason,
            "correct the named key; config/ has a commented sample of each kind",
        )
    })
}

/// The failure of a diagnosis with a `FAIL` in it.
///
/// # Errors
/// [`Failure`] (refused) counts them.
pub fn judge(what: &str, findings: &[Finding]) -> Result<(), Failure> {
    let failed = findings
        .iter()
        .filter(|finding| finding.level == Level::Fail);
    match worst(findings) {
        Level::Fail => Err(Failure::refused(
            format!("{what} does not work like this"),
            format!("{} checks failed, see the lines above", failed.count()),
            "do what the last column says, from the top",
        )),
        Level::Ok | Level::Warn => Ok(()),
    }
}

/// Diagnoses a service.
///
/// # Errors
/// [`Failure`] when the configuration does not load, or a check fails.
pub async fn diagnose(options: &DiagnoseOptions, output: Output) -> Result<(), Failure> {
    let service = load(&options.config)?;
    let findings = of_service(&service).await;
    print(&findings, output);
    judge(
        &format!("{} {}", service.kind().as_str(), service.name()),
        &findings,
    )
}

/// Writes a bundle.
///
/// # Errors
/// [`Failure`] when a configuration or log does not load, or the bundle cannot be written.
pub async fn debug(
    profile: Option<&Profile>,
    options: &DebugOptions,
    output: Output,
) -> Result<(), Failure> {
    let services: Result<Vec<_>, _> = options.configs.iter().map(|path| load(path)).collect();
    let services = services?;
    let mut bundle = Bundle::create(&options.out, &services)?;
    for service in &services {
        bundle.add_service(service).await?;
    }
    for log in &options.logs {
        bundle.add_log(log)?;
    }
    if let Some(profile) = profile {
        bundle.add_cluster(&connect::cluster(profile)?).await?;
    }
    let headings = ["file", "bytes"];
    output.list(headings, bundle.entries(), |entry| {
        [entry.file.clone(), entry.bytes.to_string()]
    });
    output.say(&format!(
        "{} is ready; read it before you hand it on",
        options.out.display()
    ));
    Ok(())
}
