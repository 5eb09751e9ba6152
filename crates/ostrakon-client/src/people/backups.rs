//! What a device knows of a server's backup keys, so that an older one is not used unseen.

use ostrakon_shards::{
    ceremony::{Notice, Question},
    generation::Generation,
};

use super::contribution;
use crate::{
    home::{KnownBackup, UnheardBackup},
    workstation::{OpenError, Workstation},
};

impl Workstation {
    /// The newer backup key of the same server that was made, as far as this device knows, where an older
    /// one is to be used.
    #[must_use]
    pub fn newer_backup(&self, question: &Question) -> Option<Generation> {
        let used = contribution::used(question)?;
        let people = self.state().people.as_ref()?;
        newest_of(people.backups.iter().flatten(), used)
    }

    /// The newer backup key of the same server that this device approved the making of without having heard
    /// whether it was made.
    #[must_use]
    pub fn unheard_backup(&self, question: &Question) -> Option<Generation> {
        let used = contribution::used(question)?;
        let people = self.state().people.as_ref()?;
        let unheard = people.ceremonies.as_ref()?.unheard.iter();
        newest_of(unheard.map(|unheard| &unheard.backup), used)
    }

    /// Notes which backup keys were made, as their servers say.
    pub(super) fn note_newest(&mut self, newest: &[KnownBackup]) -> Result<(), OpenError> {
        let now = self.environment.now();
        let people = self.state().people.as_ref();
        let is_news = |newest: &KnownBackup| people.is_none_or(|of| of.is_news(*newest, now));
        if !newest.iter().any(is_news) {
            return Ok(());
        }
        let lock = self.lock()?;
        self.change(&lock, |state| {
            for newest in newest {
                state.people_mut().note_newest(*newest, now);
            }
        })
    }

    /// Notes what an approval says of backup keys.
    pub(super) fn note_approval(&mut self, question: &Question) -> Result<(), OpenError> {
        let ceremony = question.ceremony();
        // That this device approved does not make one: others may deny, or not answer.
        let unheard = contribution::made(question).map(|backup| UnheardBackup {
            backup,
            until: ceremony.expires_at.plus(Notice::MAX_SKEW_MS),
        });
        // Its file came along, signed by the server: that one was made.
        let used = contribution::used(question);
        if unheard.is_none() && used.is_none() {
            return Ok(());
        }
        let lock = self.lock()?;
        self.change(&lock, |state| {
            let people = state.people_mut();
            if let Some(unheard) = unheard {
                people.ceremonies_mut().note_unheard(unheard);
            }
            if let Some(used) = used {
                people.note_made(used);
            }
        })?;
        Ok(())
    }
}

/// The newest of these backup keys of the same server, if it is newer than the one that is used.
fn newest_of<'a>(
    backups: impl Iterator<Item = &'a KnownBackup>,
    used: KnownBackup,
) -> Option<Generation> {
    let of_server = backups.filter(|backup| backup.kss_id == used.kss_id);
    let newest = of_server.map(|backup| backup.generation).max();
    newest.filter(|newest| *newest > used.generation)
}
