//! How a workstation gets its profile.
//!
//! Keys, the first version and the request's id are drawn once and stored before anybody is asked. So
//! an onboarding that was interrupted, or whose answer was lost, goes on where it was, and the server,
//! asked again with the same request, answers as before: there is no second profile.

use ostrakon_shards::{
    card::DeviceKind,
    identity::{PublicCard, VerifiedKeyserver, VerifyPublicCardError},
    name::{Name, NameError},
    profile::{ChainError, Profile, ProfileVersion, SignedHead, SignedVersion},
    random::{self, RandomError},
    sign::SignatureError,
};
use ostrakon_transport::{
    http::BaseUrl,
    message::{Failure, Item, ItemAnswer, RequestBody},
};
use ostrakon_types::{Denial, KssId, ProfileId};

use crate::{
    ask::{AskError, Expect, Link},
    config::Config,
    folder::SecurityGroup,
    folders::CreateFolderError,
    home::{Lock, Membership, Pending, PinnedKeyserver},
    refresh::RefreshError,
    workstation::{OpenError, Workstation},
};

/// What the personal security group is called.
const PERSONAL: &str = "Personal";

/// Why no profile was made for this workstation alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateProfileError {
    /// There is one already.
    #[error("this workstation has a profile already")]
    Exists,
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The name cannot be used.
    #[error("the profile's name cannot be used")]
    Name(#[from] NameError),
    /// What was made is not a profile.
    #[error("the profile is not valid")]
    Profile(#[from] ChainError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Why the onboarding with a key shard server is not done. It can be repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnboardError {
    /// There is a profile already, and it is not with this server.
    #[error("this workstation has a profile already, without this key shard server")]
    OtherProfile,
    /// Another onboarding was begun and is not done.
    #[error("an onboarding with another key shard server was begun ({kss_id})")]
    Begun {
        /// That server.
        kss_id: KssId,
    },
    /// No address of the server is known.
    #[error("no address of the key shard server is configured")]
    NoUrl,
    /// The server's card is not that of the server with the id.
    #[error("the server is not the key shard server that was asked for")]
    Card(#[from] VerifyPublicCardError),
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The profile could not be made.
    #[error(transparent)]
    Create(#[from] CreateProfileError),
    /// The server could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The server denied it.
    #[error("the key shard server denied the new profile")]
    Denied(Denial),
    /// The server could not do it.
    #[error("the key shard server could not make the profile")]
    Failed(#[source] Failure),
    /// The server answered something else than was asked.
    #[error("the key shard server's answer makes no sense")]
    BadAnswer,
    /// There is a profile, but not all of its default folders.
    #[error("the profile is made, but its default folders are not")]
    Folders(#[source] Box<CreateFolderError>),
    /// There is a profile, but the server does not confirm it.
    #[error("the key shard server does not confirm the profile")]
    Refresh(#[source] Box<RefreshError>),
    /// The server's signature under its answer does not match.
    #[error("the key shard server's answer is not signed by it")]
    Signature(#[from] SignatureError),
}

impl Workstation {
    /// Makes a profile of this workstation alone. Its files are decrypted without any server.
    ///
    /// # Errors
    /// When there is a profile already, or the home folder cannot be used.
    pub fn create_profile(&mut self, name: Option<&str>) -> Result<(), CreateProfileError> {
        let lock = self.lock()?;
        if self.member().is_some() {
            return Err(CreateProfileError::Exists);
        }
        let signed = self.draw_version(&lock, name, None)?;
        let profile = Profile::found(signed.clone())?;
        self.join(&lock, signed, &profile, None, None)?;
        Ok(())
    }

    /// Makes sure that there is a profile, if the configuration names a key shard server: the
    /// onboarding on first use. Gives whether one was made.
    ///
    /// # Errors
    /// When the onboarding fails.
    pub async fn onboard_if_configured(&mut self) -> Result<bool, OnboardError> {
        match self.config.keyserver_id {
            Some(kss_id) if self.member().is_none() => {
                self.onboard(kss_id, &[]).await.map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Makes a profile of this workstation and the key shard server with this id, which is looked for
    /// at `urls` or, without any, where the configuration says.
    ///
    /// With a profile that has this server already, this only renews what is known of the server.
    ///
    /// # Errors
    /// When the server cannot be asked, is another one, denies it, or answers what cannot be verified;
    /// or when there is another profile. A failed onboarding can be repeated.
    pub async fn onboard(&mut self, kss_id: KssId, urls: &[BaseUrl]) -> Result<(), OnboardError> {
        self.onboard_profile(kss_id, urls).await?;
        let folders = self.create_default_folders().await;
        folders.map_err(|error| OnboardError::Folders(Box::new(error)))
    }

    async fn onboard_profile(
        &mut self,
        kss_id: KssId,
        urls: &[BaseUrl],
    ) -> Result<(), OnboardError> {
        let lock = self.lock_in_background().await?;
        let urls = if urls.is_empty() {
            &self.config.keyserver_urls
        } else {
            urls
        }
        .to_vec();
        if urls.is_empty() {
            return Err(OnboardError::NoUrl);
        }
        let known = self.member().map(|member| member.keyserver.as_ref());
        if known.is_some_and(|known| known.map(VerifiedKeyserver::kss_id) != Some(kss_id)) {
            return Err(OnboardError::OtherProfile);
        }
        let texts: Vec<String> = urls.iter().map(ToString::to_string).collect();
        let card = Link::fetch_card(&self.config, urls.clone()).await?;
        let keyserver = card.verify(&kss_id)?;
        if self.member().is_some() {
            self.renew(&lock, card, &keyserver, texts)?;
            let refreshed = self.refresh_locked(&lock).await;
            return refreshed.map_err(|error| OnboardError::Refresh(Box::new(error)));
        }
        let pending = self.pending(&lock, card, &keyserver, texts)?;
        let asked = self.ask_for_profile(&pending, &keyserver, urls).await;
        if let Err(OnboardError::Denied(_) | OnboardError::Failed(_)) = asked {
            // The server would give the same answer to the same request: the next try is another.
            self.change(&lock, |state| state.pending = None)?;
        }
        let (signed, signed_head) = asked?;
        let profile = Profile::found(signed.clone()).map_err(CreateProfileError::from)?;
        let (head, _) = signed_head.verify(keyserver.root_key())?;
        if signed.version() != pending.version.version() || head != profile.head() {
            return Err(OnboardError::BadAnswer);
        }
        self.join(
            &lock,
            signed,
            &profile,
            Some(pending.keyserver),
            Some(signed_head),
        )?;
        Ok(())
    }

    /// What was drawn for this onboarding, by now or by an earlier try.
    fn pending(
        &mut self,
        lock: &Lock,
        card: PublicCard,
        keyserver: &VerifiedKeyserver,
        urls: Vec<String>,
    ) -> Result<Pending, OnboardError> {
        if let Some(begun) = &self.state().pending {
            let kss_id = begun.keyserver.card.claimed_id();
            if kss_id != keyserver.kss_id() {
                return Err(OnboardError::Begun { kss_id });
            }
            // Unless the server has other keys for shards by now, it goes on.
            if begun.version.version().devices.contains(keyserver.device()) {
                return Ok(Pending {
                    keyserver: PinnedKeyserver { card, urls },
                    ..begun.clone()
                });
            }
        }
        let version = self.draw_version(lock, None, Some(keyserver))?;
        let request =
            random::request_id(self.environment.now()).map_err(CreateProfileError::from)?;
        let pending = Pending {
            request,
            keyserver: PinnedKeyserver { card, urls },
            version,
        };
        self.change(lock, |state| state.pending = Some(pending.clone()))?;
        Ok(pending)
    }

    async fn ask_for_profile(
        &self,
        pending: &Pending,
        keyserver: &VerifiedKeyserver,
        urls: Vec<BaseUrl>,
    ) -> Result<(SignedVersion, SignedHead), OnboardError> {
        let keys = self.home.read_keys().map_err(OpenError::from)?;
        let keys = keys
            .ok_or(crate::HomeError::NoKeys)
            .map_err(OpenError::from)?;
        let version = pending.version.version();
        let own = version
            .devices
            .iter()
            .find(|card| card.verify == keys.signing.verify_key());
        let own = own.ok_or(OnboardError::BadAnswer)?;
        let id = profile_id(version);
        let items = vec![Item::CreateProfile {
            version: pending.version.clone(),
        }];
        let now = self.environment.now();
        let body = RequestBody::new(pending.request, now, id, items).map_err(AskError::from)?;
        let link = Link::new(&self.config, urls, keyserver.clone())?;
        let mut answers = link
            .first_contact(&keys, own, body, &self.environment)
            .await?;
        if let Some(ItemAnswer::Denied(Denial::Conflict)) = answers.last() {
            // Perhaps this very profile was made long ago, and the request forgotten since.
            let request = random::request_id(now).map_err(CreateProfileError::from)?;
            let body = RequestBody::new(request, now, id, vec![Item::ProfileHead]);
            let body = body.map_err(AskError::from)?;
            let known = link
                .ask(&keys, own, body, Expect::Nothing, &self.environment)
                .await;
            if let Ok([ItemAnswer::Head { version, head }]) = known.as_deref() {
                return Ok((version.clone(), *head));
            }
        }
        match answers.pop() {
            Some(ItemAnswer::ProfileCreated { version, head }) => Ok((version, head)),
            Some(ItemAnswer::Denied(denial)) => Err(OnboardError::Denied(denial)),
            Some(ItemAnswer::Failed(failure)) => Err(OnboardError::Failed(failure)),
            _ => Err(OnboardError::BadAnswer),
        }
    }

    /// A first version with this workstation and, if it is to have one, a server.
    fn draw_version(
        &self,
        lock: &Lock,
        name: Option<&str>,
        keyserver: Option<&VerifiedKeyserver>,
    ) -> Result<SignedVersion, CreateProfileError> {
        let keys = self.home.draw_keys(lock).map_err(OpenError::from)?;
        let default = self.environment.default_profile_name();
        let profile_name = Name::new(name.unwrap_or(&default))?;
        let device_name = Name::new(&self.environment.host)?;
        let own = keys.card(DeviceKind::Workstation, device_name);
        let id = own.id();
        let devices: Vec<_> = [own]
            .into_iter()
            .chain(keyserver.map(|kss| kss.device().clone()))
            .collect();
        let threshold = if keyserver.is_some() { 2 } else { 1 };
        let version = ProfileVersion::first(profile_name, threshold, devices)?;
        let signature = version.sign(&keys.signing);
        Ok(SignedVersion::new(version, [(id, signature)]))
    }

    /// Stores the profile, with its personal security group.
    fn join(
        &mut self,
        lock: &Lock,
        signed: SignedVersion,
        profile: &Profile,
        keyserver: Option<PinnedKeyserver>,
        signed_head: Option<SignedHead>,
    ) -> Result<(), CreateProfileError> {
        // The first device is this one: `draw_version` puts it there.
        let device = signed
            .version()
            .devices
            .first()
            .cloned()
            .ok_or(ChainError::Empty)?;
        let membership = Membership {
            device,
            head: profile.head(),
            versions: vec![signed],
            signed_head,
            keyserver,
        };
        let personal = SecurityGroup {
            name: Name::new(PERSONAL)?,
            members: vec![profile.id()],
        };
        self.change(lock, |state| {
            state.pending = None;
            state.membership = Some(membership);
            state.groups = vec![personal];
        })?;
        Ok(())
    }

    /// Takes over newer word of a known server, never older.
    fn renew(
        &mut self,
        lock: &Lock,
        card: PublicCard,
        keyserver: &VerifiedKeyserver,
        urls: Vec<String>,
    ) -> Result<(), OpenError> {
        let known = self.member().and_then(|member| member.keyserver.as_ref());
        let newer = known.is_none_or(|known| keyserver.number() > known.number());
        self.change(lock, |state| {
            let membership = state.membership.as_mut();
            if let Some(pinned) = membership.and_then(|member| member.keyserver.as_mut()) {
                pinned.urls = urls;
                if newer {
                    pinned.card = card;
                }
            }
        })
    }
}

impl Config {
    /// Where a server is: what the configuration says, else what was said at the onboarding.
    pub(crate) fn urls_or(&self, stored: &[String]) -> Vec<BaseUrl> {
        if self.keyserver_urls.is_empty() {
            stored.iter().filter_map(|url| url.parse().ok()).collect()
        } else {
            self.keyserver_urls.clone()
        }
    }
}

/// The id of the profile that begins with this version.
pub(crate) fn profile_id(version: &ProfileVersion) -> ProfileId {
    let hash = version.hash();
    let half = hash.as_bytes().first_chunk().copied();
    ProfileId::from_bytes(half.unwrap_or_default())
}
