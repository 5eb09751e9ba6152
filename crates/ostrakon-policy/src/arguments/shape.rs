use std::ops::RangeInclusive;

/// An argument that the builder asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    /// Whether the rule cannot be without it.
    pub(crate) required: bool,
}

/// What an argument must be.
#[derive(Debug)]
pub(crate) enum Shape {
    Any,
    Flag,
    Count(Bounds),
    Counts(Bounds),
    Text,
    Texts,
    TextOrTexts,
    Choice(Vec<String>),
    Groups(Vec<Asked>),
}

/// What numbers an argument takes, and what they mean where not all are taken.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) range: RangeInclusive<u64>,
    pub(crate) meaning: Option<String>,
}

impl Bounds {
    /// Any number that is not negative.
    pub(crate) fn none() -> Self {
        Self {
            range: 0..=u64::MAX,
            meaning: None,
        }
    }

    pub(crate) fn of(range: RangeInclusive<u64>, meaning: &str) -> Self {
        Self {
            range,
            meaning: Some(meaning.to_owned()),
        }
    }
}
