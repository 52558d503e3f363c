//! `bailiwick operator freeze|unfreeze`: stops everything of a jurisdiction but reading, and lets it go on.

use bailiwick_client::operator::Operator;

use crate::args::FreezeOptions;
use crate::connect::of_call;
use crate::failure::Failure;
use crate::output::{Output, confirm};

/// Freezes at once: nobody is asked while something goes wrong.
///
/// # Errors
/// [`Failure`] when the cluster refuses or does not answer.
pub async fn freeze(
    operator: &Operator,
    options: &FreezeOptions,
    output: Output,
) -> Result<(), Failure> {
    let code = options.code;
    let consequences = format!(
        "{code}: records, requests, enrolments, policies and releases are refused until `operator \
         unfreeze {code}`; reading, recalls, refusals, revocations and decisions go on"
    );
    if options.dry_run {
        output.say(&format!("would freeze {consequences}"));
        return Ok(());
    }
    let what = format!("{code} was not frozen");
    let done = operator.freeze(code, true, &options.reason).await;
    done.map_err(|error| of_call(what, &error))?;
    output.fields(&[
        ("jurisdiction", code.to_string()),
        ("state", "frozen".to_owned()),
        ("from now on", consequences),
    ]);
    Ok(())
}

/// Asks, then lets everything go on.
///
/// # Errors
/// [`Failure`] when nobody can be asked, or the cluster refuses or does not answer.
pub async fn unfreeze(
    operator: &Operator,
    options: &FreezeOptions,
    output: Output,
) -> Result<(), Failure> {
    let code = options.code;
    let consequences = format!(
        "{code}: records and requests are taken again, and approved requests release at once"
    );
    if options.dry_run {
        output.say(&format!("would unfreeze {consequences}"));
        return Ok(());
    }
    if !options.yes && !confirm(&format!("This unfreezes {consequences}."))? {
        return Err(Failure::refused(
            format!("{code} stays frozen"),
            "the question was not answered with yes",
            "look at the requests that wait with `bailiwick request list --open`, then repeat",
        ));
    }
    let what = format!("{code} was not unfrozen");
    let done = operator.freeze(code, false, &options.reason).await;
    done.map_err(|error| of_call(what, &error))?;
    output.fields(&[
        ("jurisdiction", code.to_string()),
        ("state", "open".to_owned()),
    ]);
    Ok(())
}
