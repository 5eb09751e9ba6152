use ostrakon_custody::{AuditEvent, Identity};
use ostrakon_shards::{
    backup::{BackupFile, Recovered},
    ceremony::Subject,
    name::Name,
    profile::SignedVersion,
    seal::Sealed,
};
use ostrakon_storage::{DatabaseUri, ProtectorKey, Store, StoreError};
use ostrakon_types::KssId;

use super::{Asking, ConveneError, Convened, Progress, shares::Shares};
use crate::{
    Clock, Home,
    home::{HeldBy, HomeLock},
    lineage::Lineage,
    offline::Offline,
    policy::FILE,
    server::BuildError,
    setup::{check_new, or_nothing},
};

/// A machine that is to serve as an instance of the server in a shared database, once the devices that hold
/// the server's backup key give their shares.
///
/// The database alone does not let it in: what is in there opens with a key of an instance, or with the
/// backup key.
pub struct Joining {
    home: Home,
    database: DatabaseUri,
    machine: Name,
    clock: Clock,
    shares: Shares,
    _lock: HomeLock,
}

impl Joining {
    /// The newest backup file of the server in a shared database, whose shares are to be asked for.
    ///
    /// # Errors
    /// When there is no server, or it has no backup key.
    pub async fn backup_in(database: &DatabaseUri) -> Result<BackupFile, ConveneError> {
        let newest = Store::newest_backup_in(database).await;
        let text = newest.map_err(BuildError::from)?;
        Ok(BackupFile::parse(&text.ok_or(ConveneError::NoProfile)?)?)
    }

    /// Asks the devices that hold the backup key of `file`. `versions` are those of their profile as it is
    /// now, if it has changed since that key was made.
    ///
    /// # Errors
    /// When there is a server in the home already, or the devices cannot be asked.
    pub fn open(
        home: &Home,
        database: &DatabaseUri,
        file: BackupFile,
        versions: &[SignedVersion],
        machine: Name,
        wait_ms: i64,
        clock: &Clock,
    ) -> Result<Self, ConveneError> {
        let lock = check_new(home, HeldBy::Ceremony)?;
        let subject = Subject::InitializeInstance {
            kss_id: file.kss_id(),
            instance: machine.clone(),
            generation: file.generation(),
        };
        let now = clock.now();
        Ok(Self {
            shares: Shares::ask(file, versions, machine.clone(), subject, wait_ms, now)?,
            home: home.clone(),
            database: database.clone(),
            machine,
            clock: clock.clone(),
            _lock: lock,
        })
    }

    /// Lets this machine in. Gives the server's id.
    ///
    /// # Errors
    /// When too few devices gave their shares, the database is of another server, or the home cannot be
    /// written; then nothing is left.
    pub async fn finish(self) -> Result<KssId, ConveneError> {
        let Self {
            home,
            database,
            machine,
            clock,
            shares,
            ..
        } = self;
        let (file, recovered, approved) = shares.open(clock.now())?;
        or_nothing(&home, ConveneError::from, async || {
            let joined = join(&home, &database, &file, &recovered).await;
            joined.map_err(ConveneError::from)
        })
        .await?;
        let event = AuditEvent::Administered {
            action: "initialize".to_owned(),
            detail: format!("{machine}, {approved}"),
        };
        let offline = Offline::unlocked(&home, &clock).await?;
        let recorded = offline.ledger.note(event, clock.now()).await;
        offline.finish().await;
        recorded.map_err(BuildError::from)?;
        Ok(file.kss_id())
    }
}

async fn join(
    home: &Home,
    database: &DatabaseUri,
    file: &BackupFile,
    recovered: &Recovered,
) -> Result<(), BuildError> {
    home.set_database(database)?;
    let protector = ProtectorKey::create(&home.instance_key())?;
    let root_key = recovered.root_key.as_ref();
    let root_key = root_key.ok_or(StoreError::WrongRootKey)?;
    let store = Store::join(database, &protector, root_key).await?;
    let checked = check(home, &store, &protector, file).await;
    if checked.is_err() {
        // It opens nothing without the key file, which goes now.
        let _ = store.part(protector.instance()).await;
    }
    store.close().await;
    checked
}

/// Makes sure that the state is this server's, and puts beside it what an instance keeps on its own disk.
async fn check(
    home: &Home,
    store: &Store,
    protector: &ProtectorKey,
    file: &BackupFile,
) -> Result<(), BuildError> {
    let identity = Identity::load(store, protector.instance()).await?;
    if identity.keyserver.kss_id() != file.kss_id() {
        return Err(StoreError::WrongRootKey.into());
    }
    Lineage::join(home, store, identity.keyserver.root_key()).await?;
    if let Some(policy) = store.policy().await?
        && home.read_policy()?.is_none()
    {
        home.write_new(FILE, &policy.source)?;
    }
    Ok(())
}

impl Asking for Joining {
    fn convened(&self) -> &Convened {
        &self.shares.convened
    }

    async fn take(&mut self, answers: Vec<Sealed>) -> Result<Progress, ConveneError> {
        Ok(self.shares.take(&answers, self.clock.now()))
    }
}
