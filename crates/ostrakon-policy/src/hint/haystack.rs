use std::borrow::Cow;

use crate::path::{any, fold, nfc};

/// Stands at both ends of a haystack. No canonical path contains it.
pub(super) const END: char = '\0';
/// What stands in front of the path.
const FRONT: [u8; 2] = [END as u8, b'/'];
/// What stands behind it.
const BACK: [u8; 2] = [b'/', END as u8];

/// An item's path as hints see it: without regard to case, with `/` around every component, and with both
/// ends marked. Slashes and marks are not written out.
pub(crate) struct Haystack<'p> {
    path: Cow<'p, str>,
}

impl<'p> Haystack<'p> {
    /// Takes any path. In one that has no canonical spelling something may be found that is not there; but no rule
    /// holds for it.
    pub(crate) fn of(path: &'p str) -> Self {
        Self {
            path: if is_folded(path) {
                Cow::Borrowed(path)
            } else {
                Cow::Owned(nfc(path).chars().map(fold).collect())
            },
        }
    }

    /// The path, without regard to case.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        FRONT.into_iter().chain(self.path.bytes()).chain(BACK)
    }

    /// The byte at that place.
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        let Some(at) = at.checked_sub(FRONT.len()) else {
            return FRONT.get(at).copied();
        };
        let path = self.path.as_bytes();
        path.get(at).or_else(|| BACK.get(at - path.len())).copied()
    }
}

/// Whether it is ASCII without capitals.
fn is_folded(path: &str) -> bool {
    let folds = |byte: u8, _| u8::from(byte.is_ascii_uppercase()) | (byte & 0x80);
    !any(path.as_bytes(), path.as_bytes(), folds)
}
