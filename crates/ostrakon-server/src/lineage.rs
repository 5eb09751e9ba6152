//! Whether this server's state is the newest there is, and what it does when it is not, or may not be.
//!
//! The server signs a new [generation](ostrakon_shards::generation) before it settles the first request
//! after a start, and once an hour while it settles more. A start itself writes nothing, so that it
//! succeeds on a disk that is full. It keeps them in the database, the newest one also in a file beside it,
//! and its clients keep the newest that they have seen. From these three it finds out, at its start or
//! when a client comes that has seen more, that it was put back to an older state, or that another
//! server has its identity.
//!
//! - **Superseded**: there is proof of another state. Nothing is answered until the operator accepts
//!   the rollback, with M devices.
//! - **Unproven**: the state was restored, recovered or copied, and may be old. Requests are answered
//!   with care: see [`Lineage::doubt`].

mod proof;
mod state_file;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use ostrakon_custody::Signer;
use ostrakon_shards::{
    generation::{History, HistoryError, SignedGeneration, Standing},
    random::RandomError,
    sign::VerifyKey,
};
use ostrakon_storage::{StateDoubt, Store, StoreError};
use ostrakon_types::{Candidate, ErrorChain, ProfileId, Proposal, UnixMillis};

use self::{proof::Proof, state_file::StateFile};
use crate::home::Home;

/// How often the next generation is tried for when other instances take its number.
const RAISED: u32 = 16;

/// Why a server that has met a newer state is not ready.
pub(crate) const OUT_OF_DATE: &str = "state is out of date";

/// How long one generation lasts while requests are settled, in milliseconds.
const LASTS: i64 = 60 * 60 * 1000;

/// What the server knows of the age of its state.
pub(crate) struct Lineage {
    root: VerifyKey,
    history: RwLock<History>,
    doubt: RwLock<StateDoubt>,
    /// Profiles of which a member has shown the newest version since this start.
    shown: Mutex<HashSet<ProfileId>>,
    /// Whether a generation was begun since this start.
    raised: AtomicBool,
    /// Whether anything was settled since the newest generation.
    settled: AtomicBool,
    file: PathBuf,
    instance_key: PathBuf,
    raising: tokio::sync::Mutex<()>,
}

