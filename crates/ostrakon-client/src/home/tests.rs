use std::os::unix::fs::symlink;

use super::*;

fn open(dir: &Path) -> Home {
    Home::open(&dir.join("home")).unwrap()
}

#[test]
fn keys_and_state_survive_and_only_their_owner_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let home = open(dir.path());
    assert!(home.read_keys().unwrap().is_none());
    let lock = home.lock().unwrap();
    let drawn = home.draw_keys(&lock).unwrap();
    let again = open(dir.path()).draw_keys(&lock).unwrap();
    assert_eq!(drawn.signing.verify_key(), again.signing.verify_key());
    home.write_state(&lock, &State::default()).unwrap();
    for name in ["", KEYS, STATE, LOCK] {
        let mode = home.dir.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    assert!(open(dir.path()).read_state().unwrap().membership.is_none());
}

#[test]
fn what_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let home = open(dir.path());
    let lock = home.lock().unwrap();
    home.draw_keys(&lock).unwrap();
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    chmod(&home.dir.join(KEYS), 0o640).unwrap();
    let error = home.read_keys().err().unwrap();
    assert_eq!(
        error.to_string(),
        "other users have access to the device keys in the home folder"
    );
    chmod(&home.dir, 0o750).unwrap();
    assert!(matches!(
        Home::open(&home.dir),
        Err(HomeError::OpenToOthers { .. })
    ));
}

#[test]
fn damage_and_other_versions_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let home = open(dir.path());
    let lock = home.lock().unwrap();
    let good = State::default().to_bytes();
    for cut in 0..good.len() {
        let error = State::from_bytes(&good[..cut]).err().unwrap();
        assert!(matches!(error, HomeError::State(_)), "{error:?}");
    }
    let mut newer = good.clone();
    newer[1] = 2;
    assert!(matches!(
        State::from_bytes(&newer),
        Err(HomeError::Version(2))
    ));
    durable::replace(&home.dir, KEYS, b"\x07short").unwrap();
    assert!(matches!(home.read_keys(), Err(HomeError::Keys(_))));
    drop(lock);
}

#[test]
fn an_interrupted_write_leaves_the_old_state_and_does_not_stop_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let home = open(dir.path());
    let lock = home.lock().unwrap();
    home.write_state(&lock, &State::default()).unwrap();
    // A rest with a bad mode, or a link that would lead the write elsewhere.
    let elsewhere = dir.path().join("elsewhere");
    symlink(&elsewhere, home.dir.join("state.new")).unwrap();
    home.write_state(&lock, &State::default()).unwrap();
    assert!(!elsewhere.exists());
    assert!(home.read_state().is_ok());
}

#[test]
fn one_process_at_a_time_changes_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let home = open(dir.path());
    let lock = home.lock().unwrap();
    let other = File::open(home.dir.join(LOCK)).unwrap();
    let attempt = || flock(&other, FlockOperation::NonBlockingLockExclusive);
    assert!(attempt().is_err());
    drop(lock);
    assert!(attempt().is_ok());
}

#[test]
fn a_backup_key_that_was_not_made_in_time_is_forgotten() {
    let kss_id = ostrakon_types::KssId::from_digest(ostrakon_types::Digest::from_bytes([7; 32]));
    let backup = |counter| KnownBackup {
        kss_id,
        generation: ostrakon_shards::generation::Generation { epoch: 0, counter },
    };
    let at = ostrakon_types::UnixMillis;
    let mut people = state::People::default();
    people.note_made(backup(1));
    for (counter, until) in [(2, at(200)), (3, at(300))] {
        let backup = backup(counter);
        people
            .ceremonies_mut()
            .note_unheard(UnheardBackup { backup, until });
    }
    let unheard = |people: &state::People| {
        let unheard = people.ceremonies.iter().flat_map(|past| &past.unheard);
        let counters = unheard.map(|unheard| unheard.backup.generation.counter);
        counters.collect::<Vec<_>>()
    };
    // While they can be made, the server's word on an older one settles nothing.
    assert!(!people.is_news(backup(1), at(199)));
    people.note_newest(backup(1), at(199));
    assert_eq!(unheard(&people), [2, 3]);
    assert!(people.is_news(backup(1), at(200)));
    people.note_newest(backup(1), at(200));
    assert_eq!(unheard(&people), [3]);
    people.note_newest(backup(3), at(201));
    assert!(unheard(&people).is_empty());
    assert_eq!(people.backups.unwrap()[0].generation.counter, 3);
}
