//! What several tests share: a log over an ordered map, leaves and keys.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bailiwick_tlog::{Checkpoint, Hash, NodeReader, append, leaf_hash, root};
use ed25519_dalek::SigningKey;

pub(crate) const ORIGIN: &str = "log.example/j1";

/// A log whose nodes are in a map; it refuses to overwrite one.
#[derive(Default)]
pub(crate) struct MapLog {
    pub(crate) nodes: BTreeMap<(u8, u64), Hash>,
    pub(crate) size: u64,
}

impl MapLog {
    pub(crate) fn of(leaves: &[Hash]) -> Self {
        let mut log = Self::default();
        for leaf in leaves {
            log.push(*leaf);
        }
        log
    }

    pub(crate) fn push(&mut self, leaf: Hash) {
        for (level, index, hash) in append(self, self.size, leaf).unwrap() {
            let before = self.nodes.insert((level, index), hash);
            assert_eq!(before, None, "node ({level}, {index}) was written twice");
        }
        self.size += 1;
    }

    pub(crate) fn checkpoint(&self, size: u64) -> Checkpoint {
        Checkpoint::new(ORIGIN, size, root(self, size).unwrap()).unwrap()
    }
}

impl NodeReader for MapLog {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Option<Hash>, Infallible> {
        Ok(self.nodes.get(&(level, index)).copied())
    }
}

/// `count` different leaf hashes.
pub(crate) fn leaves(count: u64) -> Vec<Hash> {
    (0..count)
        .map(|index| leaf_hash(&index.to_be_bytes()))
        .collect()
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}
