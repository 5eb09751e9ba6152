use std::ops::RangeInclusive;

use super::haystack::{END, Haystack};
use crate::path::fold;

/// A text that stands in a [`Haystack`], and what stands next to it there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Literal {
    text: String,
    neighbours: Neighbours,
}

/// The letters of which one stands before a literal, and those of which one stands behind it.
///
/// They tell a literal that begins or ends with a number from one with a longer number there: `[a-z]+12/` finds
/// nothing in `a112/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Neighbours {
    before: Letters,
    behind: Letters,
}

/// A set of letters, case aside. Of those beyond ASCII it contains all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Letters(u128);

impl Literal {
    /// A text, whatever stands next to it.
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            neighbours: Neighbours::default(),
        }
    }

    pub(super) fn between(mut self, before: Letters, behind: Letters) -> Self {
        self.neighbours = Neighbours { before, behind };
        self
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// So many bytes of its end, and what stands next to them.
    pub(crate) fn end(&self, most: usize) -> (&[u8], Neighbours) {
        let text = self.text.as_bytes();
        match text
            .len()
            .checked_sub(most)
            .and_then(|from| text.get(from..))
        {
            Some(end) => {
                let behind = self.neighbours.behind;
                let before = Letters::ANY;
                (end, Neighbours { before, behind })
            }
            None => (text, self.neighbours),
        }
    }

    /// The folder that a path is in which has the literal, if that is all it says.
    pub(crate) fn folder(&self) -> Option<&str> {
        let folder = self.text.strip_prefix("\0/")?.strip_suffix('/')?;
        let is_alone = self.neighbours == Neighbours::default();
        (is_alone && !folder.is_empty()).then_some(folder)
    }

    /// Whether there are haystacks without it that are worth telling from others.
    pub(super) fn tells(&self) -> bool {
        self.text
            .chars()
            .any(|letter| letter != '/' && letter != END)
    }
}

impl Neighbours {
    /// Whether they stand before and behind what lies from `start` to `end` in the haystack.
    pub(crate) fn admit(self, haystack: &Haystack<'_>, start: usize, end: usize) -> bool {
        self.before.contain(|| haystack.byte(start.checked_sub(1)?))
            && self.behind.contain(|| haystack.byte(end))
    }
}

impl Letters {
    /// Every letter, or none because there is no neighbour.
    pub(super) const ANY: Self = Self(u128::MAX);
    /// The letters beyond ASCII that fold to one in it.
    const FOREIGN: [char; 2] = ['\u{17f}', '\u{212a}'];

    pub(super) fn in_ranges(ranges: impl Iterator<Item = RangeInclusive<char>>) -> Self {
        let mut letters = Self(0);
        for range in ranges {
            let ascii = *range.start()..=(*range.end()).min('\x7f');
            let foreign = Self::FOREIGN.into_iter();
            for letter in ascii.chain(foreign.filter(|letter| range.contains(letter))) {
                letters.0 |= 1 << (u32::from(fold(letter)) & 127);
            }
        }
        letters
    }

    fn contain(self, byte: impl FnOnce() -> Option<u8>) -> bool {
        self == Self::ANY || byte().is_some_and(|byte| byte >= 128 || self.0 >> byte & 1 == 1)
    }
}

impl Default for Letters {
    fn default() -> Self {
        Self::ANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_fold_to_ascii_are_known() {
        let foreign = |letter: &char| !letter.is_ascii() && fold(*letter).is_ascii();
        let all: Vec<char> = ('\u{80}'..=char::MAX).filter(foreign).collect();
        assert_eq!(all, Letters::FOREIGN);
    }
}
