//! No secret of this process in a core file, or before another process's eyes.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::error::Failure;

/// Switches core files off, and with them that other processes of the user read this one's memory.
pub(crate) fn apply() -> Result<(), Failure> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(Failure::hardening)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Failure::hardening)
}
