//! What a person is shown of a policy that is to replace another one.
//!
//! The texts are somebody else's: every sign that could move a cursor, hide or turn round what stands beside it
//! is shown as an escape. What is not shown is said.

use std::ops::Range;

use super::DigestPrefix;
use ostrakon_shards::ceremony::{PolicyTexts, PolicyTextsError, Question};

/// Lines around a change that are shown, so that it is seen what it is in.
const AROUND: usize = 3;
/// Lines that are shown at most.
const MAX_LINES: usize = 400;
/// Bytes that are shown at most.
const MAX_BYTES: usize = 64 << 10;
/// Pairs of lines that are compared at most. Beyond that, all lines between the first and the last change count
/// as changed.
const MAX_PAIRS: usize = 1 << 20;

/// How a policy differs from the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyChange {
    /// The texts did not come along: they are too long. The digest alone says what is asked.
    TooLong,
    /// By these lines, ready to be shown.
    Shown {
        /// Each begins with `+`, `-` or a space, and each group of them with a line `@@ -LINE +LINE @@`.
        lines: Vec<String>,
        /// How many further lines there are, that are not shown.
        left_out: usize,
    },
}

impl PolicyChange {
    /// Whether a person is shown all of it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Shown { left_out: 0, .. })
    }
}

/// Why a policy is not approved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadPolicyError {
    /// Nobody was shown all of it, and its digest was not given.
    #[error("not all of the policy is shown here: it must be read elsewhere")]
    NotShown,
    /// The digest that was given is another policy's.
    #[error("the policy that waits here has another SHA-256 than was given")]
    Other,
    /// The texts that came along are not those that are asked about.
    #[error(transparent)]
    Texts(#[from] PolicyTextsError),
}

/// Whether a person can have read the policy that is asked about: here, or where its digest was taken from.
///
/// # Errors
/// When neither is so.
pub(super) fn check_read(
    question: &Question,
    given: Option<&DigestPrefix>,
) -> Result<(), UnreadPolicyError> {
    let (Some(asked), Some(change)) = (question.asked_policy(), policy_change(question)?) else {
        return Ok(());
    };
    match given {
        Some(given) if !given.fits(asked) => Err(UnreadPolicyError::Other),
        None if !change.is_whole() => Err(UnreadPolicyError::NotShown),
        _ => Ok(()),
    }
}

/// How the policy that is asked about differs from the one in force; `None` where something else is asked.
///
/// # Errors
/// When the texts that came along are not those that this device is asked to sign.
pub(super) fn policy_change(question: &Question) -> Result<Option<PolicyChange>, PolicyTextsError> {
    if !question.is_about_policy() {
        return Ok(None);
    }
    let texts = question.policy_texts()?;
    Ok(Some(
        texts.map_or(PolicyChange::TooLong, |texts| between(&texts)),
    ))
}

fn between(PolicyTexts { in_force, asked }: &PolicyTexts) -> PolicyChange {
    let (old, new): (Vec<_>, Vec<_>) =
        (in_force.split('\n').collect(), asked.split('\n').collect());
    let mut lines = Vec::new();
    for group in groups(&steps(&old, &new)) {
        let (mut at_old, mut at_new) = (group.old, group.new);
        lines.push(format!("@@ -{} +{} @@", at_old + 1, at_new + 1));
        for step in group.steps {
            let (sign, line) = match step {
                Step::Keep => (' ', new.get(at_new)),
                Step::Remove => ('-', old.get(at_old)),
                Step::Add => ('+', new.get(at_new)),
            };
            at_old += usize::from(*step != Step::Add);
            at_new += usize::from(*step != Step::Remove);
            lines.push(format!("{sign}{}", visible(line.unwrap_or(&""))));
        }
    }
    let mut left = MAX_BYTES;
    let fits = |line: &&String| {
        let fits = line.len() <= left;
        left = left.saturating_sub(line.len());
        fits
    };
    let shown: Vec<_> = lines
        .iter()
        .take(MAX_LINES)
        .take_while(fits)
        .cloned()
        .collect();
    PolicyChange::Shown {
        left_out: lines.len() - shown.len(),
        lines: shown,
    }
}

