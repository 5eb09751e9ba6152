//! Regular expressions, within bounds of memory.

use regex_automata::{
    meta::{self, BuildError},
    nfa::thompson::WhichCaptures,
    util::syntax,
};

use crate::{Arguments, Located, path::nfc};

/// How much memory one compiled regular expression may take, in bytes.
const ONE: usize = 1 << 19;
/// How much those of one policy may take together, each as compiled and as asked for the first time.
const ALL: usize = 256 << 20;
/// What each takes beside what it says of itself, as measured.
const BESIDE: usize = 4 << 10;

/// A regular expression that is searched for.
#[derive(Debug)]
pub(super) struct Regex {
    text: String,
    compiled: meta::Regex,
}

impl Regex {
    /// Compiles the expression in an entry, and reports what is wrong with it.
    pub(super) fn new(
        arguments: &mut Arguments<'_>,
        text: &str,
        entry: &Located<String>,
        case_sensitive: bool,
    ) -> Option<Self> {
        // Of more than there is room for, one is told, and no other is compiled.
        if arguments.memory().get() > ALL {
            return None;
        }
        let text = nfc(text).into_owned();
        let compiled = match compile(&text, case_sensitive) {
            Ok(compiled) => compiled,
            Err(error) => {
                report(arguments, entry, &error);
                return None;
            }
        };
        let takes = BESIDE + compiled.memory_usage() + compiled.create_cache().memory_usage();
        let all = arguments.memory().get() + takes;
        arguments.memory().set(all);
        if all > ALL {
            let message = format!(
                "the regular expression `{}` cannot be used: it takes {} KiB of memory, and all of the policy up to it {} KiB, more than {} MiB",
                entry.value,
                takes >> 10,
                all >> 10,
                ALL >> 20
            );
            let help = "patterns in `paths` take a fraction of that";
            arguments.error(entry.place, message).help(help);
            return None;
        }
        Some(Self { text, compiled })
    }

    pub(super) fn is_match(&self, haystack: &str) -> bool {
        self.compiled.is_match(haystack)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

fn compile(text: &str, case_sensitive: bool) -> Result<meta::Regex, Box<BuildError>> {
    // Where it matches, and what of it, nobody asks.
    let config = meta::Config::new()
        .nfa_size_limit(Some(ONE))
        .which_captures(WhichCaptures::None);
    meta::Builder::new()
        .configure(config)
        .syntax(syntax::Config::new().case_insensitive(!case_sensitive))
        .build(text)
        .map_err(Box::new)
}

/// Says what is wrong with a regular expression.
fn report(arguments: &mut Arguments<'_>, entry: &Located<String>, error: &BuildError) {
    let text = match (error.size_limit(), error.syntax_error()) {
        (Some(limit), _) => format!("it takes more than {} KiB of memory", limit >> 10),
        (None, Some(error)) => error.to_string(),
        (None, None) => error.to_string(),
    };
    let fault = text.lines().last().unwrap_or_default();
    let fault = fault.strip_prefix("error: ").unwrap_or(fault);
    let message = format!(
        "the regular expression `{}` cannot be used: {fault}",
        entry.value
    );
    let note = arguments.error(entry.place, message);
    if fault.contains("look-around") {
        note.help("a second entry that starts with `!` can say what must not match");
    } else if fault.contains("backreference") {
        note.help("regular expressions here take linear time, which back-references do not allow");
    }
}
