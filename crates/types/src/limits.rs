//! Every limit that more than one crate must agree on, with its arithmetic.

use std::time::Duration;

/// Most records of a block: one block is one signed batch and one Raft entry. At about 300 bytes a
/// record a full block is 1.2 MB, well under [`MESSAGE_BYTES`].
pub const BLOCK_RECORDS: usize = 4096;
/// Most blocks of a session; block numbers are below this.
pub const SESSION_BLOCKS: u16 = 4096;
/// Longest session unless policy says otherwise.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Longest session that any policy may allow.
pub const SESSION_LIFETIME_CEILING: Duration = Duration::from_secs(60 * 60);
/// A batch is still taken this long after its session's expiry: it may have been under way.
pub const SESSION_GRACE: Duration = Duration::from_secs(30);
/// A leader's stamp may be this far ahead of a follower's clock.
pub const STAMP_LEAD: Duration = Duration::from_secs(10);
/// A header's times may differ this much from the leader's stamp.
pub const HEADER_CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Sessions that one edge may open in a shard within [`SESSION_LIFETIME`].
pub const SESSIONS_PER_LIFETIME: u32 = 240;
/// Records of one chunk of a partial.
pub const PARTIAL_CHUNK_RECORDS: usize = 1024;
/// Most records that one request may select; policy caps lie below.
pub const SELECTION_RECORDS: u32 = 100_000;
/// Most scope lines of one request.
pub const SCOPE_LINES: usize = 256;
/// Periods that one key certificate may carry: a month of days plus slack.
pub const CERTIFICATE_PERIODS: usize = 40;
/// Key certificates that one shard may keep live.
pub const LIVE_CERTIFICATES: usize = 64;
/// Longest text field (reference, legal basis, reason) in bytes.
pub const TEXT_BYTES: usize = 1024;
/// Longest order in bytes: 256 subjects of 128 bytes, a dozen texts of 1 KiB, and room to say by
/// field what is too much.
pub const ORDER_BYTES: usize = 128 * 1024;
/// Longest account id in bytes.
pub const ACCOUNT_BYTES: usize = 128;
/// Longest session header in bytes: 70 commitments of 36 bytes, 14 sealed parts of at most 20 keys
/// each (1,120-byte X-Wing ciphertext, 40 bytes a key) and the rest: under 48 KiB.
pub const HEADER_BYTES: usize = 48 * 1024;
/// A checkpoint that authorises a release is at most this old.
pub const CHECKPOINT_AGE: Duration = Duration::from_secs(10 * 60);
/// A certificate's leaf must lie under a cosigned checkpoint at most this old.
pub const CERTIFICATE_CHECKPOINT_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest message between processes: a full block plus its framing.
pub const MESSAGE_BYTES: usize = 4 << 20;
/// Longest partial chunk in bytes: 1,024 records of 35 values of 33 bytes, and framing.
pub const PARTIAL_BYTES: usize = 2 << 20;
/// Released partials stay in the spool at most this long.
pub const SPOOL_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Command outcomes kept for idempotency, per shard; the oldest goes first.
pub const REMEMBERED_COMMANDS: u64 = 65_536;
