//! A key shard server that knows one rule more than the bundled ones.
//!
//! It has every command of `keyserver`. Make its home with `create`, name the rule in its `keyserver.yml`,
//! look at it with `policy check`, and run it with `serve`.

use std::process::ExitCode;

use keyserver::{Registry, main_with};

fn main() -> ExitCode {
    let mut registry = Registry::bundled();
    if let Err(error) = custom_rule::register(&mut registry) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    main_with(&registry)
}
