//! The subset search of docs/cryptography.md section 9: which answers open one record.
//!
//! "For subsets of t responders per role (at most 35 x 35; last good pair first) take each v from
//! the lowest slot in A and the subset, derive k, open, recompute rho and alpha; accept only if alpha
//! matches." Subsets that give the same values are tried once, so that with honest answers there is
//! one try; the bound stays.

use bailiwick_envelope::release::RecordValues;
use bailiwick_types::{Digest, Role, Slot, SlotMask, Threshold};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::opening::{OpeningError, SelectedRecord};
use crate::prf::RecordKdf;
use crate::sealing::{RHO, decrypt, record_info};

/// All values of one role in canonical order, 32 bytes each.
pub(crate) type RoleValues = Zeroizing<Vec<u8>>;

/// One role's answers for one record.
pub(crate) struct Side<'a> {
    threshold: Threshold,
    sets: Vec<SlotMask>,
    /// Answers that hold exactly the values a slot must give.
    answers: Vec<(Slot, &'a RecordValues)>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(
        threshold: Threshold,
        answers: impl Iterator<Item = (Slot, &'a RecordValues)>,
    ) -> Self {
        let sets = threshold.holder_sets();
        let whole = |(slot, values): &(Slot, &RecordValues)| {
            let own = sets.iter().copied().filter(|set| set.contains(*slot));
            values.values.iter().map(|(set, _)| *set).eq(own)
        };
        let answers = answers.filter(whole).collect();
        Self {
            threshold,
            sets,
            answers,
        }
    }

    pub(crate) fn check_enough(&self, index: u32, role: Role) -> Result<(), OpeningError> {
        // At most seven slots.
        let (have, need) = (self.answers.len() as u8, self.threshold.needed());
        if have >= need {
            return Ok(());
        }
        Err(OpeningError::NotEnough {
            index,
            role,
            have,
            need,
        })
    }

    pub(crate) fn all_answered(&self) -> bool {
        self.answers.len() == usize::from(self.threshold.members())
    }

    /// Whether an answer differs anywhere from the values that opened the record.
    pub(crate) fn contradicts(&self, answer: &RecordValues, slot: Slot, good: &RoleValues) -> bool {
        let own = self.sets.iter().zip(good.as_chunks::<32>().0);
        let own = own.filter(|(set, _)| set.contains(slot));
        let given = answer.values.iter().map(|(set, value)| (set, value));
        !own.eq(given)
    }

    /// The distinct values that subsets of `t` responders give, `first`'s ahead of the others.
    fn candidates(&self, first: Option<SlotMask>) -> Vec<(SlotMask, RoleValues)> {
        let answered: SlotMask = self.answers.iter().map(|(slot, _)| *slot).collect();
        let subset =
            |mask: &SlotMask| mask.count() == self.threshold.needed() && mask.0 & !answered.0 == 0;
        let all = (1..=answered.0).map(SlotMask).filter(subset);
        let mut candidates: Vec<(SlotMask, RoleValues)> = Vec::new();
        for mask in first.filter(subset).into_iter().chain(all) {
            let values = self.values_of(mask);
            if !candidates.iter().any(|(_, seen)| *seen == values) {
                candidates.push((mask, values));
            }
        }
        candidates
    }

    /// "Take each v from the lowest slot in A and the subset."
    fn values_of(&self, subset: SlotMask) -> RoleValues {
        let mut values = Zeroizing::new(Vec::with_capacity(32 * self.sets.len()));
        for set in &self.sets {
            let chosen = SlotMask(set.0 & subset.0);
            let value = self
                .answers
                .iter()
                .find(|(slot, _)| chosen.contains(*slot))
                .and_then(|(_, answer)| answer.values.iter().find(|(given, _)| given == set));
            let (_, value) = value.expect("any t slots meet every set, and answers are whole");
            values.extend_from_slice(value);
        }
        values
    }
}

/// What opened a record.
pub(crate) struct Found {
    /// The subsets, workflow first.
    pub(crate) subsets: [SlotMask; 2],
    /// The values, workflow first.
    pub(crate) values: [RoleValues; 2],
    /// rho and the padded plaintext.
    pub(crate) opened: Zeroizing<Vec<u8>>,
}

/// The search for one record.
pub(crate) struct Search<'a> {
    pub(crate) x: Digest,
    pub(crate) record: &'a SelectedRecord,
}

