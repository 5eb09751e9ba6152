//! `own-folder-rule`: each profile may do what is asked for in the folder that bears its name.
//!
//! ```yaml
//! decrypt:
//!   - - rule: own-folder-rule
//!       under: /home        # /home/river-amber/... for the profile "river amber ..."
//! ```

use jiff::Zoned;
use ostrakon_policy::{
    Arguments, Hint, ItemHint, Reason, RegisterRuleError, Registry, Rule, RuleError, Verdict,
};
use ostrakon_types::ApprovalRequest;

/// How many words of a profile name its folder.
const WORDS: usize = 2;

/// Adds the rule to those that a policy may name.
///
/// # Errors
/// When there is a rule of its name already.
pub fn register(registry: &mut Registry) -> Result<(), RegisterRuleError> {
    registry.register("own-folder-rule", build)
}

fn build(arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    let Some(under) = arguments.text("under") else {
        arguments.error(arguments.here(), "`own-folder-rule` needs `under`");
        return None;
    };
    match under.value.strip_prefix('/') {
        Some(folder) if !folder.is_empty() => Some(Box::new(OwnFolder {
            under: folder.trim_end_matches('/').to_owned(),
        })),
        _ => {
            arguments
                .error(under.place, "`under` must begin with `/` and name a folder")
                .help("write it like `/home`");
            None
        }
    }
}

#[derive(Debug)]
struct OwnFolder {
    /// Without the `/` in front, as paths are.
    under: String,
}

impl Rule for OwnFolder {
    fn judge(&self, request: &ApprovalRequest, _now: &Zoned) -> Result<Verdict, RuleError> {
        let words: Vec<&str> = request.profile.words.iter().take(WORDS).collect();
        if words.len() < WORDS {
            return Err(RuleError::new("the profile has too few words"));
        }
        let folder = format!("{}/{}/", self.under, words.join("-"));
        for (item, meta) in request.meta.iter().enumerate() {
            // A `..` in the path could lead out of the folder again.
            let stays = meta.meta.split('/').all(|part| !matches!(part, "." | ".."));
            if !(meta.complete && stays && meta.meta.starts_with(&folder)) {
                return Ok(Verdict::fails(Reason::NoEntryMatches { item }));
            }
        }
        Ok(if request.meta.is_empty() {
            Verdict::fails(Reason::NoItems)
        } else {
            Verdict::holds(Reason::EveryItemMatches)
        })
    }

    /// What is not below the folder need not be asked about: with ten thousand such rules, a request
    /// meets only those whose folder its path is in.
    fn hint(&self) -> Hint {
        match ItemHint::path(&format!("/{}", self.under), true) {
            Ok(folder) => Hint::Items(vec![folder]),
            Err(_) => Hint::Any,
        }
    }
}
