//! Which profile's devices are asked.

use ostrakon_shards::profile::{Profile, SignedVersion};
use serde::Deserialize;

use super::ConveneError;

/// As `ostrakon profile export-card` names its format.
const FORMAT: &str = "ostrakon-profile-card";
const FORMAT_VERSION: u32 = 1;

/// Why a text is not the card of a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCardError {
    /// It is something else.
    #[error("it is not a profile's card")]
    Json(#[source] serde_json::Error),
    /// It is of another kind, or version.
    #[error("it is not a profile's card of this version")]
    Format,
}

#[derive(Deserialize)]
struct Card {
    format: String,
    format_version: u32,
    versions: Vec<SignedVersion>,
}

/// Reads what `ostrakon profile export-card` writes: the versions of a profile. They are not checked yet.
///
/// # Errors
/// When the text is something else.
pub fn parse_card(text: &str) -> Result<Vec<SignedVersion>, ParseCardError> {
    let card: Card = serde_json::from_str(text).map_err(ParseCardError::Json)?;
    if card.format != FORMAT || card.format_version != FORMAT_VERSION {
        return Err(ParseCardError::Format);
    }
    Ok(card.versions)
}

/// The profile in its newest version: as it is known, or further on, as it is given.
pub(super) fn newest(
    known: &[SignedVersion],
    given: &[SignedVersion],
) -> Result<(Profile, Vec<SignedVersion>), ConveneError> {
    let of = |versions: &[SignedVersion]| Profile::from_chain(versions.iter().cloned());
    let (profile, versions) = match (known, given) {
        ([], []) => return Err(ConveneError::NoProfile),
        (known, []) => (of(known)?, known),
        ([], given) => (of(given)?, given),
        (known, given) => {
            let (own, other) = (of(known)?, of(given)?);
            if own.id() != other.id() {
                return Err(ConveneError::OtherProfile {
                    known: own.id(),
                    given: other.id(),
                });
            }
            let (longer, versions, shorter) = if other.head().number > own.head().number {
                (other, given, own)
            } else {
                (own, known, other)
            };
            let head = shorter.head();
            if longer.hash_of(head.number) != Some(&head.hash) {
                return Err(ConveneError::Fork);
            }
            (longer, versions)
        }
    };
    Ok((profile, versions.to_vec()))
}
