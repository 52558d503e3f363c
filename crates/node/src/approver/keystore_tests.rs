//! What an approver's data folder gives to whoever reads it, before and after an erasure.

use std::path::Path;

use bailiwick_disclosure::{DraftKeys, MemberKeys};
use bailiwick_envelope::certificate::{CertificateBody, Committee, KeyCertificate, Period, kid};
use bailiwick_envelope::{SUITE, SigningKey};
use bailiwick_types::{CertificateId, Digest, Jurisdiction, Threshold, Timestamp};

use super::keystore::{Keystore, KeystoreError};
use crate::files;
use crate::key_rest::{self, KeyState};
use crate::wrapping::{KeyFolder, MasterSource, Rest, Wrapping};

const DRAFT: Digest = Digest([6; 32]);

fn france() -> Jurisdiction {
    "FR".parse().expect("a jurisdiction")
}

/// A certificate of two periods; the key store does not look at its members.
fn certificate() -> KeyCertificate {
    let period = |day: u64| Period {
        not_before: Timestamp(day),
        not_after: Timestamp(day + 1),
        erase_by: Timestamp(day + 2),
    };
    let committee = || Committee {
        threshold: Threshold::new(2, 3).expect("2 of 3"),
        members: Vec::new(),
    };
    KeyCertificate {
        body: CertificateBody {
            suite: SUITE,
            jurisdiction: france(),
            not_before: Timestamp(0),
            not_after: Timestamp(2),
            periods: vec![period(0), period(1)],
            workflow: committee(),
            legal_review: committee(),
        },
        signatures: Vec::new(),
    }
}

fn held(store: &Keystore) -> Result<Vec<usize>, KeystoreError> {
    let identity = SigningKey::from_bytes(&[1; 32]);
    let mut keys = MemberKeys::new("w1".parse().expect("a name"), identity);
    store.load(france(), &mut keys)?;
    let id = certificate().body.id();
    let holds = |period: &usize| keys.holds(france(), kid(&id, *period as u16));
    Ok((0..2).filter(holds).collect())
}

/// Offers, signs and adopts, as the attendant does.
fn adopt(store: &Keystore) -> (DraftKeys, CertificateId) {
    let keys = DraftKeys::generate(&mut rand::rng(), 2);
    store.keep_draft(france(), DRAFT, &keys).expect("kept");
    let certificate = certificate();
    let id = certificate.body.id();
    store.name_draft(france(), DRAFT, id).expect("named");
    let again = store.draft_of(france(), id).expect("read").expect("there");
    assert_eq!(*again.to_bytes(), *keys.to_bytes());
    store.keep_certificate(&certificate, &keys).expect("kept");
    (keys, id)
}

/// Whether any file under a folder holds one of the seeds in clear.
fn in_clear(folder: &Path, keys: &DraftKeys) -> bool {
    let seeds = keys.to_bytes();
    let (seeds, _) = seeds.as_chunks::<32>();
    let entries = std::fs::read_dir(folder).expect("read");
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return in_clear(&path, keys);
        }
        let bytes = std::fs::read(path).expect("read");
        seeds
            .iter()
            .any(|seed| bytes.windows(32).any(|part| part == seed))
    })
}

/// With a master no seed rests in clear, at no moment of its life; a destroyed period is not loaded
/// again; and without the master the approver does not start as if it had no keys.
#[test]
fn keys_rest_wrapped_from_draft_to_erasure() {
    let folder = tempfile::tempdir().expect("a folder");
    let master = folder.path().join("master.key");
    files::write_secret(&master, &[2; 32]).expect("written");
    let source = MasterSource::KeyFile(master);
    let data = folder.path().join("data");
    let open = |source: Option<&MasterSource>| Keystore::open(&data, source).expect("opens");
    let store = open(Some(&source));
    let keys = DraftKeys::generate(&mut rand::rng(), 2);
    store
        .keep_draft(france(), Digest([7; 32]), &keys)
        .expect("kept");
    assert!(!in_clear(&data, &keys), "a draft's seeds");
    let (keys, id) = adopt(&store);
    assert!(!in_clear(&data, &keys), "a certificate's seeds");
    assert!(
        store.draft(france(), DRAFT).expect("read").is_none(),
        "no second copy"
    );
    assert!(store.is_spent(france(), DRAFT).expect("looked at"));
    assert!(
        !store
            .is_spent(france(), Digest([7; 32]))
            .expect("looked at")
    );
    assert_eq!(store.unfinished_drafts(france()).expect("counted"), 1);
    assert_eq!(held(&open(Some(&source))).expect("loads"), [0, 1]);
    let without = held(&open(None));
    assert!(
        matches!(without, Err(KeystoreError::Damaged { .. })),
        "{without:?}"
    );
    let wrapped = KeyFolder::new(&data, france());
    let first = Digest(kid(&id, 0).0);
    assert!(wrapped.destroy(first).expect("destroyed"));
    assert_eq!(wrapped.rest(first), Rest::Absent);
    assert_eq!(held(&open(Some(&source))).expect("loads"), [1]);
}

/// Without a master keys rest as before, and a draft leaves no second copy either.
#[test]
fn plain_keys_are_kept_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Keystore::open(folder.path(), None).expect("opens");
    let (keys, _) = adopt(&store);
    assert!(in_clear(folder.path(), &keys), "what this choice means");
    assert!(store.draft(france(), DRAFT).expect("read").is_none());
    assert_eq!(held(&store).expect("loads"), [0, 1]);
}

/// Wrapping an approver's folder after the fact: nothing rests in clear any more, everything is loaded
/// as before, and the audit says how each period rests, and what is overdue.
#[test]
fn a_plain_folder_is_wrapped_and_audited() {
    let folder = tempfile::tempdir().expect("a folder");
    let master = folder.path().join("master.key");
    files::write_secret(&master, &[2; 32]).expect("written");
    let source = MasterSource::KeyFile(master);
    let data = folder.path().join("data");
    let (keys, id) = adopt(&Keystore::open(&data, None).expect("opens"));
    let states = |now: u64| {
        let audit = key_rest::audit(&data, Timestamp(now)).expect("looked at");
        assert!(audit.drafts.is_empty());
        let state = |rest: &key_rest::PeriodRest| (rest.state, rest.overdue);
        audit.periods.iter().map(state).collect::<Vec<_>>()
    };
    assert_eq!(states(1), [(KeyState::Plain, false); 2]);
    let plain = key_rest::plain_files(&data).expect("found");
    let [file] = &plain[..] else {
        panic!("{plain:?}");
    };
    let mut rng = rand::rng();
    let wrapping = Wrapping::open(&data, &source, &mut rng).expect("opens");
    assert_eq!(
        key_rest::wrap(&data, file, &wrapping, &mut rng).expect("wrapped"),
        3
    );
    assert!(!in_clear(&data, &keys));
    assert_eq!(key_rest::plain_files(&data).expect("found"), []);
    let store = Keystore::open(&data, Some(&source)).expect("opens");
    assert_eq!(held(&store).expect("loads"), [0, 1]);
    assert_eq!(
        states(2),
        [(KeyState::Wrapped, true), (KeyState::Wrapped, false)]
    );
    let wrapped = KeyFolder::new(&data, france());
    wrapped.destroy(Digest(kid(&id, 0).0)).expect("destroyed");
    assert_eq!(
        states(9),
        [(KeyState::Absent, false), (KeyState::Wrapped, true)]
    );
}
