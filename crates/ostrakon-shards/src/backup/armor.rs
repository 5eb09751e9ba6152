//! The text of a backup file: a few lines for people, and the content in base64.
//!
//! The lines for people say nothing that the content does not, and are checked against it, so that
//! nobody is shown another server's id than the one that the file recovers.

use std::{borrow::Cow, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ostrakon_types::Digest;

use super::BackupFile;
use crate::hash::sha256;

const TITLE: &str = "Ostrakon backup key, version 1";
const TITLE_OF_ANY: &str = "Ostrakon backup key, version ";
const BEGIN: &str = "-----BEGIN OSTRAKON BACKUP KEY-----";
const END: &str = "-----END OSTRAKON BACKUP KEY-----";
const CHECKSUM: &str = "sha-256 ";
const WIDTH: usize = 64;

/// More than any backup file has.
const MAX_LEN: usize = 4 << 20;

/// What is wrong with the text of a backup file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArmorError {
    /// It is another text.
    #[error("it is not a backup file: it does not begin with `{TITLE}`")]
    NoBackup,
    /// It was written by a newer version.
    #[error("it is a backup file of another version than this program reads")]
    Version,
    /// It is longer than a backup file can be.
    #[error("it is too long for a backup file")]
    TooLong,
    /// The line that begins or ends the content is missing.
    #[error("the line `{0}` is missing: the file is cut off or damaged")]
    Frame(&'static str),
    /// A line of the content is not base64.
    #[error("line {line} is damaged")]
    Line {
        /// Which one, from 1.
        line: usize,
    },
    /// The content is not the one that was written.
    #[error("the content is damaged: its checksum is another")]
    Checksum,
    /// A line says something else than the content.
    #[error("line {line} was changed: it should be `{expected}`")]
    Changed {
        /// Which one, from 1.
        line: usize,
        /// What the content says.
        expected: String,
    },
}

/// The content, if it is whole.
pub(super) fn open(text: &str) -> Result<Vec<u8>, ArmorError> {
    if text.len() > MAX_LEN {
        return Err(ArmorError::TooLong);
    }
    let text = unix(text);
    match text.lines().next() {
        Some(TITLE) => {}
        Some(other) if other.starts_with(TITLE_OF_ANY) => return Err(ArmorError::Version),
        _ => return Err(ArmorError::NoBackup),
    }
    let mut lines = (1..).zip(text.lines());
    let begun = lines.any(|(_, line)| line == BEGIN);
    if !begun {
        return Err(ArmorError::Frame(BEGIN));
    }
    let mut content = Vec::new();
    let mut ended = false;
    for (number, line) in lines.by_ref() {
        if line == END {
            ended = true;
            break;
        }
        let damaged = |_| ArmorError::Line { line: number };
        content.extend(STANDARD.decode(line).map_err(damaged)?);
    }
    if !ended {
        return Err(ArmorError::Frame(END));
    }
    let checksum = checksum_line(&sha256(&content));
    match lines.next() {
        Some((_, line)) if line == checksum => Ok(content),
        _ => Err(ArmorError::Checksum),
    }
}

/// Checks every byte of the text against what the content says.
pub(super) fn check_lines(text: &str, file: &BackupFile) -> Result<(), ArmorError> {
    let (text, expected) = (unix(text), close(file));
    if *text == expected {
        return Ok(());
    }
    let mut lines = (1..).zip(text.split('\n').map(Some).chain([None; 1]));
    let mut expected = expected.split('\n');
    let changed = lines.find_map(|(line, is)| {
        let should = expected.next();
        (is != should).then(|| ArmorError::Changed {
            line,
            expected: should.unwrap_or_default().to_owned(),
        })
    });
    Err(changed.unwrap_or(ArmorError::NoBackup))
}

/// The text of a file.
pub(super) fn close(file: &BackupFile) -> String {
    let content = file.to_bytes();
    let encoded = STANDARD.encode(&content);
    let threshold = file.threshold();
    let mut text = String::with_capacity(encoded.len() * 66 / 64 + 1024);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{TITLE}\n\
         key shard server {}\n\
         generation {}\n\
         profile {} ({})\n\
         opened by {} of {} devices\n\
         \n\
         {BEGIN}\n",
        file.kss_id(),
        file.generation(),
        file.profile().words().first(8),
        file.profile().id(),
        threshold.needed(),
        threshold.shares(),
    );
    for line in encoded.as_bytes().chunks(WIDTH) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    let _ = writeln!(text, "{END}\n{}", checksum_line(&sha256(&content)));
    text
}

fn checksum_line(digest: &Digest) -> String {
    format!("{CHECKSUM}{digest}")
}

/// The text with the line ends of Unix, if all its line ends are those of Windows.
fn unix(text: &str) -> Cow<'_, str> {
    let ends = text.matches('\n').count();
    if ends > 0 && text.matches("\r\n").count() == ends && text.matches('\r').count() == ends {
        Cow::Owned(text.replace("\r\n", "\n"))
    } else {
        Cow::Borrowed(text)
    }
}
