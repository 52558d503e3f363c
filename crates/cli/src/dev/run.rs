//! `bailiwick dev`: make or reopen the folder, start all processes, set up, say how to use it, and
//! end everything with this process.

use std::path::Path;
use std::time::Duration;

use super::ceremony::{hold, wait_ready};
use super::create::create;
use super::layout::{INTAKE, JURISDICTIONS, Layout, OPERATOR, RECIPIENT};
use super::supervise::Fleet;
use crate::args::DevOptions;
use crate::commands::service;
use crate::failure::Failure;
use crate::output;

/// How often children are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Runs the verb until it is told to stop.
///
/// # Errors
/// [`Failure`] when a port is taken, or a process or step fails.
pub fn run(options: &DevOptions) -> Result<(), Failure> {
    let layout = prepare(&options.data, options.port)?;
    let mut fleet = Fleet::new(&layout.logs())?;
    let ended = service::run(serve(&layout, &mut fleet));
    output::note("stopping");
    for name in fleet.stop_all() {
        output::note(&format!("{name} did not stop in time and was killed"));
    }
    ended
}

/// Opens or makes the folder, and checks that its ports are free.
///
/// # Errors
/// [`Failure`] (usage) names the folder or port.
pub fn prepare(data: &Path, port: u16) -> Result<Layout, Failure> {
    let now = bailiwick_client::now();
    if let Some(layout) = Layout::open(data, now)? {
        layout.ports().check_free()?;
        if layout.ports().base() != port {
            let base = layout.ports().base();
            output::note(&format!("{} keeps its first port {base}", data.display()));
        }
        return Ok(layout);
    }
    super::ports::Ports::from_base(port).check_free()?;
    Ok(create(data, port, now)?)
}

async fn serve(layout: &Layout, fleet: &mut Fleet) -> Result<(), Failure> {
    let up = async {
        start(layout, fleet, &[]).await?;
        set_up(layout, |line| output::note(&line)).await
    };
    tokio::select! {
        done = up => done?,
        () = service::told_to_stop(false) => return Ok(()),
    }
    output::print(&usage(layout));
    watch(fleet).await;
    Ok(())
}

/// Starts every service that is not named in `except`, and waits until each one lives.
///
/// # Errors
/// [`Failure`] names the service and its log.
pub async fn start(layout: &Layout, fleet: &mut Fleet, except: &[&str]) -> Result<(), Failure> {
    let services: Vec<_> = layout
        .services()
        .into_iter()
        .filter(|service| !except.contains(&service.name.as_str()))
        .collect();
    for service in &services {
        fleet.start(service.name.as_str(), &service.arguments())?;
    }
    for service in services.iter().filter(|service| service.verb == "vault") {
        tokio::select! {
            lives = wait_ready(service.name.as_str(), service.health, "/livez") => lives?,
            failure = first_end(fleet) => return Err(failure),
        }
    }
    Ok(())
}

/// Ends with the first child that ends by itself.
async fn first_end(fleet: &mut Fleet) -> Failure {
    loop {
        if let Some((name, status)) = fleet.ended().into_iter().next() {
            return Failure::refused(
                format!("{name} has ended"),
                format!(
                    "{status}; its last words are in {}",
                    fleet.log_of(&name).display()
                ),
                "read that log; a taken port or a full disk is the usual cause",
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Sets the cluster up as far as it is not, and waits until every service is ready.
///
/// # Errors
/// [`Failure`] of the first step that fails.
pub async fn set_up(layout: &Layout, mut tell: impl FnMut(String)) -> Result<(), Failure> {
    hold(layout, &mut tell).await?;
    for service in layout.services() {
        wait_ready(service.name.as_str(), service.health, "/readyz").await?;
    }
    let mark = layout.ceremony_mark();
    std::fs::write(&mark, "").map_err(|error| Failure::file(&mark, &error))?;
    tell("all services are ready".to_owned());
    Ok(())
}

async fn watch(fleet: &mut Fleet) {
    let children = async {
        loop {
            for (name, status) in fleet.ended() {
                let log = fleet.log_of(&name);
                output::note(&format!(
                    "{name} has ended ({status}); see {}",
                    log.display()
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = children => {}
        () = service::told_to_stop(false) => {}
    }
}

/// What the three kinds of user can do now, as commands that run as they stand.
fn usage(layout: &Layout) -> String {
    let root = layout.root().display();
    let program =
        std::env::current_exe().map_or("bailiwick".to_owned(), |path| path.display().to_string());
    let edge = layout.ports().edge();
    let (code, _, authority) = JURISDICTIONS[0];
    let now = bailiwick_client::now();
    // In the past, as an order's window must be; the records of the example lie in it.
    let ago = |seconds| {
        bailiwick_types::Timestamp::from_seconds(now.minus(Duration::from_secs(seconds)).seconds())
    };
    let (from, seen, to) = (ago(86_400), ago(600), ago(300));
    format!(
        r#"
A cluster for development is up in {root}. Ctrl-C ends it; its data stays.

A backend service hands in records over HTTPS:
  curl --cacert {root}/tls/authority.pem --cert {root}/tls/backend-1.pem --key {root}/tls/backend-1.key \
    -H 'content-type: application/json' https://127.0.0.1:{edge}/v1/record \
    -d '{{"account":"alice","residence":"{code}","ip":{{"address":"192.0.2.7","port":40001,"transport":"tcp","event":"login","seen_at":"{seen}"}}}}'
  {program} --profile {root}/profiles/backend-1.toml record put --account alice --residence {code} --phone +33612345678 --at {seen}

The disclosure workflow enters a request; persons of both committees decide; the desk opens:
  {program} --profile {root}/profiles/{INTAKE}.toml request new --subject alice --kind ip --kind phone --purpose history \
    --from {from} --to {to} --legal-basis 'an example' --authority {authority} --reference case-1 \
    --recipient {root}/keys/{RECIPIENT}.card.toml
  {program} --profile {root}/profiles/anna.toml review approve REQUEST       # and ben; of legal review dora and emil
  {program} --profile {root}/profiles/{RECIPIENT}.toml disclose open REQUEST
  {program} --profile {root}/profiles/auditor-1.toml log verify {code}

An operator looks and acts:
  {program} --profile {root}/profiles/{OPERATOR}.toml status
  {program} --profile {root}/profiles/{OPERATOR}.toml key show {code}
  {program} --profile {root}/profiles/{OPERATOR}.toml operator freeze {code} --reason 'a drill'
"#
    )
}
