//! Recovery words: a device that is 24 words on paper.

use ostrakon_shards::words::RecoveryWords;

use super::{AddDeviceError, ChangeOptions, ChangeProfileError, Person, change::threshold};
use crate::workstation::{OpenError, Workstation};

/// Why a home does not act as the recovery words' device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadWordsError {
    /// It has keys of its own already.
    #[error("this home is a device already")]
    NotFresh,
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Workstation {
    /// Adds a device to the profile that is made of words, and gives the words. They are kept nowhere.
    ///
    /// # Errors
    /// When the profile cannot be changed: then there are no words.
    pub async fn add_words(
        &mut self,
        options: &ChangeOptions,
        person: &mut dyn Person,
    ) -> Result<RecoveryWords, AddDeviceError> {
        let member = self.newest_member().await?;
        let words = RecoveryWords::generate()?;
        let card = words.card();
        let mut draft = member.profile.draft().map_err(ChangeProfileError::from)?;
        draft.devices.push(card.clone());
        draft.threshold = threshold(&draft, options.threshold);
        draft.check()?;
        let consent = (card.id(), draft.sign(&words.device_keys().signing));
        self.bring_into_force(&member, draft, &[consent], options, None, person)
            .await?;
        Ok(words)
    }

    /// Makes this home, which must be fresh, act as the device that these words are. What it lacks then
    /// is the profile: another device links it.
    ///
    /// # Errors
    /// When the home is a device already, or cannot be used.
    pub fn load_words(&mut self, words: &RecoveryWords) -> Result<(), LoadWordsError> {
        let lock = self.lock()?;
        if self.member().is_some() || self.state().pending.is_some() {
            return Err(LoadWordsError::NotFresh);
        }
        let kept = self.home.keep_keys(&lock, &words.device_keys());
        if !kept.map_err(OpenError::from)? {
            return Err(LoadWordsError::NotFresh);
        }
        let card = words.card();
        self.change(&lock, |state| state.people_mut().card = Some(card))?;
        Ok(())
    }
}
