//! Any text is a suite or an error, and a suite runs to its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostrakon_policy::{Registry, suite};

fuzz_target!(|text: &str| {
    if let Ok(suite) = suite::Suite::from_str("suite.yml", text) {
        let _ = suite::run(&suite, &Registry::bundled()).to_string();
    }
});
