//! The files of a configuration: there, readable, of their form, and secrets for the service only.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bailiwick_disclosure::TrustFile;
use bailiwick_node::files::read_secret;

use super::Finding;
use super::service::ServiceFile;
use crate::failure::chain;

/// Permission bits of everybody else, and of the group to write.
const TOO_OPEN: u32 = 0o027;

/// Looks at all files.
pub(super) fn check(service: &ServiceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, path) in service.secrets() {
        findings.push(secret(&key, &path));
    }
    for (key, path) in service.public_files() {
        findings.push(public(&key, &path));
    }
    findings.push(data(service.data()));
    findings
}

fn secret(key: &str, path: &Path) -> Finding {
    let what = format!("{key}: {}", path.display());
    let metadata = match readable(path) {
        Ok(metadata) => metadata,
        Err(error) => return missing(&what, &error),
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & TOO_OPEN != 0 {
        let found = format!("{what} has mode {mode:03o}");
        let remedy = "chmod 0600 it (0640 when root owns it and the service is the group); whoever \
                      could read it until now may have its key";
        return Finding::fail("permissions", found, remedy);
    }
    if key != "tls.key" && read_secret(path).is_err() {
        let found = format!("{what} does not hold 64 hexadecimal digits");
        return Finding::fail("files", found, "write it with `bailiwick key generate`");
    }
    Finding::ok("permissions", format!("{what} has mode {mode:03o}"))
}

fn public(key: &str, path: &Path) -> Finding {
    let what = format!("{key}: {}", path.display());
    if let Err(error) = readable(path) {
        return missing(&what, &error);
    }
    if key == "trust" {
        let parsed = std::fs::read_to_string(path).map_err(|error| error.to_string());
        let parsed = parsed.and_then(|text| {
            TrustFile::parse(&text)
                .map_err(|error| chain(&error))
                .map(drop)
        });
        if let Err(reason) = parsed {
            let found = format!("{what} is no trust file: {reason}");
            return Finding::fail("files", found, "compare it with config/trust.toml");
        }
    }
    Finding::ok("files", what)
}

/// The data folder, or where it will be made.
fn data(path: &Path) -> Finding {
    let what = format!("data: {}", path.display());
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            Finding::fail("files", format!("{what} is no folder"), "name a folder")
        }
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o007 != 0 {
                let found = format!("{what} has mode {mode:03o}");
                return Finding::warn("permissions", found, "chmod 0700 it");
            }
            Finding::ok("files", format!("{what} has mode {mode:03o}"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let found = format!("{what} is not there yet; the service makes it");
            Finding::ok("files", found)
        }
        Err(error) => missing(&what, &error),
    }
}

fn readable(path: &Path) -> std::io::Result<Metadata> {
    // Opening is the only test of a permission that also holds for lists and capabilities.
    std::fs::File::open(path)?.metadata()
}

fn missing(what: &str, error: &std::io::Error) -> Finding {
    let remedy = "correct the path, or the rights of the user that runs the service";
    Finding::fail("files", format!("{what}: {error}"), remedy)
}
