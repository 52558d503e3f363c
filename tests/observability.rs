//! What an operator watches: health codes of real services, and that documentation, alert rules and
//! dashboard speak of metrics that a real scrape has. `promtool` judges the rules and runs their own tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use bailiwick_cli::dev::stage::home;
use bailiwick_node::health::{HealthReport, ServiceKind, Standing};
use bailiwick_tests::http::{ask, get};
use bailiwick_tests::scrape::Scrape;
use bailiwick_tests::{PATIENCE, Running, blank_cluster, eventually, failed, inside, ip, window};

/// The kinds of services, as sections of docs/metrics.md.
const SECTIONS: [(ServiceKind, &str); 3] = [
    (ServiceKind::Vault, "## Vault node"),
    (ServiceKind::Approver, "## Approver"),
    (ServiceKind::Edge, "## Edge"),
];
/// The section of what all services have.
const EVERY: &str = "## Every service";
/// Prometheus adds these itself.
const OF_PROMETHEUS: [&str; 1] = ["up"];
/// Labels that may exist. Their values are numbers, jurisdictions, and words of the program.
const LABELS: [&str; 12] = [
    "answered",
    "group",
    "jurisdiction",
    "le",
    "member",
    "operation",
    "partition",
    "reason",
    "role",
    "service",
    "state",
    "status",
];

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_bailiwick-process")
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(project().join(path)).with_context(|| path.to_owned())
}

async fn health(port: u16, query: &str) -> anyhow::Result<(u16, HealthReport)> {
    let (status, body) = get(port, &format!("/v1/sys/health{query}")).await?;
    let report = serde_json::from_str(&body).with_context(|| format!("{status}: {body}"))?;
    Ok((status, report))
}

fn port(cluster: &Running, name: &str) -> anyhow::Result<u16> {
    let service = cluster.stage.layout.service_of(name);
    Ok(service.with_context(|| name.to_owned())?.health)
}

/// A blank cluster: vaults live and are not initialised, the others wait for them.
async fn before_the_ceremony(cluster: &Running) -> anyhow::Result<()> {
    let vault = port(cluster, "vault-1")?;
    ensure!(get(vault, "/livez").await?.0 == 200, "it lives");
    let (status, report) = health(vault, "").await?;
    ensure!(status == 501, "{status}: {report:?}");
    ensure!(report.standing == Standing::Uninitialised && !report.initialized);
    ensure!(health(vault, "?uninitcode=200").await?.0 == 200);
    let refused = get(vault, "/v1/sys/health?uninitcode=100").await?;
    ensure!(refused.0 == 400, "{refused:?}");
    let (status, report) = health(port(cluster, "workflow-1")?, "").await?;
    ensure!(status == 503 && !report.missing.is_empty(), "{report:?}");
    let (status, report) = health(port(cluster, "edge-1")?, "?sealedcode=418").await?;
    ensure!(
        status == 418 && report.standing == Standing::NotReady,
        "{report:?}"
    );
    let ready = get(port(cluster, "edge-1")?, "/readyz").await?;
    ensure!(ready.0 == 503 && !ready.1.trim().is_empty(), "{ready:?}");
    Ok(())
}

/// A cluster at work: four groups have at most four leaders among six vaults, so that some only follow.
async fn at_work(cluster: &Running) -> anyhow::Result<()> {
    let mut seen = BTreeMap::new();
    for service in cluster.stage.layout.services() {
        let (status, report) = health(service.health, "").await?;
        ensure!(report.name == service.name && report.version == env!("CARGO_PKG_VERSION"));
        ensure!(get(service.health, "/readyz").await?.0 == 200, "{report:?}");
        seen.insert(service.name.to_string(), (status, report.standing));
    }
    let leader = cluster.stage.leader().await.map_err(failed)?;
    ensure!(
        seen[&leader] == (200, Standing::Active),
        "{leader}: {seen:?}"
    );
    let standby = seen
        .iter()
        .find(|(_, seen)| **seen == (429, Standing::Standby));
    let (standby, _) = standby.with_context(|| format!("nobody follows only: {seen:?}"))?;
    let standby = port(cluster, standby)?;
    ensure!(health(standby, "?standbyok=true").await?.0 == 200);
    ensure!(health(standby, "?standbycode=473").await?.0 == 473);
    let head = ask("HEAD", standby, "/v1/sys/health").await?;
    ensure!(head == (429, String::new()), "{head:?}");
    Ok(())
}

