//! The manifests: rendered by kustomize, checked against the schemas of Kubernetes, and against what each component
//! must have. Every configuration in them is read with the type that uses it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use bailiwick_node::config::{ApproverConfig, EdgeConfig, TlsSection, VaultConfig};
use bailiwick_types::{Identity, PeerRole};
use serde_json::Value;

use super::{TOOLS, run, shipped, told, tool, yaml};

/// What is applied as a whole: the provider's part, and each committee's.
const ROOTS: [&str; 3] = ["cluster", "committees/workflow", "committees/legal-review"];
/// A rendered root.
struct Rendered {
    folder: tempfile::TempDir,
    resources: Vec<Value>,
}

impl Rendered {
    fn new(root: &str) -> anyhow::Result<Self> {
        let path = shipped("kubernetes").join(root);
        let yaml = told(
            Command::new(tool("kubectl")).arg("kustomize").arg(path),
            TOOLS,
        )?;
        Self::of(&yaml)
    }

    fn of(text: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("rendered.yaml");
        std::fs::write(&file, text)?;
        let resources = yaml(&file)?;
        Ok(Self { folder, resources })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("rendered.yaml")
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let found = self.resources.iter();
        found.filter(move |resource| resource["kind"] == kind)
    }
}

fn name(resource: &Value) -> &str {
    resource["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether a selector's `matchLabels` choose these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    selector["matchLabels"]
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

fn validate(file: &Path) -> anyhow::Result<std::process::Output> {
    let mut command = Command::new(tool("kubernetes-validate"));
    run(command.args(["--strict", "--quiet"]).arg(file), TOOLS)
}

#[test]
fn every_manifest_is_of_its_schema() -> anyhow::Result<()> {
    for root in ROOTS {
        let rendered = Rendered::new(root)?;
        let output = validate(&rendered.file())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{root}: {text}{errors}");
    }
    Ok(())
}

/// The control of the test above: an unknown key, and a value of the wrong type.
#[test]
fn a_manifest_off_its_schema_is_seen() -> anyhow::Result<()> {
    for (key, value) in [
        ("hostNetwrk", "true"),
        ("terminationGracePeriodSeconds", "soon"),
    ] {
        let yaml = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: bad\nspec:\n  {key}: {value}\n  \
             containers:\n    - name: bad\n      image: bad\n"
        );
        let rendered = Rendered::of(&yaml)?;
        let output = validate(&rendered.file())?;
        ensure!(!output.status.success(), "{key} passed");
    }
    Ok(())
}

/// What the restricted pod security standard asks, and more.
#[test]
fn every_container_is_confined_probed_and_limited() -> anyhow::Result<()> {
    for root in ROOTS {
        for set in Rendered::new(root)?.of_kind("StatefulSet") {
            let pod = &set["spec"]["template"]["spec"];
            let at = name(set);
            let context = &pod["securityContext"];
            ensure!(context["runAsNonRoot"] == true, "{at} may run as root");
            ensure!(
                context["seccompProfile"]["type"] == "RuntimeDefault",
                "{at}"
            );
            ensure!(
                pod["automountServiceAccountToken"] == false,
                "{at}: a token"
            );
            let apart = &pod["affinity"]["podAntiAffinity"];
            let apart = &apart["requiredDuringSchedulingIgnoredDuringExecution"][0];
            ensure!(apart["topologyKey"] == "kubernetes.io/hostname", "{at}");
            let labels = &set["spec"]["template"]["metadata"]["labels"];
            ensure!(
                selects(&apart["labelSelector"], labels),
                "{at}: from others"
            );
            for container in pod["containers"].as_array().context("containers")? {
                confined(at, container)?;
            }
        }
    }
    Ok(())
}

fn confined(at: &str, container: &Value) -> anyhow::Result<()> {
    let context = &container["securityContext"];
    ensure!(context["readOnlyRootFilesystem"] == true, "{at} may write");
    ensure!(context["allowPrivilegeEscalation"] == false, "{at}");
    ensure!(context["capabilities"]["drop"][0] == "ALL", "{at}");
    for resource in ["cpu", "memory"] {
        for bound in ["requests", "limits"] {
            let is = &container["resources"][bound][resource];
            ensure!(is.is_string(), "{at}: {bound} of {resource}");
        }
    }
    for (probe, path) in [
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ] {
        let get = &container[probe]["httpGet"];
        ensure!(
            get["path"] == path && get["port"] == "health",
            "{at}: {probe}"
        );
    }
    Ok(())
}

/// A budget that selects nothing protects nothing, and two would forbid every eviction.
#[test]
fn every_set_has_one_disruption_budget() -> anyhow::Result<()> {
    for root in ROOTS {
        let rendered = Rendered::new(root)?;
        for set in rendered.of_kind("StatefulSet") {
            let labels = &set["spec"]["template"]["metadata"]["labels"];
            let budgets: Vec<_> = rendered
                .of_kind("PodDisruptionBudget")
                .filter(|budget| selects(&budget["spec"]["selector"], labels))
                .collect();
            ensure!(budgets.len() == 1, "{}: {}", name(set), budgets.len());
            ensure!(budgets[0]["spec"]["maxUnavailable"] == 1, "{}", name(set));
        }
    }
    Ok(())
}

#[test]
fn nothing_is_dialled_that_is_not_named() -> anyhow::Result<()> {
    for root in ROOTS {
        let rendered = Rendered::new(root)?;
        let policies: Vec<_> = rendered.of_kind("NetworkPolicy").collect();
        let denies = |policy: &&&Value| {
            let spec = &policy["spec"];
            spec["podSelector"] == serde_json::json!({})
                && spec["policyTypes"] == serde_json::json!(["Ingress", "Egress"])
                && spec["ingress"].is_null()
                && spec["egress"].is_null()
        };
        ensure!(policies.iter().filter(denies).count() == 1, "{root}");
        for set in rendered.of_kind("StatefulSet") {
            let labels = &set["spec"]["template"]["metadata"]["labels"];
            let component = labels["app.kubernetes.io/component"].as_str();
            let component = component.context("a component")?;
            let own = policies
                .iter()
                .filter(|policy| selects(&policy["spec"]["podSelector"], labels));
            let (mut into, mut out) = (Vec::new(), Vec::new());
            for policy in own {
                into.extend(ports(&policy["spec"]["ingress"]));
                out.extend(ports(&policy["spec"]["egress"]));
            }
            into.sort();
            out.sort();
            let listens: &[&str] = match component {
                "vault" => &["frames", "health"],
                "edge" => &["health", "https"],
                _ => &["health"],
            };
            ensure!(into == listens, "{root}: {component} listens on {into:?}");
            ensure!(out == ["53", "53", "7411"], "{component} dials {out:?}");
        }
    }
    Ok(())
}

/// The ports of all rules; a rule without ports, or without peers, would allow everything.
fn ports(rules: &Value) -> Vec<String> {
    let rules = rules.as_array().into_iter().flatten();
    rules
        .flat_map(|rule| {
            let peers = rule["from"].as_array().or(rule["to"].as_array());
            let named = peers.is_some_and(|peers| !peers.is_empty());
            let ports = rule["ports"].as_array().filter(|_| named);
            match ports {
                Some(ports) => ports
                    .iter()
                    .map(|port| port["port"].to_string().replace('"', ""))
                    .collect(),
                None => vec!["everything".to_owned()],
            }
        })
        .collect()
}

/// A pod, its configuration file and its certificate's name must be of one identity, and its ports those it opens.
#[test]
fn every_pod_is_configured_as_who_it_is() -> anyhow::Result<()> {
    let mut identities = BTreeMap::new();
    for root in ROOTS {
        let rendered = Rendered::new(root)?;
        for set in rendered.of_kind("StatefulSet") {
            let replicas = set["spec"]["replicas"].as_u64().context("replicas")?;
            for ordinal in 0..replicas {
                let pod = format!("{}-{ordinal}", name(set));
                let identity = identity_of(&rendered, set, &pod)
                    .with_context(|| format!("the pod {pod} of {root}"))?;
                let twice = identities.insert(identity.to_string(), pod);
                ensure!(twice.is_none(), "{identity} is two pods");
            }
        }
    }
    ensure!(identities.len() >= 13, "{identities:?}");
    Ok(())
}

fn identity_of(rendered: &Rendered, set: &Value, pod: &str) -> anyhow::Result<Identity> {
    let template = &set["spec"]["template"]["spec"];
    let volumes = template["volumes"].as_array().context("volumes")?;
    let volume = |wanted: &str| {
        let found = volumes.iter().find(|volume| volume["name"] == wanted);
        found.with_context(|| format!("the volume {wanted}"))
    };
    let names = &volume("tls")?["csi"]["volumeAttributes"]["csi.cert-manager.io/uri-sans"];
    let certified = names.as_str().context("a URI name")?;
    let certified: Identity = certified.replace("${POD_NAME}", pod).parse()?;

    let map = &volume("configuration")?["configMap"]["name"];
    let map = rendered
        .of_kind("ConfigMap")
        .find(|resource| resource["metadata"]["name"] == *map)
        .context("the configuration's map")?;
    let container = &template["containers"][0];
    let path = container["args"][2].as_str().context("--config FILE")?;
    let file = path.replace("$(POD_NAME)", pod);
    let file = Path::new(&file).file_name().context("a file")?;
    let text = map["data"][file.to_string_lossy().as_ref()].as_str();
    let local = rendered.folder.path().join(file);
    std::fs::write(&local, text.context("the pod's file in the map")?)?;

    let (configured, tls, listens) = configured(&container["args"][0], &local)?;
    for role in [
        PeerRole::Vault,
        PeerRole::ApproverWorkflow,
        PeerRole::ApproverLegalReview,
    ] {
        let own = tls
            .families
            .iter()
            .any(|family| family.roles.contains(&role));
        ensure!(own, "any authority makes a certificate of the role {role}");
    }
    ensure!(configured == certified, "{configured} and {certified}");
    for address in listens {
        let port: u64 = address.rsplit(':').next().context("a port")?.parse()?;
        let open = container["ports"].as_array().context("ports")?;
        let open = open.iter().any(|open| open["containerPort"] == port);
        ensure!(open, "port {port} is not declared");
    }
    Ok(configured)
}

/// Who a configuration says that it is, and where it listens.
fn configured(verb: &Value, path: &Path) -> anyhow::Result<(Identity, TlsSection, Vec<String>)> {
    let (trust_domain, role, region, id, tls, listens) = match verb.as_str() {
        Some("vault") => {
            let config = VaultConfig::load(path)?;
            let listens = vec![config.listen, config.health];
            let region = Some(config.region);
            (
                config.trust_domain,
                PeerRole::Vault,
                region,
                config.name,
                config.tls,
                listens,
            )
        }
        Some("approver") => {
            let config = ApproverConfig::load(path)?;
            let role = PeerRole::approver(config.role);
            (
                config.trust_domain,
                role,
                None,
                config.name,
                config.tls,
                vec![config.health],
            )
        }
        Some("edge") => {
            let config = EdgeConfig::load(path)?;
            let listens = vec![config.listen, config.health];
            (
                config.trust_domain,
                PeerRole::Edge,
                None,
                config.name,
                config.tls,
                listens,
            )
        }
        other => bail!("{other:?} is no service"),
    };
    let identity = Identity {
        trust_domain,
        role,
        region,
        id,
    };
    Ok((identity, tls, listens))
}
