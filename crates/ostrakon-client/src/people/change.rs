//! Changed versions of the profile: who must sign one, and how it comes into force.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use ostrakon_shards::{
    card::DeviceKind,
    ceremony::Subject,
    profile::{ChainError, Profile, ProfileVersion, SignedHead, SignedVersion, VersionError},
    random::RandomError,
    share::Threshold,
    sign::{Signature, SignatureError, VerifyKey},
};
use ostrakon_transport::message::{Failure, Item, ItemAnswer};
use ostrakon_types::{Denial, DeviceId, Digest};

use super::{DEFAULT_WAIT_MS, HoldError, ListenError, Person, front::Front};
use crate::{
    ask::{AskError, Expect, Link},
    refresh::RefreshError,
    workstation::{Member, OpenError, Workstation},
};

/// Where a command waits for other devices, unless somebody says otherwise.
const PORT: u16 = 7421;

/// How the profile is to be changed, beside what is changed.
#[derive(Clone, Debug)]
pub struct ChangeOptions {
    /// How many devices it takes from then on; as many as before, unless the number of devices does not
    /// allow it.
    pub threshold: Option<u8>,
    /// Where to wait for other devices.
    pub listen: Option<SocketAddr>,
    /// How long to wait for them, in milliseconds.
    pub wait_ms: i64,
}

impl Default for ChangeOptions {
    fn default() -> Self {
        Self {
            threshold: None,
            listen: None,
            wait_ms: DEFAULT_WAIT_MS,
        }
    }
}