/// Why the age of the state cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineageError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the database holds is not one line of statements.
    #[error("the generations in the database are not what was written")]
    History(#[from] HistoryError),
    /// The file beside the database.
    #[error("cannot keep the generation in `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Lineage {
    /// Notes beside a new instance how new the state is that it shares.
    pub(crate) async fn join(
        home: &Home,
        store: &Store,
        root: &VerifyKey,
    ) -> Result<(), LineageError> {
        let history = History::new(&store.generations().await?, root)?;
        let file = home.generation();
        StateFile::new(*history.newest(), None, &home.instance_key())
            .write(&file)
            .map_err(failed(&file))
    }

    /// Has a home that was restored know what the home that it replaces knew of newer states: where that is proof
    /// of one, it takes the place of what came with the backup.
    pub(crate) fn inherit(
        replaced: &Home,
        restored: &Home,
        statements: &[SignedGeneration],
        root: &VerifyKey,
    ) -> Result<(), LineageError> {
        let (from, to) = (replaced.generation(), restored.generation());
        let Some(kept) = StateFile::read(&from).map_err(failed(&from))? else {
            return Ok(());
        };
        let standing = History::new(statements, root)?.standing(&kept.newest, root);
        if standing == Standing::Superseded {
            let file = StateFile::new(kept.newest, None, &restored.instance_key());
            file.write(&to).map_err(failed(&to))?;
        }
        Ok(())
    }

    /// Judges the state that is there at a start. A server that never said how old its state is, because
    /// it is new, says so now.
    pub(crate) async fn start(
        home: &Home,
        store: &Store,
        signer: &Signer,
        root: VerifyKey,
        now: UnixMillis,
    ) -> Result<Self, LineageError> {
        let (file, instance_key) = (home.generation(), home.instance_key());
        let statements = store.generations().await?;
        let mut doubt = store.state_doubt().await?;
        let kept = StateFile::read(&file).map_err(failed(&file))?;
        let copied = proof::is_copied(kept.as_ref(), &instance_key);
        let history = match statements.as_slice() {
            [] => None,
            statements => Some(History::new(statements, &root)?),
        };
        match proof::of(
            history.as_ref(),
            kept.as_ref(),
            copied,
            &root,
            store.is_shared(),
        ) {
            Proof::Newest => {}
            Proof::None(reason) => {
                tracing::warn!(
                    reason,
                    "this state is not proved to be the newest: quota windows that began before this \
                     start count as spent"
                );
                doubt.unproven_since = Some(now);
            }
            Proof::Superseded(by) => doubt.superseded_by = Some(by),
        }
        let history = match history {
            Some(history) => history,
            None => raise(&file, &instance_key, store, signer, None, &doubt, now).await?,
        };
        if let Some(by) = doubt.superseded_by {
            warn_superseded(&by, &history);
            // While it is not recorded, each start finds it out again.
            if let Err(error) = keep(&doubt, store).await {
                tracing::error!(error = %ErrorChain(&error), "cannot record that");
            }
        }
        Ok(Self {
            root,
            history: RwLock::new(history),
            doubt: RwLock::new(doubt),
            shown: Mutex::default(),
            raised: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            file,
            instance_key,
            raising: tokio::sync::Mutex::default(),
        })
    }

    /// The newest generation.
    pub(crate) fn newest(&self) -> SignedGeneration {
        *read(&self.history).newest()
    }

    /// What was found out about the state. While it is unproven, requests that were issued before are
    /// refused, quota windows that began before count as spent, and each profile must be shown once.
    pub(crate) fn doubt(&self) -> StateDoubt {
        *read(&self.doubt)
    }

    /// Whether it is certain that there is another state.
    pub(crate) fn is_superseded(&self) -> bool {
        read(&self.doubt).superseded_by.is_some()
    }

    /// Looks again at what the database says of the age of the state, which another instance may have changed.
    pub(crate) async fn look_again(&self, store: &Store) -> Result<(), StoreError> {
        let doubt = store.state_doubt().await?;
        *self.doubt.write().unwrap_or_else(PoisonError::into_inner) = doubt;
        Ok(())
    }

    /// Whether the statement that somebody shows is proof of another state.
    pub(crate) async fn is_proof(
        &self,
        shown: &SignedGeneration,
        store: &Store,
    ) -> Result<bool, LineageError> {
        let standing = || read(&self.history).standing(shown, &self.root);
        if standing() != Standing::Superseded {
            return Ok(false);
        }
        // Perhaps another process that uses this database said so.
        let stored = History::new(&store.generations().await?, &self.root)?;
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = stored;
        Ok(standing() == Standing::Superseded)
    }

    /// Stops answering, for good: also after a restart, and also when the database is put back again.
    pub(crate) async fn supersede(
        &self,
        by: SignedGeneration,
        store: &Store,
    ) -> Result<(), LineageError> {
        let doubt = {
            let mut doubt = self.doubt.write().unwrap_or_else(PoisonError::into_inner);
            doubt.superseded_by = Some(by);
            *doubt
        };
        warn_superseded(&by, &read(&self.history));
        StateFile::new(by, None, &self.instance_key)
            .write(&self.file)
            .map_err(failed(&self.file))?;
        Ok(keep(&doubt, store).await?)
    }

    /// Makes ready for something to be settled: the first time after a start, by a new generation.
    pub(crate) async fn settling(
        &self,
        store: &Store,
        signer: &Signer,
        now: UnixMillis,
    ) -> Result<(), LineageError> {
        self.settled.store(true, Ordering::Relaxed);
        if self.raised.load(Ordering::Acquire) {
            return Ok(());
        }
        let one = self.raising.lock().await;
        if !self.raised.load(Ordering::Acquire) {
            self.raise_locked(&one, store, signer, now).await?;
        }
        Ok(())
    }

    /// Begins a new generation if the newest has lasted long enough and something was settled in it.
    pub(crate) async fn raise_if_due(
        &self,
        store: &Store,
        signer: &Signer,
        now: UnixMillis,
    ) -> Result<(), LineageError> {
        let is_due = now.since(self.newest().issued_at()) >= LASTS;
        if is_due && !self.is_superseded() && self.settled.swap(false, Ordering::Relaxed) {
            self.raise(store, signer, now).await?;
        }
        Ok(())
    }

    /// Begins a new generation.
    pub(crate) async fn raise(
        &self,
        store: &Store,
        signer: &Signer,
        now: UnixMillis,
    ) -> Result<SignedGeneration, LineageError> {
        let one = self.raising.lock().await;
        self.raise_locked(&one, store, signer, now).await
    }

    async fn raise_locked(
        &self,
        _one: &tokio::sync::MutexGuard<'_, ()>,
        store: &Store,
        signer: &Signer,
        now: UnixMillis,
    ) -> Result<SignedGeneration, LineageError> {
        let mut tries = 0..RAISED;
        let raised = loop {
            // Read anew: a try that failed may have come to the database all the same.
            let history = History::new(&store.generations().await?, &self.root)?;
            let (file, key) = (&self.file, &self.instance_key);
            let doubt = self.doubt();
            match raise(file, key, store, signer, Some(history), &doubt, now).await {
                // Another instance was faster.
                Err(LineageError::Store(StoreError::Overtaken)) if tries.next().is_some() => {}
                raised => break raised?,
            }
        };
        let newest = *raised.newest();
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = raised;
        self.raised.store(true, Ordering::Release);
        Ok(newest)
    }

    /// Goes on with this state, whatever is known of others: as a new epoch, which is higher than all that
    /// anybody has seen. Its administrators have approved it.
    pub(crate) async fn accept(
        &self,
        store: &Store,
        signer: &Signer,
        now: UnixMillis,
    ) -> Result<SignedGeneration, LineageError> {
        let _one = self.raising.lock().await;
        let own = self.newest();
        let other = self.doubt().superseded_by.map(|by| by.generation());
        let highest = other.map_or(own.generation(), |other| other.max(own.generation()));
        let begun = signer.generation(None, highest.next_epoch(now), now)?;
        let doubt = StateDoubt::default();
        write(
            &self.file,
            &self.instance_key,
            store,
            Some(own),
            begun,
            &doubt,
        )
        .await?;
        let history = History::begin(begun)?;
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = history;
        *self.doubt.write().unwrap_or_else(PoisonError::into_inner) = doubt;
        self.raised.store(true, Ordering::Release);
        Ok(begun)
    }

    /// Whether this server's word was given before its epoch began: by a predecessor, of which it may lack what its
    /// administrators have accepted that it lacks.
    pub(crate) fn is_of_a_predecessor(&self, said_at: UnixMillis) -> bool {
        said_at < read(&self.history).began_at()
    }

    /// Whether a profile must be shown before anything is answered for it.
    pub(crate) fn must_be_shown(&self, profile: &ProfileId) -> bool {
        self.doubt().unproven_since.is_some() && !lock(&self.shown).contains(profile)
    }

    /// Remembers that a member has shown the profile.
    pub(crate) fn was_shown(&self, profile: ProfileId) {
        lock(&self.shown).insert(profile);
    }

    /// The proposal with every quota window as spent that this state cannot have seen from its begin.
    pub(crate) fn without_unseen_windows(&self, mut proposal: Proposal) -> Proposal {
        if let Some(since) = self.doubt().unproven_since {
            for candidate in &mut proposal.candidates {
                let mut charges = candidate.charges().to_vec();
                for charge in &mut charges {
                    if charge.key.window < since {
                        charge.limit = 0;
                    }
                }
                *candidate = Candidate::new(candidate.rule_set, charges);
            }
        }
        proposal
    }
}

