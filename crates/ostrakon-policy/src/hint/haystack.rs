use std::borrow::Cow;

use crate::path::fold;

/// Stands at both ends of a haystack. No canonical path contains it.
pub(super) const END: char = '\0';
/// What stands in front of the path.
const FRONT: [u8; 2] = [END as u8, b'/'];
/// What stands behind it.
const BACK: [u8; 2] = [b'/', END as u8];

/// An item's path as hints see it: without regard to case, with `/` around every component, and with both
/// ends marked. It is read off the path and not written out.
pub(crate) struct Haystack<'p> {
    /// Folded, but for the letters of ASCII.
    path: Cow<'p, str>,
}

impl<'p> Haystack<'p> {
    pub(crate) fn of(path: &'p str) -> Self {
        Self {
            path: if path.is_ascii() {
                Cow::Borrowed(path)
            } else {
                Cow::Owned(path.chars().map(fold).collect())
            },
        }
    }

    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        let path = self.path.bytes().map(|byte| byte.to_ascii_lowercase());
        FRONT.into_iter().chain(path).chain(BACK)
    }

    /// The byte at that place.
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        let Some(at) = at.checked_sub(FRONT.len()) else {
            return FRONT.get(at).copied();
        };
        let path = self.path.as_bytes();
        match path.get(at) {
            Some(byte) => Some(byte.to_ascii_lowercase()),
            None => BACK.get(at - path.len()).copied(),
        }
    }
}
