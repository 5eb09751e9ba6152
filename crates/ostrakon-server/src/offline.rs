//! A server's database, opened by a command.

use std::sync::Arc;

use ostrakon_custody::{Identity, Ledger, LedgerLimits, Signer};
use ostrakon_shards::identity::VerifiedKeyserver;
use ostrakon_storage::{InstanceId, Place, ProtectorKey, Store};
use tokio::task::JoinHandle;

use crate::{
    Clock, Home,
    audit::resume,
    clone_db,
    config::Audit,
    home::{HeldBy, HomeLock},
    server::BuildError,
};

/// A database with the keys to read it. The server may run.
pub(crate) struct Opened {
    pub(crate) store: Arc<Store>,
    pub(crate) identity: Identity,
    pub(crate) instance: InstanceId,
}

impl Opened {
    pub(crate) async fn open(home: &Home) -> Result<Self, BuildError> {
        Self::open_at(home, None).await
    }

    /// The same with the database at another place than the home says.
    pub(crate) async fn open_at(home: &Home, place: Option<Place>) -> Result<Self, BuildError> {
        home.check_finished()?;
        Self::unfinished(home, place).await
    }

    /// The same for one that is being made.
    async fn unfinished(home: &Home, place: Option<Place>) -> Result<Self, BuildError> {
        let protector = ProtectorKey::load(&home.instance_key())?;
        let instance = protector.instance();
        let place = match place {
            Some(place) => place,
            None => home.place()?,
        };
        let store = Arc::new(Store::open(place, &protector).await?);
        let identity = Identity::load(&store, instance).await?;
        Ok(Self {
            store,
            identity,
            instance,
        })
    }
}

/// The ledger of a server that does not run.
pub(crate) struct Offline {
    pub(crate) store: Arc<Store>,
    pub(crate) ledger: Ledger,
    pub(crate) keyserver: VerifiedKeyserver,
    pub(crate) signer: Signer,
    pub(crate) instance: InstanceId,
    writer: JoinHandle<()>,
    lock: Option<HomeLock>,
}

impl Offline {
    /// Takes the home, and the ledger. A log that is not where it was left is put on record, and nothing
    /// else is done: who asks again has read of it.
    pub(crate) async fn start(home: &Home, clock: &Clock) -> Result<Self, BuildError> {
        Self::start_for(home, clock, HeldBy::Command).await
    }

    /// The same, saying what for.
    pub(crate) async fn start_for(
        home: &Home,
        clock: &Clock,
        held_by: HeldBy,
    ) -> Result<Self, BuildError> {
        let lock = home.lock_for(held_by)?;
        home.check_finished()?;
        clone_db::finish(home).await?;
        let mut offline = Self::unlocked(home, clock).await?;
        offline.lock = Some(lock);
        Ok(offline)
    }

    /// The same for who has the home's lock already, also while the server is being made.
    pub(crate) async fn unlocked(home: &Home, clock: &Clock) -> Result<Self, BuildError> {
        let Opened {
            store,
            mut identity,
            instance,
        } = Opened::unfinished(home, None).await?;
        let nowhere = Audit::default();
        let (keyserver, audit) = (&identity.keyserver, &mut identity.audit);
        let resumed = resume(home, &nowhere, &store, keyserver, audit).await?;
        let (ledger, writer) =
            Ledger::start(Arc::clone(&store), identity.audit, LedgerLimits::default());
        let offline = Self {
            store,
            ledger,
            keyserver: identity.keyserver,
            signer: identity.signer,
            instance,
            writer,
            lock: None,
        };
        resumed.record(&offline.ledger, clock.now()).await?;
        if let Some(broken) = resumed.breaks.into_iter().next() {
            offline.finish().await;
            return Err(BuildError::Broken(broken));
        }
        Ok(offline)
    }

    /// Writes what waits, and closes the database.
    pub(crate) async fn finish(self) {
        drop(self.ledger);
        let _ = self.writer.await;
        self.store.close().await;
        drop(self.lock);
    }
}