/// Everything that gives metrics a value: records, and a request that both committees release.
async fn work(cluster: &Running) -> anyhow::Result<()> {
    let at = inside(window(), 3);
    cluster
        .put(vec![ip("watched", "FR", "192.0.2.9", 4000, &at)])
        .await?;
    let request = cluster.request("watched", "watch-1").await?.id;
    let people = ["anna", "ben", "chloe", "dora", "emil", "fay"];
    cluster.approve(request, &people).await?;
    ensure!(cluster.values(request).await?.len() == 1);
    Ok(())
}

/// One scrape of each kind of service, the vault being the leader of the French home group.
async fn scrapes(
    cluster: &Running,
) -> anyhow::Result<BTreeMap<&'static str, (ServiceKind, Scrape)>> {
    let leader = cluster.stage.leader().await.map_err(failed)?;
    let mut scrapes = BTreeMap::new();
    let places = [
        (ServiceKind::Vault, leader.as_str()),
        (ServiceKind::Approver, "workflow-1"),
        (ServiceKind::Edge, "edge-1"),
    ];
    for (kind, name) in places {
        let (status, text) = get(port(cluster, name)?, "/metrics").await?;
        ensure!(
            status == 200 && text.ends_with("# EOF\n"),
            "{name}: {status}"
        );
        scrapes.insert(kind.as_str(), (kind, Scrape::parse(&text)?));
    }
    Ok(scrapes)
}

/// Name and type of every metric in a section of docs/metrics.md.
fn documented(document: &str, section: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let (_, after) = document.split_once(section).context(section.to_owned())?;
    let section = after
        .split_once("\n## ")
        .map_or(after, |(section, _)| section);
    let mut metrics = BTreeMap::new();
    for line in section.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", name, kind, _, meaning, ""] = cells[..]
            && let Some(name) = name.strip_prefix('`')
        {
            ensure!(!meaning.is_empty(), "{name} has no meaning");
            metrics.insert(name.trim_end_matches('`').to_owned(), kind.to_owned());
        }
    }
    Ok(metrics)
}

/// What is scraped is documented, and what is documented is scraped, each with its type.
fn check_documentation(scrapes: &BTreeMap<&str, (ServiceKind, Scrape)>) -> anyhow::Result<()> {
    let document = text("docs/metrics.md")?;
    for (kind, section) in SECTIONS {
        let mut listed = documented(&document, section)?;
        listed.extend(documented(&document, EVERY)?);
        let (_, scrape) = &scrapes[kind.as_str()];
        let scraped = scrape.families.iter().map(|(name, of)| match of.as_str() {
            "counter" => (format!("{name}_total"), of.clone()),
            _ => (name.clone(), of.clone()),
        });
        let scraped: BTreeMap<String, String> = scraped.collect();
        let names = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<BTreeSet<_>>();
        let (listed_names, scraped_names) = (names(&listed), names(&scraped));
        let missing: Vec<_> = scraped_names.difference(&listed_names).collect();
        ensure!(missing.is_empty(), "{section}: not documented: {missing:?}");
        let gone: Vec<_> = listed_names.difference(&scraped_names).collect();
        ensure!(
            gone.is_empty(),
            "{section}: documented, not scraped: {gone:?}"
        );
        ensure!(listed == scraped, "{section}: another type");
    }
    Ok(())
}

/// The rules of Prometheus for names, and the project's for labels.
fn check_names(scrape: &Scrape) -> anyhow::Result<()> {
    for (name, kind) in &scrape.families {
        let fine = |c: char| c.is_ascii_lowercase() || c == '_';
        ensure!(name.chars().all(fine), "{name}");
        let prefixed = name.starts_with("bailiwick_") || name.starts_with("process_");
        ensure!(prefixed, "{name} has no prefix of ours");
        ensure!(!name.ends_with("_total"), "{name}: {kind}");
        let parts: Vec<&str> = name.split('_').collect();
        for unit in [
            "ms",
            "us",
            "milliseconds",
            "microseconds",
            "kilobytes",
            "days",
        ] {
            ensure!(!parts.contains(&unit), "{name} is in no base unit");
        }
        ensure!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
    }
    let known: BTreeSet<&str> = LABELS.into_iter().collect();
    for (name, labels, _) in &scrape.samples {
        for (label, value) in labels {
            ensure!(
                known.contains(label.as_str()) || label == "version",
                "{name}: {label}"
            );
            let word = |c: char| c.is_ascii_lowercase() || c == '-';
            let fine = match label.as_str() {
                "group" | "partition" | "member" => value.parse::<u64>().is_ok(),
                "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                "jurisdiction" => value == "directory" || value.len() == 2,
                "version" => value == env!("CARGO_PKG_VERSION"),
                _ => value.chars().all(word),
            };
            ensure!(fine, "{name}: {label}={value}");
        }
    }
    Ok(())
}

