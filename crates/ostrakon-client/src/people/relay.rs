use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use ostrakon_shards::{
    profile::{ChainError, Profile, SignedVersion},
    seal::Sealed,
};
use ostrakon_types::{CeremonyId, DeviceId, UnixMillis};
use tokio::time::timeout;

use super::{
    ListenError,
    change::own_address,
    front::{Front, Relayed},
};

/// A listener through which somebody who is no device of a profile asks its devices: it carries one
/// ceremony at a time, and reads nothing of it.
///
/// Devices find it where they were told once that another device waits, or by `--relay`.
pub struct Relay(Front);

/// A ceremony as it is relayed.
#[derive(Debug)]
pub struct RelayedCeremony {
    /// The versions of the profile whose devices are asked.
    pub versions: Vec<SignedVersion>,
    /// The ceremony.
    pub id: CeremonyId,
    /// Until when answers are taken.
    pub expires_at: UnixMillis,
    /// What is for whom.
    pub notices: Vec<(DeviceId, Sealed)>,
}

impl Relay {
    /// Begins to listen: at this machine's address in its network unless another is given.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn open(
        at: Option<SocketAddr>,
        clock: fn() -> UnixMillis,
    ) -> Result<Self, ListenError> {
        let at = at.unwrap_or_else(own_address);
        Front::open(at, clock).await.map(Self)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Carries a ceremony, instead of the one before.
    ///
    /// # Errors
    /// When the versions are no profile.
    pub fn carry(&self, ceremony: RelayedCeremony) -> Result<(), ChainError> {
        self.0.relay(Some(Relayed {
            profile: Arc::new(Profile::from_chain(ceremony.versions)?),
            id: ceremony.id,
            expires_at: ceremony.expires_at,
            notices: ceremony.notices.into_iter().collect(),
            answers: BTreeMap::new(),
        }));
        Ok(())
    }

    /// Waits until something has come since the last look, but for no longer than `most`.
    pub async fn changed(&self, most: Duration) {
        let _ = timeout(most, self.0.changed()).await;
    }

    /// The answers so far, the newest of each device.
    #[must_use]
    pub fn answers(&self) -> Vec<Sealed> {
        self.0.answers()
    }

    /// Ends it, once all that was answered is sent.
    pub async fn close(self) {
        self.0.close().await;
    }
}
