use ostrakon_custody::{AuditEvent, Change, Identity};
use ostrakon_shards::{
    backup::{BackupFile, Recovered},
    ceremony::Subject,
    identity::VerifiedKeyserver,
    name::Name,
    profile::SignedVersion,
    seal::Sealed,
};
use ostrakon_storage::{ProtectorKey, Store};

use super::{Asking, ConveneError, Convened, Progress, shares::Shares};
use crate::{
    Clock, Home,
    home::{HeldBy, HomeLock},
    offline::Offline,
    server::BuildError,
    setup::{check_new, or_nothing, write_policy},
};

/// A lost server's identity that is to come to this machine, once its administrators' devices give their
/// shares of its backup key.
pub struct Ingestion {
    home: Home,
    clock: Clock,
    shares: Shares,
    _lock: HomeLock,
}

/// What came of it.
#[derive(Debug)]
pub struct Ingested {
    /// The server, as its clients know it.
    pub keyserver: VerifiedKeyserver,
}

impl Ingestion {
    /// Asks the devices of the profile that holds the backup key for their shares. `versions` are those
    /// of the profile as it is now, if it has changed since the file was made.
    ///
    /// # Errors
    /// When there is a server in the home already, or the devices cannot be asked.
    pub fn open(
        home: &Home,
        file: BackupFile,
        versions: &[SignedVersion],
        machine: Name,
        wait_ms: i64,
        clock: &Clock,
    ) -> Result<Self, ConveneError> {
        let lock = check_new(home, HeldBy::Ceremony)?;
        let subject = Subject::Recover {
            kss_id: file.kss_id(),
            generation: file.generation(),
            machine: machine.clone(),
        };
        Ok(Self {
            shares: Shares::ask(file, versions, machine, subject, wait_ms, clock.now())?,
            home: home.clone(),
            clock: clock.clone(),
            _lock: lock,
        })
    }

    /// Puts the identity together and stores it, for a server that answers nobody until it is enabled.
    ///
    /// # Errors
    /// When too few devices gave their shares, or the home cannot be written; then nothing is left.
    pub async fn finish(self) -> Result<Ingested, ConveneError> {
        let Self {
            home,
            clock,
            shares,
            ..
        } = self;
        let (file, recovered, approved) = shares.open(clock.now())?;
        let keyserver = or_nothing(&home, ConveneError::from, async || {
            let restored = restore(&home, &clock, &file, &recovered, approved).await;
            restored.map_err(ConveneError::from)
        });
        Ok(Ingested {
            keyserver: keyserver.await?,
        })
    }
}

async fn restore(
    home: &Home,
    clock: &Clock,
    file: &BackupFile,
    recovered: &Recovered,
    approved: String,
) -> Result<VerifiedKeyserver, BuildError> {
    let protector = ProtectorKey::create(&home.instance_key())?;
    let store = Store::create(home.place()?, &protector).await?;
    let restored = Identity::restore(&store, file, recovered, clock.now()).await;
    store.close().await;
    let keyserver = restored?;
    write_policy(home)?;
    let offline = Offline::unlocked(home, clock).await?;
    let event = AuditEvent::Administered {
        action: "recover".to_owned(),
        detail: format!("from backup key {}, {approved}", file.generation()),
    };
    let now = clock.now();
    let mut recorded = offline.ledger.note(event, now).await;
    if recorded.is_ok() {
        let staged = offline.ledger.administer(Change::Stage, now).await;
        recorded = staged.map(|_| ());
    }
    offline.finish().await;
    recorded?;
    Ok(keyserver)
}

impl Asking for Ingestion {
    fn convened(&self) -> &Convened {
        &self.shares.convened
    }

    async fn take(&mut self, answers: Vec<Sealed>) -> Result<Progress, ConveneError> {
        Ok(self.shares.take(&answers, self.clock.now()))
    }
}
