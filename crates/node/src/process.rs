//! Metrics that every service has: what it is, whether it is ready, its certificate, its disk, and
//! what the process itself takes of the machine.

use std::fmt::Error;
use std::path::PathBuf;
use std::sync::Arc;

use bailiwick_transport::TlsIdentity;
use bailiwick_types::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::registry::{Registry, Unit};

use crate::clock;
use crate::exposition::{Exposition, Unlabelled, Word};
use crate::health::{Health, ServiceKind};
use crate::machine::disk_space;

/// Clock ticks of a second in /proc: fixed by Linux for what programs see.
const TICKS: f64 = 100.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    service: Word,
    version: Word,
}

/// Collects what every service has.
struct ProcessMetrics {
    kind: ServiceKind,
    service: Arc<dyn Health>,
    tls: Arc<TlsIdentity>,
    data: PathBuf,
    started_at: Timestamp,
}

impl std::fmt::Debug for ProcessMetrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ProcessMetrics({})", self.kind.as_str())
    }
}

/// Registers the metrics that every service has. `data` is the folder whose disk is watched.
pub(crate) fn register(
    registry: &mut Registry,
    service: Arc<dyn Health>,
    tls: Arc<TlsIdentity>,
    data: PathBuf,
) {
    let (kind, started_at) = (service.kind(), clock::now());
    registry.register_collector(Box::new(ProcessMetrics {
        kind,
        service,
        tls,
        data,
        started_at,
    }));
}

impl Collector for ProcessMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut metrics = Exposition(encoder);
        self.encode_service(&mut metrics)?;
        self.encode_disk(&mut metrics)?;
        self.encode_process(&mut metrics)
    }
}

impl ProcessMetrics {
    fn encode_service(&self, metrics: &mut Exposition<'_>) -> Result<(), Error> {
        let build = BuildLabels {
            service: Word(self.kind.as_str()),
            version: Word(env!("CARGO_PKG_VERSION")),
        };
        let help = "1, with the service and its version as labels";
        metrics.gauge("bailiwick_build_info", None, help, [(build, 1.0)])?;
        let ready = f64::from(u8::from(self.service.missing().is_empty()));
        let help = "1 when nothing is missing, as /readyz says";
        metrics.gauge("bailiwick_ready", None, help, [(Unlabelled, ready)])?;
        let end = self.tls.not_after().seconds() as f64;
        metrics.gauge(
            "bailiwick_tls_certificate_expiry_timestamp",
            Some(Unit::Seconds),
            "When the own TLS certificate ends, since 1970",
            [(Unlabelled, end)],
        )
    }

    fn encode_disk(&self, metrics: &mut Exposition<'_>) -> Result<(), Error> {
        // A disk that does not answer has no line: its absence is the alarm.
        let disk = disk_space(&self.data).ok();
        let size = disk.map(|disk| (Unlabelled, disk.size as f64));
        let free = disk.map(|disk| (Unlabelled, disk.free as f64));
        let unit = || Some(Unit::Bytes);
        let help = "Size of the disk under the data folder";
        metrics.gauge("bailiwick_disk_size", unit(), help, size)?;
        let help = "Free space of that disk for this process";
        metrics.gauge("bailiwick_disk_free", unit(), help, free)
    }

    fn encode_process(&self, metrics: &mut Exposition<'_>) -> Result<(), Error> {
        let one = |value: Option<f64>| value.map(|value| (Unlabelled, value));
        let help = "User and system time of the process";
        let unit = Some(Unit::Seconds);
        metrics.counter("process_cpu", unit, help, one(processor_seconds()))?;
        let help = "Memory of the process that is in RAM";
        let unit = Some(Unit::Bytes);
        metrics.gauge("process_resident_memory", unit, help, one(resident_bytes()))?;
        let help = "Files and sockets that the process has open";
        metrics.gauge("process_open_fds", None, help, one(open_files()))?;
        let help = "When the process began, since 1970";
        let start = Some(self.started_at.seconds() as f64);
        metrics.gauge("process_start_time", Some(Unit::Seconds), help, one(start))
    }
}

/// User and system time: the 12th and 13th field after the program's name in /proc/self/stat.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Option<Vec<u64>> = ticks.map(|ticks| ticks.parse().ok()).collect();
    Some(ticks?.iter().sum::<u64>() as f64 / TICKS)
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kilobytes * 1024) as f64)
}

fn open_files() -> Option<f64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(entries.count() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_finds_its_own_figures() {
        assert!(processor_seconds().is_some_and(|seconds| seconds < 1e6));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000.0));
        assert!(open_files().is_some_and(|files| files >= 3.0));
    }
}
