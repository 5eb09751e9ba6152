use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Texts that others begin with, each with its key. One ends where a part of the other ends.
///
/// It takes one look-up for each number of parts that there is: the time it takes does not grow with the
/// number of texts.
#[derive(Debug)]
pub(super) struct Prefixes {
    /// Stands between parts.
    separator: u8,
    keys: HashMap<Box<str>, u32, RandomState>,
    /// How many parts there are in the texts, each number once, ascending.
    lengths: Box<[usize]>,
}

impl Prefixes {
    pub(super) fn new(separator: u8, texts: impl IntoIterator<Item = (Box<str>, u32)>) -> Self {
        let keys: HashMap<Box<str>, u32, RandomState> = texts.into_iter().collect();
        let is_separator = |byte: &u8| *byte == separator;
        let length = |text: &str| text.bytes().filter(is_separator).count() + 1;
        let mut lengths: Vec<usize> = keys.keys().map(|text| length(text)).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Self {
            separator,
            keys,
            lengths: lengths.into(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Hands on the key of each text that `text` begins with.
    pub(super) fn each_of(&self, text: &str, mut visit: impl FnMut(u32)) {
        let bytes = text.as_bytes();
        let is_separator = |byte: &u8| *byte == self.separator;
        let (mut parts, mut end) = (0, 0);
        for length in &self.lengths {
            while parts < *length {
                let from = if parts == 0 { 0 } else { end + 1 };
                let Some(rest) = bytes.get(from..) else {
                    return;
                };
                end = from + rest.iter().position(is_separator).unwrap_or(rest.len());
                parts += 1;
            }
            if let Some(key) = text.get(..end).and_then(|begin| self.keys.get(begin)) {
                visit(*key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_that_end_where_a_part_ends() {
        let texts = ["a", "a/b/c", "a/b/c/", "é/x", "b"];
        let texts = texts
            .into_iter()
            .zip(0..)
            .map(|(text, key)| (text.into(), key));
        let prefixes = Prefixes::new(b'/', texts);
        for (text, expected) in [
            ("a", vec![0]),
            ("a/", vec![0]),
            ("ab/c", vec![]),
            ("a/b/c", vec![0, 1]),
            ("a/b/c/", vec![0, 1, 2]),
            ("a/b/cd", vec![0]),
            ("a/b/c/d/e", vec![0, 1]),
            ("é/x/y", vec![3]),
            ("", vec![]),
        ] {
            let mut found = Vec::new();
            prefixes.each_of(text, |key| found.push(key));
            assert_eq!(found, expected, "{text}");
        }
        assert!(!prefixes.is_empty() && Prefixes::new(b' ', []).is_empty());
    }
}
