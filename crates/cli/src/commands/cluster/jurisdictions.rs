//! A jurisdiction's rules: shown, changed, retired.

use bailiwick_api::cluster::NodeStatus;
use bailiwick_shard::directory::{
    ChangeJurisdiction, ClusterView, DirectoryCommandBody, JurisdictionEntry, JurisdictionState,
};
use bailiwick_transport::Operation;
use bailiwick_types::{Jurisdiction, Region};
use serde::Serialize;

use super::Desk;
use super::deletion::Remains;
use crate::args::cluster::{Danger, RulesVerb};
use crate::commands::operator::read_policy;
use crate::failure::Failure;
use crate::output::note;

/// A jurisdiction: a table's line.
#[derive(Clone, Debug, Serialize)]
struct JurisdictionRow {
    jurisdiction: String,
    state: String,
    regions: Vec<String>,
    leaving: Vec<String>,
    replicas: u8,
    partitions: u16,
    policy: String,
    version: u64,
}

fn texts(regions: &[Region]) -> Vec<String> {
    regions.iter().map(ToString::to_string).collect()
}

fn row(entry: &JurisdictionEntry) -> JurisdictionRow {
    JurisdictionRow {
        jurisdiction: entry.jurisdiction.to_string(),
        state: entry.state.to_string(),
        regions: texts(&entry.allowed_regions),
        leaving: texts(&entry.leaving_regions),
        replicas: entry.replicas,
        partitions: entry.partitions,
        policy: entry.policy.to_string(),
        version: entry.version,
    }
}

fn entry_of(view: &ClusterView, code: Jurisdiction) -> Result<&JurisdictionEntry, Failure> {
    view.jurisdiction(code).ok_or_else(|| {
        Failure::usage(
            format!("there is no jurisdiction {code}"),
            "the directory lists none of that code",
            "see bailiwick operator jurisdiction list",
        )
    })
}

