//! Which profile holds the backup key.

use std::{env, path::PathBuf};

use ostrakon_client::people::{SignedVersion, known_profile};
use ostrakon_server::{ceremony::parse_card, read_text};
use ostrakon_types::ErrorChain;

use crate::{cli::AskArgs, error::Failure};

/// The versions of the profile whose card was given or, where none was, of the one that this user's
/// workstation on this machine has, if it has one.
pub(crate) fn profile(args: &AskArgs) -> Result<Vec<SignedVersion>, Failure> {
    if let Some(path) = &args.profile {
        let text = read_text(path).map_err(Failure::file(path))?;
        return parse_card(&text).map_err(|error| {
            let said = format!("`{}`: {}", path.display(), ErrorChain(&error));
            Failure::new(said).hint("`ostrakon profile export-card` writes one")
        });
    }
    let Some(home) = workstation() else {
        return Ok(Vec::new());
    };
    let known = known_profile(&home);
    known.map_err(|error| Failure::new(ErrorChain(&error).to_string()))
}

/// The profile that must be known.
pub(crate) fn needed(args: &AskArgs) -> Result<Vec<SignedVersion>, Failure> {
    let versions = profile(args)?;
    if versions.is_empty() {
        return Err(
            Failure::new("it is not known whose devices are to hold the backup key").hint(
                "name their profile with `--profile CARD`; `ostrakon profile export-card` writes its card",
            ),
        );
    }
    Ok(versions)
}

/// The home of `ostrakon` where nothing else is said: whatever `OSTRAKON_HOME` names is the server's here.
fn workstation() -> Option<PathBuf> {
    let data = match env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()) {
        Some(data) => PathBuf::from(data),
        None => PathBuf::from(env::var_os("HOME")?).join(".local/share"),
    };
    Some(data.join("ostrakon"))
}
