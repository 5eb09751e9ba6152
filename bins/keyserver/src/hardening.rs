//! What the process does so that its secrets stay in it.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps, and other processes of the same user to read this one's memory.
pub(crate) fn protect_secrets() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = setrlimit(Resource::Core, none);
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if limited.is_err() || hidden.is_err() {
        eprintln!("warning: core dumps cannot be switched off on this system");
    }
}
