//! Snapshots to keep, streamed from any voter.

use bailiwick_types::ShardId;
use serde::{Deserialize, Serialize};

/// `Operation::SaveSnapshot`, a stream's header. The answer is the snapshot file's bytes in order,
/// in messages; a stream that ends in order has sent all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaveSnapshot {
    /// The shard; none for the directory.
    pub shard: Option<ShardId>,
    /// Ask a quorum first, so that everything acknowledged before is in it; only a leader can.
    pub linearizable: bool,
    /// The last cosigned checkpoint that the caller knows, as a signed note; it is kept in the file,
    /// and a node whose log is shorter refuses.
    pub checkpoint: Option<String>,
}
