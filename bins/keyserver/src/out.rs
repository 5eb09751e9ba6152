//! What the commands print, whoever reads it.
//!
//! The standard library's macros panic when the other end of a pipe is closed, as `head` closes it. Those
//! here have the same names, so that no command can do otherwise. What cannot be written to standard output
//! ends the command: it unwinds, without a word of a panic, so that a demonstration's folder and a
//! half-written file go with it. What cannot be written to standard error is lost.

use std::{
    any::Any,
    fmt,
    io::{self, Write as _},
    panic::resume_unwind,
};

use crate::error::Failure;

/// The exit code of a program that SIGPIPE ended, as shells tell it.
const NOBODY_READS: u8 = 128 + 13;

/// What unwinds when standard output takes nothing.
struct Unwritten(io::Error);

macro_rules! print {
    ($($text:tt)*) => { $crate::out::print(format_args!($($text)*)) };
}
macro_rules! println {
    () => { print!("\n") };
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::out::aside(format_args!($($text)*)) };
}

/// Writes a result.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) {
        unwritten(error);
    }
}

/// Writes a line for people, beside the results.
pub(crate) fn aside(text: fmt::Arguments<'_>) {
    // There is no third place to say that this one is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Ends the command, because standard output took nothing.
pub(crate) fn unwritten(error: io::Error) -> ! {
    resume_unwind(Box::new(Unwritten(error)))
}

/// The exit code of a command that unwound. A panic goes on.
pub(crate) fn code_of(unwound: Box<dyn Any + Send>) -> u8 {
    match unwound.downcast::<Unwritten>() {
        Ok(unwritten) if unwritten.0.kind() == io::ErrorKind::BrokenPipe => NOBODY_READS,
        Ok(unwritten) => {
            let error = unwritten.0;
            Failure::new(format!("cannot write to standard output: {error}")).report()
        }
        Err(panic) => resume_unwind(panic),
    }
}
