//! Whose a command or a stored row is, by what is in it: what a check of placement reads, which must
//! not believe the number of a group.
//!
//! A block names its session and nothing else; whose it is, is whose the session is. What names no
//! jurisdiction at all (a decision, an acknowledgement) holds no record and no identifier.

use bailiwick_envelope::Canonical;
use bailiwick_envelope::block::SealedBlock;
use bailiwick_envelope::header::SessionHeader;
use bailiwick_types::codec;
use bailiwick_types::store::{ReadStore, StoreError};
use bailiwick_types::{Jurisdiction, SessionId, ShardId};
use std::ops::Bound;

use crate::command::{Command, CommandBody};
use crate::directory::DirectoryCommand;
use crate::sessions;
use crate::tables::headers;

/// Rows of a store that are looked at in one step.
const PAGE: usize = 256;

/// Whose a command is, by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOwner {
    /// It says which shard.
    Shard(ShardId),
    /// It says which jurisdiction.
    Jurisdiction(Jurisdiction),
    /// A session is opened: from here on its blocks are of this shard.
    Opens(SessionId, ShardId),
    /// A block of this session.
    Block(SessionId),
    /// It names no jurisdiction, and holds no record.
    Nobody,
    /// It is the directory's.
    Directory,
    /// The bytes are no command of any kind.
    Malformed,
}

/// Whose a command in a shard's log is.
pub fn owner_of_command(bytes: &[u8]) -> CommandOwner {
    let Ok(command) = codec::decode::<Command>(bytes) else {
        return CommandOwner::Malformed;
    };
    match command.body {
        CommandBody::Genesis { shard, .. } => CommandOwner::Shard(shard),
        CommandBody::OpenSession { header } => CommandOwner::Opens(header.id(), header.body.shard),
        CommandBody::AppendBlock { block } => match SealedBlock::from_wire(&block) {
            Ok(block) => CommandOwner::Block(block.manifest.sid),
            Err(_) => CommandOwner::Malformed,
        },
        CommandBody::SubmitRequest { request, .. } | CommandBody::FreezePart { request } => {
            CommandOwner::Jurisdiction(request.jurisdiction)
        }
        CommandBody::SubmitParts(parted) => CommandOwner::Jurisdiction(parted.request.jurisdiction),
        CommandBody::InstallCertificate { certificate } => {
            CommandOwner::Jurisdiction(certificate.body.jurisdiction)
        }
        _ => CommandOwner::Nobody,
    }
}

/// Whose a command in the directory's log is: its own, or none of it.
pub fn owner_of_directory_command(bytes: &[u8]) -> CommandOwner {
    match codec::decode::<DirectoryCommand>(bytes) {
        Ok(_) => CommandOwner::Directory,
        Err(_) => owner_of_command(bytes),
    }
}

/// Whether a store has this session: whose the store is, its blocks are.
///
/// # Errors
/// [`StoreError`] when the disk fails.
pub fn holds_session(store: &dyn ReadStore, sid: &SessionId) -> Result<bool, StoreError> {
    Ok(sessions::place(store, sid)?.is_some())
}

/// A session in a store whose header says that it is of another shard than `expected`, if there is
/// one: under it lie records that do not belong there.
///
/// # Errors
/// [`StoreError`] when the disk fails or a header does not decode.
pub fn foreign_session(
    store: &dyn ReadStore,
    expected: ShardId,
) -> Result<Option<(SessionId, ShardId)>, StoreError> {
    let kind = headers(0).kind;
    for table in store
        .tables()?
        .into_iter()
        .filter(|table| table.kind == kind)
    {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rows = store.scan(table, from, Bound::Unbounded, PAGE)?;
            for (_, value) in &rows {
                let header = SessionHeader::from_bytes(value)
                    .map_err(|error| StoreError(format!("a session's header: {error}")))?;
                if header.body.shard != expected {
                    return Ok(Some((header.id(), header.body.shard)));
                }
            }
            match rows.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
    }
    Ok(None)
}
