//! A vault node's write-ahead log and note key, as files: nothing is opened that a running node holds.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Finding;
use super::service::ServiceFile;

/// Bytes of segments above which something keeps the log from going.
const LARGE: u64 = 4 << 30;

/// Looks at the files.
pub(super) fn check(service: &ServiceFile) -> Vec<Finding> {
    let ServiceFile::Vault(config) = service else {
        return Vec::new();
    };
    if !config.data.is_dir() {
        let found = "no data yet: the node has never run here";
        return vec![Finding::ok("write-ahead log", found)];
    }
    vec![segments(&config.data.join("wal")), note_key(&config.data)]
}

fn segments(folder: &Path) -> Finding {
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) => {
            let found = format!("{}: {error}", folder.display());
            let remedy = "if the node ran here before, its disk is damaged: replace the node under a \
                          new id, never let it begin anew under the old one";
            return Finding::fail("write-ahead log", found, remedy);
        }
    };
    let (mut numbers, mut bytes) = (Vec::new(), 0);
    for entry in listed.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_suffix(".wal");
        if let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) {
            numbers.push(number);
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    if numbers.is_empty() {
        let remedy = "files were deleted; replace the node under a new id";
        return Finding::fail("write-ahead log", "it has no segment", remedy);
    }
    numbers.sort_unstable();
    let mebibytes = bytes >> 20;
    let found = format!("{} segments, {mebibytes} MiB", numbers.len());
    if let Some(gap) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        let found = format!("segment {:016x}.wal is missing", gap[0] + 1);
        let remedy = "the node will refuse to start, rightly; replace it under a new id";
        return Finding::fail("write-ahead log", found, remedy);
    }
    if bytes > LARGE {
        let remedy = "a follower lags or is down: `bailiwick status`";
        return Finding::warn("write-ahead log", found, remedy);
    }
    Finding::ok("write-ahead log", found)
}

fn note_key(data: &Path) -> Finding {
    match std::fs::metadata(data.join("note.key")) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            let found = "note.key can be read by others";
            Finding::fail("permissions", found, "chmod 0600 it, and tell the auditors")
        }
        Ok(_) => Finding::ok("permissions", "note.key is the service's alone"),
        Err(error) => {
            let found = format!("note.key: {error}");
            let remedy =
                "run this as the service's user; the node draws the key when it first runs";
            Finding::warn("permissions", found, remedy)
        }
    }
}
