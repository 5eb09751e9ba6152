use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
    path::Path,
};

/// The outputs of one run, so that no file takes another one's place, whatever may be overwritten.
///
/// What is kept of each is a hash: 8 bytes a file, and one chance in some billions that a run of a
/// million files refuses one that it could have written.
#[derive(Default)]
pub(crate) struct Claims {
    hasher: RandomState,
    taken: HashSet<u64>,
}

impl Claims {
    /// Whether nothing else of this run is written to `target`.
    pub(crate) fn claim(&mut self, target: &Path) -> bool {
        self.taken.insert(self.hasher.hash_one(target))
    }
}
