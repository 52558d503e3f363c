//! The shard's beginning.

use bailiwick_envelope::leaf::LeafContent;
use bailiwick_types::{ClusterId, ShardId, Timestamp};

use crate::machine::{Machine, Stop, check_text};
use crate::outcome::Outcome;
use crate::rejection::{Rejection, TextField};
use crate::rows::ShardState;

/// The state before the first command.
pub(crate) fn first_state(
    cluster: ClusterId,
    shard: ShardId,
    origin: &str,
) -> Result<ShardState, Rejection> {
    let field = TextField::Origin;
    check_text(field, origin)?;
    // The origin stands on a line of every checkpoint.
    if origin.len() > bailiwick_tlog::MAX_ORIGIN_BYTES || origin.chars().any(char::is_control) {
        return Err(Rejection::Text { field });
    }
    Ok(ShardState {
        cluster,
        shard,
        origin: origin.to_owned(),
        policy: None,
        frozen: None,
        last_stamp: Timestamp(0),
        records: 0,
        phones: 0,
        sessions: 0,
        requests: 0,
        open_requests: 0,
        leaves: 0,
        certificates: 0,
        periods: 0,
        remembered: (0, 0),
    })
}

pub(crate) fn genesis(
    machine: &mut Machine<'_>,
    cluster: ClusterId,
    shard: ShardId,
    origin: String,
) -> Result<Outcome, Stop> {
    let state = &machine.state;
    if (state.cluster, state.shard, &state.origin) != (cluster, shard, &origin) {
        return Err(Rejection::AlreadyInitialised { shard: state.shard }.into());
    }
    // Whoever repeats the same genesis under another key finds it done.
    if state.leaves == 0 {
        machine.log(LeafContent::Genesis { origin })?;
    }
    Ok(Outcome::Accepted)
}