impl Desk<'_> {
    pub(super) async fn rules(&self, verb: &RulesVerb) -> Result<(), Failure> {
        match verb {
            RulesVerb::List => self.list_jurisdictions().await,
            RulesVerb::Change {
                code,
                regions,
                replicas,
                policy,
                expected_version,
                danger,
            } => {
                let policy = match policy {
                    Some(path) => Some(read_policy(path, *code)?.digest()),
                    None => None,
                };
                let allowed_regions = (!regions.is_empty()).then(|| regions.clone());
                let change = ChangeJurisdiction {
                    jurisdiction: *code,
                    expected: expected_version.unwrap_or_default(),
                    allowed_regions,
                    replicas: *replicas,
                    policy,
                };
                self.change_rules(change, *expected_version, *danger).await
            }
            RulesVerb::Retire {
                code,
                delete_data: false,
                force: _,
                expected_version,
                danger,
            } => self.retire(*code, *expected_version, *danger).await,
            RulesVerb::Retire {
                code,
                delete_data: true,
                force,
                expected_version,
                danger,
            } => self.delete(*code, *force, *expected_version, *danger).await,
        }
    }

    async fn list_jurisdictions(&self) -> Result<(), Failure> {
        let view = self.view().await?;
        let rows: Vec<_> = view.jurisdictions.iter().map(row).collect();
        let headings = [
            "jurisdiction",
            "state",
            "regions",
            "leaving",
            "replicas",
            "partitions",
            "version",
        ];
        self.output.list(headings, &rows, |row| {
            [
                row.jurisdiction.clone(),
                row.state.clone(),
                row.regions.join(", "),
                row.leaving.join(", "),
                row.replicas.to_string(),
                row.partitions.to_string(),
                row.version.to_string(),
            ]
        });
        Ok(())
    }

    async fn change_rules(
        &self,
        mut change: ChangeJurisdiction,
        expected: Option<u64>,
        danger: Danger,
    ) -> Result<(), Failure> {
        let code = change.jurisdiction;
        let view = self.view().await?;
        let entry = entry_of(&view, code)?;
        change.expected = expected.unwrap_or(entry.version);
        let mut consequences = Vec::new();
        if let Some(regions) = &change.allowed_regions {
            let left = entry
                .allowed_regions
                .iter()
                .filter(|old| !regions.contains(old));
            let left: Vec<String> = left.map(ToString::to_string).collect();
            consequences.push(format!(
                "records of {code} may be in {} and nowhere else",
                texts(regions).join(", ")
            ));
            if !left.is_empty() {
                consequences.push(format!(
                    "its replicas leave {} step by step; each is deleted there once another has it",
                    left.join(", ")
                ));
            }
        }
        if let Some(replicas) = change.replicas {
            consequences.push(format!(
                "each group of {code} has {replicas} voters instead of {}",
                entry.replicas
            ));
        }
        if change.policy.is_some() {
            consequences.push(format!(
                "groups of {code} that are made later begin with this policy; for those that are \
                 there use bailiwick operator policy set"
            ));
        }
        if consequences.is_empty() {
            return Err(Failure::usage(
                format!("{code} was not changed"),
                "no rule is given",
                "give --region, --replicas or --policy",
            ));
        }
        if !self.may(danger, &consequences)? {
            return Ok(());
        }
        let body = DirectoryCommandBody::ChangeJurisdiction(change);
        self.change(&format!("{code} was not changed"), body)
            .await?;
        self.show(code).await
    }

    async fn retire(
        &self,
        code: Jurisdiction,
        expected: Option<u64>,
        danger: Danger,
    ) -> Result<(), Failure> {
        let view = self.view().await?;
        let entry = entry_of(&view, code)?;
        let consequences = format!(
            "{code} takes no records, keys and requests any more, for good. What it has stays, \
             can be read, and what was approved is still released."
        );
        if !self.may(danger, &[consequences])? {
            return Ok(());
        }
        let body = DirectoryCommandBody::RetireJurisdiction {
            jurisdiction: code,
            expected: expected.unwrap_or(entry.version),
        };
        self.change(&format!("{code} was not retired"), body)
            .await?;
        self.show(code).await
    }

    /// Deletes a retired jurisdiction. Refused while it is not frozen, and while it has records whose
    /// count the operator has not named.
    async fn delete(
        &self,
        code: Jurisdiction,
        force: Option<u64>,
        expected: Option<u64>,
        danger: Danger,
    ) -> Result<(), Failure> {
        let view = self.view().await?;
        let entry = entry_of(&view, code)?;
        let what = format!("nothing of {code} was deleted");
        if entry.state != JurisdictionState::Retired {
            return Err(Failure::refused(
                what,
                format!("{code} is {}", entry.state),
                format!("first: bailiwick operator jurisdiction retire {code}"),
            ));
        }
        let groups = view.groups.iter().map(|group| group.shard);
        let groups: Vec<_> = groups.filter(|shard| shard.jurisdiction == code).collect();
        let remains = Remains::of(code, &self.statuses(&view).await);
        note(&format!(
            "EVERYTHING of {code} is deleted on every node: {} records, the requests, and its log. \
             Nothing brings it back but a snapshot, and its code is never used again.",
            remains.records()
        ));
        remains
            .check(code, &groups, force)
            .map_err(|refusal| Failure::refused(&what, refusal.to_string(), refusal.remedy()))?;
        if !self.may(danger, &[])? {
            return Ok(());
        }
        let body = DirectoryCommandBody::DeleteJurisdiction {
            jurisdiction: code,
            expected: expected.unwrap_or(entry.version),
        };
        self.change(&what, body).await?;
        self.show(code).await
    }

    /// What the nodes say of themselves; one that does not answer says nothing.
    async fn statuses(&self, view: &ClusterView) -> Vec<NodeStatus> {
        let asked = view.nodes.iter().map(|node| {
            self.cluster
                .call_node::<(), NodeStatus>(&node.address, Operation::Status, None)
        });
        let answers = futures::future::join_all(asked).await;
        answers.into_iter().flatten().collect()
    }

    async fn show(&self, code: Jurisdiction) -> Result<(), Failure> {
        let view = self.view().await?;
        let entry = entry_of(&view, code)?;
        self.output.fields(&[
            ("jurisdiction", code.to_string()),
            ("state", entry.state.to_string()),
            ("regions", texts(&entry.allowed_regions).join(", ")),
            ("leaving", texts(&entry.leaving_regions).join(", ")),
            ("replicas", entry.replicas.to_string()),
            ("version", entry.version.to_string()),
        ]);
        Ok(())
    }
}
