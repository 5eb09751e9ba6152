//! Comparing letters without regard to case: Unicode simple case folding, one character at a time, as
//! regular expressions do it, so that paths and regexes agree.

/// The letter that stands for `letter` and all that differ from it in case alone.
pub(crate) fn fold(letter: char) -> char {
    if letter.is_ascii() {
        return letter.to_ascii_lowercase();
    }
    match letter {
        // Outside Turkish, the dotted capital i and the dotless i fold to themselves.
        '\u{130}' | '\u{131}' => letter,
        // Three letters that have a twin, but no single capital in common with it.
        '\u{1fd3}' => '\u{390}',
        '\u{1fe3}' => '\u{3b0}',
        '\u{fb05}' => '\u{fb06}',
        _ => lower(upper(lower(letter))),
    }
}

fn lower(letter: char) -> char {
    single(letter.to_lowercase(), letter)
}

fn upper(letter: char) -> char {
    single(letter.to_uppercase(), letter)
}

/// The mapped letter, or the letter itself where it would become several.
fn single(mut mapped: impl Iterator<Item = char>, letter: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use regex::Regex;

    use super::*;

    #[test]
    fn folding_is_idempotent() {
        for letter in ('\0'..=char::MAX).filter(|letter| fold(*letter) != *letter) {
            assert_eq!(fold(fold(letter)), fold(letter), "{letter:?}");
        }
    }

    /// The letters that fold together are those that the regular expressions take for equal.
    #[test]
    fn folding_agrees_with_regular_expressions() {
        let cased: BTreeSet<char> = ('\0'..=char::MAX)
            .filter(|letter| fold(*letter) != *letter)
            .flat_map(|letter| {
                letter
                    .to_lowercase()
                    .chain(letter.to_uppercase())
                    .chain([letter])
            })
            .collect();
        // The standard library may know letters that the regular expressions' tables do not have yet.
        let all: String = cased.iter().collect();
        let known = Regex::new(r"\P{Cn}").unwrap();
        let all: String = known.find_iter(&all).map(|found| found.as_str()).collect();
        let mut groups: BTreeMap<char, BTreeSet<char>> = BTreeMap::new();
        for letter in all.chars() {
            groups.entry(fold(letter)).or_default().insert(letter);
        }
        for (letter, group) in groups {
            let escaped = regex::escape(&letter.to_string());
            let same = Regex::new(&format!("(?i){escaped}")).unwrap();
            let expected: BTreeSet<char> = same
                .find_iter(&all)
                .flat_map(|found| found.as_str().chars())
                .collect();
            assert_eq!(group, expected, "{letter:?}");
        }
    }
}
