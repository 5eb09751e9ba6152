//! The end of a recovery: the profile's devices take this machine in, and its key shard server, if it has one,
//! learns of it.

use std::sync::Arc;

use ostrakon_shards::{
    card::{Card, DeviceKind},
    ceremony::{Plan, Requester, Standing, Subject, Tally},
    device::DeviceKeys,
    name::Name,
    profile::{Profile, SignedHead, SignedVersion},
    random,
    sign::VerifyKey,
};
use ostrakon_transport::message::{Item, ItemAnswer, RequestBody};
use ostrakon_types::DeviceId;

use super::RecoverProfileError;
use crate::{
    ask::{AskError, Link, impatient},
    folder::SecurityGroup,
    home::{Membership, PinnedKeyserver, Recovery},
    people::{
        ChangeOptions, ChangeProfileError, HoldError, JoinError, Person,
        change::{registered, threshold},
    },
    workstation::Workstation,
};

impl Workstation {
    /// Asks the profile's devices to take this machine in as it was staged, and is a device of the
    /// profile from then on.
    ///
    /// # Errors
    /// When nothing was staged, or too few devices approve.
    pub async fn finalize_recovery(
        &mut self,
        options: &ChangeOptions,
        person: &mut dyn Person,
    ) -> Result<(), RecoverProfileError> {
        if !self.can_recover() {
            return Err(RecoverProfileError::Member);
        }
        let (profile, versions) = self.selected()?;
        let replaces = self.recovery()?.staged;
        let replaces = replaces.ok_or(RecoverProfileError::NotStaged)?;
        enough_are_left(&profile, &replaces)?;
        let keyserver = self.keyserver_of(&profile).await?;
        let (keys, own) = self.own_card(None, DeviceKind::Workstation)?;
        let mut draft = profile.draft()?;
        draft.devices.retain(|card| !replaces.contains(&card.id()));
        draft.devices.push(own.clone());
        draft.threshold = threshold(&draft, options.threshold);
        draft.check()?;
        let plan = Plan {
            subject: Subject::FinalizeRecovery {
                draft: draft.clone(),
            },
            threshold: profile.threshold().needed(),
            requester: Requester::Machine(own.clone()),
            lifetime_ms: options.wait_ms,
        };
        let now = self.environment.now();
        let mut tally = Tally::open(&profile, plan, &keys.signing, now)?;
        let front = self.open_front(options.listen).await?;
        let profile = Arc::new(profile);
        let held = self.wait_for(&profile, &versions, &mut tally, &front, person);
        let held = held.await;
        front.close().await;
        held?;
        let completed = tally.complete(self.environment.now());
        let completed = completed.map_err(|standing| match standing {
            Standing::Denied { by } => HoldError::DeniedBy { by },
            _ => HoldError::Expired,
        })?;
        let consent = (own.id(), draft.sign(&keys.signing));
        let signatures = completed.version_signatures().chain([consent]);
        let signed = SignedVersion::new(draft, signatures);
        let (signed, head) = match &keyserver {
            Some(pinned) => {
                let link = self.link_of(pinned)?;
                self.show(&link, &profile, &versions, &keys, &own).await?;
                let registered = self.enter_at_server(&link, &profile, &keys, &own, signed);
                let (signed, head) = registered.await?;
                (signed, Some(head))
            }
            None => (signed, None),
        };
        self.enter(&profile, versions, signed, own, (keyserver, head))
    }

    /// The profile's server, if it has one: as the devices that came here know it, and there.
    async fn keyserver_of(
        &self,
        profile: &Profile,
    ) -> Result<Option<PinnedKeyserver>, RecoverProfileError> {
        let mut devices = profile.version().devices.iter();
        if !devices.any(|card| card.kind == DeviceKind::Keyserver) {
            return Ok(None);
        }
        let pinned = self.recovery()?.keyserver(profile);
        let pinned = pinned.ok_or(RecoverProfileError::NoKeyserver)?;
        // Before people are asked for what it could not take.
        let urls = self.config.urls_or(&pinned.urls);
        let there = Link::fetch_card(&impatient(&self.config), urls).await;
        there.map_err(RecoverProfileError::KeyserverAway)?;
        Ok(Some(pinned))
    }

    fn link_of(&self, pinned: &PinnedKeyserver) -> Result<Link, ChangeProfileError> {
        let keyserver = pinned.card.verify(&pinned.card.claimed_id());
        let keyserver = keyserver.map_err(|_| ChangeProfileError::BadAnswer)?;
        let urls = self.config.urls_or(&pinned.urls);
        Ok(Link::new(&self.config, urls, keyserver)?)
    }

