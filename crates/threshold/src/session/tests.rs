//! A thief takes an edge's memory: what it can derive, and what it cannot.

use bailiwick_envelope::MacTag;
use bailiwick_envelope::header::VerifiedHeader;
use bailiwick_types::{Role, SlotMask};

use super::*;
use crate::opening::SelectedRecord;
use crate::prf::Prf;
use crate::world::{self, World, by_hand, selected, slot, some_records};

/// Everything secret that a sealer holds.
struct Snapshot {
    /// The keys of the block that the sealer stands at.
    current: Vec<Prf>,
    /// Every chain that can be walked on from here.
    chains: Vec<Chain>,
    next_block: u16,
}

fn snapshot(sealer: &Sealer) -> Snapshot {
    let copy = |keys: &Vec<Prf>| keys.iter().map(Prf::copy).collect();
    Snapshot {
        current: sealer
            .ratchet
            .keys
            .as_ref()
            .map(|keys| copy(&keys.values))
            .unwrap_or_default(),
        chains: sealer.ratchet.chains.iter().map(Chain::fork).collect(),
        next_block: sealer.next_block,
    }
}

impl Snapshot {
    /// The keys of the blocks `next_block ..` by walking on, the current ones first.
    fn reachable(&self) -> Vec<Vec<Prf>> {
        let mut chains: Vec<Chain> = self.chains.iter().map(Chain::fork).collect();
        let mut reachable = vec![self.current.iter().map(Prf::copy).collect::<Vec<Prf>>()];
        for _ in self.next_block..20 {
            let dealt = chains.len().saturating_sub(1);
            reachable.push(chains[..dealt].iter().map(Chain::block_key).collect());
            // A chain key might be mistaken for a block key somewhere: the thief tries that too.
            reachable.push(
                chains[..dealt]
                    .iter()
                    .map(|chain| Prf::new(&chain.bytes()))
                    .collect(),
            );
            chains.iter_mut().for_each(Chain::advance);
        }
        reachable
    }

    fn opens(&self, record: &SelectedRecord) -> bool {
        let keys = self.reachable();
        keys.iter()
            .any(|keys| by_hand::values_open(record, &values(keys, record).concat()))
    }
}

fn values(keys: &[Prf], record: &SelectedRecord) -> Vec<[u8; 32]> {
    let x = record.label.record_input(&record.alpha);
    keys.iter()
        .map(|key| key.mac(MacTag::Value, &x.0))
        .collect()
}

/// Three blocks of one session, with what the sealer held after the second.
fn stolen_after_two_blocks() -> (World, VerifiedHeader, Vec<SelectedRecord>, Snapshot) {
    let mut world = World::new();
    let (header, mut sealer) = world.session();
    let mut records = Vec::new();
    let mut stolen = None;
    for number in 0..3 {
        if number == 2 {
            stolen = Some(snapshot(&sealer));
        }
        let block = world.seal(&mut sealer, &some_records());
        records.push(selected(&header, &block, 0).remove(0));
    }
    (
        world,
        header,
        records,
        stolen.expect("taken before the third block"),
    )
}

/// Attack: the edge's memory is read after a block. From it the next block opens, which is known and
/// stated, and no earlier one; nothing of the dealt keys or earlier chain is left in it.
#[test]
fn edge_memory_after_block_cannot_open_past() {
    let (world, header, records, stolen) = stolen_after_two_blocks();
    assert!(
        stolen.opens(&records[2]),
        "the control: the thief's work is done right"
    );
    assert!(!stolen.opens(&records[0]) && !stolen.opens(&records[1]));
    let body = header.body();
    let dealt = world.rng.drawn[1..7].iter();
    for (commitment, key) in body.commitments.iter().zip(dealt) {
        let key: [u8; 32] = key.as_slice().try_into().expect("32 bytes");
        let context = context(
            &body.kid,
            &body.nonce,
            Some((commitment.role, commitment.holders)),
        );
        assert_eq!(
            bailiwick_envelope::mac(&key, MacTag::Commitment, &context.0),
            commitment.value
        );
        let mut past = SessionKey(Zeroizing::new(key)).chain(&context);
        for _ in 0..3 {
            let same = |chain: &Chain| chain.bytes() == past.bytes() || chain.bytes() == key;
            assert!(
                !stolen.chains.iter().any(same),
                "a chain key of the past is still there"
            );
            past.advance();
        }
    }
}

