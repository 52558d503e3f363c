//! Partitions of a jurisdiction (docs/decisions/0008-partitions.md): where a subject lives, and how
//! far a further partition's log has come, as the home log says.
//!
//! ```text
//! partition = floor(h * N / 2^64), h = the first 8 bytes, big-endian, of H("partition", pseudonym)
//! root leaf = E(partition, size, root, consistency proof from the last root leaf of the partition)
//! ```

use bailiwick_tlog::{Hash, VerifyError, empty_root, verify_consistency};
use bailiwick_types::{Digest, SubjectPseudonym};

use crate::canonical_serde;
use crate::encoding::{Canonical, DecodeError, Decoder, Encoder};
use crate::tags::{HashTag, hash};

/// Most partitions of a jurisdiction, the home group among them.
pub const PARTITIONS: u16 = 64;
/// Most hashes of a consistency proof: one per level of a tree of 2^64 leaves, and one.
const PROOF_HASHES: usize = 65;

/// The partition of a subject in a jurisdiction of so many; 0 when there is one.
pub fn partition_of(subject: &SubjectPseudonym, count: u16) -> u16 {
    if count <= 1 {
        return 0;
    }
    let digest = hash(HashTag::Partition, |e| {
        e.bytes(&subject.0);
    });
    let (head, _) = digest.0.split_first_chunk::<8>().expect("32 bytes");
    // The product is below count * 2^64, so that its upper half is below count.
    ((u128::from(u64::from_be_bytes(*head)) * u128::from(count)) >> 64) as u16
}

/// The root of a further partition's log at a size, with the proof that it extends the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRoot {
    /// The partition, from 1.
    pub partition: u16,
    /// Leaves of its log.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// RFC 6962 consistency proof from the size of the last root; empty for the first.
    pub proof: Vec<Digest>,
}

impl PartitionRoot {
    /// Verifies that this tree extends the one before: its size and root, or none.
    ///
    /// # Errors
    /// [`VerifyError`] when it does not, or is no larger.
    pub fn follows(&self, before: Option<(u64, Digest)>) -> Result<(), VerifyError> {
        let (old_size, old_root) = match before {
            Some((size, root)) => (size, root.0),
            None => (0, empty_root()),
        };
        let new_size = self.size;
        if new_size <= old_size {
            return Err(VerifyError::OldLarger { old_size, new_size });
        }
        let proof: Vec<Hash> = self.proof.iter().map(|hash| hash.0).collect();
        verify_consistency(old_size, &old_root, new_size, &self.root.0, &proof)
    }
}

impl Canonical for PartitionRoot {
    fn encode(&self, encoder: &mut Encoder) {
        encoder
            .u16(self.partition)
            .u64(self.size)
            .digest(&self.root)
            .list(|e| {
                for hash in &self.proof {
                    e.digest(hash);
                }
            });
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let partition = decoder.u16("root.partition")?;
        if !(1..PARTITIONS).contains(&partition) {
            return Err(DecodeError::value("root.partition", "not 1 to 63"));
        }
        let size = decoder.u64("root.size")?;
        let root = decoder.digest("root.root")?;
        let mut hashes = decoder.list("root.proof")?;
        let mut proof = Vec::new();
        while !hashes.is_empty() {
            if proof.len() == PROOF_HASHES {
                return Err(DecodeError::value("root.proof", "more than 65 hashes"));
            }
            proof.push(hashes.digest("root.proof")?);
        }
        Ok(Self {
            partition,
            size,
            root,
            proof,
        })
    }
}

canonical_serde!(PartitionRoot);

#[cfg(test)]
mod tests {
    use bailiwick_tlog::MerkleTree;

    use super::*;

    /// Computed by hand with another SHA-256: a subject must never move.
    #[test]
    fn a_subjects_partition_is_fixed() {
        let counting: [u8; 16] = std::array::from_fn(|at| at as u8);
        let vectors = [
            ([0; 16], [0, 0, 1, 3, 28]),
            ([1; 16], [0, 0, 0, 2, 18]),
            (counting, [0, 1, 2, 7, 62]),
            ([255; 16], [0, 0, 0, 0, 7]),
        ];
        for (subject, partitions) in vectors {
            for (count, partition) in [1, 2, 3, 8, 64].into_iter().zip(partitions) {
                let got = partition_of(&SubjectPseudonym(subject), count);
                assert_eq!(got, partition, "{subject:?} of {count}");
            }
        }
    }

    #[test]
    fn every_partition_gets_its_share() {
        let mut shares = [0_u32; 3];
        for number in 0..3000_u32 {
            let mut subject = [0; 16];
            subject[..4].copy_from_slice(&number.to_be_bytes());
            let partition = partition_of(&SubjectPseudonym(subject), 3);
            shares[usize::from(partition)] += 1;
        }
        for share in shares {
            assert!((900..1100).contains(&share), "{shares:?}");
        }
    }

    fn tree(leaves: u8) -> MerkleTree {
        MerkleTree::from_leaves((0..leaves).map(|leaf| [leaf; 32]).collect())
    }

    fn root(size: u8, proof: Vec<Digest>) -> PartitionRoot {
        PartitionRoot {
            partition: 1,
            size: u64::from(size),
            root: Digest(tree(size).root()),
            proof,
        }
    }

    #[test]
    fn a_root_extends_the_one_before_or_is_refused() {
        let first = root(2, Vec::new());
        first.follows(None).expect("the first root");
        let before = Some((2, first.root));
        // The third leaf is the sibling of the first two.
        let third = Digest([2; 32]);
        let second = root(3, vec![third]);
        second.follows(before).expect("one more leaf");
        let refused = |root: &PartitionRoot, why: &str| {
            assert!(root.follows(before).is_err(), "{why}");
        };
        refused(&first, "no larger");
        refused(&root(1, Vec::new()), "smaller");
        refused(&root(3, Vec::new()), "no proof");
        let mut forked = second.clone();
        forked.root.0[0] ^= 1;
        refused(&forked, "another tree");
        assert!(root(2, vec![third]).follows(None).is_err(), "too long");
    }

    #[test]
    fn a_root_leaf_is_canonical() {
        let root = root(3, vec![Digest([2; 32])]);
        assert_eq!(
            PartitionRoot::from_bytes(&root.to_bytes()),
            Ok(root.clone())
        );
        for partition in [0, PARTITIONS] {
            let bad = PartitionRoot {
                partition,
                ..root.clone()
            };
            assert!(PartitionRoot::from_bytes(&bad.to_bytes()).is_err());
        }
        let long = PartitionRoot {
            proof: vec![Digest([2; 32]); PROOF_HASHES + 1],
            ..root
        };
        assert!(PartitionRoot::from_bytes(&long.to_bytes()).is_err());
    }
}
