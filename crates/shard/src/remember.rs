//! Idempotency: the outcomes of the last commands by their keys.
//!
//! Only successes are remembered. A rejection changed nothing, so that the same command may be
//! tried again when what was in its way is gone.

use bailiwick_envelope::sha256;
use bailiwick_types::limits::REMEMBERED_COMMANDS;
use bailiwick_types::store::{ReadStore, StoreError, WriteStore};
use bailiwick_types::{CommandKey, Digest, codec};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::rows::{read, read_array, write};
use crate::tables::{REMEMBERED, REMEMBERED_ORDER};

#[derive(Serialize, Deserialize)]
struct RememberedRow {
    command: Digest,
    outcome: Bytes,
}

/// What is known of a command's key.
pub(crate) enum Known {
    /// Nothing.
    New,
    /// It was this command's; here is its outcome.
    Same(Vec<u8>),
    /// It was another command's.
    Other,
}

/// A command's own digest, which tells a retry from a reused key.
pub(crate) fn command_digest<T: Serialize>(body: &T) -> Option<Digest> {
    codec::encode(body).ok().map(|bytes| sha256(&bytes))
}

pub(crate) fn recall(
    store: &dyn ReadStore,
    key: &CommandKey,
    command: &Digest,
) -> Result<Known, StoreError> {
    let row: Option<RememberedRow> = read(store, REMEMBERED, &key.0)?;
    Ok(match row {
        None => Known::New,
        Some(row) if row.command == *command => Known::Same(row.outcome.to_vec()),
        Some(_) => Known::Other,
    })
}

/// Remembers an outcome under `range` (first, next) and forgets the oldest above the limit.
pub(crate) fn remember(
    store: &mut dyn WriteStore,
    range: &mut (u64, u64),
    key: &CommandKey,
    command: Digest,
    outcome: &[u8],
) -> Result<(), StoreError> {
    let outcome = Bytes::copy_from_slice(outcome);
    write(
        store,
        REMEMBERED,
        &key.0,
        &RememberedRow { command, outcome },
    )?;
    store.put(REMEMBERED_ORDER, &range.1.to_be_bytes(), &key.0)?;
    range.1 += 1;
    while range.1 - range.0 > REMEMBERED_COMMANDS {
        let sequence = range.0.to_be_bytes();
        if let Some(oldest) = read_array::<16>(store, REMEMBERED_ORDER, &sequence)? {
            store.delete(REMEMBERED, &oldest)?;
        }
        store.delete(REMEMBERED_ORDER, &sequence)?;
        range.0 += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bailiwick_types::store::MemoryStore;

    use super::*;

    #[test]
    fn the_oldest_command_is_forgotten_above_the_limit() {
        let (mut store, mut range) = (MemoryStore::default(), (0, 0));
        let key = |number: u64| {
            let mut key = [0; 16];
            key[8..].copy_from_slice(&number.to_be_bytes());
            CommandKey(key)
        };
        let digest = Digest([1; 32]);
        for number in 0..REMEMBERED_COMMANDS + 2 {
            remember(&mut store, &mut range, &key(number), digest, b"done").expect("memory");
        }
        let known = |number: u64, command| recall(&store, &key(number), &command).expect("memory");
        assert!(matches!(known(1, digest), Known::New));
        assert!(matches!(known(2, digest), Known::Same(outcome) if outcome == b"done"));
        assert!(matches!(known(2, Digest([2; 32])), Known::Other));
        let rows = |table| {
            store
                .scan_prefix(table, &[], usize::MAX)
                .expect("memory")
                .len() as u64
        };
        assert_eq!(rows(REMEMBERED), REMEMBERED_COMMANDS);
        assert_eq!(rows(REMEMBERED_ORDER), REMEMBERED_COMMANDS);
    }
}
