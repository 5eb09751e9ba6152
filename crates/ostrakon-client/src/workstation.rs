use std::{path::Path, sync::Arc};

use ostrakon_shards::{
    card::Card,
    device::DeviceKeys,
    identity::{VerifiedKeyserver, VerifyPublicCardError},
    profile::{ChainError, HeadError, Profile, SignedHead, SignedVersion},
};
use ostrakon_types::KssId;

use crate::{
    background,
    claims::Claims,
    config::Config,
    encrypt::{EncryptError, EncryptOptions, Encryption},
    environment::Environment,
    folder::{SecureFolder, SecurityGroup},
    home::{Home, HomeError, Lock, Membership, State},
    kept::Kept,
    report::{Progress, Summary},
};

/// A workstation: its home folder, opened, and what is configured.
pub struct Workstation {
    pub(crate) home: Home,
    pub(crate) config: Config,
    pub(crate) environment: Environment,
    state: State,
    member: Option<Member>,
}

/// This device as a member of its profile.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) keys: Arc<DeviceKeys>,
    pub(crate) device: Card,
    pub(crate) profile: Arc<Profile>,
    pub(crate) keyserver: Option<VerifiedKeyserver>,
    /// Where the server was last told to be.
    pub(crate) urls: Vec<String>,
    /// What it knows of the age of the server's state, and can show the server.
    pub(crate) kept: Arc<Kept>,
}

/// A profile as its owner sees it.
#[derive(Clone, Copy)]
pub struct ProfileView<'a> {
    /// The profile itself.
    pub profile: &'a Profile,
    /// All its versions, the first one first: what others need to check it.
    pub versions: &'a [SignedVersion],
    /// This device's card.
    pub device: &'a Card,
    /// The key shard server that is one of its devices.
    pub keyserver: Option<KssId>,
    /// The server's last word on which version is in force.
    pub signed_head: Option<&'a SignedHead>,
    /// The security groups.
    pub groups: &'a [SecurityGroup],
}

/// Why a home folder does not make a workstation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The stored profile is not one.
    #[error("the stored profile is damaged")]
    Profile(#[from] ChainError),
    /// The stored profile is older than it was, or on another branch.
    #[error("the stored profile is not the one that was last seen")]
    Head(#[from] HeadError),
    /// The stored server's card is not that of a server.
    #[error("the stored card of the key shard server is damaged")]
    Keyserver(#[from] VerifyPublicCardError),
}

impl Workstation {
    /// Opens a home folder, and makes it when there is none yet.
    ///
    /// # Errors
    /// When the folder cannot be used, others have access to it, or what it holds is damaged.
    pub fn open(home: &Path, config: Config, environment: Environment) -> Result<Self, OpenError> {
        let home = Home::open(home)?;
        let state = home.read_state()?;
        let member = member(&home, &state)?;
        Ok(Self {
            home,
            config,
            environment,
            state,
            member,
        })
    }

    /// The profile, if there is one yet.
    #[must_use]
    pub fn profile(&self) -> Option<ProfileView<'_>> {
        let member = self.member.as_ref()?;
        let membership = self.state.membership.as_ref()?;
        Some(ProfileView {
            profile: &member.profile,
            versions: &membership.versions,
            device: &member.device,
            keyserver: member.keyserver.as_ref().map(VerifiedKeyserver::kss_id),
            signed_head: membership.signed_head.as_ref(),
            groups: &self.state.groups,
        })
    }

    /// The secure folders, in the order in which they were created.
    #[must_use]
    pub fn folders(&self) -> &[SecureFolder] {
        &self.state.folders
    }

    /// Encrypts what is at and below `paths`, which must be in secure folders, and tells `progress`.
    ///
    /// A file that cannot be encrypted does not stop the rest.
    ///
    /// # Errors
    /// When there is no profile.
    pub fn encrypt<P: AsRef<Path>>(
        &self,
        paths: &[P],
        options: &EncryptOptions,
        progress: &mut dyn Progress,
    ) -> Result<Summary, EncryptError> {
        let member = self.member.as_ref().ok_or(EncryptError::NoProfile)?;
        let mut encryption = Encryption {
            profile: &member.profile,
            folders: &self.state.folders,
            options,
            claims: Claims::default(),
        };
        let mut summary = Summary::default();
        for path in paths {
            encryption.run(path.as_ref(), &mut |event| summary.tell(event, progress));
        }
        Ok(summary)
    }

    pub(crate) fn member(&self) -> Option<&Member> {
        self.member.as_ref()
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Takes the lock, and with it the state as other processes left it.
    pub(crate) fn lock(&mut self) -> Result<Lock, OpenError> {
        let lock = self.home.lock()?;
        self.take(self.home.read_state()?)?;
        Ok(lock)
    }

    /// Takes the lock without holding up the network while others have it.
    pub(crate) async fn lock_in_background(&mut self) -> Result<Lock, OpenError> {
        let home = self.home.clone();
        let lock = background::run(move || home.lock()).await?;
        self.take(self.home.read_state()?)?;
        Ok(lock)
    }

    /// Changes the state, here and in the home folder.
    pub(crate) fn change(
        &mut self,
        lock: &Lock,
        change: impl FnOnce(&mut State),
    ) -> Result<(), OpenError> {
        let mut state = self.home.read_state()?;
        change(&mut state);
        self.home.write_state(lock, &state)?;
        self.take(state)
    }

    fn take(&mut self, state: State) -> Result<(), OpenError> {
        self.member = member(&self.home, &state)?;
        self.state = state;
        Ok(())
    }
}

pub(crate) fn member(home: &Home, state: &State) -> Result<Option<Member>, OpenError> {
    let Some(membership) = &state.membership else {
        return Ok(None);
    };
    let keys = home.read_keys()?.ok_or(HomeError::NoKeys)?;
    let Membership {
        device,
        versions,
        head,
        keyserver,
        ..
    } = membership;
    let profile = Profile::from_chain(versions.iter().cloned())?;
    head.follow(&profile)?;
    let verified = keyserver
        .as_ref()
        .map(|pinned| pinned.card.verify(&pinned.card.claimed_id()))
        .transpose()?;
    let kept = match &verified {
        Some(keyserver) => Kept::load(home, keyserver, membership)?,
        None => Kept::default(),
    };
    Ok(Some(Member {
        kept: Arc::new(kept),
        keys: Arc::new(keys),
        device: device.clone(),
        profile: Arc::new(profile),
        keyserver: verified,
        urls: keyserver
            .as_ref()
            .map_or_else(Vec::new, |pinned| pinned.urls.clone()),
    }))
}
