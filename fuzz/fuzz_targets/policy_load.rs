//! Any text is a policy or an error, and a policy judges any request.
#![no_main]

use jiff::{Timestamp, tz::TimeZone};
use libfuzzer_sys::fuzz_target;
use ostrakon_policy::{Policy, Registry};
use ostrakon_types::{
    ApprovalRequest, MetaItem, OpaqueId, ProfileId, ProfileRef, ProfileWords, RequestKind,
};

fuzz_target!(|text: &str| {
    let Ok(loaded) = Policy::load("keyserver.yml", text, &TimeZone::UTC, &Registry::bundled())
    else {
        return;
    };
    for kind in RequestKind::ALL {
        let request = ApprovalRequest {
            kind,
            device_id: OpaqueId::new(b"device"),
            profile: ProfileRef {
                id: ProfileId::from_bytes([7; 16]),
                words: ProfileWords::new("river amber staple cactus"),
            },
            meta: vec![MetaItem { meta: "root/sub/file.txt".into(), complete: true }],
            cryptographic_id: OpaqueId::new(b"file"),
        };
        let _ = loaded.policy.evaluate(&request, Timestamp::UNIX_EPOCH);
        let _ = loaded.policy.explain(&request, Timestamp::UNIX_EPOCH).to_string();
    }
});
