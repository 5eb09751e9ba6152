use std::str::Chars;

use super::{CanonicalPath, fold::fold, nfc};

/// A pattern of a `meta-rule`, for which policy.md says what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPattern {
    anchor: Anchor,
    components: Box<[Glob]>,
    exact_case: bool,
    /// All components, if it lies at the root and each equals ASCII text byte by byte or not at all.
    folder: Option<Box<str>>,
}

/// Where in a path the components of a pattern may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anchor {
    /// At the root of a complete path.
    Root,
    /// Behind any component boundary.
    Boundary,
    /// Behind any component boundary, with something, possibly empty, behind them.
    Inside,
    /// On the last component.
    Name,
}

impl PathPattern {
    /// Reads a pattern, or says what is wrong with it: one that no path could match is refused, because
    /// it would be an exception that excepts nothing.
    pub(crate) fn new(text: &str, exact_case: bool) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("is empty");
        }
        if text.contains('\\') {
            return Err("contains a backslash; separate components by `/`");
        }
        if text.contains('\0') {
            return Err("contains a NUL");
        }
        let text = nfc(text);
        let rooted = text.strip_prefix('/');
        let inner = rooted.unwrap_or(&text);
        let directory = inner.strip_suffix('/');
        let inner = directory.unwrap_or(inner);
        let anchor = match (rooted, directory) {
            (Some(_), _) => Anchor::Root,
            (None, Some(_)) => Anchor::Inside,
            (None, None) if inner.contains('/') => Anchor::Boundary,
            (None, None) => Anchor::Name,
        };
        let components: Box<[Glob]> = if inner.is_empty() && rooted.is_some() && directory.is_none()
        {
            Box::default()
        } else {
            inner
                .split('/')
                .map(|component| match component {
                    "" => Err("has an empty component"),
                    "." | ".." => Err("has a `.` or `..` component"),
                    _ => Ok(Glob::new(component, exact_case)),
                })
                .collect::<Result<_, _>>()?
        };
        let is_folder = anchor == Anchor::Root && components.iter().all(|glob| glob.plain);
        let texts: Vec<&str> = components.iter().map(|glob| &*glob.text).collect();
        Ok(Self {
            anchor,
            folder: (is_folder && !texts.is_empty()).then(|| texts.join("/").into()),
            components,
            exact_case,
        })
    }

    /// Whether it lies at the root, so that a partial path cannot match it.
    pub(crate) fn is_rooted(&self) -> bool {
        self.anchor == Anchor::Root
    }

    /// Whether it matches the last component alone.
    pub(crate) fn is_name(&self) -> bool {
        self.anchor == Anchor::Name
    }

    /// Its components, `*` for any run of characters.
    pub(crate) fn components(&self) -> impl Iterator<Item = &str> {
        self.components.iter().map(|glob| &*glob.text)
    }

    /// Whether the path matches.
    pub(crate) fn matches(&self, path: &CanonicalPath<'_>) -> bool {
        match self.anchor {
            Anchor::Root if path.is_partial() => false,
            Anchor::Root => match &self.folder {
                Some(folder) if path.is_in(folder, !self.exact_case) => true,
                Some(_) if self.exact_case || path.as_str().is_ascii() => false,
                _ => self.begins(path.components()).is_some(),
            },
            Anchor::Name => match &*self.components {
                [glob] => glob.matches(path.name(), self.exact_case),
                _ => false,
            },
            Anchor::Boundary => self.behind_a_boundary(path, |_| true),
            Anchor::Inside => self.behind_a_boundary(path, |rest| rest.is_some()),
        }
    }

    fn behind_a_boundary(
        &self,
        path: &CanonicalPath<'_>,
        accepts: impl Fn(Option<&str>) -> bool,
    ) -> bool {
        let mut components = path.components();
        if path.is_partial() {
            // What stands before the first component is not known, so neither is its beginning.
            components.next();
        }
        loop {
            if self.begins(components.clone()).is_some_and(&accepts) {
                return true;
            }
            if components.next().is_none() {
                return false;
            }
        }
    }

    /// Whether `path` begins with the pattern's components; if so, the component behind them.
    fn begins<'p>(&self, mut path: impl Iterator<Item = &'p str>) -> Option<Option<&'p str>> {
        for glob in &self.components {
            if !glob.matches(path.next()?, self.exact_case) {
                return None;
            }
        }
        Some(path.next())
    }
}

/// A component in which `*` stands for any run of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Glob {
    text: Box<str>,
    /// Whether it is ASCII without a `*`, and so equals ASCII text byte by byte or not at all.
    plain: bool,
}

impl Glob {
    fn new(text: &str, exact_case: bool) -> Self {
        let text: Box<str> = if exact_case {
            text.into()
        } else {
            text.chars().map(fold).collect::<String>().into()
        };
        Self {
            plain: text.is_ascii() && !text.contains('*'),
            text,
        }
    }

    fn matches(&self, text: &str, exact_case: bool) -> bool {
        if self.plain && text.is_ascii() {
            return if exact_case {
                *self.text == *text
            } else {
                self.text.eq_ignore_ascii_case(text)
            };
        }
        self.matches_letters(text, exact_case)
    }

    /// Takes time in proportion to the product of both lengths at most.
    fn matches_letters(&self, text: &str, exact_case: bool) -> bool {
        let mut pattern = self.text.chars();
        let mut text = text.chars();
        // Where to go on when the last `*` must take one character more.
        let mut retry: Option<(Chars<'_>, Chars<'_>)> = None;
        loop {
            let (mut pattern_behind, mut text_behind) = (pattern.clone(), text.clone());
            let letter = text_behind.next();
            let letter = letter.map(|c| if exact_case { c } else { fold(c) });
            match (pattern_behind.next(), letter) {
                (Some('*'), _) => {
                    pattern = pattern_behind;
                    retry = Some((pattern.clone(), text.clone()));
                }
                (Some(expected), Some(letter)) if expected == letter => {
                    pattern = pattern_behind;
                    text = text_behind;
                }
                (None, None) => return true,
                _ => match &mut retry {
                    Some((star, from)) => {
                        if from.next().is_none() {
                            return false;
                        }
                        pattern = star.clone();
                        text = from.clone();
                    }
                    None => return false,
                },
            }
        }
    }
}
