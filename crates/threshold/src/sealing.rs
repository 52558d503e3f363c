//! Sealing one record under a block's keys (docs/cryptography.md section 6): the hot path.
//!
//! ```text
//! rho = mac(p_rho, rho, H("lp", l, pt'))     alpha = H("alpha", l, rho, pt')     x = H("x", l, alpha)
//! v   = mac(p, prf, x) for every (R, A)      k = HKDF-SHA256(sid, all v, E("rec", x))
//! ct  = AES-256-GCM(k, nonce 0, aad = x, rho || pt')
//! ```
//! A label is encoded once a block, by `bailiwick-envelope`; a record patches the fields that differ.
//! Every hash equals the one of [`bailiwick_envelope::label::Label`], which a test holds.

use aes_gcm::aead::{AeadInOut, Nonce};
use aes_gcm::{Aes256Gcm, KeyInit};
use bailiwick_envelope::block::{SEAL_OVERHEAD, SealedRecord};
use bailiwick_envelope::label::Label;
use bailiwick_envelope::{Canonical, HashTag, MacTag};
use bailiwick_types::{Category, Digest, Minute, RecordId, SubjectPseudonym};
use zeroize::Zeroizing;

use crate::prf::{Prf, RecordKdf, sha256, sha256_padding};

/// Bytes of rho at the head of a record's sealed plaintext.
pub(crate) const RHO: usize = 32;
const INFO: usize = 4 + 3 + 4 + 32;

/// `info = E("rec", x)` of a record's key.
pub(crate) fn record_info(x: &Digest) -> [u8; INFO] {
    let mut info = [0; INFO];
    info[3] = 3;
    info[4..7].copy_from_slice(b"rec");
    info[10] = 32;
    info[11..].copy_from_slice(&x.0);
    info
}

/// Bytes kept free before the label for what a hash puts there: at most the field of the longest tag
/// (`bailiwick/v1/alpha`, 22), an index (6) and the label's length (4).
const HEAD: usize = 32;

/// A block's label, encoded once, whose record fields are patched in place; and the hashes over it.
/// A hash's fields are written around the label, so that the label is never copied. The buffer holds
/// plaintexts and is zeroed on drop.
pub(crate) struct LabelHashes {
    buffer: Zeroizing<Vec<u8>>,
    /// Where the label ends.
    end: usize,
}

impl LabelHashes {
    /// The buffer of any label of the block.
    pub(crate) fn new(label: &Label) -> Self {
        let label = label.to_bytes();
        let end = HEAD + label.len();
        // rho or alpha, a padded plaintext or a hash, and SHA-256's padding: reserved, so that
        // growing never leaves a copy behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(end + 2 * (4 + 48) + 2 * 64));
        buffer.resize(HEAD, 0);
        buffer.extend_from_slice(&label);
        Self { buffer, end }
    }

