//! What a home log says of its jurisdiction's partitions (docs/decisions/0008-partitions.md): how many
//! there are, how far each one's log has come, and the home group's own parts of selections.

use std::collections::{BTreeMap, VecDeque};

use bailiwick_envelope::leaf::LeafContent;
use bailiwick_envelope::partition::PartitionRoot;
use bailiwick_envelope::selection::Selection;
use bailiwick_types::{Digest, RequestId};
use serde::{Deserialize, Serialize};

/// Roots of one partition that are kept: a checkpoint is cosigned while the log grows on. One is
/// logged for a request, or every ten minutes.
pub const REMEMBERED_PARTITION_ROOTS: usize = 64;

/// A root of a partition's log as the home log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedRoot {
    /// The home log's leaf.
    pub index: u64,
    /// Leaves of the partition's log.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

/// Everything that a home log says of partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionFacts {
    /// How many there are, and the leaf that says so.
    count: Option<(u16, u64)>,
    roots: BTreeMap<u16, VecDeque<LoggedRoot>>,
    /// The home group's own parts, with their leaves.
    parts: BTreeMap<RequestId, (Selection, u64)>,
}

/// A leaf about partitions does not follow from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the leaf says of partitions what does not follow from the leaves before it")]
pub struct PartitionsError;

impl PartitionFacts {
    /// In how many groups the jurisdiction's records are.
    pub fn count(&self) -> u16 {
        self.count.map_or(1, |(count, _)| count)
    }

    /// The number of partitions as the first `size` leaves of the home log say it.
    pub fn count_at(&self, size: u64) -> u16 {
        let said = self.count.filter(|(_, index)| *index < size);
        said.map_or(1, |(count, _)| count)
    }

    /// The last root of a partition within the first `size` leaves of the home log.
    pub fn root_at(&self, partition: u16, size: u64) -> Option<LoggedRoot> {
        let mut roots = self.roots.get(&partition)?.iter().rev();
        roots.find(|root| root.index < size).copied()
    }

    /// The home group's own part of a request's selection, within the first `size` leaves.
    pub fn own_part(&self, request: RequestId, size: u64) -> Option<&Selection> {
        let (part, index) = self.parts.get(&request)?;
        (*index < size).then_some(part)
    }

    /// Whether the log says nothing of partitions: there is one.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Folds the leaf with this index.
    ///
    /// # Errors
    /// [`PartitionsError`] when the number is said twice, or a root does not extend the last one.
    pub(crate) fn fold(
        &mut self,
        index: u64,
        content: &LeafContent,
    ) -> Result<(), PartitionsError> {
        match content {
            LeafContent::Partitions { count } => match self.count {
                None => self.count = Some((*count, index)),
                Some(_) => return Err(PartitionsError),
            },
            LeafContent::PartitionRoot(root) => self.extend(index, root)?,
            LeafContent::Part(part) => {
                self.parts
                    .entry(part.request)
                    .or_insert_with(|| (part.clone(), index));
            }
            _ => {}
        }
        Ok(())
    }

    fn extend(&mut self, index: u64, root: &PartitionRoot) -> Result<(), PartitionsError> {
        if !(1..self.count()).contains(&root.partition) {
            return Err(PartitionsError);
        }
        let roots = self.roots.entry(root.partition).or_default();
        let before = roots.back().map(|before| (before.size, before.root));
        root.follows(before).map_err(|_| PartitionsError)?;
        roots.push_back(LoggedRoot {
            index,
            size: root.size,
            root: root.root,
        });
        while roots.len() > REMEMBERED_PARTITION_ROOTS {
            roots.pop_front();
        }
        Ok(())
    }
}