/// The words of a text that look like names of metrics.
fn words(text: &str) -> BTreeSet<String> {
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let words = text.split(part);
    let named = words.filter(|word| {
        word.starts_with("bailiwick_")
            || word.starts_with("bailiwick:")
            || word.starts_with("process_")
            || OF_PROMETHEUS.contains(word)
    });
    named.map(str::to_owned).collect()
}

/// The lines of the rules that have this key, without it.
fn keyed<'a>(rules: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = rules
        .lines()
        .map(|line| line.trim().trim_start_matches("- "));
    lines.filter_map(move |line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// All expressions of the dashboard.
fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, inner) in map {
                match inner {
                    serde_json::Value::String(text) if key == "expr" || key == "query" => {
                        found.push(text.clone());
                    }
                    inner => expressions(inner, found),
                }
            }
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| expressions(value, found))
        }
        _ => {}
    }
}

/// Every metric that rules and dashboard name has a sample in the scrapes, or is recorded by the rules.
fn check_uses(scrapes: &BTreeMap<&str, (ServiceKind, Scrape)>) -> anyhow::Result<()> {
    let rules = text("deploy/prometheus/bailiwick.rules.yml")?;
    let mut known: BTreeSet<String> = keyed(&rules, "record").map(str::to_owned).collect();
    for (_, scrape) in scrapes.values() {
        known.extend(scrape.names().into_iter().map(str::to_owned));
    }
    known.extend(OF_PROMETHEUS.map(str::to_owned));
    let named = words(&keyed(&rules, "expr").collect::<Vec<_>>().join(" "));
    ensure!(named.len() > 20, "the rules name metrics: {named:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    ensure!(unknown.is_empty(), "the rules name {unknown:?}");
    let dashboard = serde_json::from_str(&text("deploy/grafana/bailiwick.json")?)?;
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let named = words(&found.join(" "));
    ensure!(named.len() > 20, "the dashboard names metrics: {named:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    ensure!(unknown.is_empty(), "the dashboard names {unknown:?}");
    Ok(())
}

/// What was done is seen in the figures.
fn check_figures(scrapes: &BTreeMap<&str, (ServiceKind, Scrape)>) -> anyhow::Result<()> {
    let french = [("jurisdiction", "FR")];
    let (_, vault) = &scrapes["vault"];
    let at_least = |scrape: &Scrape, name: &str, labels: &[(&str, &str)], least: f64| {
        let value = scrape.value(name, labels);
        ensure!(
            value.is_some_and(|value| value >= least),
            "{name} is {value:?}"
        );
        Ok(())
    };
    at_least(vault, "bailiwick_group_leading", &french, 1.0)?;
    at_least(vault, "bailiwick_group_commit_seconds_count", &french, 5.0)?;
    at_least(vault, "bailiwick_group_apply_seconds_count", &french, 5.0)?;
    at_least(vault, "bailiwick_wal_fsync_seconds_count", &[], 5.0)?;
    at_least(vault, "bailiwick_jurisdiction_store_bytes", &french, 1.0)?;
    at_least(vault, "bailiwick_group_records", &french, 1.0)?;
    at_least(vault, "bailiwick_key_periods_ahead", &french, 3.0)?;
    at_least(vault, "bailiwick_attending_approvers", &french, 3.0)?;
    at_least(vault, "bailiwick_committee_threshold", &french, 2.0)?;
    let contact = vault.value("bailiwick_group_last_contact_seconds", &french);
    ensure!(contact.is_some_and(|seconds| seconds < 2.0), "{contact:?}");
    let violations = vault.value("bailiwick_placement_violations", &[]);
    ensure!(violations == Some(0.0), "{violations:?}");
    let now = bailiwick_client::now().seconds() as f64;
    let end = "bailiwick_tls_certificate_expiry_timestamp_seconds";
    at_least(vault, end, &[], now + 86_400.0)?;
    let (_, edge) = &scrapes["edge"];
    at_least(
        edge,
        "bailiwick_edge_records_total",
        &[("status", "stored")],
        1.0,
    )?;
    at_least(edge, "bailiwick_edge_put_seconds_count", &[], 1.0)?;
    let (_, approver) = &scrapes["approver"];
    at_least(approver, "bailiwick_approver_followed_leaves", &french, 5.0)?;
    at_least(approver, "bailiwick_approver_cosigned_total", &[], 1.0)?;
    at_least(
        approver,
        "bailiwick_approver_records_released_total",
        &[],
        1.0,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_watches_is_true_of_a_real_cluster() -> anyhow::Result<()> {
    let mut cluster = blank_cluster(binary()).await?;
    eventually("the directory's leader", PATIENCE, async || {
        let ready = get(port(&cluster, "vault-1")?, "/readyz").await?;
        Ok((ready.0 == 200).then_some(()))
    })
    .await?;
    before_the_ceremony(&cluster).await?;
    cluster.stage.set_up(|_| {}).await.map_err(failed)?;
    at_work(&cluster).await?;
    work(&cluster).await?;
    ensure!(home().as_str() == "FR", "the stage's home");
    let scrapes = scrapes(&cluster).await?;
    check_documentation(&scrapes)?;
    for (_, scrape) in scrapes.values() {
        check_names(scrape)?;
    }
    check_uses(&scrapes)?;
    check_figures(&scrapes)
}

/// Every alert has its runbook, a severity, and a test in which it fires and one in which it does not.
#[test]
fn every_alert_has_a_runbook_and_tests() -> anyhow::Result<()> {
    let rules = text("deploy/prometheus/bailiwick.rules.yml")?;
    let alerts: Vec<&str> = keyed(&rules, "alert").collect();
    ensure!(alerts.len() >= 20, "{alerts:?}");
    let runbooks: BTreeSet<&str> = keyed(&rules, "runbook_url").collect();
    let document = text("docs/runbooks.md")?;
    let sections: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("## alert-"))
        .collect();
    let tests = text("deploy/prometheus/bailiwick.test.yml")?;
    let tested: Vec<&str> = keyed(&tests, "alertname").collect();
    for alert in &alerts {
        let runbook = format!("docs/runbooks.md#alert-{alert}");
        ensure!(
            runbooks.contains(runbook.as_str()),
            "{alert} links no runbook"
        );
        ensure!(sections.contains(alert), "docs/runbooks.md lacks {alert}");
        let cases = tested.iter().filter(|tested| *tested == alert).count();
        ensure!(cases >= 2, "{alert} has {cases} tests");
    }
    let severities = keyed(&rules, "labels");
    let severe =
        severities.filter(|labels| ["{severity: page}", "{severity: ticket}"].contains(labels));
    ensure!(severe.count() == alerts.len(), "each alert has a severity");
    let stale: Vec<_> = sections
        .iter()
        .filter(|name| !alerts.contains(name))
        .collect();
    ensure!(stale.is_empty(), "runbooks of no alert: {stale:?}");
    Ok(())
}

/// Where `promtool` is: on the path, or where `.ci/tools` unpacks it.
fn promtool() -> anyhow::Result<PathBuf> {
    let unpacked = project().join("target/tools/prometheus/usr/bin/promtool");
    for place in [PathBuf::from("promtool"), unpacked] {
        let tried = Command::new(&place).arg("--version").output();
        if tried.is_ok_and(|tried| tried.status.success()) {
            return Ok(place);
        }
    }
    anyhow::bail!(
        "promtool is missing: `bash .ci/tools` unpacks Debian's package prometheus into target/tools"
    )
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() -> anyhow::Result<()> {
    let promtool = promtool()?;
    let folder = project().join("deploy/prometheus");
    for arguments in [
        ["check", "rules", "bailiwick.rules.yml"],
        ["test", "rules", "bailiwick.test.yml"],
        ["check", "config", "prometheus.yml"],
    ] {
        let ran = Command::new(&promtool)
            .args(arguments)
            .current_dir(&folder)
            .output()?;
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        ensure!(
            ran.status.success(),
            "promtool {}: {said}",
            arguments.join(" ")
        );
    }
    Ok(())
}

/// The types of label values that can be made of text.
const TEXTUAL: [&str; 6] = ["String", "&str", "Cow", "Box<str>", "Arc<str>", "Name"];

/// Labels are types: no label set of the services has a field that is made of text.
#[test]
fn no_label_can_carry_text() -> anyhow::Result<()> {
    let mut sets = 0;
    let mut folders = vec![project().join("crates/node/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path)?;
            for set in source.split("EncodeLabelSet)]").skip(1) {
                let fields = set.split_once('}').map_or(set, |(fields, _)| fields);
                let textual = TEXTUAL.iter().find(|word| fields.contains(*word));
                ensure!(
                    textual.is_none(),
                    "{}: a label of {textual:?}",
                    path.display()
                );
                sets += 1;
            }
        }
    }
    ensure!(sets >= 8, "{sets} label sets were looked at");
    Ok(())
}
