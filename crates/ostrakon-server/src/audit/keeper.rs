//! Makes checkpoints: at the start, at intervals while there are new records, and at the stop.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ostrakon_custody::{Change, Checkpoint, Ledger, LedgerError, SignedCheckpoint, Signer};
use ostrakon_shards::{identity::VerifiedKeyserver, sign::VerifyKey};
use ostrakon_storage::{Store, StoreError};
use ostrakon_types::{ErrorChain, KssId, UnixMillis};
use tokio::{task::spawn_blocking, time::Instant};

use super::witness::{PlaceError, Places};
use crate::{Home, config::Audit};

/// How long nobody tries again after a try, however often it is asked for.
const PAUSE: Duration = Duration::from_secs(1);

/// The one who makes checkpoints.
pub(crate) struct Keeper {
    kss_id: KssId,
    root: VerifyKey,
    /// Locked by whoever writes to them, on a thread that may block.
    places: Arc<Mutex<Places>>,
    pub(crate) every: Duration,
    kept: tokio::sync::Mutex<Kept>,
    shown: Mutex<Shown>,
}

/// Where the last try came to.
struct Kept {
    /// The newest checkpoint.
    last: Option<SignedCheckpoint>,
    tried: Option<Instant>,
}

/// What is told of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// The newest checkpoint's number, and when it was made.
    pub(crate) newest: Option<(u64, UnixMillis)>,
    /// Why a checkpoint is not in every place in which it should be.
    pub(crate) failing: Option<String>,
}

/// Why there is no new checkpoint.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Keeper {
    /// Goes on behind the newest checkpoint, wherever it was found.
    pub(crate) fn new(
        keyserver: &VerifiedKeyserver,
        home: &Home,
        audit: &Audit,
        last: Option<SignedCheckpoint>,
    ) -> Self {
        let kss_id = keyserver.kss_id();
        let verified = last
            .as_ref()
            .and_then(|last| last.verify(&kss_id, keyserver.root_key()).ok());
        let newest = verified.map(|newest| (newest.number, newest.at));
        Self {
            kss_id,
            root: *keyserver.root_key(),
            places: Arc::new(Mutex::new(Places::new(home, audit))),
            every: Duration::from_secs(audit.checkpoint_seconds),
            shown: Mutex::new(Shown {
                newest,
                failing: None,
            }),
            kept: tokio::sync::Mutex::new(Kept { last, tried: None }),
        }
    }

    pub(crate) fn shown(&self) -> Shown {
        self.lock().clone()
    }

    /// Makes a checkpoint if there are new records, and writes the newest one to places that have not taken
    /// it. Failures are logged, and shown until the next success.
    pub(crate) async fn keep(
        &self,
        store: &Store,
        ledger: &Ledger,
        signer: &Signer,
        now: UnixMillis,
    ) {
        let mut kept = self.kept.lock().await;
        self.try_to(&mut kept, store, ledger, signer, now).await;
    }

    /// Writes the checkpoint that another instance has made to the places of this one.
    pub(crate) async fn follow(&self, store: &Store) {
        let mut kept = self.kept.lock().await;
        if let Some(newer) = self.newer(kept.last.as_ref(), store).await {
            kept.last = Some(newer);
        } else if self.lock().failing.is_none() {
            return;
        }
        self.write_newest(&mut kept).await;
    }

    /// Does the same for those who ask often: nothing while somebody tries, which may take long, and nothing
    /// within a second of the last try.
    pub(crate) async fn keep_again(
        &self,
        store: &Store,
        ledger: &Ledger,
        signer: &Signer,
        now: UnixMillis,
    ) {
        let Ok(mut kept) = self.kept.try_lock() else {
            return;
        };
        if kept.tried.is_none_or(|tried| tried.elapsed() >= PAUSE) {
            self.try_to(&mut kept, store, ledger, signer, now).await;
        }
    }

    async fn try_to(
        &self,
        kept: &mut Kept,
        store: &Store,
        ledger: &Ledger,
        signer: &Signer,
        now: UnixMillis,
    ) {
        kept.tried = Some(Instant::now());
        if store.is_shared()
            && let Some(newer) = self.newer(kept.last.as_ref(), store).await
        {
            // Another instance made the last one.
            kept.last = Some(newer);
        }
        let last = kept.last.as_ref();
        let next = match self.next(last, store, ledger, signer, now).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "no audit checkpoint can be made");
                self.lock().failing = Some(ErrorChain(&error).to_string());
                // What became of it is not known: it may be there.
                if let Some(there) = self.newer(last, store).await {
                    kept.last = Some(there);
                }
                return;
            }
        };
        if next.is_none() && self.lock().failing.is_none() {
            return;
        }
        if let Some(next) = next {
            kept.last = Some(next);
        }
        self.write_newest(kept).await;
    }

    /// Writes the newest checkpoint to its places.
    async fn write_newest(&self, kept: &mut Kept) {
        let Some(newest) = kept.last.clone() else {
            return;
        };
        let written = self.write(newest).await;
        kept.tried = Some(Instant::now());
        let mut shown = self.lock();
        match written {
            Ok(()) => {
                if shown.failing.take().is_some() {
                    tracing::info!("audit checkpoints can be written again");
                }
            }
            Err(error) => {
                let error = ErrorChain(&error).to_string();
                tracing::error!(%error, "an audit checkpoint is not where it should be");
                shown.failing = Some(error);
            }
        }
    }

    /// Writes the checkpoint to its places, which wait for disks, on a thread of its own.
    async fn write(&self, newest: SignedCheckpoint) -> Result<(), PlaceError> {
        let places = Arc::clone(&self.places);
        let write = move || {
            let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
            places.write(&newest)
        };
        spawn_blocking(write).await.unwrap_or_else(PlaceError::any)
    }

    async fn next(
        &self,
        last: Option<&SignedCheckpoint>,
        store: &Store,
        ledger: &Ledger,
        signer: &Signer,
        now: UnixMillis,
    ) -> Result<Option<SignedCheckpoint>, KeepError> {
        let heads = store.audit_heads().await?;
        let next = Checkpoint::after(last, self.kss_id, &heads, now);
        if last.is_some_and(|last| last.says_the_same(&next)) {
            return Ok(None);
        }
        let shown = (next.number, now);
        let signed = signer.checkpoint(next);
        ledger
            .administer(Change::Checkpoint(signed.row()), now)
            .await?;
        self.lock().newest = Some(shown);
        Ok(Some(signed))
    }

    /// The newest checkpoint in the database, if it is a newer one than `last`.
    async fn newer(
        &self,
        last: Option<&SignedCheckpoint>,
        store: &Store,
    ) -> Option<SignedCheckpoint> {
        let row = store.newest_checkpoint().await.ok()??;
        let signed = SignedCheckpoint::from_bytes(&row.signed).ok()?;
        let number = signed.verify(&self.kss_id, &self.root).ok()?.number;
        let known = last.map_or(0, SignedCheckpoint::number);
        (number > known).then_some(signed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
