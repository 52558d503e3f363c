use bailiwick_disclosure::{MemberKeys, ReleaseOrder};
use rand::rngs::StdRng;

fn twice(order: ReleaseOrder, keys: &MemberKeys, rng: &mut StdRng) {
    let _ = order.execute(keys, rng);
    let _ = order.execute(keys, rng);
}

fn main() {}
