//! Learning of newer versions of the profile.

use ostrakon_shards::{
    identity::VerifiedKeyserver,
    profile::{ChainError, HeadError, Profile, SignedHead, SignedVersion},
    random::RandomError,
    sign::SignatureError,
};
use ostrakon_transport::message::{Item, ItemAnswer};
use ostrakon_types::Denial;

use crate::{
    ask::{AskError, Expect, Link},
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
    /// The server answers no requests until its operator enables it.
    #[error("the key shard server is disabled")]
    Disabled,
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
        )?
        .keeping(&member.kept);
        let answer = self.ask_item(&member, &link, Item::ProfileHead, Expect::Nothing);
        let (version, head) = match answer.await? {
            Some(ItemAnswer::Head { version, head }) => (version, head),
            Some(ItemAnswer::Denied(Denial::Disabled)) => return Err(RefreshError::Disabled),
            _ => return Err(RefreshError::BadAnswer),
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
        let followed = match follow(known.clone(), &member, version, head) {
            // Several versions were missed: each must be seen.
            Err(RefreshError::Chain(ChainError::Gap { .. })) => {
                self.catch_up(&link, &member, known, &keyserver).await?
            }
            followed => followed?,
        };
        self.change(lock, |state| state.membership = Some(followed))?;
        Ok(())
    }
}

impl Workstation {
    /// Fetches the versions between the known one and the one in force, and follows each.
    async fn catch_up(
        &self,
        link: &Link,
        member: &Member,
        mut known: Membership,
        keyserver: &VerifiedKeyserver,
    ) -> Result<Membership, RefreshError> {
        let mut profile = Profile::clone(&member.profile);
        loop {
            let after = profile.head().number;
            let item = Item::ProfileChain { after };
            let answer = self.ask_item(member, link, item, Expect::Nothing);
            let (versions, head) = match answer.await? {
                Some(ItemAnswer::Chain { versions, head }) => (versions, head),
                Some(ItemAnswer::Denied(Denial::Disabled)) => return Err(RefreshError::Disabled),
                _ => return Err(RefreshError::BadAnswer),
            };
            let (shown, _) = head.verify(keyserver.root_key())?;
            let mut chain = known.versions.clone();
            for version in versions {
                profile = profile.advance(version.clone())?;
                chain.push(version);
            }
            let there = profile.head() == shown;
            // Whoever shows nothing new, or something else than was said, would be asked for ever.
            if profile.head().number == after || (!there && profile.head().number >= shown.number) {
                return Err(RefreshError::BadAnswer);
            }
            known.follow(&profile, chain, head)?;
            if there {
                return Ok(known);
            }
        }
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

#[cfg(test)]
mod tests {
    use ostrakon_shards::{
        card::DeviceKind, device::DeviceKeys, profile::ProfileVersion, sign::SigningKey,
    };
    use std::sync::Arc;

    use ostrakon_types::UnixMillis;

    use super::*;

    struct Chain {
        keys: DeviceKeys,
        root: SigningKey,
        profile: Profile,
        versions: Vec<SignedVersion>,
    }

    impl Chain {
        fn new() -> Self {
            let keys = DeviceKeys::generate().unwrap();
            let card = keys.card(DeviceKind::Workstation, "pallas".parse().unwrap());
            let version = ProfileVersion::first("zoe".parse().unwrap(), 1, vec![card]).unwrap();
            let signed = sign(&keys, version);
            Self {
                profile: Profile::found(signed.clone()).unwrap(),
                versions: vec![signed],
                root: SigningKey::generate().unwrap(),
                keys,
            }
        }

        fn next(&self) -> SignedVersion {
            sign(&self.keys, self.profile.draft().unwrap())
        }

        fn advance(&mut self, version: &SignedVersion) {
            self.profile = self.profile.advance(version.clone()).unwrap();
            self.versions.push(version.clone());
        }

        fn shown(&self, version: &SignedVersion) -> Result<u64, RefreshError> {
            let device = self.profile.version().devices[0].clone();
            let known = Membership {
                device: device.clone(),
                versions: self.versions.clone(),
                head: self.profile.head(),
                signed_head: None,
                keyserver: None,
            };
            let member = Member {
                keys: DeviceKeys::generate().unwrap().into(),
                device,
                profile: self.profile.clone().into(),
                keyserver: None,
                urls: Vec::new(),
                kept: Arc::default(),
            };
            let head = SignedHead::issue(&self.root, self.profile.head(), UnixMillis(0));
            follow(known, &member, version.clone(), head).map(|followed| followed.head.number)
        }
    }

    fn sign(keys: &DeviceKeys, version: ProfileVersion) -> SignedVersion {
        let device = version.devices[0].id();
        let signature = version.sign(&keys.signing);
        SignedVersion::new(version, [(device, signature)])
    }

    #[test]
    fn only_what_continues_the_known_version_is_followed() {
        let mut chain = Chain::new();
        let first = chain.versions[0].clone();
        let (second, fork) = (chain.next(), chain.next());
        assert_eq!(chain.shown(&first).unwrap(), 1);
        assert_eq!(chain.shown(&second).unwrap(), 2);
        chain.advance(&second);
        let third = chain.next();
        assert_eq!(chain.shown(&second).unwrap(), 2);
        assert_eq!(chain.shown(&third).unwrap(), 3);
        let refused = |version| match chain.shown(version) {
            Err(RefreshError::Chain(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&first), ChainError::Rollback { number: 1, head: 2 });
        assert_eq!(refused(&fork), ChainError::Fork { number: 2 });
        let other = Chain::new();
        assert_eq!(refused(&other.next()), ChainError::Fork { number: 2 });
    }

    #[test]
    fn a_kept_head_is_not_given_up_for_an_older_chain() {
        let mut chain = Chain::new();
        let second = chain.next();
        let old = chain.profile.clone();
        chain.advance(&second);
        let kept = chain.profile.head();
        assert!(matches!(
            kept.follow(&old),
            Err(HeadError::Rollback { kept: 2, shown: 1 })
        ));
    }
}
