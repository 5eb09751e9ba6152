//! A server's identity, out into a backup file and back from one. The secrets pass through here and
//! nowhere else.

use ostrakon_shards::{
    backup::{Backup, BackupFile, MakeBackupError, Recovered},
    generation::{Generation, SignedGeneration},
    identity::{PublicCard, VerifiedKeyserver},
    profile::SignedVersion,
    suite::Suite,
};
use ostrakon_storage::{ProtectorKey, ServerRecord, Store, StoreError};
use ostrakon_types::UnixMillis;

use crate::{
    Identity, IdentityError,
    identity::{decode, fits},
};

/// Why no backup file was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackUpError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The file.
    #[error(transparent)]
    Make(#[from] MakeBackupError),
}

impl Identity {
    /// Makes a backup file with a fresh backup key, which is split among the devices of the profile
    /// with these versions. It is not stored anywhere.
    ///
    /// # Errors
    /// When the identity cannot be read, or the profile is not fit to hold a backup key.
    pub async fn back_up(
        store: &Store,
        protector: &ProtectorKey,
        versions: &[SignedVersion],
        generation: Generation,
        now: UnixMillis,
    ) -> Result<BackupFile, BackUpError> {
        let record = store.server().await?.ok_or(StoreError::Missing)?;
        let identity = store.identity().await?;
        let (root, ..) = decode(&identity).ok_or(IdentityError::Damaged)?;
        let card =
            PublicCard::from_bytes(&record.public_card).map_err(|_| IdentityError::Damaged)?;
        let root_key = store.root_key(protector).await?;
        let backup = Backup {
            card: &card,
            generation,
            created_at: now,
            versions,
            identity: &identity,
            root_key: Some(&root_key),
            suite: Suite::XWing,
        };
        Ok(backup.make(&root)?)
    }

    /// Stores the identity that was recovered from `file`, and begins the epoch that follows it.
    ///
    /// # Errors
    /// When the database holds a server already, or what was recovered does not fit the file's card.
    pub async fn restore(
        store: &Store,
        file: &BackupFile,
        recovered: &Recovered,
        now: UnixMillis,
    ) -> Result<VerifiedKeyserver, IdentityError> {
        let (root, shard, envelope) = decode(&recovered.identity).ok_or(IdentityError::Damaged)?;
        let keyserver = file.keyserver().clone();
        if !fits(&keyserver, &root, &shard, &envelope) {
            return Err(IdentityError::Damaged);
        }
        let epoch = file.generation().next_epoch(now);
        let statement = SignedGeneration::begin(&root, epoch, now)?;
        let record = ServerRecord {
            kss_id: keyserver.kss_id(),
            public_card: file.public_card().to_bytes(),
            enabled: true,
            created_at: now,
        };
        let mut tx = store.begin().await?;
        tx.insert_server(&record, &recovered.identity).await?;
        tx.insert_generation(&statement).await?;
        tx.insert_backup(file.generation(), &file.to_text(), now)
            .await?;
        tx.commit().await?;
        Ok(keyserver)
    }
}