/// Attack: the edge's memory is read just after the session was opened. Neither dealt keys nor chain
/// roots are in it, so that no part or commitment can be made from it.
#[test]
fn dealt_keys_are_gone_when_the_session_is_open() {
    let mut world = World::new();
    let (_, sealer) = world.session();
    let stolen = snapshot(&sealer);
    let dealt: Vec<&Vec<u8>> = world
        .rng
        .drawn
        .iter()
        .filter(|draw| draw.len() == 32)
        .collect();
    // Six dealt keys and kap_rho; a part's encapsulation draws 64 bytes.
    assert_eq!(dealt.len(), 7);
    for chain in &stolen.chains {
        assert!(dealt.iter().all(|key| key.as_slice() != chain.bytes()));
    }
}

/// A snapshot reads on until its session ends, and no further: the next session heals.
#[test]
fn next_session_heals_after_snapshot() {
    let (mut world, _, records, stolen) = stolen_after_two_blocks();
    let (header, mut sealer) = world.session();
    for _ in 0..4 {
        let block = world.seal(&mut sealer, &some_records());
        let record = selected(&header, &block, 0).remove(0);
        assert!(!stolen.opens(&record));
    }
    assert!(stolen.opens(&records[2]));
}

/// Attack: the edge's memory and every member of one role together. The other role's keys of an
/// earlier block are in neither.
#[test]
fn edge_plus_role_cannot_open_past() {
    let (world, header, records, stolen) = stolen_after_two_blocks();
    for corrupt in Role::ALL {
        let sets = |role| {
            world
                .certificate
                .body()
                .committee(role)
                .threshold
                .holder_sets()
        };
        let first = match corrupt {
            Role::Workflow => 0,
            Role::LegalReview => sets(Role::Workflow).len(),
        };
        for record in &records[..2] {
            let x = record.label.record_input(&record.alpha);
            let mut honest: Vec<(SlotMask, [u8; 32])> = Vec::new();
            for number in 1..=3 {
                let mut part = world.part(&header, corrupt, slot(number));
                honest.extend(&part.values(record.label.block, &[(0, x)])[0].values);
            }
            honest.sort();
            honest.dedup();
            assert_eq!(honest.len(), sets(corrupt).len());
            for keys in stolen.reachable() {
                let mut all = values(&keys, record);
                for (at, (_, value)) in honest.iter().enumerate() {
                    all[first + at] = *value;
                }
                assert!(!by_hand::values_open(record, &all.concat()), "{corrupt}");
            }
        }
    }
}

/// The last block leaves no key behind, and the session is over.
#[test]
fn the_last_block_ends_the_keys() {
    let world = World::new();
    let mut parameters = world.parameters();
    parameters.max_block = 1;
    let (_, mut sealer) = open_session(&mut world::FixedRng::new(4), parameters).expect("valid");
    assert_eq!((sealer.next_block(), sealer.blocks_left()), (0, 1));
    sealer
        .seal(&some_records(), 1, world.now)
        .expect("the only block");
    assert!(sealer.is_exhausted(world.now));
    assert!(sealer.ratchet.keys.is_none() && sealer.ratchet.chains.is_empty());
    let refused = sealer.seal(&some_records(), 1, world.now);
    assert_eq!(refused, Err(SealError::Exhausted));
}

/// A bad plaintext, an empty or too large block, and a late one consume nothing.
#[test]
fn refused_blocks_consume_nothing() {
    let mut world = World::new();
    let (_, mut sealer) = world.session();
    let late = sealer.expires_at();
    assert_eq!(
        sealer.seal(&some_records(), 1, late),
        Err(SealError::Exhausted)
    );
    assert_eq!(sealer.seal(&[], 1, world.now), Err(SealError::Count(0)));
    let many: Vec<RecordToSeal> = (0..4097).map(|_| world::phone(1, "1")).collect();
    assert_eq!(
        sealer.seal(&many, 1, world.now),
        Err(SealError::Count(4097))
    );
    let bad = [world::phone(1, "1"), world::phone(2, "not digits")];
    let refused = sealer.seal(&bad, 1, world.now);
    assert!(
        matches!(refused, Err(SealError::Plaintext { index: 1, .. })),
        "{refused:?}"
    );
    assert_eq!(sealer.next_block(), 0);
    world.seal(&mut sealer, &some_records());
    assert_eq!(sealer.next_block(), 1);
}
