//! Paths in metadata, and the patterns that they are matched with.
//!
//! A path is compared in one canonical spelling or not at all: what has none is refused before any
//! pattern is looked at, so that no pattern, an inverted one least of all, is passed by under another
//! spelling. What a file system would make of a name (case, trailing dots, streams, short names) is
//! deliberately not looked at: metadata is what the client wrote when it encrypted, not a file name
//! that is about to be opened.

mod fold;
mod pattern;
mod scan;

use std::{borrow::Cow, cell::OnceCell};

use ostrakon_types::MetaItem;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

pub(crate) use fold::fold;
pub(crate) use pattern::PathPattern;
pub(crate) use scan::any;

/// A path in its canonical spelling.
#[derive(Debug)]
pub(crate) struct CanonicalPath<'a> {
    text: Cow<'a, str>,
    /// Whether leading components may be missing.
    partial: bool,
    /// What regular expressions search, once one of them has asked.
    haystack: OnceCell<Box<str>>,
}

impl<'a> CanonicalPath<'a> {
    /// The canonical spelling of the item's path, or what is wrong with it.
    pub(crate) fn new(item: &'a MetaItem) -> Result<Self, &'static str> {
        Ok(Self {
            text: canonical(&item.meta)?,
            partial: !item.complete,
            haystack: OnceCell::new(),
        })
    }

    pub(crate) fn is_partial(&self) -> bool {
        self.partial
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it begins with the folder, which is ASCII, up to the end of a component.
    fn is_in(&self, folder: &str, any_case: bool) -> bool {
        let (path, folder) = (self.text.as_bytes(), folder.as_bytes());
        let Some((begin, behind)) = path.split_at_checked(folder.len()) else {
            return false;
        };
        matches!(behind.first(), None | Some(b'/'))
            && (begin == folder || any_case && begin.eq_ignore_ascii_case(folder))
    }

    /// The components, the last one empty if the path ends with a `/`.
    fn components(&self) -> Components<'_> {
        Components::of(&self.text)
    }

    /// The last component.
    fn name(&self) -> &str {
        let behind = self.text.rfind('/').map_or(0, |slash| slash + 1);
        self.text.get(behind..).unwrap_or_default()
    }

    /// What regular expressions search: with `/` in front when the path is complete.
    pub(crate) fn haystack(&self) -> &str {
        if self.partial {
            &self.text
        } else {
            self.haystack
                .get_or_init(|| ["/", &self.text].concat().into())
        }
    }
}

/// The parts of a text between its slashes. It does what `split` does; but a component has few letters,
/// and looking at one byte after the other is several times as fast.
#[derive(Clone, Debug)]
struct Components<'t>(Option<&'t str>);

impl<'t> Components<'t> {
    fn of(text: &'t str) -> Self {
        Self(Some(text))
    }
}

impl<'t> Iterator for Components<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let rest = self.0?;
        let slash = rest.bytes().position(|byte| byte == b'/');
        let Some((component, behind)) = slash.and_then(|at| rest.split_at_checked(at)) else {
            self.0 = None;
            return Some(rest);
        };
        self.0 = behind.get(1..);
        Some(component)
    }
}

/// `text` in Unicode normalisation form C.
pub(crate) fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// The one spelling in which a path is compared, or what is wrong with it.
fn canonical(text: &str) -> Result<Cow<'_, str>, &'static str> {
    if is_plain(text.as_bytes()) {
        return Ok(Cow::Borrowed(text));
    }
    let text = nfc(text);
    if text.is_empty() {
        return Err("is empty");
    }
    if text.starts_with('/') {
        return Err("starts with `/`");
    }
    // What is looked for is ASCII, and no part of any other letter.
    if text.as_bytes().contains(&0) {
        return Err("contains a NUL");
    }
    if text.as_bytes().contains(&b'\\') {
        return Err("contains a backslash");
    }
    for component in Components::of(text.strip_suffix('/').unwrap_or(&text)) {
        match component {
            "" => return Err("has an empty component"),
            "." | ".." => return Err("has a `.` or `..` component"),
            _ => {}
        }
    }
    Ok(text)
}

/// Whether the path is canonical at first sight, as nearly all are: ASCII without a component that is empty
/// or begins with a dot. Of others it says nothing.
fn is_plain(path: &[u8]) -> bool {
    let is = |byte: u8, other: u8| u8::from(byte == other);
    let odd = |byte: u8| is(byte, 0) | is(byte, b'\\') | (byte & 0x80);
    let begins_oddly = |byte: u8| is(byte, b'/') | is(byte, b'.');
    let (Some((first, behind)), Some((_, path))) = (path.split_first(), path.split_last()) else {
        return false;
    };
    let test = |byte, next| odd(next) | (is(byte, b'/') & begins_oddly(next));
    odd(*first) | begins_oddly(*first) == 0 && !any(path, behind, test)
}

#[cfg(test)]
mod tests;
