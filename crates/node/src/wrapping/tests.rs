//! Keys wrapped, opened, and a destruction that is interrupted.

use super::*;

const SEED: [u8; 32] = [9; 32];
const ID: Digest = Digest([4; 32]);

struct Place {
    folder: tempfile::TempDir,
    source: MasterSource,
}

fn france() -> Jurisdiction {
    "FR".parse().expect("a jurisdiction")
}

/// A data folder with a key file beside it.
fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("master.key");
    files::write_secret(&path, &[1; 32]).expect("written");
    let source = MasterSource::KeyFile(path);
    Place { folder, source }
}

impl Place {
    fn open(&self) -> Wrapping {
        Wrapping::open(self.folder.path(), &self.source, &mut rand::rng()).expect("opens")
    }

    fn keys(&self) -> KeyFolder {
        KeyFolder::new(self.folder.path(), france())
    }
}

#[test]
fn a_wrapped_key_survives_a_restart_and_not_its_erasure() {
    let place = place();
    let keys = place.keys();
    assert_eq!(keys.rest(ID), Rest::Absent);
    keys.keep(&place.open(), ID, &SEED, &mut rand::rng())
        .expect("kept");
    let read = |place: &Place| keys.read(&place.open(), ID).expect("read");
    assert_eq!(read(&place).as_deref(), Some(&SEED));
    assert_eq!(keys.rest(ID), Rest::Wrapped);
    let backup = std::fs::read(keys.key_path(ID)).expect("a backup of the wrapped copy");
    for file in [keys.key_path(ID), keys.wrap_path(ID)] {
        let bytes = std::fs::read(file).expect("read");
        assert!(!bytes.windows(8).any(|part| part == &SEED[..8]), "in clear");
    }
    assert!(keys.destroy(ID).expect("destroyed"));
    assert_eq!((keys.rest(ID), read(&place)), (Rest::Absent, None));
    assert!(!keys.destroy(ID).expect("nothing is left"));
    // What may be backed up opens no more once the wrapping key is gone.
    std::fs::write(keys.key_path(ID), backup).expect("restored");
    assert_eq!((keys.rest(ID), read(&place)), (Rest::Erased, None));
}

/// A kill at every step of a destruction leaves a key that is whole, or one that no reader gets
/// and that the next call destroys.
#[test]
fn an_interrupted_destruction_goes_on() {
    let place = place();
    let (keys, wrapping) = (place.keys(), place.open());
    let (wrap, key) = (keys.wrap_path(ID), keys.key_path(ID));
    let gone = wrap.with_extension("gone");
    type Step = fn(&Path, &Path, &Path);
    let steps: [Step; 5] = [
        |_, _, _| {},
        |_, gone, _| std::fs::write(gone, [0; 93]).expect("overwritten"),
        |_, gone, _| std::fs::write(gone, []).expect("cut"),
        |_, gone, _| std::fs::remove_file(gone).expect("unlinked"),
        |_, _, key| std::fs::write(key, [0; 93]).expect("overwritten"),
    ];
    for done in 0..=steps.len() {
        let _ = keys.destroy(ID).expect("from the round before");
        keys.keep(&wrapping, ID, &SEED, &mut rand::rng())
            .expect("kept");
        if done > 0 {
            std::fs::rename(&wrap, &gone).expect("renamed away");
        }
        for step in &steps[..done] {
            step(&wrap, &gone, &key);
        }
        let read = keys.read(&wrapping, ID).expect("no reader fails");
        assert_eq!(read.is_some(), done == 0, "after {done} steps");
        assert!(keys.destroy(ID).expect("goes on"));
        assert!(!wrap.exists() && !gone.exists() && !key.exists());
    }
}

