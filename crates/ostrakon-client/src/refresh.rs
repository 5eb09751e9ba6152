//! Learning of newer versions of the profile.

use ostrakon_shards::{
    profile::{ChainError, HeadError, Profile, SignedHead, SignedVersion},
    random::{self, RandomError},
    sign::SignatureError,
};
use ostrakon_transport::message::{Item, ItemAnswer, RequestBody};

use crate::{
    ask::{AskError, Link},
    home::{Lock, Membership},
    workstation::{Member, OpenError, Workstation},
};

/// Why the profile stays at the version that is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// There is no profile, or none with a server.
    #[error("there is no profile with a key shard server")]
    NoProfile,
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The server's signature under its answer does not match.
    #[error("the key shard server's answer is not signed by it")]
    Signature(#[from] SignatureError),
    /// The server shows an older version than it did, or one of another branch.
    #[error("the key shard server shows another profile than it did before")]
    Head(#[from] HeadError),
    /// The version does not continue the profile.
    #[error("the key shard server shows a version that does not continue the profile")]
    Chain(#[from] ChainError),
    /// The server answered something else than was asked.
    #[error("the key shard server's answer makes no sense")]
    BadAnswer,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Workstation {
    /// Asks the server which version of the profile is in force, and takes it over if it continues the
    /// known one.
    ///
    /// # Errors
    /// When the server cannot be asked, or denies what it said before. The profile stays as it was.
    pub async fn refresh_profile(&mut self) -> Result<(), RefreshError> {
        let lock = self.lock_in_background().await?;
        self.refresh_locked(&lock).await
    }

    pub(crate) async fn refresh_locked(&mut self, lock: &Lock) -> Result<(), RefreshError> {
        let member = self.member().ok_or(RefreshError::NoProfile)?.clone();
        let keyserver = member.keyserver.clone().ok_or(RefreshError::NoProfile)?;
        let link = Link::new(
            &self.config,
            self.config.urls_or(&member.urls),
            keyserver.clone(),
        )?;
        let now = self.environment.now();
        let (id, items) = (random::request_id(now)?, vec![Item::ProfileHead]);
        let body = RequestBody::new(id, now, member.profile.id(), items).map_err(AskError::from)?;
        let answers = link
            .ask(&member.keys, &member.device, body, &self.environment)
            .await?;
        let Some(ItemAnswer::Head { version, head }) = answers.into_iter().next() else {
            return Err(RefreshError::BadAnswer);
        };
        let (shown, _) = head.verify(keyserver.root_key())?;
        if shown.profile != member.profile.id() || shown.hash != version.version().hash() {
            return Err(RefreshError::BadAnswer);
        }
        let known = self
            .state()
            .membership
            .clone()
            .ok_or(RefreshError::NoProfile)?;
        let followed = follow(known, &member, version, head)?;
        self.change(lock, |state| state.membership = Some(followed))?;
        Ok(())
    }
}

/// The membership as it is after the server showed `version`.
fn follow(
    mut known: Membership,
    member: &Member,
    version: SignedVersion,
    head: SignedHead,
) -> Result<Membership, RefreshError> {
    let mut versions = known.versions.clone();
    let profile = if version.version().hash() == member.profile.head().hash {
        Profile::clone(&member.profile)
    } else {
        versions.push(version.clone());
        member.profile.advance(version)?
    };
    known.follow(&profile, versions, head)?;
    Ok(known)
}
