mod audit;
mod authority;
mod backups;
mod ceremonies;
mod changes;
mod checkpoints;
mod copy;
mod counters;
mod dump;
mod generations;
mod instances;
mod keys;
mod moves;
mod policies;
mod profiles;
mod requests;
mod rows;
mod server;
mod settings;
mod snapshot;
mod transaction;

use std::path::{Path, PathBuf};

pub use audit::{AuditHead, AuditRow, InstanceId};
pub use authority::CertificateRow;
pub use ceremonies::{CeremonyRecord, NoticeRecord, PendingCeremony};
pub use changes::ChangeNumber;
pub use checkpoints::{ArchiveRow, CheckpointRow};
pub use copy::{Copied, CopyError, Progress, Step};
pub use counters::{Counter, CounterChange, LONGEST_WINDOW};
pub use dump::{Dump, DumpPart, Load, LoadError, PartError, Rows};
pub use generations::StateDoubt;
pub use instances::{InstanceRecord, Presence, SILENCE};
pub use moves::{CopyId, Moved, TakeOverError};
pub use policies::PolicyVersion;
pub use profiles::{CarriedLocation, LocationRecord, MAX_LOCATIONS};
pub use requests::{REQUESTS_KEPT, RequestKey, RequestRecord};
pub use server::ServerRecord;
pub use snapshot::Snapshot;
pub use transaction::Transaction;

use minicbor::{Decode, Encode};
use ostrakon_shards::record::RecordKey;

use self::{changes::REPLICA, keys::Keys};
use crate::{DatabaseUri, ProtectorKey, StoreError, engine::Db};

/// One key shard server's database, unlocked.
pub struct Store {
    db: Db,
    keys: Keys,
    durability: Durability,
}

/// How durable a commit must be where the database has a replica that it should wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Durability {
    /// In the replica, too: without it, nothing is committed.
    #[default]
    #[n(0)]
    Replicated,
    /// In the database alone, while the replica is away.
    #[n(1)]
    Local,
}

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file of this machine, which one process at a time uses.
    File(PathBuf),
    /// At a server of databases, which all instances share.
    Shared(Box<DatabaseUri>),
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for Place {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&DatabaseUri> for Place {
    fn from(uri: &DatabaseUri) -> Self {
        Self::Shared(Box::new(uri.clone()))
    }
}

impl From<&Self> for Place {
    fn from(place: &Self) -> Self {
        place.clone()
    }
}

impl Store {
    /// Makes a new database at `place`, with fresh keys under `protector`. A shared database must be there,
    /// and empty.
    ///
    /// # Errors
    /// When there is a server's state already, or it cannot be written.
    pub async fn create(
        place: impl Into<Place>,
        protector: &ProtectorKey,
    ) -> Result<Self, StoreError> {
        let db = match place.into() {
            Place::File(path) => Db::create_file(&path).await?,
            Place::Shared(uri) => Db::connect(&uri).await?,
        };
        let keys = Keys::create(&db, protector).await;
        Self::of(db, keys).await
    }

    /// Sees that a server can be made in a shared database: that it can be used, and holds none.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where it does, and as [`Store::create`].
    pub async fn check_vacant(uri: &DatabaseUri) -> Result<(), StoreError> {
        let db = Db::connect(uri).await?;
        let checked = async {
            moves::check_finished(&db).await?;
            let mut reader = db.reader().await?;
            let query = db.query("SELECT kss_id FROM server");
            match query.fetch_optional(&mut reader).await? {
                Some(_) => Err(StoreError::Exists),
                None => Ok(()),
            }
        };
        let checked = checked.await;
        db.close().await;
        checked
    }

    /// Opens the database at `place` and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::WrongRootKey`] when `protector` is another database's, [`StoreError::NotJoined`] when
    /// it is of an instance that was not let into a shared one, [`StoreError::Corrupt`] when it is the
    /// right one and the keys do not open all the same, [`StoreError::Moved`] when the state is in another
    /// database now, [`StoreError::Unfinished`] when it has not come to this one yet, and whatever the
    /// database meets.
    pub async fn open(
        place: impl Into<Place>,
        protector: &ProtectorKey,
    ) -> Result<Self, StoreError> {
        let store = Self::open_moved(place, protector).await?;
        if let Err(error) = store.check_here().await {
            store.close().await;
            return Err(error);
        }
        Ok(store)
    }

    /// Lets an instance that has the root key into a shared database, and opens that.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no server's state, [`StoreError::WrongRootKey`] when it is
    /// under another root key, and whatever the database meets.
    pub async fn join(
        uri: &DatabaseUri,
        protector: &ProtectorKey,
        root: &RecordKey,
    ) -> Result<Self, StoreError> {
        let db = Db::connect(uri).await?;
        let keys = async {
            moves::check_finished(&db).await?;
            Keys::join(&db, protector, root).await
        };
        let keys = keys.await;
        Self::of(db, keys).await
    }

    /// The newest backup file in a shared database, if it has one. It is no secret: who reads it needs no
    /// key.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no server's state, and whatever the database meets.
    pub async fn newest_backup_in(uri: &DatabaseUri) -> Result<Option<String>, StoreError> {
        let db = Db::connect(uri).await?;
        let newest = backups::newest_in(&db).await;
        db.close().await;
        newest
    }

    /// Takes away what lets an instance use the shared database.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn part(&self, instance: InstanceId) -> Result<(), StoreError> {
        Keys::part(&self.db, instance).await
    }

    async fn connect(place: Place) -> Result<Db, StoreError> {
        match place {
            Place::File(path) => Db::open_file(&path).await,
            Place::Shared(uri) => Db::connect(&uri).await,
        }
    }

    async fn of(db: Db, keys: Result<Keys, StoreError>) -> Result<Self, StoreError> {
        match keys {
            Ok(keys) => Ok(Self {
                db,
                keys,
                durability: Durability::default(),
            }),
            Err(error) => {
                db.close().await;
                Err(error)
            }
        }
    }

    /// The same, with commits that are as durable as this.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether other instances use the database, too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.db.is_shared()
    }

    /// What an operator calls the kind of database: `sqlite`, `mysql` or `postgresql`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.db.name()
    }

    /// The key under which everything in this database is sealed, to go into a backup file.
    ///
    /// # Errors
    /// When `protector` is another database's, or the database fails.
    pub async fn root_key(&self, protector: &ProtectorKey) -> Result<RecordKey, StoreError> {
        Keys::root(&self.db, protector).await
    }

    /// Finishes what is under way and closes the database.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Begins a transaction, after every other one has ended.
    ///
    /// # Errors
    /// When the database is locked by another process for too long, or fails.
    pub async fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        Transaction::begin(self).await
    }

    /// Asks the database for an answer, and whether it has the replica that a commit must wait for.
    ///
    /// # Errors
    /// When it gives none, and [`StoreError::NoReplica`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut reader = self.db.reader().await?;
        let row = self.db.query(REPLICA).fetch_one(&mut reader).await?;
        if row.try_get::<i64>("replica")? == 0 && self.durability == Durability::Replicated {
            return Err(StoreError::NoReplica);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
