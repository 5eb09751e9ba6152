//! Results to standard output, all else to standard error.

use std::{
    any::Any,
    fmt::Display,
    io::{self, Write},
    panic::resume_unwind,
    path::Path,
    process::ExitCode,
};

use ostrakon_client::Workstation;

use crate::error::Failure;

/// The exit code of a program that SIGPIPE ended, as shells tell it.
const NOBODY_READS: u8 = 128 + 13;

/// What unwinds when standard output takes nothing.
struct Unwritten(io::Error);

/// A line of results. Who reads may stop reading: that ends the command, which unwinds, so that what it has
/// begun is not left behind.
pub(crate) fn line(text: &impl Display) {
    print(&format_args!("{text}\n"));
}

/// Results as they are.
pub(crate) fn print(text: &impl Display) {
    let mut out = io::stdout().lock();
    if let Err(error) = write!(out, "{text}").and_then(|()| out.flush()) {
        resume_unwind(Box::new(Unwritten(error)));
    }
}

/// The exit code of a command that unwound.
pub(crate) fn code_of(unwound: &(dyn Any + Send)) -> ExitCode {
    match unwound.downcast_ref::<Unwritten>() {
        Some(Unwritten(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::from(NOBODY_READS)
        }
        Some(Unwritten(error)) => Failure::unwritten(error).report(),
        // The hook has said so already.
        None => ExitCode::FAILURE,
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
