use std::path::Path;

use ostrakon_shards::{
    generation::{History, SignedGeneration, Standing},
    sign::VerifyKey,
};

use super::state_file::{Mark, StateFile};

/// What the database and the file beside it say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// They fit, and are where they were written.
    Newest,
    /// They do not prove that the state is the newest.
    None(&'static str),
    /// The file proves that there was a newer database.
    Superseded(SignedGeneration),
}

/// Whether the home is a copy of the one in which the file was written.
pub(super) fn is_copied(kept: Option<&StateFile>, instance_key: &Path) -> bool {
    let written = kept.and_then(|kept| kept.mark);
    written.is_some() && written != Mark::of(instance_key)
}

/// Judges a state by what the database has said, and what the file says that it has said. In a database that
/// is shared, others may have said more since.
pub(super) fn of(
    history: Option<&History>,
    kept: Option<&StateFile>,
    copied: bool,
    root: &VerifyKey,
    shared: bool,
) -> Proof {
    let (history, kept) = match (history, kept) {
        // A new server, or one that was made before there were generations.
        (None, None) => return Proof::Newest,
        (None, Some(kept)) => return Proof::Superseded(kept.newest),
        (Some(_), None) => return Proof::None("there is no generation beside the database"),
        (Some(history), Some(kept)) => (history, kept),
    };
    let newest = history.newest();
    let fits = kept.newest == *newest || kept.next.as_ref() == Some(newest);
    if fits && copied {
        return Proof::None("these files are a copy");
    }
    if fits {
        return Proof::Newest;
    }
    match history.standing(&kept.newest, root) {
        Standing::Superseded => Proof::Superseded(kept.newest),
        // Other instances have gone on.
        Standing::Known if shared && !copied => Proof::Newest,
        Standing::Known => Proof::None("the generation beside the database is an older one"),
        Standing::Foreign => Proof::None("the generation beside the database is another server's"),
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_shards::sign::SigningKey;
    use ostrakon_types::UnixMillis;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn file(newest: SignedGeneration, next: Option<SignedGeneration>) -> StateFile {
        StateFile {
            newest,
            next,
            mark: None,
        }
    }

    /// Planted bug that this was seen to catch: `next` left out of what fits.
    #[test]
    fn database_and_file_prove_or_disprove_each_other() {
        let root = SigningKey::generate().unwrap();
        let key = root.verify_key();
        let first = SignedGeneration::begin(&root, 0, NOW).unwrap();
        let second = first.next(&root, NOW).unwrap();
        let third = second.next(&root, NOW).unwrap();
        let other = first.next(&root, NOW).unwrap();
        let old = History::new(&[first], &key).unwrap();
        let new = History::new(&[first, second], &key).unwrap();
        let judge = |history: Option<&History>, kept: Option<StateFile>, copied| {
            of(history, kept.as_ref(), copied, &key, false)
        };
        let kept = |newest| Some(file(newest, None));
        assert_eq!(judge(None, None, false), Proof::Newest);
        assert_eq!(judge(Some(&new), kept(second), false), Proof::Newest);
        // A crash at any step of writing the second one.
        let between = || Some(file(first, Some(second)));
        assert_eq!(judge(Some(&old), between(), false), Proof::Newest);
        assert_eq!(judge(Some(&new), between(), false), Proof::Newest);
        // The file is missing, is older, is of another server, or all files were copied.
        let foreign = SignedGeneration::begin(&SigningKey::generate().unwrap(), 0, NOW).unwrap();
        let doubts = [
            judge(Some(&new), None, false),
            judge(Some(&new), kept(first), false),
            judge(Some(&new), kept(foreign), false),
            judge(Some(&new), kept(second), true),
            judge(Some(&new), between(), true),
        ];
        for doubt in doubts {
            assert!(matches!(doubt, Proof::None(_)), "{doubt:?}");
        }
        // The other instances of a shared database go on while this one stands still, but for a copy of it.
        let older = kept(first);
        let shared = |copied| of(Some(&new), older.as_ref(), copied, &key, true);
        assert_eq!(shared(false), Proof::Newest);
        assert!(matches!(shared(true), Proof::None(_)));
        // The database is older, is of another line, or is gone.
        let superseded = Proof::Superseded;
        assert_eq!(judge(Some(&old), kept(second), false), superseded(second));
        assert_eq!(judge(Some(&new), kept(third), false), superseded(third));
        assert_eq!(judge(Some(&new), kept(other), false), superseded(other));
        assert_eq!(judge(None, kept(first), false), superseded(first));
    }

    #[test]
    fn a_copy_of_a_file_has_another_mark() {
        let folder = tempfile::tempdir().unwrap();
        let (key, copy) = (folder.path().join("key"), folder.path().join("copy"));
        std::fs::write(&key, b"key").unwrap();
        let root = SigningKey::generate().unwrap();
        let statement = SignedGeneration::begin(&root, 0, NOW).unwrap();
        let kept = StateFile::new(statement, None, &key);
        let path = folder.path().join("generation");
        kept.write(&path).unwrap();
        let read = StateFile::read(&path).unwrap();
        assert_eq!(read, Some(kept));
        assert!(!is_copied(read.as_ref(), &key));
        std::fs::copy(&key, &copy).unwrap();
        let known = Mark::of(&key).is_some();
        assert_eq!(is_copied(read.as_ref(), &copy), known);
        assert_eq!(StateFile::read(&copy).unwrap(), None);
    }
}
