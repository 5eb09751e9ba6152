//! Which of two databases is the server's, while its state is copied from one to the other and afterwards.
//!
//! One mark decides. While the old database does not say that the state was moved, it is the server's, and
//! the copy says of itself that it is unfinished: nobody serves from that. From the moment when the old one
//! says so, nobody serves from it, and the copy becomes the server's as soon as it is told. So at no moment
//! two databases serve, whatever is interrupted.
//!
//! What the old database says is sealed, so that somebody who can write to it, and has no key, sends nobody
//! to a database of his own.

use super::{Store, Transaction, keys::Keys, settings::Setting};
use crate::{
    Place, ProtectorKey, StoreError,
    engine::{Conn, Db},
};

/// Tells one copy from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyId([u8; 16]);

/// What a database says whose state was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// To which copy.
    pub copy: CopyId,
    /// Where that is, as an operator names it.
    pub to: String,
}

/// Why a database is not the one that the state was moved to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeOverError {
    /// It is another.
    #[error("that is not the database to which the state was moved")]
    Other,
    /// It failed.
    #[error("cannot use the new database")]
    Store(#[from] StoreError),
}

const SEALED: (&str, &str) = ("settings", "value");

impl CopyId {
    pub(super) fn draw() -> Result<Self, StoreError> {
        let drawn = ostrakon_shards::random::array();
        let drawn = drawn.map_err(ostrakon_shards::record::SealRecordError::from)?;
        Ok(Self(drawn))
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Store {
    /// Opens the database at `place`, also where the state was moved from it, to learn that.
    ///
    /// # Errors
    /// As [`Store::open`], but for [`StoreError::Moved`].
    pub async fn open_moved(
        place: impl Into<Place>,
        protector: &ProtectorKey,
    ) -> Result<Self, StoreError> {
        let db = Self::connect(place.into()).await?;
        let keys = async {
            check_finished(&db).await?;
            Keys::load(&db, protector).await
        };
        let keys = keys.await;
        Self::of(db, keys).await
    }

    /// Where the state was moved to, if it was.
    ///
    /// # Errors
    /// When the database fails, or what it says is not what the server wrote.
    pub async fn moved(&self) -> Result<Option<Moved>, StoreError> {
        moved_in(&mut self.db.reader().await?, &self.keys).await
    }

    /// Fails where the state was moved to another database.
    ///
    /// # Errors
    /// [`StoreError::Moved`] then, and when the database fails.
    pub async fn check_here(&self) -> Result<(), StoreError> {
        match self.moved().await? {
            Some(moved) => Err(StoreError::Moved { to: moved.to }),
            None => Ok(()),
        }
    }

    /// Which copy this database began as, if it began as one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn copy_id(&self) -> Result<Option<CopyId>, StoreError> {
        copy_id_in(&mut self.db.reader().await?).await
    }

    /// Tells the copy at `place` that it is the server's database now, and sees whether this instance can
    /// open it. May be done again.
    ///
    /// # Errors
    /// [`TakeOverError::Other`] when it is not the copy that the old database named, and when it fails.
    pub async fn take_over(
        place: impl Into<Place>,
        protector: &ProtectorKey,
        moved: &Moved,
    ) -> Result<(), TakeOverError> {
        let db = Self::connect(place.into()).await?;
        let taken = async {
            let mut conn = db.writer().await?;
            conn.begin().await?;
            let told = tell(&mut conn, moved.copy).await;
            if told.is_err() {
                conn.close_on_drop();
            }
            told?;
            drop(conn);
            Keys::load(&db, protector).await?;
            Ok(())
        };
        let taken = taken.await;
        db.close().await;
        taken
    }
}

/// Turns the unfinished copy into a finished one, in the transaction that was begun.
async fn tell(conn: &mut Conn, copy: CopyId) -> Result<(), TakeOverError> {
    match Setting::Copying.read(conn).await? {
        Some(mark) if CopyId::of(&mark) == Some(copy) => {
            Setting::Copied.write(conn, copy.as_bytes()).await?;
            Setting::Copying.remove(conn).await?;
        }
        Some(_) => return Err(TakeOverError::Other),
        None if copy_id_in(conn).await? == Some(copy) => {}
        None => return Err(TakeOverError::Other),
    }
    Ok(conn.commit().await?)
}

async fn copy_id_in(conn: &mut Conn) -> Result<Option<CopyId>, StoreError> {
    let copied = Setting::Copied.read(conn).await?;
    Ok(copied.as_deref().and_then(CopyId::of))
}

/// Where the state was moved to, if it was.
pub(super) async fn moved_in(conn: &mut Conn, keys: &Keys) -> Result<Option<Moved>, StoreError> {
    let Some(sealed) = Setting::Moved.read(conn).await? else {
        return Ok(None);
    };
    let corrupt = || StoreError::Corrupt {
        table: SEALED.0,
        column: Setting::Moved.name(),
    };
    let said = keys.open(SEALED, Setting::Moved.name().as_bytes(), &sealed)?;
    let (copy, to) = said.split_first_chunk().ok_or_else(corrupt)?;
    let to = String::from_utf8(to.to_vec()).map_err(|_| corrupt())?;
    Ok(Some(Moved {
        copy: CopyId(*copy),
        to,
    }))
}

/// Fails where the database is an unfinished copy.
pub(super) async fn check_finished(db: &Db) -> Result<(), StoreError> {
    match Setting::Copying.read(&mut db.writer().await?).await? {
        Some(_) => Err(StoreError::Unfinished),
        None => Ok(()),
    }
}

impl Transaction<'_> {
    /// Says that the state was moved.
    pub(super) async fn say_moved(&mut self, moved: &Moved) -> Result<(), StoreError> {
        let said = [moved.copy.as_bytes(), moved.to.as_bytes()].concat();
        let name = Setting::Moved.name().as_bytes();
        let sealed = self.store.keys.seal(SEALED, name, &said)?;
        Setting::Moved.write(&mut self.tx, &sealed).await
    }
}
