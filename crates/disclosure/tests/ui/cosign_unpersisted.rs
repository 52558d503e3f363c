use bailiwick_disclosure::{LogFollower, MemberKeys, PersistedFollower};
use bailiwick_types::Timestamp;

fn cosign(follower: LogFollower, keys: &MemberKeys, now: Timestamp) {
    let _ = follower.cosign(keys, now);
    let _ = PersistedFollower(follower);
}

fn main() {}