impl Search<'_> {
    /// What opens the record, and how many pairs were tried.
    pub(crate) fn run(
        &self,
        workflow: &Side<'_>,
        legal_review: &Side<'_>,
        first: Option<[SlotMask; 2]>,
    ) -> (Option<Found>, u64) {
        let kdf = RecordKdf::new(&self.record.label.sid.0);
        let lefts = workflow.candidates(first.map(|pair| pair[0]));
        let rights = legal_review.candidates(first.map(|pair| pair[1]));
        let mut tried = 0;
        // Both roles' values at most, and SHA-256's padding: growing would leave a copy behind.
        let mut values = Zeroizing::new(Vec::with_capacity(2 * 35 * 32 + 2 * 64));
        for (left_subset, left) in &lefts {
            for (right_subset, right) in &rights {
                tried += 1;
                values.clear();
                values.extend_from_slice(left);
                values.extend_from_slice(right);
                let key = kdf.key(&mut values, &record_info(&self.x));
                if let Some(opened) = self.open_with(&key) {
                    let found = Found {
                        subsets: [*left_subset, *right_subset],
                        values: [left.clone(), right.clone()],
                        opened,
                    };
                    return (Some(found), tried);
                }
            }
        }
        (None, tried)
    }

    /// "Open, recompute alpha; accept only if alpha matches": the AEAD alone commits to no key.
    pub(crate) fn open_with(&self, key: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        let opened = decrypt(key, &self.x, &self.record.ciphertext)?;
        let (rho, padded) = opened.split_first_chunk::<RHO>()?;
        let alpha = self.record.label.alpha(rho, padded);
        bool::from(alpha.0.ct_eq(&self.record.alpha.0)).then_some(opened)
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_types::SlotMask;

    use super::*;
    use crate::world::{World, by_hand, phone};

    /// GHASH's multiplication: bit 0 is the highest bit of the first byte (SP 800-38D section 6.3).
    fn times(x: u128, y: u128) -> u128 {
        let mut product = 0;
        let mut factor = y;
        for bit in (0..128).rev() {
            if x >> bit & 1 == 1 {
                product ^= factor;
            }
            let carry = factor & 1;
            factor = (factor >> 1) ^ (carry * (0xe1 << 120));
        }
        product
    }

    fn power(mut base: u128, mut exponent: u128) -> u128 {
        let mut product = 1 << 127;
        while exponent > 0 {
            if exponent & 1 == 1 {
                product = times(product, base);
            }
            base = times(base, base);
            exponent >>= 1;
        }
        product
    }

    fn blocks(bytes: &[u8]) -> Vec<u128> {
        bytes
            .as_chunks::<16>()
            .0
            .iter()
            .map(|block| u128::from_be_bytes(*block))
            .collect()
    }

    /// `H` and the key stream `E(k, J0), E(k, J0 + 1), ..` come out of the cipher itself: a message
    /// of zeros gives the stream, and two tags that differ in one block give a power of `H`.
    struct Cipher([u8; 32]);

    impl Cipher {
        fn tag_of(&self, x: &Digest, ciphertext: &[u8]) -> u128 {
            let stream = by_hand::encrypt(&self.0, x, &[0; 64]);
            let plain: Vec<u8> = ciphertext.iter().zip(&stream).map(|(a, b)| a ^ b).collect();
            let sealed = by_hand::encrypt(&self.0, x, &plain);
            assert_eq!(&sealed[..64], ciphertext);
            blocks(&sealed[64..])[0]
        }

        /// The tag's change when block `at` of four changes by one.
        fn slope(&self, x: &Digest, at: usize) -> u128 {
            let mut one = [0; 64];
            one[16 * at] = 0x80;
            self.tag_of(x, &[0; 64]) ^ self.tag_of(x, &one)
        }
    }

    /// Attack: AES-GCM commits to no key, so an edge makes one ciphertext that opens under two keys
    /// and lets the recipient's choice of members decide what it says. alpha accepts one of them.
    #[test]
    fn two_keys_one_ciphertext_rejected() {
        let mut world = World::new();
        let keys = by_hand::keys(&world);
        let header = by_hand::deal(&mut world, &keys, |_, _, _, key| key);
        let shown = phone(1, "33611111111").plaintext;
        let mut record = by_hand::seal(&header, &keys, &shown);
        let x = record.label.record_input(&record.alpha);
        let mut other_keys = keys.clone();
        other_keys.insert((Role::Workflow, SlotMask(0b011)), [0xee; 32]);
        let key_of = |keys| {
            let values = by_hand::all_values(&header, keys, &x);
            by_hand::record_key(&header.sid(), &values, &x)
        };
        let (first, second) = (Cipher(key_of(&keys)), Cipher(key_of(&other_keys)));

        // Block 0 lies in rho, which may be anything: it is chosen so that both tags are equal.
        let mut body: [u8; 64] = record.ciphertext[..64].try_into().expect("rho and a phone");
        let gap = first.tag_of(&x, &body) ^ second.tag_of(&x, &body);
        let slope = first.slope(&x, 0) ^ second.slope(&x, 0);
        let fix = times(gap, power(slope, u128::MAX - 1));
        let changed = blocks(&body)[0] ^ fix;
        body[..16].copy_from_slice(&changed.to_be_bytes());
        let tag = first.tag_of(&x, &body);
        assert_eq!(tag, second.tag_of(&x, &body), "one tag for two keys");
        record.ciphertext = [&body[..], &tag.to_be_bytes()].concat();
        let opened = |cipher: &Cipher| by_hand::decrypt(&cipher.0, &x, &record.ciphertext);
        let (one, two) = (
            opened(&first).expect("opens"),
            opened(&second).expect("opens too"),
        );
        assert_ne!(one, two);

        let search = Search { x, record: &record };
        assert!(search.open_with(&first.0).is_none() && search.open_with(&second.0).is_none());
        // Whichever reading alpha commits to, the other one stays refused.
        for (kept, refused, reading) in [(&first, &second, &one), (&second, &first, &two)] {
            let rho: [u8; 32] = reading[..32].try_into().expect("rho");
            let mut bound = record.clone();
            bound.alpha = bound.label.alpha(&rho, &reading[32..]);
            let search = Search { x, record: &bound };
            assert!(search.open_with(&kept.0).is_some());
            assert!(search.open_with(&refused.0).is_none());
        }
    }
}
