//! The side that is added or linked.

use std::net::SocketAddr;

use hyper::StatusCode;
use ostrakon_shards::{
    card::{Card, DeviceKind},
    device::DeviceKeys,
    identity::VerifyPublicCardError,
    name::{Name, NameError},
    pairing::{Invitation, LetterError, Opening, Pairing, Role},
    profile::{ChainError, HeadError, Profile},
    random::RandomError,
    seal::SealError,
    sign::SignatureError,
};
use ostrakon_transport::http::{BaseUrl, RequestError};
use ostrakon_types::{
    ProfileId,
    canonical::{self, DecodeError},
};

use super::{
    Person,
    calls::Host,
    wire::{Call, Consent, Lent, Offer, Outcome, Reply},
};
use crate::{
    ask::AskError,
    background,
    folder::SecurityGroup,
    home::Membership,
    workstation::{OpenError, Workstation},
};

/// As what this device comes.
#[derive(Clone, Copy, Debug)]
pub struct GuestOptions {
    /// Its kind, unless it has a card already.
    pub kind: DeviceKind,
    /// How long the other side is waited for, in milliseconds.
    pub wait_ms: i64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The profile.
    pub profile: ProfileId,
    /// Whether this device was added, and did not belong to it before.
    pub added: bool,
}

/// Why this device does not belong to the profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It belongs to another one.
    #[error("this device belongs to another profile")]
    OtherProfile,
    /// It belongs to the profile, and was not to be added.
    #[error("this device belongs to a profile already")]
    Member,
    /// The other side asks for a profile, and this device has none.
    #[error("the other device asks for a profile, and this device has none")]
    NothingToShow,
    /// It was to be linked, but is not in the profile.
    #[error("this device is not in the profile")]
    NotAMember,
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The other side could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The other side does not answer.
    #[error("cannot reach the other device")]
    Unreachable(#[from] Box<RequestError>),
    /// What answers is no waiting device.
    #[error("no device waits there (status {0})")]
    Status(StatusCode),
    /// The other side is not the one that showed the code.
    #[error("the device there is not the one that made the invitation")]
    OtherHost,
    /// The other side does not go on.
    #[error("the other device refused: somebody else was first, or it gave up")]
    Refused,
    /// The other side says what makes no sense.
    #[error("the other device's answer makes no sense")]
    BadReply,
    /// What it says cannot be read.
    #[error("the other device's answer cannot be read")]
    Malformed(#[from] DecodeError),
    /// A letter does not fit.
    #[error(transparent)]
    Letter(#[from] LetterError),
    /// The digits differ: somebody stands in between.
    #[error("the digits differ: this is not the device that was meant")]
    Digits,
    /// What it offers is no profile.
    #[error("the other device's profile is not valid")]
    Chain(#[from] ChainError),
    /// It shows another history than this device knows.
    #[error("the other device shows another profile than this one knows")]
    Head(#[from] HeadError),
    /// The profile's server is not one.
    #[error("the profile's key shard server does not verify")]
    Keyserver(#[from] VerifyPublicCardError),
    /// The server's signature does not match.
    #[error("the key shard server's word does not verify")]
    Signature(#[from] SignatureError),
    /// The others did not approve.
    #[error("the profile's devices or its key shard server did not approve")]
    NotApproved,
    /// It took too long.
    #[error("the other device did not go on in time")]
    Late,
    /// The name that the other side gives cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Something could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Workstation {
    /// Follows an invitation: becomes a device of the profile, or learns anew where its other devices
    /// wait.
    ///
    /// # Errors
    /// When the host is not the one that made the invitation, or the profile does not take this device.
    pub async fn join_by_invitation(
        &mut self,
        invitation: &Invitation,
        options: GuestOptions,
    ) -> Result<Joined, JoinError> {
        let host = Host::new(&self.config, invitation.address())?;
        let (card, name) = host.greet().await?;
        if !invitation.is_from(&card) {
            return Err(JoinError::OtherHost);
        }
        let (keys, own) = self.own_card(name, options.kind)?;
        let hello = invitation.hello(&card, &own)?;
        host.call(&Call::Hello(hello)).await?.taken()?;
        let pairing = invitation.pair(Role::Guest, card, own);
        self.visit(&host, &pairing, &keys, options).await
    }

    /// Follows a typed code: the same, once people have compared what both devices show.
    ///
    /// # Errors
    /// As [`join_by_invitation`](Self::join_by_invitation), and when the digits differ.
    pub async fn join_by_code(
        &mut self,
        address: SocketAddr,
        options: GuestOptions,
        person: &mut dyn Person,
    ) -> Result<Joined, JoinError> {
        let host = Host::new(&self.config, address)?;
        let (_, name) = host.greet().await?;
        let (keys, own) = self.own_card(name, options.kind)?;
        let opening = Opening::new(own)?;
        let commit = Call::Commit(opening.commitment(Role::Guest));
        let Reply::Commit(commitment) = host.call(&commit).await? else {
            return Err(JoinError::Refused);
        };
        let Reply::Reveal(other) = host.call(&Call::Reveal(opening.clone())).await? else {
            return Err(JoinError::Refused);
        };
        if other.commitment(Role::Host) != commitment {
            return Err(JoinError::BadReply);
        }
        let (pairing, digits) = opening.meet(Role::Guest, &other);
        let compare = person.compare(digits, pairing.other());
        if !background::run(compare).await {
            return Err(JoinError::Digits);
        }
        self.visit(&host, &pairing, &keys, options).await
    }

    /// This device's keys and card, drawn when there are none yet.
    pub(super) fn own_card(
        &mut self,
        name: Option<Name>,
        kind: DeviceKind,
    ) -> Result<(DeviceKeys, Card), JoinError> {
        let lock = self.lock()?;
        let keys = self.home.draw_keys(&lock).map_err(OpenError::from)?;
        let stored = self.state().people.as_ref();
        let stored = stored.and_then(|people| people.card.clone());
        let known = self.member().map(|member| member.device.clone());
        if let Some(card) = known.or(stored) {
            // Until it belongs to a profile, a card can still change; that of words never does.
            let fixed = self.member().is_some() || card.kind == DeviceKind::Recovery;
            if fixed || name.as_ref().is_none_or(|name| *name == card.name) {
                return Ok((keys, card));
            }
        }
        let name = match name {
            Some(name) => name,
            None => Name::new(&self.environment.host)?,
        };
        let card = keys.card(kind, name);
        let stored = card.clone();
        self.change(&lock, |state| state.people_mut().card = Some(stored))?;
        Ok((keys, card))
    }

    /// What follows once both know each other's cards.
    async fn visit(
        &mut self,
        host: &Host,
        pairing: &Pairing,
        keys: &DeviceKeys,
        options: GuestOptions,
    ) -> Result<Joined, JoinError> {
        let until = self.environment.now().plus(options.wait_ms);
        let clock = self.environment.clock;
        let fetch = async |number| host.fetch(pairing, keys, number, until, clock).await;
        let offer: Offer = canonical::decode(&fetch(0).await?)?;
        let recovering = offer.recovering == Some(true);
        if recovering && offer.versions.is_empty() {
            let known = self.state().membership.as_ref();
            let known = known.ok_or(JoinError::NothingToShow)?;
            let profile = known.head.profile;
            let lent = Lent {
                versions: known.versions.clone(),
                keyserver: known.keyserver.clone(),
                signed_head: known.signed_head,
            };
            host.send(pairing, keys, 0, &lent).await?;
            let outcome: Outcome = canonical::decode(&fetch(1).await?)?;
            let farewell = Consent { signature: None };
            host.send(pairing, keys, 1, &farewell).await?;
            let Outcome::Done { .. } = outcome else {
                return Err(JoinError::NotApproved);
            };
            self.note_relay(offer.relay)?;
            let added = false;
            return Ok(Joined { profile, added });
        }
        let profile = Profile::from_chain(offer.versions.iter().cloned())?;
        // A machine that is no device shows the profile, and proposes nothing.
        let is_member = profile.member(&pairing.other().id()).is_some();
        let only_shows = recovering && offer.draft.is_none();
        if !is_member && !only_shows {
            return Err(JoinError::BadReply);
        }
        let own = pairing.own().clone();
        let added = self.consider(&profile, &own, &offer)?;
        let draft = offer.draft.as_ref();
        let signature = draft.map(|draft| draft.sign(&keys.signing));
        host.send(pairing, keys, 0, &Consent { signature }).await?;
        let outcome: Outcome = canonical::decode(&fetch(1).await?)?;
        let farewell = Consent { signature: None };
        let Outcome::Done { version, head } = outcome else {
            // Whether it is heard changes nothing.
            let _ = host.send(pairing, keys, 1, &farewell).await;
            return Err(JoinError::NotApproved);
        };
        let mut versions = offer.versions;
        let profile = match (&offer.draft, version) {
            (Some(draft), Some(version)) if version.version() == draft => {
                let next = profile.advance((*version).clone())?;
                versions.push(*version);
                next
            }
            (None, None) => profile,
            _ => return Err(JoinError::BadReply),
        };
        if let (Some(pinned), Some(head)) = (&offer.keyserver, &head) {
            let keyserver = pinned.card.verify(&pinned.card.claimed_id())?;
            let (shown, _) = head.verify(keyserver.root_key())?;
            if shown != profile.head() {
                return Err(JoinError::BadReply);
            }
        }
        let joined = Joined {
            profile: profile.id(),
            added,
        };
        let membership = Membership {
            device: own,
            head: profile.head(),
            versions,
            signed_head: head,
            keyserver: offer.keyserver,
        };
        self.keep(membership, offer.relay)?;
        host.send(pairing, keys, 1, &farewell).await?;
        Ok(joined)
    }

    /// Whether this device is to be added; an error when it is not to take part at all.
    fn consider(&self, profile: &Profile, own: &Card, offer: &Offer) -> Result<bool, JoinError> {
        if let Some(pinned) = &offer.keyserver {
            let keyserver = pinned.card.verify(&pinned.card.claimed_id())?;
            let listed = profile.member(&keyserver.device_id());
            listed.ok_or(JoinError::BadReply)?;
        }
        let known = self.state().membership.as_ref();
        if let Some(known) = known {
            if known.head.profile != profile.id() {
                return Err(JoinError::OtherProfile);
            }
            known.head.follow(profile)?;
        }
        match &offer.draft {
            Some(_) if known.is_some() => Err(JoinError::Member),
            Some(draft) => {
                let head = profile.head();
                let follows = draft.previous == Some(head.hash);
                if follows && draft.devices.contains(own) && draft.check().is_ok() {
                    Ok(true)
                } else {
                    Err(JoinError::BadReply)
                }
            }
            None if profile.member(&own.id()).is_some() => Ok(false),
            None => Err(JoinError::NotAMember),
        }
    }

    fn note_relay(&mut self, relay: String) -> Result<(), JoinError> {
        let lock = self.lock()?;
        self.change(&lock, |state| {
            if relay.parse::<BaseUrl>().is_ok() {
                state.people_mut().note_relay(relay);
            }
        })?;
        Ok(())
    }

    /// Stores the profile, and where the host waits.
    fn keep(&mut self, membership: Membership, relay: String) -> Result<(), JoinError> {
        let lock = self.lock()?;
        let personal = SecurityGroup {
            name: Name::new("Personal")?,
            members: vec![membership.head.profile],
        };
        self.change(&lock, |state| {
            let card = membership.device.clone();
            match &mut state.membership {
                // Only the newer chain: the rest this device knows as well.
                Some(known) => {
                    known.head = membership.head;
                    known.versions = membership.versions;
                    known.signed_head = membership.signed_head.or(known.signed_head);
                }
                none => *none = Some(membership),
            }
            if state.groups.is_empty() {
                state.groups = vec![personal];
            }
            let people = state.people_mut();
            people.card = Some(card);
            if relay.parse::<BaseUrl>().is_ok() {
                people.note_relay(relay);
            }
        })?;
        Ok(())
    }
}