    /// Shows the server the profile as it signed it before: one that was recovered does not know it until a device
    /// of it has come by.
    async fn show(
        &self,
        link: &Link,
        profile: &Profile,
        versions: &[SignedVersion],
        keys: &DeviceKeys,
        own: &Card,
    ) -> Result<(), RecoverProfileError> {
        let root = link.keyserver().root_key();
        let head = self.recovery()?.word_on(profile, root);
        if let Some(head) = head {
            let versions = versions.to_vec();
            let item = Item::ShowProfile { versions, head };
            // Whether it was news to it, what follows shows.
            self.ask_as_stranger(link, profile, keys, own, item).await?;
        }
        Ok(())
    }

    /// Has the server bring the version into force by which this machine comes into the profile.
    async fn enter_at_server(
        &self,
        link: &Link,
        profile: &Profile,
        keys: &DeviceKeys,
        own: &Card,
        signed: SignedVersion,
    ) -> Result<(SignedVersion, SignedHead), ChangeProfileError> {
        let hash = signed.version().hash();
        let item = Item::ChangeProfile { version: signed };
        let asked = self.ask_as_stranger(link, profile, keys, own, item);
        registered(asked.await?, link.keyserver().root_key(), &hash)
    }

    async fn ask_as_stranger(
        &self,
        link: &Link,
        profile: &Profile,
        keys: &DeviceKeys,
        own: &Card,
        item: Item,
    ) -> Result<Option<ItemAnswer>, ChangeProfileError> {
        let now = self.environment.now();
        let id = random::request_id(now)?;
        let body = RequestBody::new(id, now, profile.id(), vec![item]).map_err(AskError::from)?;
        let asked = link.first_contact(keys, own, body, &self.environment);
        Ok(asked.await?.into_iter().next())
    }

    fn enter(
        &mut self,
        profile: &Profile,
        mut versions: Vec<SignedVersion>,
        signed: SignedVersion,
        own: Card,
        (keyserver, signed_head): (Option<PinnedKeyserver>, Option<SignedHead>),
    ) -> Result<(), RecoverProfileError> {
        let profile = profile.advance(signed.clone())?;
        versions.push(signed);
        let personal = SecurityGroup {
            name: Name::new("Personal").map_err(JoinError::from)?,
            members: vec![profile.id()],
        };
        let membership = Membership {
            device: own,
            head: profile.head(),
            versions,
            signed_head,
            keyserver,
        };
        let lock = self.lock()?;
        self.change(&lock, |state| {
            state.membership = Some(membership);
            state.groups = vec![personal];
            state.people_mut().recovery = None;
        })?;
        Ok(())
    }
}

/// Whether those who are left can approve what the profile's devices must approve.
pub(super) fn enough_are_left(
    profile: &Profile,
    replaces: &[DeviceId],
) -> Result<(), RecoverProfileError> {
    let devices = profile.version().devices.iter();
    let left = devices
        .filter(|card| card.kind != DeviceKind::Keyserver && !replaces.contains(&card.id()))
        .count();
    let needed = profile.threshold().needed();
    if left < usize::from(needed) {
        return Err(RecoverProfileError::TooFew { needed, left });
    }
    Ok(())
}

impl Recovery {
    /// The word of the server, whose key is `root`, that this version of the profile is in force.
    fn word_on(&self, profile: &Profile, root: &VerifyKey) -> Option<SignedHead> {
        let mut words = self.devices.iter().filter_map(|met| met.signed_head);
        words.find(|word| {
            word.verify(root)
                .is_ok_and(|(head, _)| head == profile.head())
        })
    }

    /// The server of a profile, as a device of it knows it. Its card proves itself, and must be in the profile.
    fn keyserver(&self, profile: &Profile) -> Option<PinnedKeyserver> {
        let known = self
            .devices
            .iter()
            .filter(|met| profile.member(&met.card.id()).is_some());
        let mut known = known.filter_map(|met| met.keyserver.as_ref());
        let is_of_it = |pinned: &&PinnedKeyserver| {
            let verified = pinned.card.verify(&pinned.card.claimed_id());
            verified.is_ok_and(|server| {
                let card = profile.member(&server.device_id());
                card.is_some_and(|card| card.kind == DeviceKind::Keyserver)
            })
        };
        known.find(is_of_it).cloned()
    }
}
