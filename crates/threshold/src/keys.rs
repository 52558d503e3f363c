//! A session key's life (docs/cryptography.md sections 5 and 6): commitment, chain, block key.
//!
//! ```text
//! z   = H("ctx", kid, nonce, R, A)            R and A are 0 for kap_rho
//! c   = mac(kap, com, z)       ch(0)   = mac(kap, root, z)
//! p(b) = mac(ch(b), blk, 0)    ch(b+1) = mac(ch(b), next, 0)
//! ```

use bailiwick_envelope::{HashTag, MacTag, hash};
use bailiwick_types::{Digest, KeyId, Role, SessionNonce, SlotMask};
use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use crate::prf::Prf;

/// `kap`: a key that an edge draws for one session. Zeroed on drop.
pub(crate) struct SessionKey(pub(crate) Zeroizing<[u8; 32]>);

impl SessionKey {
    /// A new key.
    pub(crate) fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill_bytes(key.as_mut());
        Self(key)
    }

    /// `c = mac(kap, com, z)`.
    pub(crate) fn commitment(&self, context: &Digest) -> [u8; 32] {
        Prf::new(&self.0).mac(MacTag::Commitment, &context.0)
    }

    /// The chain from `ch(0) = mac(kap, root, z)`.
    pub(crate) fn chain(&self, context: &Digest) -> Chain {
        let root = Prf::new(&self.0).mac(MacTag::Root, &context.0);
        Chain(Zeroizing::new(root))
    }
}

/// `z` of a session key; `None` is the context of `kap_rho`, which no holder set has.
pub(crate) fn context(kid: &KeyId, nonce: &SessionNonce, key: Option<(Role, SlotMask)>) -> Digest {
    let (role, holders) = key.map_or((0, 0), |(role, holders)| (role.code(), holders.0));
    hash(HashTag::Context, |e| {
        e.bytes(&kid.0).bytes(&nonce.0).u8(role).u8(holders);
    })
}

/// `ch(b)`: where a chain stands. Zeroed on drop.
pub(crate) struct Chain(Zeroizing<[u8; 32]>);

impl Chain {
    /// `p(b) = mac(ch(b), blk, 0)`, as the function under it.
    pub(crate) fn block_key(&self) -> Prf {
        let key = Zeroizing::new(Prf::new(&self.0).mac(MacTag::Block, &[0; 32]));
        Prf::new(&key)
    }

    /// Replaces `ch(b)` by `ch(b+1)`.
    pub(crate) fn advance(&mut self) {
        let mut next = Prf::new(&self.0).mac(MacTag::Next, &[0; 32]);
        self.0.copy_from_slice(&next);
        next.zeroize();
    }

    /// Another chain that stands at the same place; only members, who keep the root, need one.
    pub(crate) fn fork(&self) -> Self {
        Self(self.0.clone())
    }

    /// The key itself, for tests that play a thief of memory.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> [u8; 32] {
        *self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Attack: what is public, the commitment, is used to get at the chain, or one context's key
    /// material at another's. Every use of a session key has its own tag and context, so that no two
    /// derived values are equal, and a chain cannot be computed from a commitment taken as key.
    #[test]
    fn commitment_and_chain_independent() {
        let (kid, nonce) = (KeyId([1; 32]), SessionNonce([2; 16]));
        let sets = [0b011, 0b101, 0b110].map(SlotMask);
        let mut contexts = vec![context(&kid, &nonce, None)];
        for role in Role::ALL {
            contexts.extend(sets.map(|set| context(&kid, &nonce, Some((role, set)))));
        }
        let first = Some((Role::Workflow, sets[0]));
        contexts.push(context(&KeyId([3; 32]), &nonce, first));
        contexts.push(context(&kid, &SessionNonce([3; 16]), first));
        let key = SessionKey(Zeroizing::new([7; 32]));
        let mut derived = BTreeSet::new();
        let mut count = 0;
        for context in &contexts {
            let commitment = key.commitment(context);
            let from_commitment = SessionKey(Zeroizing::new(commitment)).chain(context);
            let mut chain = key.chain(context);
            derived.extend([commitment, from_commitment.bytes(), context.0]);
            for _ in 0..3 {
                derived.insert(chain.bytes());
                derived.insert(Prf::new(&chain.bytes()).mac(MacTag::Block, &[0; 32]));
                chain.advance();
            }
            count += 9;
        }
        assert_eq!(derived.len(), count);
    }
}
