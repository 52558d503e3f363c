//! Metrics read at the moment of a scrape, and the only labels that exist.
//!
//! A value that something else keeps (a group, the write-ahead log, a store) is asked for when it is
//! scraped, so that a group that has left the node leaves no line behind. Labels are types: a
//! jurisdiction, a committee, a number, a word of this code. None is made of text that came from
//! outside, so none can carry an identifier. All names are documented in docs/metrics.md.

use std::fmt::Error;

use bailiwick_types::{Jurisdiction, Role};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// A word of this code as a label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Word(pub(crate) &'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

/// A jurisdiction as a label's value; `directory` for the cluster's directory, which has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JurisdictionLabel(pub(crate) Option<Jurisdiction>);

impl EncodeLabelValue for JurisdictionLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
        let word = self.0.as_ref().map_or("directory", Jurisdiction::as_str);
        EncodeLabelValue::encode(&word, encoder)
    }
}

/// A committee as a label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RoleLabel(pub(crate) Role);

impl EncodeLabelValue for RoleLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
        EncodeLabelValue::encode(&self.0.as_str(), encoder)
    }
}

/// One jurisdiction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfJurisdiction {
    pub(crate) jurisdiction: JurisdictionLabel,
}

impl From<Jurisdiction> for OfJurisdiction {
    fn from(jurisdiction: Jurisdiction) -> Self {
        let jurisdiction = JurisdictionLabel(Some(jurisdiction));
        Self { jurisdiction }
    }
}

/// No labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unlabelled;

impl EncodeLabelSet for Unlabelled {
    fn encode(
        &self,
        _encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// A distribution that was counted elsewhere, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    sum: f64,
    count: u64,
    buckets: Vec<(f64, u64)>,
}

impl Distribution {
    /// From counts of each bucket and their upper bounds in microseconds, the last one unbounded.
    pub(crate) fn of_micros(total_us: u64, bounds_us: &[u64], counts: &[u64]) -> Self {
        let bound = |us: &u64| match *us {
            u64::MAX => f64::INFINITY,
            us => us as f64 / 1e6,
        };
        let bounds = bounds_us.iter().map(bound);
        Self {
            sum: total_us as f64 / 1e6,
            count: counts.iter().sum(),
            buckets: bounds.zip(counts.iter().copied()).collect(),
        }
    }
}

/// Writes metrics of a scrape, one family after the other.
pub(crate) struct Exposition<'a>(pub(crate) DescriptorEncoder<'a>);

impl Exposition<'_> {
    /// A value that goes up and down.
    pub(crate) fn gauge<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) -> Result<(), Error> {
        let unit = unit.as_ref();
        let mut family = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            labelled(&mut family, &labels, |sample| sample.encode_gauge(&value))?;
        }
        Ok(())
    }

    /// A value that only grows; `_total` is added to its name.
    pub(crate) fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) -> Result<(), Error> {
        let unit = unit.as_ref();
        let mut family = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in samples {
            labelled(&mut family, &labels, |sample| {
                sample.encode_counter::<NoLabelSet, _, f64>(&value, None)
            })?;
        }
        Ok(())
    }

    /// Times, in seconds.
    pub(crate) fn seconds<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, Distribution)>,
    ) -> Result<(), Error> {
        let mut family =
            self.0
                .encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, counted) in samples {
            let (sum, count) = (counted.sum, counted.count);
            labelled(&mut family, &labels, |sample| {
                sample.encode_histogram::<NoLabelSet>(sum, count, &counted.buckets, None)
            })?;
        }
        Ok(())
    }
}

/// Writes one sample of a family. Labels without a field leave out the braces, too.
fn labelled<L: EncodeLabelSet>(
    family: &mut MetricEncoder<'_>,
    labels: &L,
    write: impl FnOnce(&mut MetricEncoder<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    if size_of::<L>() == 0 {
        write(family)
    } else {
        write(&mut family.encode_family(labels)?)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[derive(Debug)]
    struct Times;

    impl Collector for Times {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
            let counted = Distribution::of_micros(3_000_000, &[500, u64::MAX], &[1, 2]);
            let mut exposition = Exposition(encoder);
            let france: Jurisdiction = "FR".parse().expect("a code");
            let labels = OfJurisdiction::from(france);
            exposition.seconds("took", "Times", [(labels, counted)])?;
            exposition.counter("done", None, "Done", [(Unlabelled, 3.0)])
        }
    }

    #[test]
    fn a_scrape_is_the_text_that_prometheus_reads() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Times));
        let mut text = String::new();
        encode(&mut text, &registry).expect("encodes");
        for line in [
            "# TYPE took_seconds histogram",
            "took_seconds_sum{jurisdiction=\"FR\"} 3.0",
            "took_seconds_count{jurisdiction=\"FR\"} 3",
            "took_seconds_bucket{le=\"0.0005\",jurisdiction=\"FR\"} 1",
            "took_seconds_bucket{le=\"+Inf\",jurisdiction=\"FR\"} 3",
            "done_total 3.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
