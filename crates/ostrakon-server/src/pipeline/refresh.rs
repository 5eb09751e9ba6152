//! How an instance follows what others changed in the database that they share.

use std::sync::atomic::Ordering;

use ostrakon_policy::LoadPolicyError;
use ostrakon_storage::StoreError;

use super::Pipeline;

/// Why an instance cannot follow what another one changed: until it can, it decides nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot load the policy that another instance put in force")]
    Policy(#[source] Box<LoadPolicyError>),
}

impl Pipeline {
    /// Looks again at what decisions rest on, if something has changed.
    ///
    /// # Errors
    /// When it cannot be read, or the policy in force cannot be loaded here.
    pub(crate) async fn refresh(&self) -> Result<(), RefreshError> {
        let _one = self.refreshing.lock().await;
        // First, so that what changes meanwhile is looked at the next time.
        let number = self.store.change_number().await?;
        if number == self.basis.get() {
            return Ok(());
        }
        self.store.check_here().await?;
        let record = self.store.server().await?.ok_or(StoreError::Missing)?;
        if let Some(stored) = self.store.policy().await? {
            let followed = self.policy.follow(stored);
            followed.map_err(|error| RefreshError::Policy(Box::new(error)))?;
        }
        self.lineage.look_again(&self.store).await?;
        self.administrators
            .look_again(&self.store, &self.signer)
            .await;
        let held = self.held_down.load(Ordering::Acquire);
        self.enabled
            .store(record.enabled && !held, Ordering::Release);
        self.basis.set(number);
        tracing::debug!("what another instance changed is in force here");
        Ok(())
    }
}
