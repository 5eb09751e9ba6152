//! What the process does so that its secrets stay in it, and connections have room.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

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

/// Takes as many file descriptors as the system lets it have.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the limit of connections is what it was made for.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}
