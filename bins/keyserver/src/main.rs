//! The key shard server and its administration.

use std::process::ExitCode;

use keyserver::{Registry, main_with};

fn main() -> ExitCode {
    main_with(&Registry::bundled())
}
