//! "Did you mean": the known name nearest to an unknown one.

/// The nearest of `known` to `name`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name that is not even a plausible misspelling is not worth a table.
    if name.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The number of letters to insert, remove, replace, or swap with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.to_lowercase().chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, letter) in from.to_lowercase().chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at =
                |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX);
            let mut best = (at(&last, column) + usize::from(letter != *other))
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            if let Some(left) = column.checked_sub(1)
                && previous == Some(*other)
                && to.get(left) == Some(&letter)
            {
                best = best.min(at(&before_last, left).saturating_add(1));
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("meta-rlue", "meta-rule"), 1);
        assert_eq!(distance("Decrypt", "decrypt"), 0);
    }

    #[test]
    fn only_what_may_be_meant_is_proposed() {
        let known = ["decrypt", "search", "rename"];
        assert_eq!(nearest("decrpyt", known), Some("decrypt"));
        assert_eq!(nearest("renam", known), Some("rename"));
        assert_eq!(nearest("approve", known), None);
        assert_eq!(nearest(&"x".repeat(1000), known), None);
    }
}