#[test]
fn a_file_in_anothers_place_does_not_open() {
    let place = place();
    let (keys, other) = (place.keys(), Digest([5; 32]));
    let wrapping = place.open();
    keys.keep(&wrapping, ID, &SEED, &mut rand::rng())
        .expect("kept");
    keys.keep(&wrapping, other, &[8; 32], &mut rand::rng())
        .expect("kept");
    let swap = |from: PathBuf, to: PathBuf| {
        let (old, new) = (std::fs::read(&to), std::fs::read(from));
        std::fs::write(&to, new.expect("read")).expect("written");
        (to, old.expect("read"))
    };
    for (from, to) in [
        (keys.key_path(other), keys.key_path(ID)),
        (keys.wrap_path(other), keys.wrap_path(ID)),
    ] {
        let (to, old) = swap(from, to);
        let read = keys.read(&wrapping, ID);
        assert!(
            matches!(read, Err(WrappingError::Damaged { .. })),
            "{read:?}"
        );
        std::fs::write(to, old).expect("put back");
    }
    let germany = KeyFolder::new(place.folder.path(), "DE".parse().expect("a jurisdiction"));
    for folder in ["keys", "wraps"] {
        std::fs::create_dir_all(germany.folder.join(folder)).expect("made");
    }
    std::fs::copy(keys.key_path(ID), germany.key_path(ID)).expect("copied");
    std::fs::copy(keys.wrap_path(ID), germany.wrap_path(ID)).expect("copied");
    assert!(germany.read(&wrapping, ID).is_err());
    assert!(keys.read(&wrapping, ID).is_ok());
}

#[test]
fn every_changed_byte_is_noticed() {
    let place = place();
    let (keys, wrapping) = (place.keys(), place.open());
    keys.keep(&wrapping, ID, &SEED, &mut rand::rng())
        .expect("kept");
    for path in [keys.key_path(ID), keys.wrap_path(ID)] {
        let good = std::fs::read(&path).expect("read");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).expect("written");
            assert!(keys.read(&wrapping, ID).is_err(), "byte {at}");
            std::fs::write(&path, &good[..at]).expect("written");
            assert!(keys.read(&wrapping, ID).is_err(), "cut at {at}");
        }
        std::fs::write(&path, &good).expect("put back");
    }
    assert_eq!(
        keys.read(&wrapping, ID).expect("read").as_deref(),
        Some(&SEED)
    );
}

#[test]
fn another_master_is_told_from_damage() {
    let place = place();
    drop(place.open());
    let path = place.folder.path().join("other.key");
    files::write_secret(&path, &[2; 32]).expect("written");
    let open = |source| Wrapping::open(place.folder.path(), &source, &mut rand::rng());
    let other = open(MasterSource::KeyFile(path));
    assert!(matches!(other, Err(WrappingError::OtherMaster(_))));
    let words = place.folder.path().join("passphrase");
    std::fs::write(&words, "correct horse battery\nsecond line\n").expect("written");
    let other = open(MasterSource::PassphraseFile(words.clone()));
    assert!(matches!(other, Err(WrappingError::OtherMaster(_))));
    std::fs::write(&words, "short\n").expect("written");
    let refused = passphrase(&words);
    assert!(matches!(refused, Err(WrappingError::Passphrase(_))));
    let absent = open(MasterSource::Credential("none".to_owned()));
    assert!(absent.is_err());
    std::fs::write(place.folder.path().join("wrapping"), b"junk").expect("written");
    let damaged = open(place.source.clone());
    assert!(matches!(damaged, Err(WrappingError::Damaged { .. })));
}

#[test]
fn a_passphrase_opens_what_it_wrapped() {
    let place = place();
    let words = place.folder.path().join("passphrase");
    std::fs::write(&words, "correct horse battery\n").expect("written");
    let data = place.folder.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let open = || {
        let source = MasterSource::PassphraseFile(words.clone());
        Wrapping::open(&data, &source, &mut rand::rng())
    };
    let sealed = open()
        .expect("opens")
        .seal("a", b"secret", &mut rand::rng());
    let again = open().expect("opens again");
    assert_eq!(
        again.unseal("a", &sealed).as_deref().map(Vec::as_slice),
        Some(&b"secret"[..])
    );
    assert_eq!(again.unseal("b", &sealed), None);
    std::fs::write(&words, "correct horse batterx\n").expect("written");
    assert!(matches!(open(), Err(WrappingError::OtherMaster(_))));
}

/// A `wrapping` file that asks for too much memory is refused before it is spent.
#[test]
fn costs_are_bounded() {
    let mut note = Note::draw(&MasterSource::Credential(String::new()), &mut rand::rng());
    assert!(Note::from_bytes(&note.to_bytes()).is_some());
    note.cost.0 = u32::MAX;
    assert!(Note::from_bytes(&note.to_bytes()).is_none());
    note.cost = (COST.0, 1000, 1);
    assert!(Note::from_bytes(&note.to_bytes()).is_none());
}