    /// Makes it the label of one record.
    pub(crate) fn set(&mut self, index: u16, fields: &RecordFields) {
        // From the front: sid 4 + 32, block 4 + 2, index 4 + 2. From the back: minute 4 + 4,
        // category 4 + 1, subject 4 + 16, pseudonym version 4 + 2, record 4 + 16.
        let label = &mut self.buffer[HEAD..self.end];
        let end = label.len();
        let mut put = |at: usize, bytes: &[u8]| {
            label[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(46, &index.to_be_bytes());
        put(end - 4, &fields.minute.0.to_be_bytes());
        put(end - 9, &[fields.category.code()]);
        put(end - 29, &fields.subject.0);
        put(end - 55, &fields.record.0);
    }

    /// `H(tag, [index,] l, first, second)`.
    fn hash(&mut self, tag: HashTag, index: Option<u16>, first: &[u8], second: &[u8]) -> [u8; 32] {
        const PREFIX: &[u8] = b"bailiwick/v1/";
        let text = tag.as_str().as_bytes();
        let mut start = HEAD;
        let mut before = |bytes: &[u8]| {
            self.buffer[start - bytes.len()..start].copy_from_slice(bytes);
            start -= bytes.len();
        };
        before(&((self.end - HEAD) as u32).to_be_bytes());
        if let Some(index) = index {
            before(&index.to_be_bytes());
            before(&2u32.to_be_bytes());
        }
        before(text);
        before(PREFIX);
        before(&((PREFIX.len() + text.len()) as u32).to_be_bytes());
        self.buffer.truncate(self.end);
        for field in [first, second] {
            if !field.is_empty() {
                let length = field.len() as u32;
                self.buffer.extend_from_slice(&length.to_be_bytes());
                self.buffer.extend_from_slice(field);
            }
        }
        sha256_padding(&mut self.buffer, start)
    }
}

/// What differs between the labels of a block.
pub(crate) struct RecordFields {
    pub(crate) record: RecordId,
    pub(crate) subject: SubjectPseudonym,
    pub(crate) category: Category,
    pub(crate) minute: Minute,
}

/// The keys of one block: every `p(b)` in canonical order, and `p_rho(b)`.
pub(crate) struct BlockKeys {
    pub(crate) values: Vec<Prf>,
    pub(crate) rho: Prf,
}

/// Seals the records of one block. Its buffers hold plaintexts and values and are zeroed on drop.
pub(crate) struct BlockSealer<'a> {
    keys: &'a BlockKeys,
    kdf: RecordKdf,
    label: LabelHashes,
    values: Zeroizing<Vec<u8>>,
}

impl<'a> BlockSealer<'a> {
    /// A sealer for the block of this label.
    pub(crate) fn new(keys: &'a BlockKeys, label: &Label) -> Self {
        Self {
            keys,
            kdf: RecordKdf::new(&label.sid.0),
            label: LabelHashes::new(label),
            values: Zeroizing::new(Vec::with_capacity(32 * keys.values.len() + 2 * 64)),
        }
    }

    /// Seals a record and gives its leaf in the manifest.
    pub(crate) fn seal(
        &mut self,
        index: u16,
        fields: &RecordFields,
        padded: &[u8],
    ) -> (SealedRecord, [u8; 32]) {
        self.label.set(index, fields);
        let plaintext_hash = self.label.hash(HashTag::LabelPlaintext, None, padded, &[]);
        let rho = Zeroizing::new(self.keys.rho.mac(MacTag::Rho, &plaintext_hash));
        let alpha = self.label.hash(HashTag::Alpha, None, rho.as_ref(), padded);
        let x = Digest(self.label.hash(HashTag::RecordInput, None, &alpha, &[]));
        self.values.clear();
        for key in &self.keys.values {
            self.values.extend_from_slice(&key.mac(MacTag::Value, &x.0));
        }
        let key = self.kdf.key(&mut self.values, &record_info(&x));
        let ciphertext = encrypt(&key, &x, rho.as_ref(), padded);
        let ciphertext_hash = sha256(&ciphertext);
        let leaf = self
            .label
            .hash(HashTag::Leaf, Some(index), &alpha, &ciphertext_hash);
        let record = SealedRecord {
            record: fields.record,
            subject: fields.subject,
            category: fields.category,
            minute: fields.minute,
            alpha: Digest(alpha),
            ciphertext,
        };
        (record, leaf)
    }
}

/// `AES-256-GCM(k, nonce 0, aad = x, rho || pt')`. The nonce is fixed because a key seals one
/// record: its label and plaintext commitment are in `x`, of which the key is derived.
pub(crate) fn encrypt(key: &[u8; 32], x: &Digest, rho: &[u8], padded: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(padded.len() + SEAL_OVERHEAD);
    sealed.extend_from_slice(rho);
    sealed.extend_from_slice(padded);
    let tag = Aes256Gcm::new(key.into())
        .encrypt_inout_detached(
            &Nonce::<Aes256Gcm>::default(),
            &x.0,
            sealed.as_mut_slice().into(),
        )
        .expect("a padded plaintext is far below the AEAD's limit");
    sealed.extend_from_slice(&tag);
    sealed
}

/// Opens what [`encrypt`] sealed: rho and the padded plaintext.
pub(crate) fn decrypt(key: &[u8; 32], x: &Digest, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (body, tag) = sealed.split_last_chunk::<16>()?;
    let mut opened = Zeroizing::new(body.to_vec());
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(
            &Nonce::<Aes256Gcm>::default(),
            &x.0,
            opened.as_mut_slice().into(),
            tag.into(),
        )
        .ok()?;
    Some(opened)
}

#[cfg(test)]
mod tests {
    use bailiwick_envelope::block::{BlockPlace, block_leaves, block_root};
    use bailiwick_types::SessionId;
    use proptest::prelude::*;

