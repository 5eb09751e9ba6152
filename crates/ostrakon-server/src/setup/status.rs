use ostrakon_custody::Identity;
use ostrakon_storage::{ProtectorKey, Store, StoreError};

use crate::{
    admin::{AuditStatus, BackupStatus, RunState, Status},
    audit::look,
    ceremony::newest_backup,
    home::Home,
    lineage::OUT_OF_DATE,
    server::BuildError,
};

/// Tells about a server that does not run.
///
/// # Errors
/// When there is none, or it runs.
pub async fn stopped_status(home: &Home) -> Result<Status, BuildError> {
    let _lock = home.lock()?;
    home.check_finished()?;
    let protector = ProtectorKey::load(&home.instance_key())?;
    let store = Store::open(home.place()?, &protector).await?;
    let status = status_of(home, &store, &protector).await;
    store.close().await;
    status
}

async fn status_of(
    home: &Home,
    store: &Store,
    protector: &ProtectorKey,
) -> Result<Status, BuildError> {
    let record = store.server().await?.ok_or(StoreError::Missing)?;
    let identity = Identity::load(store, protector.instance()).await?;
    let policy = store.policy().await?;
    let doubt = store.state_doubt().await?;
    Ok(Status {
        kss_id: record.kss_id,
        name: identity.keyserver.name().as_str().to_owned(),
        state: RunState::Stopped,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: protector.instance().to_string(),
        database: store.kind().to_owned(),
        protector: "key file".to_owned(),
        policy_version: policy.as_ref().map(|policy| policy.version),
        policy_loaded_at: policy.as_ref().map(|policy| policy.loaded_at),
        profiles: store.count_profiles().await?,
        not_ready: doubt.superseded_by.map(|_| OUT_OF_DATE.to_owned()),
        audit: audit_status(home, store, &identity).await?,
        generation: newest_generation(store).await?,
        backup: backup_status(store).await?,
        clock_ahead_ms: None,
        staged: store.is_staged().await?,
        unproven_since: doubt.unproven_since,
    })
}

async fn audit_status(
    home: &Home,
    store: &Store,
    identity: &Identity,
) -> Result<AuditStatus, BuildError> {
    let newest = store.newest_checkpoint().await?;
    let head = store.audit_head(identity.audit.instance()).await?;
    Ok(AuditStatus {
        records: head.sequence,
        checkpoint: newest.as_ref().map(|newest| newest.number),
        checkpoint_at: newest.as_ref().map(|newest| newest.at),
        writable: None,
        trouble: look(home, store, identity).await?,
    })
}

/// What is known of the newest backup key.
pub(crate) async fn backup_status(store: &Store) -> Result<Option<BackupStatus>, BuildError> {
    let file = newest_backup(store).await?;
    Ok(file.as_ref().map(BackupStatus::of))
}

async fn newest_generation(store: &Store) -> Result<Option<String>, StoreError> {
    let statements = store.generations().await?;
    let newest = statements.last();
    Ok(newest.map(|statement| statement.generation().to_string()))
}
