//! Results to standard output, all else to standard error.

use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
};

use ostrakon_client::Workstation;

/// A line of results. Who reads may stop reading: then there is nobody to tell.
pub(crate) fn line(text: &impl Display) {
    if writeln!(io::stdout().lock(), "{text}").is_err() {
        std::process::exit(i32::from(crate::error::FAILED));
    }
}

/// A line for people, beside the results.
pub(crate) fn aside(text: &str) {
    // There is no third place to say that this one is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says that a profile was made without having been asked for.
pub(crate) fn onboarded(workstation: &Workstation) {
    if let Some(view) = workstation.profile() {
        let name = &view.profile.version().name;
        aside(&format!(
            "note: made the profile {name} with the configured key shard server"
        ));
    }
}

/// A path as it can be shown on a terminal, whatever is in it.
pub(crate) fn path(path: &Path) -> String {
    let mut shown = String::new();
    for character in path.to_string_lossy().chars() {
        if is_control(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Characters that move the cursor, or change the direction of what follows.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_steer_the_terminal() {
        assert_eq!(path(Path::new("Müller/a b.txt")), "Müller/a b.txt");
        let shown = path(Path::new("a\u{1b}[2Jb\n\u{202e}c"));
        assert_eq!(shown, "a\\u{1b}[2Jb\\u{a}\\u{202e}c");
    }
}
