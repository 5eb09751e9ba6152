//! Coming back, on a new machine, into a profile whose other devices are left.
//!
//! Nothing is believed that the profile's devices did not sign: each shows the profile as it knows it,
//! the newest is taken, and in the end M devices approve the version that takes this machine in. Their
//! people compare the words of that ceremony, since nobody knows this machine yet.

mod finalize;

use std::sync::Arc;

use ostrakon_shards::{
    card::{Card, DeviceKind},
    ceremony::OpenCeremonyError,
    device::DeviceKeys,
    profile::{ChainError, Profile, SignedVersion, VersionError},
    random::RandomError,
};
use ostrakon_types::{DeviceId, ProfileId};

use self::finalize::enough_are_left;
use super::{
    AddDeviceError, ChangeProfileError, HoldError, HostOptions, JoinError, Person,
    front::Front,
    host::check_kind,
    wire::{Consent, Lent, Offer, Outcome},
};
use crate::{
    ask::AskError,
    home::{MetDevice, Recovery},
    workstation::{OpenError, Workstation},
};

/// Why a profile was not recovered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverProfileError {
    /// This machine belongs to a profile.
    #[error("this machine belongs to a profile already")]
    Member,
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The device could not be met.
    #[error(transparent)]
    Add(#[from] AddDeviceError),
    /// This machine has no card.
    #[error(transparent)]
    Card(#[from] JoinError),
    /// What a device shows is no profile.
    #[error("the profile that the device shows is not valid")]
    Chain(#[from] ChainError),
    /// Two devices show different histories.
    #[error("the device shows another branch of the profile than is known")]
    Fork,
    /// A device does not belong to the profile that it shows, or that was selected.
    #[error("device {0} does not belong to the profile")]
    NotInProfile(DeviceId),
    /// No such device was added here.
    #[error("no device {0} was added here")]
    NoSuchDevice(DeviceId),
    /// No such profile was loaded.
    #[error("no profile {0} was loaded")]
    NoSuchProfile(ProfileId),
    /// No profile was selected.
    #[error("no profile was selected")]
    NotSelected,
    /// Nothing was staged.
    #[error("no device was staged")]
    NotStaged,
    /// Too few people are left to approve anything.
    #[error(
        "it takes {needed} devices of people, and {left} are left: a key shard server approves no recovery"
    )]
    TooFew {
        /// How many it takes.
        needed: u8,
        /// How many are left.
        left: usize,
    },
    /// The profile has a server, and no device has said which.
    #[error("the profile has a key shard server, and no device that came here knows it")]
    NoKeyserver,
    /// The profile has a server, which must know the change, and cannot be asked.
    #[error("the profile's key shard server must take the recovered profile, and does not answer")]
    KeyserverAway(#[source] AskError),
    /// The profile would not be one.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The profile's devices cannot be asked.
    #[error(transparent)]
    Ceremony(#[from] OpenCeremonyError),
    /// They have not approved.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// Devices could not be waited for.
    #[error(transparent)]
    Change(#[from] ChangeProfileError),
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Workstation {
    /// Whether this home has no profile, and so can be brought back into one.
    #[must_use]
    pub fn can_recover(&self) -> bool {
        self.member().is_none() && self.state().pending.is_none()
    }

    /// Meets a device of the profile that is to be recovered: one that shows the profile or, with
    /// `options.recovery`, recovery words, which are shown the selected one.
    ///
    /// # Errors
    /// When none comes, or it does not belong to the profile.
    pub async fn meet_for_recovery(
        &mut self,
        expected: Option<DeviceId>,
        options: &HostOptions,
        person: &mut dyn Person,
    ) -> Result<Card, RecoverProfileError> {
        if !self.can_recover() {
            return Err(RecoverProfileError::Member);
        }
        let (keys, own) = self.own_card(None, DeviceKind::Workstation)?;
        let front = self.open_front(options.change.listen).await?;
        let keys = Arc::new(keys);
        let met = self.meet_at(&front, &keys, &own, expected, options, person);
        let met = met.await;
        front.close().await;
        let met = met?;
        let card = met.card.clone();
        let lock = self.lock()?;
        self.change(&lock, |state| {
            state.people_mut().recovery_mut().meet(met);
        })?;
        Ok(card)
    }

    async fn meet_at(
        &mut self,
        front: &Front,
        keys: &Arc<DeviceKeys>,
        own: &Card,
        expected: Option<DeviceId>,
        options: &HostOptions,
        person: &mut dyn Person,
    ) -> Result<MetDevice, RecoverProfileError> {
        let shown = if options.recovery {
            self.selected()?.1
        } else {
            Vec::new()
        };
        let visit = self.meet(front, keys, own, None, options, person).await?;
        let card = visit.other().clone();
        let id = card.id();
        check_kind(&card, options.recovery)?;
        if let Some(expected) = expected
            && expected != id
        {
            return Err(AddDeviceError::Other(id).into());
        }
        let offer = Offer {
            versions: shown.clone(),
            draft: None,
            keyserver: None,
            relay: front.url(),
            recovering: Some(true),
        };
        visit.send(0, &offer, front)?;
        let lent = if options.recovery {
            let _: Consent = visit.receive(0, front).await?;
            Lent {
                versions: shown,
                keyserver: None,
                signed_head: None,
            }
        } else {
            visit.receive(0, front).await?
        };
        let profile = Profile::from_chain(lent.versions.iter().cloned())?;
        if profile.member(&id).is_none() {
            return Err(RecoverProfileError::NotInProfile(id));
        }
        let done = Outcome::Done {
            version: None,
            head: None,
        };
        visit.send(1, &done, front)?;
        visit.part(self.environment.now(), front).await?;
        Ok(MetDevice {
            card,
            versions: lent.versions,
            keyserver: lent.keyserver,
            signed_head: lent.signed_head,
        })
    }

    /// Loads the profile that a device has shown.
    ///
    /// # Errors
    /// When no such device was added, or it shows another branch than is known.
    pub fn load_profiles(&mut self, device: DeviceId) -> Result<Vec<Profile>, RecoverProfileError> {
        let lock = self.lock()?;
        let mut recovery = self.recovery()?;
        let met = recovery.devices.iter().find(|met| met.card.id() == device);
        let met = met.ok_or(RecoverProfileError::NoSuchDevice(device))?;
        let shown = met.versions.clone();
        let profile = Profile::from_chain(shown.iter().cloned())?;
        let mut known = None;
        for (at, versions) in recovery.profiles.iter().enumerate() {
            let loaded = Profile::from_chain(versions.iter().cloned())?;
            if loaded.id() == profile.id() {
                known = Some((at, loaded));
            }
        }
        match known {
            None => recovery.profiles.push(shown),
            Some((at, loaded)) => {
                let is_newer = profile.head().number > loaded.head().number;
                let (longer, shorter) = if is_newer {
                    (&profile, &loaded)
                } else {
                    (&loaded, &profile)
                };
                let head = shorter.head();
                if longer.hash_of(head.number) != Some(&head.hash) {
                    return Err(RecoverProfileError::Fork);
                }
                if let Some(place) = recovery.profiles.get_mut(at).filter(|_| is_newer) {
                    *place = shown;
                }
            }
        }
        self.change(&lock, |state| *state.people_mut().recovery_mut() = recovery)?;
        self.loaded_profiles()
    }

    /// The profiles that were loaded.
    ///
    /// # Errors
    /// When the stored ones are damaged.
    pub fn loaded_profiles(&self) -> Result<Vec<Profile>, RecoverProfileError> {
        let loaded = self.recovery()?.profiles;
        let profiles = loaded.into_iter().map(Profile::from_chain);
        Ok(profiles.collect::<Result<_, _>>()?)
    }

    /// Selects the profile that is to be recovered.
    ///
    /// # Errors
    /// When it was not loaded.
    pub fn select_profile(&mut self, id: ProfileId) -> Result<Profile, RecoverProfileError> {
        let loaded = self.loaded_profiles()?;
        let found = loaded.into_iter().find(|profile| profile.id() == id);
        let profile = found.ok_or(RecoverProfileError::NoSuchProfile(id))?;
        let lock = self.lock()?;
        self.change(&lock, |state| {
            state.people_mut().recovery_mut().selected = Some(id);
        })?;
        Ok(profile)
    }

    /// Prepares the profile's next version: this machine is in it, and the devices that it `replaces` are
    /// not. `device` is one that was met here, and will approve.
    ///
    /// # Errors
    /// When no profile was selected, or a device is none of it.
    pub fn stage_new_device(
        &mut self,
        device: DeviceId,
        replaces: &[DeviceId],
    ) -> Result<(), RecoverProfileError> {
        let (profile, _) = self.selected()?;
        let met = self.recovery()?.devices;
        if !met.iter().any(|met| met.card.id() == device) {
            return Err(RecoverProfileError::NoSuchDevice(device));
        }
        let strangers = [device].into_iter().chain(replaces.iter().copied());
        if let Some(stranger) = strangers
            .into_iter()
            .find(|id| profile.member(id).is_none())
        {
            return Err(RecoverProfileError::NotInProfile(stranger));
        }
        enough_are_left(&profile, replaces)?;
        let lock = self.lock()?;
        self.change(&lock, |state| {
            state.people_mut().recovery_mut().staged = Some(replaces.to_vec());
        })?;
        Ok(())
    }

    pub(super) fn recovery(&self) -> Result<Recovery, RecoverProfileError> {
        if !self.can_recover() {
            return Err(RecoverProfileError::Member);
        }
        let people = self.state().people.as_ref();
        let recovery = people.and_then(|people| people.recovery.clone());
        Ok(recovery.unwrap_or_default())
    }

    /// The selected profile, with what the devices that were met since know of it.
    pub(super) fn selected(&self) -> Result<(Profile, Vec<SignedVersion>), RecoverProfileError> {
        let recovery = self.recovery()?;
        let selected = recovery.selected.ok_or(RecoverProfileError::NotSelected)?;
        recovery
            .newest(selected)?
            .ok_or(RecoverProfileError::NoSuchProfile(selected))
    }
}

impl Recovery {
    /// A profile in the newest version that any device has shown. Branches are left out: those that the
    /// loaded one does not continue in.
    pub(crate) fn newest(
        &self,
        id: ProfileId,
    ) -> Result<Option<(Profile, Vec<SignedVersion>)>, ChainError> {
        let mut newest: Option<(Profile, Vec<SignedVersion>)> = None;
        let shown = self.devices.iter().map(|met| &met.versions);
        for versions in self.profiles.iter().chain(shown) {
            let profile = Profile::from_chain(versions.iter().cloned())?;
            if profile.id() != id {
                continue;
            }
            let goes_on = newest.as_ref().is_none_or(|(known, _)| {
                let head = known.head();
                profile.hash_of(head.number) == Some(&head.hash)
            });
            if goes_on {
                newest = Some((profile, versions.clone()));
            }
        }
        Ok(newest)
    }
}
