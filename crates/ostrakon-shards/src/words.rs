//! The words of BIP-39: for digests that people read to each other, and for keys that they write down.
//!
//! Only the English list is used. A profile's words are public; recovery words are the most secret
//! thing a person can hold, for they *are* the keys of a device: with 256 random bits behind them they
//! need no slow derivation, and there is deliberately no passphrase beside them.

use bip39::{Language, Mnemonic};
use hkdf::Hkdf;
use ostrakon_types::{Digest, ProfileId, ProfileWords, canonical};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    hash::{DOMAIN, sha256},
    name::Name,
    random::{RandomError, Source, System},
    secret::assert_secret,
};

const VERSION: u8 = 1;
const COUNT: usize = 24;

/// The 24 words of `digest`: 256 bits, and a checksum of 8 in the last word.
#[must_use]
pub fn words(digest: &Digest) -> ProfileWords {
    ProfileWords::new(&mnemonic(digest.as_bytes()).to_string())
}

/// How many words of a profile its id tells: each stands for 11 of its 128 bits.
const WORDS_IN_ID: usize = 11;

/// The first words of a profile: id and words begin with the same bits.
#[must_use]
pub fn first_words(profile: &ProfileId) -> ProfileWords {
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(profile.as_bytes()) {
        *to = *from;
    }
    ProfileWords::new(words(&Digest::from_bytes(digest)).first(WORDS_IN_ID))
}

/// 24 words from which the keys of a recovery device are derived. Wiped on drop.
pub struct RecoveryWords(Box<Zeroizing<[u8; 32]>>);

assert_secret!(RecoveryWords);

/// Why text is not 24 recovery words. It names no word: nearly all of them may be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseWordsError {
    /// Too few words, or too many.
    #[error("{0} words: expected {COUNT}")]
    Count(usize),
    /// A word that is not on the list.
    #[error("word {position} is not on the list")]
    Unknown {
        /// Its place, from 1.
        position: usize,
    },
    /// All words are on the list, but one is wrong, or two are swapped.
    #[error("checksum is wrong: one of the words, or their order")]
    Checksum,
}

impl RecoveryWords {
    /// Draws new words.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        let mut entropy = Box::new(Zeroizing::new([0; 32]));
        System.fill(&mut **entropy)?;
        Ok(Self(entropy))
    }

    /// Reads words back, however they are spaced and capitalised.
    ///
    /// # Errors
    /// When they are not 24 words of the list with a valid checksum. One wrong word passes once in
    /// about 256 times.
    pub fn parse(text: &str) -> Result<Self, ParseWordsError> {
        let count = text.split_whitespace().count();
        if count != COUNT {
            return Err(ParseWordsError::Count(count));
        }
        let mut lower = Zeroizing::new(String::with_capacity(text.len()));
        lower.extend(text.chars().map(|c| c.to_ascii_lowercase()));
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &lower).map_err(
            |error| match error {
                bip39::Error::UnknownWord(at) => ParseWordsError::Unknown { position: at + 1 },
                _ => ParseWordsError::Checksum,
            },
        )?;
        let (bytes, _) = mnemonic.to_entropy_array();
        let bytes = Zeroizing::new(bytes);
        let mut entropy = Box::new(Zeroizing::new([0; 32]));
        for (to, from) in entropy.iter_mut().zip(bytes.iter()) {
            *to = *from;
        }
        Ok(Self(entropy))
    }

    /// The words, separated by single spaces, to be shown once.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // The longest words have 8 letters, so the text never moves while it grows.
        let mut text = Zeroizing::new(String::with_capacity(COUNT * 9));
        for word in mnemonic(&self.0).words() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// The recovery device's card. It is the same wherever the words are entered, its name included,
    /// so that they alone tell which device they are.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a text of 23 plain characters is a name"
    )]
    pub fn card(&self) -> Card {
        let keys = self.device_keys();
        let digest = sha256(keys.signing.verify_key().as_bytes());
        let [a, b, ..] = *digest.as_bytes();
        let name = format!("recovery words {a:02x}{b:02x}");
        keys.card(DeviceKind::Recovery, Name::new(&name).expect("a name"))
    }

    /// Derives the recovery device's keys, always the same ones, by HKDF-SHA256.
    #[must_use]
    #[expect(clippy::expect_used, reason = "HKDF refuses only more than 8160 bytes")]
    pub fn device_keys(&self) -> DeviceKeys {
        let info = canonical::encode(&(DOMAIN, VERSION, "recovery device"));
        let mut seeds = Zeroizing::new([0; DeviceKeys::SEEDS_LEN]);
        Hkdf::<Sha256>::new(None, &**self.0)
            .expand(&info, &mut *seeds)
            .expect("96 bytes");
        DeviceKeys::from_seeds(&seeds)
    }
}

#[expect(
    clippy::expect_used,
    reason = "32 bytes are one of the five lengths that BIP-39 has"
)]
fn mnemonic(entropy: &[u8; 32]) -> Mnemonic {
    Mnemonic::from_entropy_in(Language::English, entropy).expect("24 words for 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_words_give_the_same_device_again() {
        let words = RecoveryWords::generate().unwrap();
        let text = words.to_text();
        assert_eq!(text.split(' ').count(), 24);
        let spaced = format!("  {} \n", text.to_uppercase().replace(' ', " \t "));
        let again = RecoveryWords::parse(&spaced).unwrap();
        assert_eq!(again.to_text(), text);
        let keys = words.device_keys().to_bytes();
        assert_eq!(keys, again.device_keys().to_bytes());
        assert_eq!(words.card(), again.card());
        assert_eq!(words.card().kind, DeviceKind::Recovery);
        let other = RecoveryWords::generate().unwrap();
        assert_ne!(keys, other.device_keys().to_bytes());
    }

    #[test]
    fn slips_of_the_pen_are_found() {
        let words = RecoveryWords(Box::new(Zeroizing::new([0; 32])));
        let text = words.to_text();
        assert_eq!(*text, format!("{}art", "abandon ".repeat(23)));
        let slips = [
            (text.replacen("abandon", "", 1), ParseWordsError::Count(23)),
            (
                text.replacen("abandon", "abandoned", 1),
                ParseWordsError::Unknown { position: 1 },
            ),
            (
                text.replacen("abandon", "ability", 1),
                ParseWordsError::Checksum,
            ),
        ];
        for (slip, error) in slips {
            assert_eq!(RecoveryWords::parse(&slip).err(), Some(error));
        }
    }
}