/// Makes and writes the next statement.
async fn raise(
    file: &Path,
    instance_key: &Path,
    store: &Store,
    signer: &Signer,
    history: Option<History>,
    doubt: &StateDoubt,
    now: UnixMillis,
) -> Result<History, LineageError> {
    let before = history.as_ref().map(|history| *history.newest());
    let next = signer.generation(before.as_ref(), 0, now)?;
    write(file, instance_key, store, before, next, doubt).await?;
    match history {
        Some(mut history) => {
            history.push(next)?;
            Ok(history)
        }
        None => Ok(History::begin(next)?),
    }
}

/// Writes a statement: first that it may come to the file, then it to the database, then that it has come
/// to the file. So a crash between leaves a file that fits the database.
async fn write(
    file: &Path,
    instance_key: &Path,
    store: &Store,
    before: Option<SignedGeneration>,
    next: SignedGeneration,
    doubt: &StateDoubt,
) -> Result<(), LineageError> {
    if let Some(before) = before {
        let first = StateFile::new(before, Some(next), instance_key);
        first.write(file).map_err(failed(file))?;
    }
    let mut tx = store.begin().await?;
    tx.insert_generation(&next).await?;
    tx.set_state_doubt(doubt).await?;
    tx.commit().await?;
    let then = StateFile::new(next, None, instance_key);
    then.write(file).map_err(failed(file))
}

async fn keep(doubt: &StateDoubt, store: &Store) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    tx.set_state_doubt(doubt).await?;
    tx.commit().await
}

fn warn_superseded(by: &SignedGeneration, own: &History) {
    tracing::error!(
        seen = %by.generation(),
        own = %own.newest().generation(),
        "there is another state than this one, or another server with this identity: no requests \
         are answered until the newer state is put in place"
    );
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> LineageError {
    let path = path.to_owned();
    move |source| LineageError::File { path, source }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
