//! The bundled rules, one in each file. They are written against [`Rule`](crate::Rule) and
//! [`Arguments`], as custom rules are.

mod approve;
#[cfg(feature = "cel")]
mod cel;
mod meta;
mod profile_id;
mod profile_throttle;
mod reject;
mod session_params;
mod time_range;

use ostrakon_types::RequestKind;

use crate::{Arguments, Rule};

type Build = fn(&mut Arguments<'_>) -> Option<Box<dyn Rule>>;

/// The bundled rules by name.
pub(crate) const BUNDLED: &[(&str, Build)] = &[
    ("approve-rule", approve::build),
    #[cfg(feature = "cel")]
    ("cel-rule", cel::build),
    ("meta-rule", meta::build),
    ("per-profile-throttle-rule", profile_throttle::build),
    ("profile-id-rule", profile_id::build),
    ("reject-rule", reject::build),
    ("session-params-rule", session_params::build),
    ("time-range-rule", time_range::build),
];

/// Warns of a rule that stands where it never sees what it tests.
fn warn_never_seen(arguments: &mut Arguments<'_>, rule: &str, kinds: &[RequestKind]) {
    let kind = arguments.request_kind();
    if kinds.contains(&kind) {
        let message = format!("`{rule}` can never hold in a `{kind}` request");
        arguments
            .warn(arguments.here(), message)
            .help("a rule set with it approves nothing; remove the rule or the rule set");
    }
}
