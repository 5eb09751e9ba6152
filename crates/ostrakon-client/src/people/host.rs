//! The side that adds or links a device.

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use minicbor::{Decode, Encode};
use ostrakon_shards::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    name::Name,
    pairing::{Code, Invitation, LetterError, Opening, Pairing},
    profile::VersionError,
    random::RandomError,
    seal::{SealError, Sealed},
    sign::Signature,
};
use ostrakon_types::{
    DeviceId, UnixMillis,
    canonical::{self, DecodeError},
};
use tokio::time::timeout;

use super::{
    ChangeOptions, ChangeProfileError, News, Person,
    change::threshold,
    desk::{HostSide, Stage},
    front::Front,
    wire::{Consent, Offer, Outcome},
};
use crate::{
    background,
    workstation::{Member, Workstation},
};

/// How often it is looked whether time is up.
const TICK: Duration = Duration::from_secs(1);

/// How long the guest has to say that it has stored the outcome, in milliseconds.
const PARTING_MS: i64 = 30_000;

/// How the other device is told where to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By a QR code, or its text.
    Qr,
    /// By a code that is typed, and a comparison.
    Code,
}

/// How a device is to be added.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// How it is told where to come.
    pub method: Method,
    /// Whether it is one with recovery words.
    pub recovery: bool,
    /// The threshold from then on, where to wait, and how long.
    pub change: ChangeOptions,
}

