//! Whose devices may answer this server's own ceremonies, although their profile need not be registered
//! here: those that hold its newest backup key, and those of whom a ceremony that is open asks something.
//!
//! To them the relay hands what is sealed to them, and takes their answers. It does nothing else for them.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ostrakon_custody::Signer;
use ostrakon_shards::{
    backup::{BackupFile, SignedNewest},
    card::Card,
    profile::{Profile, SignedVersion},
};
use ostrakon_storage::Store;
use ostrakon_transport::message::MAX_CHAIN;
use ostrakon_types::{CeremonyId, DeviceId, ErrorChain, ProfileId};

use crate::ceremony::newest_backup;

/// Those whom the relay serves.
#[derive(Default)]
pub(crate) struct Administrators(RwLock<Served>);

#[derive(Default)]
struct Served {
    holders: Option<Holders>,
    asked: Vec<(CeremonyId, Arc<Profile>)>,
}

/// The profile that holds the newest backup key, as it was when that was made.
struct Holders {
    profile: Arc<Profile>,
    versions: Vec<SignedVersion>,
    newest: SignedNewest,
}

impl Administrators {
    /// Those whom the newest backup key names, if there is one.
    pub(crate) async fn load(store: &Store, signer: &Signer) -> Self {
        let administrators = Self::default();
        administrators.look_again(store, signer).await;
        administrators
    }

    /// Takes the newest backup key as it is now. Nobody's decryption hangs on it, so one that cannot be read
    /// is logged.
    pub(crate) async fn look_again(&self, store: &Store, signer: &Signer) {
        match newest_backup(store).await {
            Ok(Some(newest)) => self.hold(&newest, signer),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "no administrators are known");
            }
        }
    }

    /// The card of a device, if it is one of theirs.
    pub(crate) fn card(&self, device: &DeviceId) -> Option<Card> {
        let served = self.read();
        served.profiles().find_map(|of| of.member(device).cloned())
    }

    /// Whether the device is one of theirs, as a member of this profile.
    pub(crate) fn serves(&self, profile: &ProfileId, device: &DeviceId) -> bool {
        let served = self.read();
        let mut profiles = served.profiles().filter(|of| of.id() == *profile);
        profiles.any(|of| of.member(device).is_some())
    }

    /// What a device of the profile is told of the newest backup key.
    pub(crate) fn newest_backup(&self, profile: &ProfileId) -> Option<SignedNewest> {
        let served = self.read();
        let holders = served.holders.as_ref();
        let holders = holders.filter(|holders| holders.profile.id() == *profile);
        holders.map(|holders| holders.newest)
    }

    /// The versions of the profile that follow the one that a device of it knows: how it hears that what it
    /// approved took effect. A profile that has this server, or another one, asks that for its versions.
    pub(crate) fn versions_after(
        &self,
        profile: &ProfileId,
        known: Option<u64>,
    ) -> Vec<SignedVersion> {
        let served = self.read();
        let holders = served.holders.as_ref();
        let holders = holders.filter(|holders| holders.profile.id() == *profile);
        let versions = holders.map_or(&[][..], |holders| &holders.versions);
        let later = versions
            .iter()
            .filter(|signed| known.is_some_and(|known| signed.version().number > known));
        later.take(MAX_CHAIN).cloned().collect()
    }

    fn hold(&self, backup: &BackupFile, signer: &Signer) {
        self.write().holders = Some(Holders {
            profile: Arc::new(backup.profile().clone()),
            versions: backup.versions().to_vec(),
            newest: signer.newest_backup(backup.generation()),
        });
    }

    /// Serves those who are asked in a ceremony, until it ends.
    pub(crate) fn ask(&self, ceremony: CeremonyId, profile: Profile) {
        self.write().asked.push((ceremony, Arc::new(profile)));
    }

    /// Serves only the ceremonies for which that is so, from now on.
    pub(crate) fn retain(&self, is_open: impl Fn(&CeremonyId) -> bool) {
        self.write().asked.retain(|(id, _)| is_open(id));
    }

    fn read(&self) -> RwLockReadGuard<'_, Served> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Served> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    fn profiles(&self) -> impl Iterator<Item = &Profile> {
        let holders = self.holders.iter().map(|holders| &*holders.profile);
        holders.chain(self.asked.iter().map(|(_, profile)| &**profile))
    }
}
