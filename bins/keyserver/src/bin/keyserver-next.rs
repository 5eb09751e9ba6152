//! The key shard server with one version of the shared schema more: the tests upgrade to it.

use std::process::ExitCode;

use keyserver::{Registry, main_with};

fn main() -> ExitCode {
    main_with(&Registry::bundled())
}