/// Why a device was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddDeviceError {
    /// The profile could not be changed.
    #[error(transparent)]
    Change(#[from] ChangeProfileError),
    /// The profile would not be one.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// A typed code holds an IPv4 address.
    #[error("a code to type holds an IPv4 address, not {0}")]
    NoCode(SocketAddr),
    /// Nobody came in time.
    #[error("no device came in time")]
    Nobody,
    /// Somebody tried who did not fit.
    #[error("a device came that does not fit, and there is no second try")]
    Misfit,
    /// The digits differ: somebody stands in between.
    #[error("the digits differ: this is not the device that was meant")]
    Digits,
    /// The device is not of the kind that was meant.
    #[error("the device is not what was meant: it is {0}")]
    Kind(&'static str),
    /// Another device came than the one to be linked.
    #[error("another device came: {0}")]
    Other(DeviceId),
    /// It is in the profile already.
    #[error("the device is in the profile already")]
    Known,
    /// The device does not consent.
    #[error("the device does not consent to be added")]
    NoConsent,
    /// A letter of the device's does not fit.
    #[error(transparent)]
    Letter(#[from] LetterError),
    /// A letter of the device's makes no sense.
    #[error("the device's answer makes no sense")]
    BadLetter(#[from] DecodeError),
    /// A letter could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The device is in the profile, but has not said that it knows. It can be linked.
    #[error("the device was added, but went away before it had stored the profile")]
    Gone,
}

impl Workstation {
    /// Adds a device that is called `name`, and gives its card.
    ///
    /// # Errors
    /// When none comes, or not the one that was meant; or when the profile cannot be changed.
    pub async fn add_device(
        &mut self,
        name: Name,
        options: &HostOptions,
        person: &mut dyn Person,
    ) -> Result<Card, AddDeviceError> {
        let member = self.newest_member().await?;
        let front = self.open_front(options.change.listen).await?;
        let added = self.add_at(&front, &member, name, options, person).await;
        front.close().await;
        added
    }

    async fn add_at(
        &mut self,
        front: &Front,
        member: &Member,
        name: Name,
        options: &HostOptions,
        person: &mut dyn Person,
    ) -> Result<Card, AddDeviceError> {
        let asked = (!options.recovery).then_some(name);
        let visit = self
            .meet(front, &member.keys, &member.device, asked, options, person)
            .await?;
        let card = visit.pairing.other().clone();
        check_kind(&card, options.recovery)?;
        if member.profile.member(&card.id()).is_some() {
            return Err(AddDeviceError::Known);
        }
        let mut draft = member.profile.draft()?;
        draft.devices.push(card.clone());
        draft.threshold = threshold(&draft, options.change.threshold);
        draft.check()?;
        visit.send(0, &self.offer(front, Some(draft.clone())), front)?;
        let consent: Consent = visit.receive(0, front).await?;
        let signature = consent.signature.ok_or(AddDeviceError::NoConsent)?;
        if !draft.is_signed_by(&card, &signature) {
            return Err(AddDeviceError::NoConsent);
        }
        let consents: [(DeviceId, Signature); 1] = [(card.id(), signature)];
        let change = &options.change;
        let changed = self
            .bring_into_force(member, draft, &consents, change, Some(front), person)
            .await;
        let outcome = match &changed {
            Ok((version, head)) => Outcome::Done {
                version: Some(Box::new(version.clone())),
                head: *head,
            },
            Err(_) => Outcome::Failed,
        };
        visit.send(1, &outcome, front)?;
        let parted = visit.part(self.environment.now(), front).await;
        changed?;
        parted?;
        Ok(card)
    }

    /// Tells a device of the profile where this one waits and how the profile now is, and gives its card.
    ///
    /// # Errors
    /// When the device does not come, or another does.
    pub async fn link_device(
        &mut self,
        device: DeviceId,
        options: &HostOptions,
        person: &mut dyn Person,
    ) -> Result<Card, AddDeviceError> {
        let member = self.newest_member().await?;
        let known = member.profile.member(&device);
        let known = known.ok_or(ChangeProfileError::NoSuchDevice(device))?;
        if known.kind == DeviceKind::Keyserver {
            return Err(AddDeviceError::Kind("a key shard server"));
        }
        // A card is bound to its name, so it must come with the one that it has.
        let name = known.name.clone();
        let front = self.open_front(options.change.listen).await?;
        let linked = self.link_at(&front, &member, name, device, options, person);
        let linked = linked.await;
        front.close().await;
        linked
    }

    async fn link_at(
        &mut self,
        front: &Front,
        member: &Member,
        name: Name,
        device: DeviceId,
        options: &HostOptions,
        person: &mut dyn Person,
    ) -> Result<Card, AddDeviceError> {
        let visit = self
            .meet(
                front,
                &member.keys,
                &member.device,
                Some(name),
                options,
                person,
            )
            .await?;
        let card = visit.pairing.other().clone();
        if card.id() != device {
            return Err(AddDeviceError::Other(card.id()));
        }
        visit.send(0, &self.offer(front, None), front)?;
        let _: Consent = visit.receive(0, front).await?;
        let outcome = Outcome::Done {
            version: None,
            head: None,
        };
        visit.send(1, &outcome, front)?;
        visit.part(self.environment.now(), front).await?;
        Ok(card)
    }

    /// Waits until a device has come and, where it typed a code, both show the same digits.
    pub(super) async fn meet(
        &self,
        front: &Front,
        keys: &Arc<DeviceKeys>,
        own: &Card,
        name: Option<Name>,
        options: &HostOptions,
        person: &mut dyn Person,
    ) -> Result<Visit, AddDeviceError> {
        let own = own.clone();
        let (stage, uri, code) = match options.method {
            Method::Qr => {
                let invitation = Invitation::new(front.address(), &own)?;
                let uri = invitation.to_uri();
                (Stage::Invited(invitation), Some(uri), None)
            }
            Method::Code => {
                let code = Code::new(code_address(front.address())?);
                (Stage::Open(Opening::new(own.clone())?), None, Some(code))
            }
        };
        front.host(HostSide {
            keys: Arc::clone(keys),
            card: own,
            name: name.clone(),
            stage,
        });
        if let Some(uri) = uri {
            person.hear(&News::Invitation(&uri));
        }
        if let Some(code) = code {
            person.hear(&News::Code(code.to_string()));
        }
        let deadline = self.environment.now().plus(options.change.wait_ms);
        let (pairing, digits) = loop {
            let seen = front.pairing(|side| match &side.stage {
                Stage::Paired {
                    pairing, digits, ..
                } => Ok(Some((pairing.clone(), *digits))),
                Stage::Failed => Err(AddDeviceError::Misfit),
                _ => Ok(None),
            });
            if let Some(met) = seen.transpose()?.flatten() {
                break met;
            }
            if self.environment.now() >= deadline {
                return Err(AddDeviceError::Nobody);
            }
            let _ = timeout(TICK, front.changed()).await;
        };
        let guest = pairing.other();
        person.hear(&News::Met(guest));
        if let Some(digits) = digits {
            let compare = person.compare(digits, guest);
            if !background::run(compare).await {
                return Err(AddDeviceError::Digits);
            }
        }
        if name.is_some_and(|name| name != guest.name) {
            return Err(AddDeviceError::Kind("called something else"));
        }
        Ok(Visit {
            pairing,
            keys: Arc::clone(keys),
            clock: self.environment.clock,
            deadline,
        })
    }

    fn offer(
        &self,
        front: &Front,
        draft: Option<ostrakon_shards::profile::ProfileVersion>,
    ) -> Offer {
        let membership = self.state().membership.as_ref();
        Offer {
            versions: membership.map_or_else(Vec::new, |known| known.versions.clone()),
            draft,
            keyserver: membership.and_then(|known| known.keyserver.clone()),
            relay: front.url(),
            recovering: None,
        }
    }
}

/// A guest that is there.
pub(super) struct Visit {
    pairing: Pairing,
    keys: Arc<DeviceKeys>,
    clock: fn() -> UnixMillis,
    deadline: UnixMillis,
}

impl Visit {
    /// The guest's card.
    pub(super) fn other(&self) -> &Card {
        self.pairing.other()
    }

    /// Leaves letter `number` for the guest to fetch.
    pub(super) fn send<T: Encode<()>>(
        &self,
        number: u32,
        letter: &T,
        front: &Front,
    ) -> Result<(), AddDeviceError> {
        let sealed = self
            .pairing
            .seal(&self.keys, number, &canonical::encode(letter))?;
        front.pairing(|side| {
            if let Stage::Paired { for_guest, .. } = &mut side.stage {
                for_guest.push(sealed);
            }
        });
        Ok(())
    }

    /// Waits for the guest's letter `number`.
    pub(super) async fn receive<T>(&self, number: u32, front: &Front) -> Result<T, AddDeviceError>
    where
        T: Encode<()> + for<'b> Decode<'b, ()>,
    {
        let letter = self.letter(number, self.deadline, front).await;
        let letter = letter.ok_or(AddDeviceError::Nobody)?;
        Ok(canonical::decode(
            &self.pairing.open(&self.keys, number, &letter)?,
        )?)
    }

    async fn letter(&self, number: u32, until: UnixMillis, front: &Front) -> Option<Sealed> {
        let number = usize::try_from(number).ok()?;
        loop {
            let came = front.pairing(|side| match &side.stage {
                Stage::Paired { from_guest, .. } => from_guest.get(number).cloned(),
                _ => None,
            });
            if let Some(letter) = came.flatten() {
                return Some(letter);
            }
            if (self.clock)() >= until {
                return None;
            }
            let _ = timeout(TICK, front.changed()).await;
        }
    }

    /// Waits until the guest says that it has stored the outcome: its second letter.
    pub(super) async fn part(&self, now: UnixMillis, front: &Front) -> Result<(), AddDeviceError> {
        let farewell = self.letter(1, now.plus(PARTING_MS), front).await;
        let farewell = farewell.ok_or(AddDeviceError::Gone)?;
        self.pairing.open(&self.keys, 1, &farewell)?;
        Ok(())
    }
}

pub(super) fn check_kind(card: &Card, recovery: bool) -> Result<(), AddDeviceError> {
    match card.kind {
        DeviceKind::Keyserver => Err(AddDeviceError::Kind("a key shard server")),
        DeviceKind::Recovery if !recovery => Err(AddDeviceError::Kind("recovery words")),
        DeviceKind::Workstation | DeviceKind::Mobile if recovery => {
            Err(AddDeviceError::Kind("no recovery words"))
        }
        _ => Ok(()),
    }
}

fn code_address(address: SocketAddr) -> Result<SocketAddrV4, AddDeviceError> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(AddDeviceError::NoCode(address)),
    }
}
