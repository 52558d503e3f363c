//! The spool: sealed partials on their way to the recipient, in memory, with a lifetime.
//!
//! Partials never enter Raft. An approver streams them to the leader; when that node is lost it
//! sends them again to the next. What lies here is sealed to the recipient.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bailiwick_envelope::release::{PartialPlace, SealedPartial};
use bailiwick_types::limits::{PARTIAL_BYTES, SPOOL_LIFETIME};
use bailiwick_types::{RequestId, Timestamp};
use tokio::sync::watch;

/// Most bytes of all partials held: room for 14 members' values of about 500,000 records.
pub const SPOOL_BYTES: usize = 512 << 20;

/// Why a partial is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// Longer than a partial can be: the approver's fault.
    #[error("a partial of {0} bytes is longer than any can be")]
    Oversize(usize),
    /// More partials than a member needs for a selection: the approver's fault.
    #[error("more partials than the selection needs")]
    TooMany,
    /// No room until others are delivered or expire.
    #[error("the spool is full")]
    Full,
}

#[derive(Default)]
struct Delivery {
    partials: Vec<SealedPartial>,
    last_put: Timestamp,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    deliveries: BTreeMap<RequestId, Delivery>,
}

/// All partials that this node holds.
pub struct Spool {
    held: Mutex<Held>,
    changed: watch::Sender<u64>,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Spool {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held
            .lock()
            .expect("nothing panics while it holds the spool")
    }

    /// Takes a partial, of at most `most` of one member for one request; one that is there already
    /// (same place) is dropped: its member repeats itself after a lost leader.
    ///
    /// # Errors
    /// [`SpoolError`] when it is too long or there is no room.
    pub fn put(
        &self,
        partial: SealedPartial,
        most: usize,
        now: Timestamp,
    ) -> Result<(), SpoolError> {
        let length = partial.sealed.len();
        if length > PARTIAL_BYTES {
            return Err(SpoolError::Oversize(length));
        }
        let mut held = self.held();
        expire(&mut held, now);
        if held.bytes + length > SPOOL_BYTES {
            return Err(SpoolError::Full);
        }
        let delivery = held.deliveries.entry(partial.place.request).or_default();
        delivery.last_put = now;
        if delivery
            .partials
            .iter()
            .any(|known| known.place == partial.place)
        {
            return Ok(());
        }
        let member = (partial.place.role, partial.place.slot);
        let of_member = delivery
            .partials
            .iter()
            .filter(|known| (known.place.role, known.place.slot) == member);
        if of_member.count() >= most {
            return Err(SpoolError::TooMany);
        }
        delivery.partials.push(partial);
        held.bytes += length;
        drop(held);
        self.changed.send_modify(|changes| *changes += 1);
        Ok(())
    }

    /// The partials of a request after the first `known`, at most `bytes` of them but at least one;
    /// and how many there are in all.
    pub fn read(&self, request: &RequestId, known: u32, bytes: usize) -> (Vec<SealedPartial>, u32) {
        let held = self.held();
        let Some(delivery) = held.deliveries.get(request) else {
            return (Vec::new(), 0);
        };
        let mut taken = 0;
        let wanted = delivery.partials.iter().skip(known as usize);
        let page = wanted
            .take_while(|partial| {
                let first = taken == 0;
                taken += partial.sealed.len();
                first || taken <= bytes
            })
            .cloned()
            .collect();
        (page, delivery.partials.len() as u32)
    }

    /// Whether a member's partial of this place is here.
    pub fn holds(&self, place: &PartialPlace) -> bool {
        let held = self.held();
        let delivery = held.deliveries.get(&place.request);
        delivery.is_some_and(|delivery| delivery.partials.iter().any(|p| p.place == *place))
    }

    /// Forgets a request's partials: it was delivered or recalled.
    pub fn remove(&self, request: &RequestId) {
        let mut held = self.held();
        if let Some(delivery) = held.deliveries.remove(request) {
            held.bytes -= length_of(&delivery);
        }
    }

    /// Wakes when a partial arrives.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.held().bytes
    }
}

fn length_of(delivery: &Delivery) -> usize {
    delivery
        .partials
        .iter()
        .map(|partial| partial.sealed.len())
        .sum()
}

fn expire(held: &mut Held, now: Timestamp) {
    let mut freed = 0;
    held.deliveries.retain(|_, delivery| {
        let alive = now.since(delivery.last_put) <= SPOOL_LIFETIME;
        if !alive {
            freed += length_of(delivery);
        }
        alive
    });
    held.bytes -= freed;
}

#[cfg(test)]
mod tests {
    use bailiwick_types::{KeyId, Role, Slot};

    use super::*;

    fn partial(request: u8, slot: u8, length: usize) -> SealedPartial {
        let place = PartialPlace {
            request: RequestId([request; 32]),
            leaf_index: 1,
            kid: KeyId([1; 32]),
            role: Role::Workflow,
            slot: Slot::new(slot).expect("a slot"),
            chunk: 0,
        };
        SealedPartial {
            place,
            sealed: vec![0; length],
        }
    }

    #[test]
    fn repeats_are_dropped_and_pages_continue() {
        let spool = Spool::default();
        for slot in [1, 1, 2] {
            spool
                .put(partial(1, slot, 10), 9, Timestamp(1))
                .expect("room");
        }
        let request = RequestId([1; 32]);
        let (page, held) = spool.read(&request, 0, 10);
        assert_eq!((page.len(), held), (1, 2));
        assert_eq!(spool.read(&request, 1, 10).0.len(), 1);
        assert_eq!(spool.bytes(), 20);
        spool.remove(&request);
        assert_eq!((spool.bytes(), spool.read(&request, 0, 10).1), (0, 0));
    }

    #[test]
    fn partials_expire_and_oversize_is_refused() {
        let spool = Spool::default();
        spool.put(partial(1, 1, 10), 9, Timestamp(0)).expect("room");
        let later = Timestamp(0)
            .plus(SPOOL_LIFETIME)
            .plus(std::time::Duration::from_secs(1));
        spool.put(partial(2, 1, 5), 9, later).expect("room");
        assert_eq!(spool.bytes(), 5);
        let long = partial(3, 1, PARTIAL_BYTES + 1);
        assert_eq!(
            spool.put(long, 9, later),
            Err(SpoolError::Oversize(PARTIAL_BYTES + 1))
        );
    }

    #[test]
    fn a_member_cannot_fill_the_spool() {
        let spool = Spool::default();
        for chunk in 0..3 {
            let mut next = partial(1, 1, 10);
            next.place.chunk = chunk;
            let taken = spool.put(next, 2, Timestamp(1));
            assert_eq!(
                taken,
                if chunk < 2 {
                    Ok(())
                } else {
                    Err(SpoolError::TooMany)
                }
            );
        }
        assert_eq!(
            spool.put(partial(1, 2, 10), 2, Timestamp(1)),
            Ok(()),
            "others are unaffected"
        );
    }
}
