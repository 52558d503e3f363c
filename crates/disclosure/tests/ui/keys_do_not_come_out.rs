use bailiwick_disclosure::MemberKeys;
use bailiwick_types::{Jurisdiction, KeyId};

fn steal(keys: &MemberKeys, jurisdiction: Jurisdiction, kid: KeyId) {
    let _ = keys.signing_key();
    let _ = keys.period_key(jurisdiction, kid);
    let _ = &keys.periods;
}

fn main() {}
