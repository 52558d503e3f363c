//! `bailiwick key audit` and `bailiwick key wrap`: how an approver's private keys rest on its disk.
//! Both work on the data folder of an approver on this machine and ask no cluster.

use std::path::Path;

use bailiwick_node::clock;
use bailiwick_node::data_lock::DataLock;
use bailiwick_node::key_rest::{self, KeyAudit, KeyState, PeriodRest};
use bailiwick_node::wrapping::{MasterSource, TokenKey, Wrapping, WrappingError};

use crate::args::{MasterOptions, TokenOptions};
use crate::failure::{Failure, chain};
use crate::output::{self, Output};

/// Shows how every period's private key rests.
///
/// # Errors
/// [`Failure`] when the folder cannot be read, or a key is still here after its time.
pub fn audit(data: &Path, output: Output) -> Result<(), Failure> {
    let audit = key_rest::audit(data, clock::now()).map_err(|error| of_wrapping(data, &error))?;
    show(&audit, output);
    let count = |of: fn(&PeriodRest) -> bool| audit.periods.iter().filter(|rest| of(rest)).count();
    let plain = count(|rest| rest.state == KeyState::Plain);
    if plain > 0 {
        output::note(&format!(
            "{plain} private keys rest in clear: whoever copies this folder has them; see `key wrap`"
        ));
    }
    let overdue = count(|rest| rest.overdue);
    if overdue == 0 {
        return Ok(());
    }
    Err(Failure::refused(
        format!("{overdue} private keys are here after the time of their erasure"),
        "the approver did not destroy them: it is off, it waits for a hold's capsules, or it cannot write",
        "start the approver and read its log; look at the holds of these periods",
    ))
}

fn show(audit: &KeyAudit, output: Output) {
    if output.is_json() {
        output.document(audit, String::new);
        return;
    }
    output.list(
        ["jurisdiction", "from", "erase by", "period", "rests", ""],
        &audit.periods,
        |rest| {
            [
                rest.jurisdiction.to_string(),
                rest.not_before.to_string(),
                rest.erase_by.to_string(),
                rest.kid.to_string().chars().take(16).collect(),
                rest.state.as_str().to_owned(),
                if rest.overdue { "OVERDUE" } else { "" }.to_owned(),
            ]
        },
    );
    for draft in &audit.drafts {
        let path = draft.display();
        output::note(&format!(
            "{path}: seeds of a draft that became no certificate yet"
        ));
    }
}

/// Wraps what rests in clear, after it was said and confirmed.
///
/// # Errors
/// [`Failure`]; what was not wrapped is as it was, and the same command goes on.
pub fn wrap(
    data: &Path,
    (master, token): (&MasterOptions, &TokenOptions),
    (dry_run, yes): (bool, bool),
    output: Output,
) -> Result<(), Failure> {
    let source = source(master, token)?;
    let _lock = DataLock::take(data).map_err(|error| {
        Failure::refused(
            "nothing was wrapped",
            chain(&error),
            "stop the approver, then repeat the command",
        )
    })?;
    let of = |error: WrappingError| of_wrapping(data, &error);
    let plain = key_rest::plain_files(data).map_err(of)?;
    if plain.is_empty() {
        output.say("No private keys rest in clear in this folder. Nothing was done.");
        return Ok(());
    }
    for file in &plain {
        output::note(&format!("{}: in clear", file.path.display()));
    }
    output::note(&consequences(plain.len(), &source));
    if dry_run {
        output.say("A dry run: nothing was wrapped.");
        return Ok(());
    }
    if !yes && !output::confirm("Wrap these keys?")? {
        output.say("Not confirmed. Nothing was wrapped.");
        return Ok(());
    }
    let mut rng = rand::rng();
    let wrapping = Wrapping::open(data, &source, &mut rng).map_err(of)?;
    let mut keys = 0;
    for file in &plain {
        keys += key_rest::wrap(data, file, &wrapping, &mut rng).map_err(of)?;
    }
    output.fields(&[
        ("wrapped", keys.to_string()),
        ("files removed", plain.len().to_string()),
        ("protects", source.protects().to_owned()),
    ]);
    Ok(())
}

fn consequences(files: usize, source: &MasterSource) -> String {
    format!(
        "The private keys of {files} certificates will each be wrapped by a key of its own, under one \
         master; the clear files are overwritten and removed.\n\
         What it protects: {}.\n\
         Afterwards this approver starts only with the same master named as `wrapping` in its \
         configuration. Without the master its keys are lost: the records of their periods then open \
         only through the other members.\n\
         Backups of this folder from before still hold the keys in clear: destroy them. Back up \
         `keys`, never `wraps`.",
        source.protects()
    )
}

fn source(master: &MasterOptions, token: &TokenOptions) -> Result<MasterSource, Failure> {
    let named = [
        master
            .passphrase_file
            .clone()
            .map(MasterSource::PassphraseFile),
        master.key_file.clone().map(MasterSource::KeyFile),
        master.credential.clone().map(MasterSource::Credential),
        token_key(master, token).map(MasterSource::Token),
    ];
    named.into_iter().flatten().next().ok_or_else(|| {
        Failure::usage(
            "nothing was wrapped",
            "no master is named",
            "give --passphrase-file, --key-file, --credential or --pkcs11-module",
        )
    })
}

fn token_key(master: &MasterOptions, token: &TokenOptions) -> Option<TokenKey> {
    Some(TokenKey {
        module: master.pkcs11_module.clone()?,
        token: token.token.clone()?,
        key: token.token_key.clone()?,
        pin_file: token.pin_file.clone()?,
    })
}

fn of_wrapping(data: &Path, error: &WrappingError) -> Failure {
    Failure::usage(
        format!("cannot use the keys in {}", data.display()),
        chain(error),
        "name an approver's data folder and the master that its keys were wrapped with",
    )
}
