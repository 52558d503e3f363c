//! A freeze: in seconds nothing is written, requested, granted or released in a jurisdiction, and its
//! state can only be read, until an operator unfreezes it.
//!
//! What narrows or only testifies passes: a revocation, a recall, a refusal, a decision (nothing follows
//! from it before the freeze ends), a member's answer to what was begun before, a receipt. The other
//! commands call `Machine::check_not_frozen`, after they have recognised a repetition. Freeze and
//! unfreeze are leaves of the log; every approver checks them there, together with recalls, and needs
//! no word of a vault.

use bailiwick_envelope::leaf::LeafContent;

use crate::machine::{Machine, Stop, check_text};
use crate::outcome::Outcome;
use crate::rejection::TextField;

pub(crate) fn freeze(machine: &mut Machine<'_>, reason: String) -> Result<Outcome, Stop> {
    check_text(TextField::Reason, &reason)?;
    if machine.state.frozen.is_none() {
        let by = machine.by.clone();
        machine.state.frozen = Some((reason.clone(), by.clone()));
        machine.log(LeafContent::Freeze { reason, by })?;
    }
    Ok(Outcome::Accepted)
}

pub(crate) fn unfreeze(machine: &mut Machine<'_>) -> Result<Outcome, Stop> {
    if machine.state.frozen.take().is_some() {
        let by = machine.by.clone();
        machine.log(LeafContent::Unfreeze { by })?;
    }
    Ok(Outcome::Accepted)
}
