//! What the process does so that its secrets stay in it, and connections have room.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Keeps secrets in this process, or warns.
pub(crate) fn protect_secrets() {
    if ostrakon_server::hardening::protect_secrets().is_err() {
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