/// A line as nothing but its signs. A backslash is doubled, so that no text passes for an escape.
fn visible(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for sign in line.chars() {
        match sign {
            '"' | '\'' => shown.push(sign),
            _ => shown.extend(sign.escape_debug()),
        }
    }
    shown
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Keep,
    Remove,
    Add,
}

/// The steps from the old lines to the new ones.
fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = old.iter().zip(new).take_while(same).count();
    let (old, new) = (rest(old, head..old.len()), rest(new, head..new.len()));
    let backwards = old.iter().rev().zip(new.iter().rev());
    let tail = backwards.take_while(same).count();
    let (old, new) = (
        rest(old, 0..old.len() - tail),
        rest(new, 0..new.len() - tail),
    );
    let mut steps = vec![Step::Keep; head];
    steps.extend(changed(old, new));
    steps.extend(vec![Step::Keep; tail]);
    steps
}

/// The same of lines of which the first and the last differ: by a longest common subsequence.
fn changed(old: &[&str], new: &[&str]) -> Vec<Step> {
    let (rows, columns) = (old.len() + 1, new.len() + 1);
    if rows.saturating_mul(columns) > MAX_PAIRS {
        let removed = vec![Step::Remove; old.len()];
        return [removed, vec![Step::Add; new.len()]].concat();
    }
    // `common[i][j]`: how many lines are common to what follows `i` in the old and `j` in the new.
    let mut common = vec![vec![0_u32; columns]; rows];
    let of = |common: &[Vec<u32>], i: usize, j: usize| -> u32 {
        common
            .get(i)
            .and_then(|row| row.get(j))
            .copied()
            .unwrap_or(0)
    };
    for (i, was) in old.iter().enumerate().rev() {
        for (j, is) in new.iter().enumerate().rev() {
            let longest = if was == is {
                of(&common, i + 1, j + 1).saturating_add(1)
            } else {
                of(&common, i + 1, j).max(of(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = longest;
            }
        }
    }
    let (mut i, mut j, mut steps) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        let step = if i < old.len() && j < new.len() && old.get(i) == new.get(j) {
            Step::Keep
        } else if j == new.len()
            || (i < old.len() && of(&common, i + 1, j) >= of(&common, i, j + 1))
        {
            Step::Remove
        } else {
            Step::Add
        };
        i += usize::from(step != Step::Add);
        j += usize::from(step != Step::Remove);
        steps.push(step);
    }
    steps
}

/// Changes that stand together, with what is around them.
struct Group<'a> {
    /// Where it begins in the old lines, and in the new ones.
    old: usize,
    new: usize,
    steps: &'a [Step],
}

fn groups(steps: &[Step]) -> Vec<Group<'_>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let changes = steps.iter().enumerate();
    for (at, _) in changes.filter(|(_, step)| **step != Step::Keep) {
        let (from, to) = (
            at.saturating_sub(AROUND),
            (at + AROUND + 1).min(steps.len()),
        );
        match ranges.last_mut() {
            Some(last) if from <= last.end => last.end = to,
            _ => ranges.push(from..to),
        }
    }
    let before = |at: usize, skipped: Step| {
        let before = rest(steps, 0..at).iter();
        before.filter(|step| **step != skipped).count()
    };
    let group = |range: Range<usize>| Group {
        old: before(range.start, Step::Add),
        new: before(range.start, Step::Remove),
        steps: rest(steps, range),
    };
    ranges.into_iter().map(group).collect()
}

fn rest<T>(of: &[T], range: Range<usize>) -> &[T] {
    of.get(range).unwrap_or_default()
}

#[cfg(test)]
mod tests;