/// Why the profile is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeProfileError {
    /// There is no profile.
    #[error("there is no profile")]
    NoProfile,
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What the server says of the profile cannot be followed.
    #[error(transparent)]
    Refresh(#[from] Box<RefreshError>),
    /// There is no such device.
    #[error("no device of the profile has the id {0}")]
    NoSuchDevice(DeviceId),
    /// It is this device.
    #[error("this device cannot remove itself")]
    Own,
    /// It is the key shard server.
    #[error("the key shard server cannot be removed: it must be in the profile to be asked for it")]
    Keyserver,
    /// The profile would not be one.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// Other devices cannot be waited for.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Other devices have not approved.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// The key shard server could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The key shard server denied it.
    #[error("the key shard server denied the change of the profile")]
    Denied(Denial),
    /// The key shard server could not do it.
    #[error("the key shard server could not change the profile")]
    Failed(#[source] Failure),
    /// The key shard server answered something else than was asked.
    #[error("the key shard server's answer makes no sense")]
    BadAnswer,
    /// The server's signature under its answer does not match.
    #[error("the key shard server's answer is not signed by it")]
    Signature(#[from] SignatureError),
    /// What was made does not continue the profile.
    #[error("the changed profile is not valid")]
    Chain(#[from] ChainError),
    /// Somebody else changed the profile meanwhile.
    #[error("the profile was changed meanwhile")]
    Conflict,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Workstation {
    /// Sets how many of the profile's devices it takes.
    ///
    /// # Errors
    /// When there is no profile, too few devices approve, or the server denies it.
    pub async fn set_threshold(
        &mut self,
        threshold: u8,
        options: &ChangeOptions,
        person: &mut dyn Person,
    ) -> Result<(), ChangeProfileError> {
        let member = self.newest_member().await?;
        let mut draft = member.profile.draft()?;
        draft.threshold = threshold;
        draft.check()?;
        self.bring_into_force(&member, draft, &[], options, None, person)
            .await?;
        Ok(())
    }

    /// Removes a device from the profile. What it could open before, it can open still.
    ///
    /// # Errors
    /// When there is no such device, it is this one or the server, too few devices approve, or the
    /// server denies it.
    pub async fn remove_device(
        &mut self,
        device: DeviceId,
        options: &ChangeOptions,
        person: &mut dyn Person,
    ) -> Result<(), ChangeProfileError> {
        let member = self.newest_member().await?;
        let known = member.profile.member(&device);
        let card = known.ok_or(ChangeProfileError::NoSuchDevice(device))?;
        if device == member.device.id() {
            return Err(ChangeProfileError::Own);
        }
        if card.kind == DeviceKind::Keyserver {
            return Err(ChangeProfileError::Keyserver);
        }
        let mut draft = member.profile.draft()?;
        draft.devices.retain(|card| card.id() != device);
        draft.threshold = threshold(&draft, options.threshold);
        draft.check()?;
        self.bring_into_force(&member, draft, &[], options, None, person)
            .await?;
        Ok(())
    }

    /// This device in the profile as it is now.
    pub(crate) async fn newest_member(&mut self) -> Result<Member, ChangeProfileError> {
        let member = self.member().ok_or(ChangeProfileError::NoProfile)?;
        if member.keyserver.is_some() {
            self.refresh_profile().await.map_err(Box::new)?;
        }
        let member = self.member().ok_or(ChangeProfileError::NoProfile)?;
        Ok(member.clone())
    }

    /// Has `draft` signed by as many devices of the profile as it takes, brings it into force at the
    /// server, if there is one, and stores it. `consents` are those of the devices that it adds.
    pub(crate) async fn bring_into_force(
        &mut self,
        member: &Member,
        draft: ProfileVersion,
        consents: &[(DeviceId, Signature)],
        options: &ChangeOptions,
        front: Option<&Front>,
        person: &mut dyn Person,
    ) -> Result<(SignedVersion, Option<SignedHead>), ChangeProfileError> {
        // The server signs when its policy approves, in the end. People make up the rest.
        let by_server = u8::from(member.keyserver.is_some());
        let needed = member.profile.threshold().needed();
        let needed = needed.saturating_sub(by_server).max(1);
        let subject = Subject::ChangeProfile {
            draft: draft.clone(),
        };
        let wait_ms = options.wait_ms;
        let approved = match front {
            None if by_server == 0 && needed > 1 => {
                let own = self.open_front(options.listen).await?;
                let held = self
                    .hold(member, subject, needed, wait_ms, Some(&own), person)
                    .await;
                own.close().await;
                held
            }
            front => {
                let front = front.filter(|_| by_server == 0);
                self.hold(member, subject, needed, wait_ms, front, person)
                    .await
            }
        }?;
        let signatures = approved
            .version_signatures()
            .chain(consents.iter().copied());
        let signed = SignedVersion::new(draft, signatures);
        let (signed, head) = match &member.keyserver {
            Some(_) => {
                let (signed, head) = self.register_change(member, signed).await?;
                (signed, Some(head))
            }
            None => (signed, None),
        };
        let profile = member.profile.advance(signed.clone())?;
        self.store_version(member, &profile, &signed, head).await?;
        Ok((signed, head))
    }

    /// Asks the server to bring a version into force.
    async fn register_change(
        &self,
        member: &Member,
        signed: SignedVersion,
    ) -> Result<(SignedVersion, SignedHead), ChangeProfileError> {
        let keyserver = member.keyserver.clone().ok_or(AskError::NoUrl)?;
        let root = *keyserver.root_key();
        let link = Link::new(&self.config, self.config.urls_or(&member.urls), keyserver)?;
        let hash = signed.version().hash();
        let item = Item::ChangeProfile { version: signed };
        let answer = self.ask_item(member, &link, item, Expect::Nothing);
        registered(answer.await?, &root, &hash)
    }

    /// Stores the version that continues what `member` knows.
    async fn store_version(
        &mut self,
        member: &Member,
        profile: &Profile,
        signed: &SignedVersion,
        head: Option<SignedHead>,
    ) -> Result<(), ChangeProfileError> {
        let lock = self.lock_in_background().await?;
        let now_known = self.member().map(|known| known.profile.head());
        if now_known == Some(profile.head()) {
            return Ok(());
        }
        if now_known != Some(member.profile.head()) {
            return Err(ChangeProfileError::Conflict);
        }
        self.change(&lock, |state| {
            if let Some(membership) = &mut state.membership {
                membership.versions.push(signed.clone());
                membership.head = profile.head();
                membership.signed_head = head.or(membership.signed_head);
            }
        })?;
        Ok(())
    }

    /// Begins to wait for other devices where somebody said, now or before.
    pub(crate) async fn open_front(
        &mut self,
        listen: Option<SocketAddr>,
    ) -> Result<Front, ChangeProfileError> {
        let stored = self.state().people.as_ref();
        let stored = stored.and_then(|people| people.listen.as_deref()?.parse().ok());
        let at = listen.or(stored).unwrap_or_else(own_address);
        let front = Front::open(at, self.environment.clock).await?;
        let lock = self.lock_in_background().await?;
        // The port that was got, so that devices find this one there again.
        let address = front.address().to_string();
        self.change(&lock, |state| state.people_mut().listen = Some(address))?;
        Ok(front)
    }
}

/// The version that a server, whose key is `root`, says it has brought into force: the one with this hash.
pub(super) fn registered(
    answer: Option<ItemAnswer>,
    root: &VerifyKey,
    hash: &Digest,
) -> Result<(SignedVersion, SignedHead), ChangeProfileError> {
    match answer {
        Some(ItemAnswer::ProfileChanged { version, head }) => {
            let (shown, _) = head.verify(root)?;
            if version.version().hash() != *hash || shown.hash != *hash {
                return Err(ChangeProfileError::BadAnswer);
            }
            Ok((version, head))
        }
        Some(
            ItemAnswer::Denied(Denial::Conflict) | ItemAnswer::Failed(Failure::ProfileConflict),
        ) => Err(ChangeProfileError::Conflict),
        Some(ItemAnswer::Denied(denial)) => Err(ChangeProfileError::Denied(denial)),
        Some(ItemAnswer::Failed(failure)) => Err(ChangeProfileError::Failed(failure)),
        _ => Err(ChangeProfileError::BadAnswer),
    }
}

/// The threshold of a changed version: what was asked for, else what was, as far as it goes.
pub(crate) fn threshold(draft: &ProfileVersion, asked: Option<u8>) -> u8 {
    let count = u8::try_from(draft.devices.len()).unwrap_or(u8::MAX);
    asked.unwrap_or_else(|| {
        let kept = draft.threshold.min(count);
        if Threshold::new(kept, count).is_ok() {
            kept
        } else {
            // One of several would be no threshold at all.
            count.min(2)
        }
    })
}

/// This machine's address in its network, as far as it has one. Nothing is sent.
pub(super) fn own_address() -> SocketAddr {
    let outward = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        // An address for documentation: only the way there counts.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let ip = outward().unwrap_or(Ipv4Addr::LOCALHOST.into());
    SocketAddr::new(ip, PORT)
}
