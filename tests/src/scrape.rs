//! A real scrape, taken apart: the metric families with their types, and the names and labels of samples.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};

/// What one service exposes.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// Type by family name, as `# TYPE` says; a counter's samples have `_total` after it.
    pub families: BTreeMap<String, String>,
    /// Sample lines: name, labels, value.
    pub samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Scrape {
    /// Takes the text of a scrape apart.
    ///
    /// # Errors
    /// When a line is of no known form.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').context(line.to_owned())?;
                let before = scrape.families.insert(name.to_owned(), kind.to_owned());
                ensure!(before.is_none(), "{name} is declared twice");
            } else if !line.starts_with('#') && !line.is_empty() {
                scrape.samples.push(sample(line)?);
            }
        }
        Ok(scrape)
    }

    /// All sample names.
    pub fn names(&self) -> BTreeSet<&str> {
        self.samples
            .iter()
            .map(|(name, ..)| name.as_str())
            .collect()
    }

    /// The value of the first sample with this name and these labels among its own.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.samples.iter().find(|(found, has, _)| {
            let all = |(label, value): &(&str, &str)| has.get(*label).is_some_and(|v| v == value);
            found == name && labels.iter().all(all)
        });
        found.map(|(.., value)| *value)
    }
}

fn sample(line: &str) -> anyhow::Result<(String, BTreeMap<String, String>, f64)> {
    let (series, value) = line.rsplit_once(' ').context(line.to_owned())?;
    let value = value.parse().with_context(|| line.to_owned())?;
    let Some((name, labels)) = series.split_once('{') else {
        return Ok((series.to_owned(), BTreeMap::new(), value));
    };
    let labels = labels.strip_suffix('}').context(line.to_owned())?;
    let mut parsed = BTreeMap::new();
    for pair in labels.split(',') {
        let (label, text) = pair.split_once("=\"").context(line.to_owned())?;
        let text = text.strip_suffix('"').context(line.to_owned())?;
        parsed.insert(label.to_owned(), text.to_owned());
    }
    Ok((name.to_owned(), parsed, value))
}
