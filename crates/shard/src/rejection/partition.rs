//! Why a command about partitions is rejected.

use serde::{Deserialize, Serialize};

use super::Fault;

/// Why a command about partitions is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PartitionRejection {
    /// The number of partitions is wrong, or another one than before, or sessions were opened.
    #[error("partitions: {count} is not their number here, or it can no longer be set")]
    Count {
        /// The number given.
        count: u16,
    },
    /// Only a further partition takes the home group's state over.
    #[error("this shard is no further partition: it takes nothing over")]
    NotFurther,
    /// A record's subject lives in another partition.
    #[error("record {index}: its subject belongs to another partition")]
    Subject {
        /// The record's index in its block.
        index: u16,
    },
    /// A root does not extend the last one of its partition, or does not cover a part.
    #[error("partition {partition}: its root does not extend the last one, or covers too little")]
    Root {
        /// The partition.
        partition: u16,
    },
    /// A part is not of this request, not of this partition, or of no period known here.
    #[error("partition {partition}: its part of the selection is not of this request")]
    Part {
        /// The partition.
        partition: u16,
    },
    /// The parts are not of exactly the partitions that the scope touches, in order.
    #[error("parts: not exactly the partitions that the scope touches")]
    Touched,
    /// The parts do not make up the selection.
    #[error("parts: they do not make up the selection")]
    Whole,
    /// A request of this jurisdiction comes with the parts of its selection.
    #[error("parts: a request of a partitioned jurisdiction comes with its parts")]
    Missing,
}

impl PartitionRejection {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Count { .. } => "partition-count",
            Self::NotFurther => "partition-not-further",
            Self::Subject { .. } => "partition-subject",
            Self::Root { .. } => "partition-root",
            Self::Part { .. } => "partition-part",
            Self::Touched => "partition-touched",
            Self::Whole => "partition-whole",
            Self::Missing => "partition-parts-missing",
        }
    }

    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Subject { .. } => Fault::Edge,
            // Another request was logged meanwhile: the node asks again.
            Self::Root { .. } => Fault::Nobody,
            _ => Fault::Node,
        }
    }
}
