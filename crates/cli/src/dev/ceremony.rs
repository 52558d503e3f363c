//! Sets a development cluster up once its processes run: initialise, jurisdictions, enrolments, key
//! certificates; and waits until every service says that it is ready.
//!
//! Every step looks first whether it was done, so that an interrupted ceremony is gone on with.

use std::time::Duration;

use anyhow::Context;
use bailiwick_api::cluster::Enrolment;
use bailiwick_client::Cluster;
use bailiwick_client::operator::Operator;
use bailiwick_envelope::IdentityKey;
use bailiwick_types::{Jurisdiction, ShardId, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::layout::{EDGE, INTAKE, JURISDICTIONS, Layout, OPERATOR, name};
use crate::commands::key::{certify, plan};
use crate::commands::operator::{NodesFile, command_key, read_policy, recipient};
use crate::connect::{cluster, of_call};
use crate::failure::Failure;
use crate::profile::Profile;

/// Days that a certificate of a development cluster covers.
const DAYS: u16 = 7;
/// Days from a period's end until its keys are destroyed.
const KEEP_DAYS: u16 = 30;
/// How long the members may take to certify.
const CERTIFY: Duration = Duration::from_secs(60);
/// How long services may take to become ready.
const READY: Duration = Duration::from_secs(60);
/// How often a service is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Seconds of a day.
const DAY: u64 = 86_400;

/// Sets the cluster up, as far as it is not; `tell` gets a line per step. A cluster whose ceremony
/// was finished before only gets keys for the present day, when no certificate covers it.
///
/// # Errors
/// [`Failure`] of the first step that fails.
pub async fn hold(layout: &Layout, mut tell: impl FnMut(String)) -> Result<(), Failure> {
    let profile = Profile::load(&layout.profile(OPERATOR))?;
    let cluster = cluster(&profile)?;
    let operator = Operator::new(cluster.clone());
    if layout.ceremony_mark().exists() {
        tell("the cluster goes on with its data".to_owned());
    } else {
        initialise(layout, &cluster, &operator).await?;
        tell("cluster initialised with 6 vault nodes".to_owned());
        for (code, region, _) in JURISDICTIONS {
            create(layout, &cluster, &operator, code, region).await?;
            enrol(layout, &operator, parse(code)).await?;
        }
        tell(
            "jurisdictions FR, DE (region eu) and US (region us) created; edge, intake and \
             recipient enrolled"
                .to_owned(),
        );
    }
    let now = bailiwick_client::now();
    let (first, second, third) = tokio::join!(
        certify_one(&profile, &operator, parse(JURISDICTIONS[0].0), now),
        certify_one(&profile, &operator, parse(JURISDICTIONS[1].0), now),
        certify_one(&profile, &operator, parse(JURISDICTIONS[2].0), now),
    );
    if first? | second? | third? {
        tell(format!(
            "key certificates of {DAYS} daily periods signed by all members of both committees"
        ));
    }
    Ok(())
}

fn parse(code: &str) -> Jurisdiction {
    code.parse().expect("codes of the layout are assigned")
}

async fn initialise(
    layout: &Layout,
    cluster: &Cluster,
    operator: &Operator,
) -> Result<(), Failure> {
    let what = "the cluster was not initialised";
    let described = cluster
        .describe()
        .await
        .map_err(|error| of_call(what, &error))?;
    if described.cluster.is_some() {
        return Ok(());
    }
    let nodes = NodesFile::load(&layout.root().join("nodes.toml"))?.nodes;
    match operator.initialise(nodes).await {
        Ok(_) => Ok(()),
        // A lost answer: somebody says now what became of it.
        Err(error) => match cluster.describe().await {
            Ok(described) if described.cluster.is_some() => Ok(()),
            _ => Err(of_call(what, &error)),
        },
    }
}

async fn create(
    layout: &Layout,
    cluster: &Cluster,
    operator: &Operator,
    code: &str,
    region: &str,
) -> Result<(), Failure> {
    let what = format!("{code} was not created");
    let jurisdiction = parse(code);
    let described = cluster
        .describe()
        .await
        .map_err(|error| of_call(&what, &error))?;
    if described.group(ShardId::home(jurisdiction)).is_some() {
        return Ok(());
    }
    let policy = read_policy(&layout.policy(code), jurisdiction)?;
    let regions = vec![name(region)];
    let created = operator
        .create_jurisdiction(jurisdiction, regions, 3, policy.digest())
        .await;
    created.map_err(|error| of_call(&what, &error))
}

/// Enrolling somebody again changes nothing.
async fn enrol(layout: &Layout, operator: &Operator, code: Jurisdiction) -> Result<(), Failure> {
    let key = bailiwick_node::files::read_signing_key(&layout.key(EDGE))
        .map_err(|error| Failure::file(&layout.key(EDGE), &error))?;
    let everybody = [
        Enrolment::Edge {
            name: name(EDGE),
            key: IdentityKey::of(&key),
        },
        Enrolment::Intake { name: name(INTAKE) },
        recipient(&layout.recipient_card())?,
    ];
    let what = format!("somebody was not enrolled in {code}");
    for who in everybody {
        operator
            .enrol(code, who)
            .await
            .map_err(|error| of_call(&what, &error))?;
    }
    let policy = read_policy(&layout.policy(code.as_str()), code)?;
    let set = operator
        .change_policy(code, policy.digest(), policy.version())
        .await;
    set.map_err(|error| of_call(format!("the policy of {code} was not set"), &error))
}

/// Certifies a week of days, unless a certificate covers this day already;
/// returns whether it did.
async fn certify_one(
    profile: &Profile,
    operator: &Operator,
    code: Jurisdiction,
    now: Timestamp,
) -> Result<bool, Failure> {
    let shown = operator.certificates(code).await;
    let what = format!("the certificates of {code} were not read");
    let shown = shown.map_err(|error| of_call(what, &error))?;
    let covers = shown.valid.iter().any(|logged| {
        let periods = &logged.certificate.body.periods;
        periods
            .iter()
            .any(|period| period.not_before <= now && now < period.not_after)
    });
    if covers {
        return Ok(false);
    }
    let today = Timestamp::from_seconds(now.seconds() - now.seconds() % DAY);
    let plan = plan(
        &profile.trust_of(code)?,
        today,
        DAYS,
        KEEP_DAYS,
        command_key()?,
    )?;
    certify(operator, &plan, CERTIFY, |_| {})
        .await
        .map(|_| true)
}

/// Waits until a service's health port answers at a path with 200.
///
/// # Errors
/// What the service says is missing, or that it does not answer.
pub async fn wait_ready(name: &str, port: u16, path: &str) -> Result<(), Failure> {
    let until = Instant::now() + READY;
    loop {
        let last = match probe(port, path).await {
            Ok((200, _)) => return Ok(()),
            Ok((status, body)) => format!("{status}: {}", body.trim().replace('\n', "; ")),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= until {
            return Err(Failure::refused(
                format!("{name} is not ready"),
                format!("its health port {port} says {last}"),
                format!("look at its log, logs/{name}.log"),
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// One HTTP/1.0 request to a loopback health port: plain HTTP, a short answer.
async fn probe(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .split_whitespace()
        .nth(1)
        .context("no status line")?
        .parse()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