    use super::*;
    use crate::merkle;
    use crate::world::by_hand;

    fn keys(seed: u8) -> BlockKeys {
        BlockKeys {
            values: (0..6).map(|at| Prf::new(&[seed ^ at; 32])).collect(),
            rho: Prf::new(&[seed; 32]),
        }
    }

    proptest! {
        /// The patched label, every hash over it, the ciphertext and the leaf are those of the
        /// envelope's definitions, for any record fields and any block.
        #[test]
        fn the_fast_path_equals_the_definitions(
            seed in any::<u8>(),
            index in any::<u16>(),
            block in any::<u16>(),
            edge in "[a-z][a-z0-9-]{0,63}",
            ids in any::<([u8; 16], [u8; 16])>(),
            minute in any::<u32>(),
            version in any::<u16>(),
            padded in any::<[u8; 32]>(),
            phone in any::<bool>(),
        ) {
            let category = if phone { Category::Phone } else { Category::Ip };
            let padded = [&padded[..], &padded[..]].concat()[..category.padded_length()].to_vec();
            let fields = RecordFields {
                record: RecordId(ids.0),
                subject: SubjectPseudonym(ids.1),
                category,
                minute: Minute(minute),
            };
            let place = BlockPlace {
                sid: SessionId([seed; 32]),
                block,
                jurisdiction: "FR".parse().expect("assigned"),
                edge: edge.parse().expect("a name"),
                pseudonym_version: version,
            };
            let keys = keys(seed);
            let other = SealedRecord {
                record: RecordId([0; 16]),
                subject: SubjectPseudonym([0; 16]),
                category: Category::Phone,
                minute: Minute(0),
                alpha: Digest([0; 32]),
                ciphertext: Vec::new(),
            };
            let mut sealer = BlockSealer::new(&keys, &other.label(&place, 0));
            let (record, leaf) = sealer.seal(index, &fields, &padded);

            let label = record.label(&place, index);
            prop_assert_eq!(&sealer.label.buffer[HEAD..sealer.label.end], &label.to_bytes()[..]);
            let rho = keys.rho.mac(MacTag::Rho, &label.plaintext_hash(&padded).0);
            prop_assert_eq!(record.alpha, label.alpha(&rho, &padded));
            let x = label.record_input(&record.alpha);
            let values: Vec<u8> =
                keys.values.iter().flat_map(|key| key.mac(MacTag::Value, &x.0)).collect();
            let key = by_hand::record_key(&place.sid, &values, &x);
            let expected = by_hand::encrypt(&key, &x, &[&rho[..], &padded].concat());
            prop_assert_eq!(&record.ciphertext, &expected);
            prop_assert_eq!(leaf, label.manifest_leaf_of(&record.alpha, &record.ciphertext).0);
        }
    }

    #[test]
    fn the_root_equals_the_definition_at_every_size() {
        let place = BlockPlace {
            sid: SessionId([1; 32]),
            block: 0,
            jurisdiction: "FR".parse().expect("assigned"),
            edge: "edge-1".parse().expect("a name"),
            pseudonym_version: 1,
        };
        let record = |number: usize| SealedRecord {
            record: RecordId([number as u8; 16]),
            subject: SubjectPseudonym([0; 16]),
            category: Category::Phone,
            minute: Minute(number as u32),
            alpha: Digest([0; 32]),
            ciphertext: vec![0; 80],
        };
        let records: Vec<SealedRecord> = (0..70).map(record).collect();
        for size in 1..=records.len() {
            let leaves = block_leaves(&place, &records[..size]);
            let expected = block_root(&place, &records[..size]);
            assert_eq!(Digest(merkle::root(leaves)), expected, "{size}");
        }
    }
}
