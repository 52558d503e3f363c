//! Raft groups on shared connections: openraft glue, group hosting, linearizable reads.
