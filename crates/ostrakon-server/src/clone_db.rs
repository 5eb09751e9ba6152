//! Moves a server that does not run to another database.
//!
//! The old database decides, by one mark, which of the two is the server's (see `ostrakon_storage`). What is
//! left to do from then on is done by whoever comes next: this again, or `serve`. The home notes where to
//! go before the mark is set, so that nobody has to take the database's word for it.

use ostrakon_custody::AuditEvent;
pub use ostrakon_storage::{CopyError, Progress, Step, TakeOverError};
use ostrakon_storage::{Place, ProtectorKey, Store, StoreError};
use ostrakon_types::KssId;

use crate::{
    Clock, Home,
    home::{HeldBy, HomeError},
    offline::Offline,
    server::BuildError,
};

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// So many rows were copied, and the server is in the new database now.
    Moved {
        /// Rows.
        rows: u64,
    },
    /// It had moved there before, by this command or another instance's, and this home follows.
    Followed,
    /// It was there already.
    Already,
}

/// A server and the database that it has now.
#[derive(Clone, Debug)]
pub struct Cloned {
    /// The server.
    pub kss_id: KssId,
    /// Where its state is, without a password.
    pub database: String,
    /// What has become of it.
    pub outcome: Outcome,
}

/// Why a server has not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloneError {
    /// The home, or the old database.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// It went to another database before.
    #[error("the server's state was moved to `{to}` before")]
    Elsewhere {
        /// Where it is.
        to: String,
        /// Why that is not the database that was named.
        source: TakeOverError,
    },
}

macro_rules! through_build {
    ($($error:ty),+) => {$(
        impl From<$error> for CloneError {
            fn from(error: $error) -> Self {
                Self::Build(error.into())
            }
        }
    )+};
}
through_build!(StoreError, HomeError, ostrakon_storage::ProtectorError);

/// Copies the state of the server in `home` to the database at `to`, compares the two, and moves the server
/// there. May be interrupted at any point, and done again.
///
/// # Errors
/// When the new database is not empty, the server runs, here or elsewhere, or a database fails. The server is
/// in its old database then, or, where that says so, in the new one.
pub async fn clone_db(
    home: &Home,
    to: &Place,
    clock: &Clock,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Cloned, CloneError> {
    let _lock = home.lock_for(HeldBy::Command)?;
    home.check_finished().map_err(BuildError::from)?;
    finish(home).await?;
    let protector = ProtectorKey::load(&home.instance_key())?;
    let store = Store::open_moved(home.place()?, &protector).await?;
    let outcome = match store.moved().await {
        Ok(Some(moved)) => {
            let taken = Store::take_over(to, &protector, &moved).await;
            match taken {
                Ok(()) => follow(home, to).map(|()| Outcome::Followed),
                Err(source) => Err(CloneError::Elsewhere {
                    to: moved.to,
                    source,
                }),
            }
        }
        Ok(None) if is_same(&store, to, &protector).await => Ok(Outcome::Already),
        Ok(None) => go(home, &store, to, &protector, clock, tell).await,
        Err(error) => Err(error.into()),
    };
    store.close().await;
    let outcome = outcome?;
    let store = Store::open(home.place()?, &protector).await?;
    let record = store.server().await;
    store.close().await;
    Ok(Cloned {
        kss_id: record?.ok_or(StoreError::Missing)?.kss_id,
        database: shown(to),
        outcome,
    })
}

/// Finishes what a move has left to do in this home, if one has begun and the server is in its new database.
pub(crate) async fn finish(home: &Home) -> Result<(), BuildError> {
    let Some(next) = home.next_place()? else {
        return Ok(());
    };
    let protector = ProtectorKey::load(&home.instance_key())?;
    let store = Store::open_moved(home.place()?, &protector).await?;
    let moved = store.moved().await;
    store.close().await;
    // Where it is not said, the server has stayed.
    let Some(moved) = moved? else {
        return Ok(());
    };
    match Store::take_over(next, &protector, &moved).await {
        Ok(()) => Ok(home.take_next()?),
        // A move by another instance, to another place, came first.
        Err(TakeOverError::Other) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn go(
    home: &Home,
    store: &Store,
    to: &Place,
    protector: &ProtectorKey,
    clock: &Clock,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Outcome, CloneError> {
    // On record before, so that it goes along.
    let offline = Offline::unlocked(home, clock).await?;
    let event = AuditEvent::Administered {
        action: "clone-db".to_owned(),
        detail: format!("from {} to {}", store.kind(), kind(to)),
    };
    let noted = offline.ledger.note(event, clock.now()).await;
    offline.finish().await;
    noted.map_err(BuildError::from)?;
    let copied = store.copy_to(to, protector, tell).await?;
    home.set_next(to)?;
    let moved = store.move_to(&copied, &shown(to)).await?;
    let taken = Store::take_over(to, protector, &moved).await;
    taken.map_err(BuildError::from)?;
    home.take_next()?;
    Ok(Outcome::Moved { rows: copied.rows })
}

/// Has the home name the database to which another instance has moved.
fn follow(home: &Home, to: &Place) -> Result<(), CloneError> {
    home.set_next(to)?;
    Ok(home.take_next()?)
}

/// Whether the server's database began as the copy that is at `to`: then it is the same.
async fn is_same(store: &Store, to: &Place, protector: &ProtectorKey) -> bool {
    let Ok(Some(copy)) = store.copy_id().await else {
        return false;
    };
    let Ok(other) = Store::open(to, protector).await else {
        return false;
    };
    let same = other.copy_id().await;
    other.close().await;
    same.is_ok_and(|other| other == Some(copy))
}

/// A database as an operator names it, without a password.
fn shown(place: &Place) -> String {
    match place {
        Place::File(path) => format!("sqlite:{}", path.display()),
        Place::Shared(uri) => uri.shown(),
    }
}

fn kind(place: &Place) -> &'static str {
    match place {
        Place::File(_) => "sqlite",
        Place::Shared(uri) => uri.kind(),
    }
}
