//! One file, key by key, with the lines on which they stand.

use std::{ops::Range, path::Path, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Config, ConfigProblem, LoadConfigError};

/// Every key, in the order in which they are applied.
const KEYS: [&str; 9] = [
    "keyserver_id",
    "keyserver_urls",
    "administrator",
    "default_folders",
    "ca_file",
    "connect_timeout_seconds",
    "attempt_timeout_seconds",
    "request_timeout_seconds",
    LOCKED,
];
const LOCKED: &str = "locked";

const TEXT: &str = "a text";
const TEXTS: &str = "a list of texts";
const SECONDS: &str = "a number of seconds from 1 to 3600";

/// A file that was parsed, and knows no other keys than [`KEYS`].
pub(super) struct Layer<'a> {
    text: &'a str,
    entries: Vec<(&'static str, &'a str, Spanned<DeValue<'a>>)>,
}

/// A problem, and the line where it is.
#[derive(Debug)]
pub(super) struct Located {
    line: usize,
    problem: ConfigProblem,
}

impl Located {
    pub(super) fn of(self, path: &Path) -> LoadConfigError {
        LoadConfigError::Invalid {
            path: path.to_path_buf(),
            line: self.line,
            cause: self.problem,
        }
    }
}

impl<'a> Layer<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Located> {
        let table = DeTable::parse(text).map_err(|error| Located {
            line: line(text, error.span()),
            problem: ConfigProblem::Syntax(error.message().to_owned()),
        })?;
        let mut entries = Vec::new();
        for (key, value) in table.into_inner() {
            let span = key.span();
            let known = KEYS.into_iter().find(|known| *known == key.get_ref());
            let Some(known) = known else {
                return Err(Located {
                    line: line(text, Some(span)),
                    problem: ConfigProblem::UnknownKey {
                        nearest: nearest(key.get_ref()),
                        key: key.into_inner().into_owned(),
                    },
                });
            };
            entries.push((known, text, value));
        }
        Ok(Self { text, entries })
    }

    /// The keys that this file keeps to itself.
    pub(super) fn locked(&self) -> Result<Vec<&'static str>, Located> {
        let Some(value) = self.value(LOCKED) else {
            return Ok(Vec::new());
        };
        let names = texts(value).ok_or_else(|| self.wrong(LOCKED, TEXTS, value))?;
        let known = names.into_iter().map(|name| {
            KEYS.into_iter().find(|key| *key == name).ok_or_else(|| {
                let nearest = nearest(&name);
                self.located(value, ConfigProblem::UnknownKey { key: name, nearest })
            })
        });
        known.collect()
    }

    /// Refuses what the enterprise's file keeps to itself.
    pub(super) fn check_unlocked(&self, locked: &[&'static str]) -> Result<(), Located> {
        for (key, _, value) in &self.entries {
            if *key == LOCKED {
                return Err(self.located(value, ConfigProblem::LockedByUser));
            }
            if locked.contains(key) {
                return Err(self.located(value, ConfigProblem::Locked { key }));
            }
        }
        Ok(())
    }

    /// Sets what this file says.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), Located> {
        for (key, _, value) in &self.entries {
            let wrong = |expected| self.wrong(key, expected, value);
            let seconds = || seconds(value).ok_or_else(|| wrong(SECONDS));
            match *key {
                "keyserver_id" => {
                    let text = value.get_ref().as_str().ok_or_else(|| wrong(TEXT))?;
                    let id = text.parse().map_err(ConfigProblem::KssId);
                    config.keyserver_id = Some(id.map_err(|problem| self.located(value, problem))?);
                }
                "keyserver_urls" => {
                    let texts = texts(value).ok_or_else(|| wrong(TEXTS))?;
                    let urls = texts
                        .iter()
                        .map(|text| text.parse())
                        .collect::<Result<_, _>>();
                    let urls = urls.map_err(ConfigProblem::Url);
                    config.keyserver_urls = urls.map_err(|problem| self.located(value, problem))?;
                }
                "administrator" => {
                    let flag = value.get_ref().as_bool();
                    config.administrator = flag.ok_or_else(|| wrong("`true` or `false`"))?;
                }
                "default_folders" => {
                    let texts = texts(value).ok_or_else(|| wrong(TEXTS))?;
                    config.default_folders = texts.into_iter().map(Into::into).collect();
                }
                "ca_file" => {
                    let text = value.get_ref().as_str().ok_or_else(|| wrong(TEXT))?;
                    config.ca_file = Some(text.into());
                }
                "connect_timeout_seconds" => config.connect_timeout = seconds()?,
                "attempt_timeout_seconds" => config.attempt_timeout = seconds()?,
                "request_timeout_seconds" => config.request_timeout = seconds()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn value(&self, key: &str) -> Option<&Spanned<DeValue<'a>>> {
        let mut entries = self.entries.iter();
        entries.find_map(|(known, _, value)| (*known == key).then_some(value))
    }

    fn wrong(
        &self,
        key: &'static str,
        expected: &'static str,
        at: &Spanned<DeValue<'_>>,
    ) -> Located {
        self.located(at, ConfigProblem::Type { key, expected })
    }

    fn located(&self, at: &Spanned<DeValue<'_>>, problem: ConfigProblem) -> Located {
        let line = line(self.text, Some(at.span()));
        Located { line, problem }
    }
}

fn texts(value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    let items = value.get_ref().as_array()?.iter();
    items
        .map(|item| item.get_ref().as_str().map(str::to_owned))
        .collect()
}

fn seconds(value: &Spanned<DeValue<'_>>) -> Option<Duration> {
    let integer = value.get_ref().as_integer()?;
    let seconds = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    (1..=3600)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

fn line(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    1 + before.matches('\n').count()
}

fn nearest(key: &str) -> &'static str {
    let distance = |known: &&&str| strsim::damerau_levenshtein(known, key);
    KEYS.iter()
        .min_by_key(distance)
        .copied()
        .unwrap_or_default()
}
