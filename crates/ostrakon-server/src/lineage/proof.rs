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

/// Judges a state by what the database has said, and what the file says that it has said.
pub(super) fn of(
    history: Option<&History>,
    kept: Option<&StateFile>,
    copied: bool,
    root: &VerifyKey,
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
        Standing::Known => Proof::None("the generation beside the database is an older one"),
        Standing::Foreign => Proof::None("the generation beside the database is another server's"),
    }
}
