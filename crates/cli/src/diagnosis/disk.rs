//! The disk under the data folder: its space, and how long it takes to make a write durable.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bailiwick_node::machine::disk_space;

use super::Finding;
use super::service::ServiceFile;

/// A share of free space below which somebody should look, and below which it is an alarm.
const WARN_SHARE: f64 = 0.3;
const FAIL_SHARE: f64 = 0.1;
/// A durable write above which elections and writes suffer.
const SLOW_SYNC: Duration = Duration::from_millis(50);
/// Writes that are timed; the median counts.
const PROBES: usize = 9;

/// Looks at the disk.
pub(super) fn check(service: &ServiceFile) -> Vec<Finding> {
    let folder = existing(service.data());
    vec![space(&folder), sync_time(&folder)]
}

/// The folder itself, or the one in which it will be made.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|path| path.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn space(folder: &Path) -> Finding {
    let disk = match disk_space(folder) {
        Ok(disk) => disk,
        Err(error) => {
            let found = format!("{}: {error}", folder.display());
            return Finding::fail("disk", found, "look at the mount");
        }
    };
    let share = disk.free as f64 / disk.size.max(1) as f64;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let (free, size) = (gib(disk.free), gib(disk.size));
    let found = format!("{free:.1} of {size:.1} GiB free ({:.0} %)", share * 100.0);
    let remedy = "enlarge the disk; never delete files of the data folder";
    match share {
        share if share < FAIL_SHARE => Finding::fail("disk", found, remedy),
        share if share < WARN_SHARE => Finding::warn("disk", found, remedy),
        _ => Finding::ok("disk", found),
    }
}

fn sync_time(folder: &Path) -> Finding {
    let probe = folder.join(format!(".diagnose-{}", std::process::id()));
    let timed = time_syncs(&probe);
    // Whatever came of it, the probe goes.
    let _ = std::fs::remove_file(&probe);
    match timed {
        Ok(took) if took > SLOW_SYNC => {
            let found = format!("a durable write takes {took:.1?}");
            let remedy =
                "use a disk of its own, with power-loss protection; see docs/benchmarks.md";
            Finding::warn("disk", found, remedy)
        }
        Ok(took) => Finding::ok("disk", format!("a durable write takes {took:.1?}")),
        Err(error) => {
            let found = format!("{} is not writable: {error}", folder.display());
            let remedy = "run this as the service's user; give that user the folder";
            Finding::fail("disk", found, remedy)
        }
    }
}

fn time_syncs(probe: &Path) -> std::io::Result<Duration> {
    let mut file = std::fs::File::create_new(probe)?;
    let mut times = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        let begun = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[PROBES / 2])
}
