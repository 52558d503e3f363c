//! The replicated state machines: one jurisdiction's shard, and the cluster's directory.
