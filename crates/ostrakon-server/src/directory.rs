use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use ostrakon_custody::Ledger;
use ostrakon_shards::{card::Card, profile::Profile};
use ostrakon_storage::{ChangeNumber, Store, StoreError};
use ostrakon_types::{DeviceId, ProfileId};

use crate::basis::Basis;

/// How many devices are remembered, at about 4 KiB each.
const REMEMBERED: usize = 4096;

/// Who is known: the database's profiles, the recently seen ones remembered.
///
/// Only what was found is remembered, so strangers cannot fill it.
pub(crate) struct Directory {
    store: Arc<Store>,
    remembered: RwLock<HashMap<DeviceId, Arc<Member>>>,
    /// Knows how often profiles have changed in this process.
    ledger: Ledger,
    /// Knows how often other instances have changed something.
    basis: Arc<Basis>,
}

/// A device as it was known in one generation of the directory.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) member: Arc<Member>,
    generation: (u64, ChangeNumber),
}

/// A device that is known, with the profiles to which it belongs.
pub(crate) struct Member {
    pub(crate) card: Card,
    profiles: HashMap<ProfileId, Arc<Profile>>,
}

impl Member {
    /// Whether it still belongs to these profiles and no others, each in this version.
    fn belongs_to(&self, heads: &[(ProfileId, u64)]) -> bool {
        let is_known = |(id, number): &(ProfileId, u64)| {
            let known = self.profiles.get(id);
            known.is_some_and(|profile| profile.head().number == *number)
        };
        heads.len() == self.profiles.len() && heads.iter().all(is_known)
    }

    /// The profile, if the device belongs to it.
    pub(crate) fn profile(&self, id: &ProfileId) -> Option<&Arc<Profile>> {
        self.profiles.get(id)
    }
}

impl Directory {
    pub(crate) fn new(store: Arc<Store>, ledger: Ledger, basis: Arc<Basis>) -> Self {
        Self {
            store,
            remembered: RwLock::default(),
            ledger,
            basis,
        }
    }

    /// Whether nothing has changed since, as far as this process knows.
    ///
    /// What another instance has changed since this process last looked does not show here: the ledger
    /// finds it.
    pub(crate) fn is_current(&self, seen: &Seen) -> bool {
        seen.generation == self.generation()
    }

    fn generation(&self) -> (u64, ChangeNumber) {
        (self.ledger.profile_changes(), self.basis.get())
    }

    /// The device, if it is known.
    ///
    /// # Errors
    /// When the database fails, or a profile in it is damaged.
    pub(crate) async fn member(&self, device: &DeviceId) -> Result<Option<Seen>, StoreError> {
        // Before the question, so that what changes meanwhile makes the answer an old one.
        let generation = self.generation();
        let seen = |member| Some(Seen { member, generation });
        // Asked also about a device that is remembered, so that time does not tell strangers which
        // devices are known, and so that what another process changed is seen.
        let heads = self.store.profiles_of(device).await?;
        if let Some(member) = self.remembered(device)
            && member.belongs_to(&heads)
        {
            return Ok(seen(member));
        }
        let Some(member) = self.look_up(device, heads).await? else {
            return Ok(None);
        };
        let member = Arc::new(member);
        let mut remembered = self
            .remembered
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(*device, Arc::clone(&member));
        Ok(seen(member))
    }

    /// Forgets a device whose profiles have changed.
    pub(crate) fn forget(&self, device: &DeviceId) {
        self.remembered
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(device);
    }

    fn remembered(&self, device: &DeviceId) -> Option<Arc<Member>> {
        let remembered = self
            .remembered
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.get(device).map(Arc::clone)
    }

    async fn look_up(
        &self,
        device: &DeviceId,
        heads: Vec<(ProfileId, u64)>,
    ) -> Result<Option<Member>, StoreError> {
        let corrupt = || StoreError::Corrupt {
            table: "profile_versions",
            column: "sealed",
        };
        let mut profiles = HashMap::new();
        let mut card = None;
        for (id, _) in heads {
            let chain = self.store.profile(&id).await?;
            let profile = Profile::from_chain(chain).map_err(|_| corrupt())?;
            card = Some(profile.member(device).ok_or_else(corrupt)?.clone());
            profiles.insert(id, Arc::new(profile));
        }
        Ok(card.map(|card| Member { card, profiles }))
    }
}
