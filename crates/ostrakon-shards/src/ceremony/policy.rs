use ostrakon_types::canonical::{self, DecodeError};

use super::{Administration, Question, Subject};
use crate::{hash::sha256, versioned::versioned};

/// The texts of two policies, which come along with the question whether one may replace the other. The
/// question names both by their digests; the texts are for people to see what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyTexts {
    /// The text in force.
    pub in_force: String,
    /// The text that is to replace it.
    pub asked: String,
}

/// Why texts that came along are not what is asked about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyTextsError {
    /// They cannot be read.
    #[error("the policy that came along cannot be read")]
    Decode(#[from] DecodeError),
    /// They have other digests than the question names.
    #[error("the policy that came along is not the one that is asked about")]
    OtherText,
}

impl PolicyTexts {
    /// How many bytes the texts have at most, both together, to come along. Every device gets them sealed,
    /// beside what it may have missed of its profile.
    pub const MAX_BYTES: usize = 64 << 10;

    /// The texts as a notice encloses them; nothing where they are too long.
    #[must_use]
    pub fn enclose(self) -> Option<Vec<u8>> {
        let length = self.in_force.len().saturating_add(self.asked.len());
        (length <= Self::MAX_BYTES).then(|| canonical::encode(&self))
    }
}

impl Question {
    /// Whether a policy is to be put in force.
    #[must_use]
    pub fn is_about_policy(&self) -> bool {
        self.policy_digests().is_some()
    }

    /// The SHA-256 of the policy that is to be put in force; `None` where something else is asked.
    #[must_use]
    pub fn asked_policy(&self) -> Option<&ostrakon_types::Digest> {
        self.policy_digests().map(|(asked, _)| asked)
    }

    /// The texts that came along, if a policy is to be put in force and they are not too long for that.
    ///
    /// # Errors
    /// When they are not those whose digests this device is asked to sign.
    pub fn policy_texts(&self) -> Result<Option<PolicyTexts>, PolicyTextsError> {
        let (Some((asked, in_force)), Some(bytes)) = (self.policy_digests(), self.enclosed())
        else {
            return Ok(None);
        };
        let texts: PolicyTexts = canonical::decode(bytes)?;
        let same = sha256(texts.asked.as_bytes()) == *asked
            && sha256(texts.in_force.as_bytes()) == *in_force;
        same.then_some(Some(texts))
            .ok_or(PolicyTextsError::OtherText)
    }

    fn policy_digests(&self) -> Option<(&ostrakon_types::Digest, &ostrakon_types::Digest)> {
        match &self.ceremony().subject {
            Subject::Administer {
                act:
                    Administration::LoadPolicy {
                        source, replaces, ..
                    },
                ..
            } => Some((source, replaces)),
            _ => None,
        }
    }
}

versioned!(PolicyTexts, 1 { in_force, asked });
