//! What a workstation remembers of its server, so that the server cannot lose state unseen, and what it
//! can give back to one that did.

use std::sync::{Mutex, PoisonError};

use ostrakon_shards::{
    generation::{Generation, SignedGeneration},
    identity::VerifiedKeyserver,
    profile::{SignedHead, SignedVersion},
    sign::SignatureError,
};
use ostrakon_transport::message::Item;
use ostrakon_types::ProfileId;

use crate::home::{Home, HomeError, Membership};

/// The newest generation of the server that was seen, and the profile as the server confirmed it.
#[derive(Default)]
pub(crate) struct Kept {
    home: Option<Home>,
    newest: Mutex<Option<SignedGeneration>>,
    versions: Vec<SignedVersion>,
    head: Option<SignedHead>,
}

/// Why the server's word on the age of its state is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// The server did not sign it.
    #[error("the key shard server's answer is not signed by it")]
    Signature(#[from] SignatureError),
    /// It is an older state than was seen, or another of the same number.
    #[error(
        "the key shard server has state {shown}, and had {seen}: it was put back, or is a second one"
    )]
    OutOfDate {
        /// What was seen before.
        seen: Generation,
        /// What the server shows.
        shown: Generation,
    },
    /// It cannot be remembered.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl Kept {
    /// What the home remembers. What another server said is left out.
    pub(crate) fn load(
        home: &Home,
        keyserver: &VerifiedKeyserver,
        membership: &Membership,
    ) -> Result<Self, HomeError> {
        let of_server = |kept: &SignedGeneration| kept.verify(keyserver.root_key()).is_ok();
        Ok(Self {
            newest: Mutex::new(home.read_generation()?.filter(of_server)),
            home: Some(home.clone()),
            versions: membership.versions.clone(),
            head: membership.signed_head,
        })
    }

    /// The newest generation that was seen.
    pub(crate) fn generation(&self) -> Option<SignedGeneration> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the server's word on the age of its state, durably.
    ///
    /// # Errors
    /// When it is older than what was seen, or is not the server's.
    pub(crate) fn take(
        &self,
        shown: SignedGeneration,
        keyserver: &VerifiedKeyserver,
    ) -> Result<(), GenerationError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if *newest == Some(shown) {
            return Ok(());
        }
        shown.verify(keyserver.root_key())?;
        if let Some(seen) = newest.map(|seen| seen.generation())
            && seen >= shown.generation()
        {
            let shown = shown.generation();
            return Err(GenerationError::OutOfDate { seen, shown });
        }
        if let Some(home) = &self.home {
            home.raise_generation(&shown)?;
        }
        *newest = Some(shown);
        Ok(())
    }

    /// The profile, as it is shown to a server that does not know it.
    pub(crate) fn shown_profile(&self) -> Option<(ProfileId, Item)> {
        let head = self.head?;
        let first = self.versions.first()?.version().hash();
        let id = ProfileId::from_bytes(*first.as_bytes().first_chunk()?);
        let versions = self.versions.clone();
        Some((id, Item::ShowProfile { versions, head }))
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_shards::{identity::PublicCard, kem::KemSecret, name::Name, sign::SigningKey};
    use ostrakon_types::UnixMillis;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn server() -> (SigningKey, VerifiedKeyserver) {
        let (root, kem) = (
            SigningKey::generate().unwrap(),
            KemSecret::generate().unwrap(),
        );
        let name = Name::new("server").unwrap();
        let card = PublicCard::issue(&root, 1, name, kem.public(), kem.public());
        let keyserver = card.verify(&card.claimed_id()).unwrap();
        (root, keyserver)
    }

    /// Planted bug that this was seen to catch: `seen >= shown` as `seen > shown`.
    #[test]
    fn an_older_state_or_another_of_the_same_number_is_refused_and_what_was_seen_is_kept() {
        let (root, keyserver) = server();
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        let kept = |newest| Kept {
            home: Some(home.clone()),
            newest: Mutex::new(newest),
            ..Kept::default()
        };
        let first = SignedGeneration::begin(&root, 0, NOW).unwrap();
        let [second, other] = [(); 2].map(|()| first.next(&root, NOW).unwrap());
        let own = kept(home.read_generation().unwrap());
        own.take(first, &keyserver).unwrap();
        own.take(second, &keyserver).unwrap();
        own.take(second, &keyserver).unwrap();
        for older in [first, other] {
            let refused = own.take(older, &keyserver);
            assert!(matches!(refused, Err(GenerationError::OutOfDate { .. })));
        }
        // Also by the next process.
        let next = kept(home.read_generation().unwrap());
        assert_eq!(next.generation(), Some(second));
        assert!(next.take(other, &keyserver).is_err());
        // A process that has not seen so much does not lower what is kept.
        kept(None).take(first, &keyserver).unwrap();
        assert_eq!(home.read_generation().unwrap(), Some(second));
        let epoch = SignedGeneration::begin(&root, 7, NOW).unwrap();
        next.take(epoch, &keyserver).unwrap();
        let (stranger, _) = server();
        let foreign = SignedGeneration::begin(&stranger, 8, NOW).unwrap();
        let refused = next.take(foreign, &keyserver);
        assert!(matches!(refused, Err(GenerationError::Signature(_))));
    }
}
