use ostrakon_shards::seal::Sealed;
use ostrakon_types::{CeremonyId, DeviceId, ProfileId, UnixMillis};

use super::{Store, Transaction};
use crate::{
    StoreError,
    engine::{Row, Text, or_nothing},
};

const OPENING: (&str, &str) = ("ceremony_openings", "opening");

/// A ceremony that is relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyRecord {
    /// The profile whose devices are asked.
    pub profile: ProfileId,
    /// Its id.
    pub id: CeremonyId,
    /// The device that opened it.
    pub requester: DeviceId,
    /// Until when it is kept.
    pub expires_at: UnixMillis,
}

/// A ceremony that waits, and who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCeremony {
    /// The ceremony.
    pub ceremony: CeremonyRecord,
    /// What it is about, as whoever opened it encoded that; none where the relay is not to know.
    pub opening: Option<Vec<u8>>,
    /// When it was opened.
    pub opened_at: UnixMillis,
    /// The devices that are asked, and whether each has answered.
    pub asked: Vec<(DeviceId, bool)>,
}

/// A notice that waits for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRecord {
    /// The ceremony.
    pub id: CeremonyId,
    /// Until when it is kept.
    pub expires_at: UnixMillis,
    /// What the device is asked, sealed to it.
    pub notice: Sealed,
}

impl Store {
    /// The notices that wait for a device at `now`, the oldest ceremony first, `most` at most.
    ///
    /// # Errors
    /// When the database fails or a notice is damaged.
    pub async fn notices(
        &self,
        profile: &ProfileId,
        device: &DeviceId,
        now: UnixMillis,
        most: u32,
    ) -> Result<Vec<NoticeRecord>, StoreError> {
        let rows = self
            .db
            .query(
                "SELECT c.ceremony, c.expires_at, n.notice
             FROM ceremonies c JOIN ceremony_notices n USING (profile, ceremony)
             WHERE c.profile = ? AND n.device = ? AND c.expires_at > ?
               AND NOT EXISTS (SELECT 1 FROM ceremony_answers a
                               WHERE a.profile = c.profile AND a.ceremony = c.ceremony
                                 AND a.device = n.device)
             ORDER BY c.opened_at, c.ceremony LIMIT ?",
            )
            .bind(profile.as_bytes().as_slice())
            .bind(device.as_bytes().as_slice())
            .bind(now.0)
            .bind(i64::from(most))
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(NoticeRecord {
                    id: id(row)?,
                    expires_at: UnixMillis(row.try_get("expires_at")?),
                    notice: sealed(row, "ceremony_notices", "notice")?,
                })
            })
            .collect()
    }

    /// The answers to a ceremony that `requester` opened. None when there is no such ceremony, or it
    /// has expired.
    ///
    /// # Errors
    /// When the database fails or an answer is damaged.
    pub async fn ceremony_answers(
        &self,
        profile: &ProfileId,
        ceremony: &CeremonyId,
        requester: &DeviceId,
        now: UnixMillis,
    ) -> Result<Option<Vec<Sealed>>, StoreError> {
        let found = self
            .db
            .query(
                "SELECT 1 FROM ceremonies
             WHERE profile = ? AND ceremony = ? AND requester = ? AND expires_at > ?",
            )
            .bind(profile.as_bytes().as_slice())
            .bind(ceremony.as_bytes().as_slice())
            .bind(requester.as_bytes().as_slice())
            .bind(now.0)
            .fetch_optional(&mut self.db.reader().await?)
            .await?;
        if found.is_none() {
            return Ok(None);
        }
        let rows = self
            .db
            .query("SELECT answer FROM ceremony_answers WHERE profile = ? AND ceremony = ?")
            .bind(profile.as_bytes().as_slice())
            .bind(ceremony.as_bytes().as_slice())
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        let answers = rows
            .iter()
            .map(|row| sealed(row, "ceremony_answers", "answer"));
        answers.collect::<Result<_, _>>().map(Some)
    }

    /// All ceremonies that wait at `now`, the oldest first.
    ///
    /// # Errors
    /// When the database fails or a row is damaged.
    pub async fn pending_ceremonies(
        &self,
        now: UnixMillis,
    ) -> Result<Vec<PendingCeremony>, StoreError> {
        // One statement, so that it is one state of the database.
        let rows = self
            .db
            .query(
                "SELECT c.profile, c.ceremony, c.requester, c.opened_at, c.expires_at, o.opening,
                        n.device, a.device AS answered
                 FROM ceremonies c
                 LEFT JOIN ceremony_openings o
                   ON o.profile = c.profile AND o.ceremony = c.ceremony
                 LEFT JOIN ceremony_notices n
                   ON n.profile = c.profile AND n.ceremony = c.ceremony
                 LEFT JOIN ceremony_answers a
                   ON a.profile = n.profile AND a.ceremony = n.ceremony AND a.device = n.device
                 WHERE c.expires_at > ?
                 ORDER BY c.opened_at, c.ceremony, c.profile, n.device",
            )
            .bind(now.0)
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        let mut found: Vec<PendingCeremony> = Vec::new();
        for row in &rows {
            let ceremony = record(row)?;
            if found.last().is_none_or(|last| last.ceremony != ceremony) {
                let place = place(&ceremony.profile, &ceremony.id);
                let opening: Option<&[u8]> = row.try_get("opening")?;
                let opening = opening.map(|sealed| self.keys.open(OPENING, &place, sealed));
                found.push(PendingCeremony {
                    opening: opening.transpose()?.map(|opening| opening.to_vec()),
                    ceremony,
                    opened_at: UnixMillis(row.try_get("opened_at")?),
                    asked: Vec::new(),
                });
            }
            let device: Option<&[u8]> = row.try_get("device")?;
            if let (Some(device), Some(last)) = (device, found.last_mut()) {
                let corrupt = |_| StoreError::Corrupt {
                    table: "ceremony_notices",
                    column: "device",
                };
                let answered: Option<&[u8]> = row.try_get("answered")?;
                let device = DeviceId::try_from(device).map_err(corrupt)?;
                last.asked.push((device, answered.is_some()));
            }
        }
        Ok(found)
    }
}

const OPEN: Text = or_nothing!(
    "INSERT INTO ceremonies (profile, ceremony, requester, opened_at, expires_at)
     SELECT ?, ?, ?, ?, ? FROM (SELECT count(*) AS n FROM ceremonies
                                WHERE profile = ? AND requester = ? AND expires_at > ?) AS open
     WHERE open.n < ?"
);

const NOTE: Text = or_nothing!(
    "INSERT INTO ceremony_notices (profile, ceremony, device, notice) VALUES (?, ?, ?, ?)"
);

impl Transaction<'_> {
    /// Keeps a ceremony with its notices, and what it is about where the relay is to know. `false` when its
    /// requester has `most` open already. Kept again, by the same requester, it stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_ceremony(
        &mut self,
        record: &CeremonyRecord,
        opening: Option<&[u8]>,
        notices: &[(DeviceId, Sealed)],
        now: UnixMillis,
        most: u32,
    ) -> Result<bool, StoreError> {
        let (profile, ceremony) = (record.profile.as_bytes(), record.id.as_bytes());
        let requester = record.requester.as_bytes();
        let opened = self
            .tx
            .query(OPEN)
            .bind(profile.as_slice())
            .bind(ceremony.as_slice())
            .bind(requester.as_slice())
            .bind(now.0)
            .bind(record.expires_at.0)
            .bind(profile.as_slice())
            .bind(requester.as_slice())
            .bind(now.0)
            .bind(i64::from(most))
            .add(&mut self.tx)
            .await?;
        if !opened {
            let known = self
                .tx
                .query(
                    "SELECT 1 FROM ceremonies WHERE profile = ? AND ceremony = ? AND requester = ?",
                )
                .bind(profile.as_slice())
                .bind(ceremony.as_slice())
                .bind(requester.as_slice())
                .fetch_optional(&mut self.tx)
                .await?;
            return Ok(known.is_some());
        }
        if let Some(opening) = opening {
            let place = place(&record.profile, &record.id);
            let sealed = self.store.keys.seal(OPENING, &place, opening)?;
            self.tx
                .query(
                    "INSERT INTO ceremony_openings (profile, ceremony, opening) VALUES (?, ?, ?)",
                )
                .bind(profile.as_slice())
                .bind(ceremony.as_slice())
                .bind(sealed)
                .execute(&mut self.tx)
                .await?;
        }
        for (device, notice) in notices {
            self.tx
                .query(NOTE)
                .bind(profile.as_slice())
                .bind(ceremony.as_slice())
                .bind(device.as_bytes().as_slice())
                .bind(notice.to_bytes())
                .add(&mut self.tx)
                .await?;
        }
        Ok(true)
    }

    /// Keeps a device's answer, in place of an earlier one. `false` when the device was not asked, or
    /// the ceremony is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answer_ceremony(
        &mut self,
        profile: &ProfileId,
        ceremony: &CeremonyId,
        device: &DeviceId,
        answer: &Sealed,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let keys = [profile.as_bytes(), ceremony.as_bytes(), device.as_bytes()];
        let mut replace = self.tx.query(
            "DELETE FROM ceremony_answers WHERE profile = ? AND ceremony = ? AND device = ?",
        );
        for key in keys {
            replace = replace.bind(key.as_slice());
        }
        replace.execute(&mut self.tx).await?;
        let mut insert = self
            .tx
            .query(
                "INSERT INTO ceremony_answers (profile, ceremony, device, answer)
                 SELECT n.profile, n.ceremony, n.device, ?
                 FROM ceremony_notices n JOIN ceremonies c USING (profile, ceremony)
                 WHERE n.profile = ? AND n.ceremony = ? AND n.device = ? AND c.expires_at > ?",
            )
            .bind(answer.to_bytes());
        for key in keys {
            insert = insert.bind(key.as_slice());
        }
        let answered = insert.bind(now.0).execute(&mut self.tx).await?;
        Ok(answered == 1)
    }

    /// Forgets a ceremony that `requester` opened. `false` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close_ceremony(
        &mut self,
        profile: &ProfileId,
        ceremony: &CeremonyId,
        requester: &DeviceId,
    ) -> Result<bool, StoreError> {
        let closed = self
            .tx
            .query("DELETE FROM ceremonies WHERE profile = ? AND ceremony = ? AND requester = ?")
            .bind(profile.as_bytes().as_slice())
            .bind(ceremony.as_bytes().as_slice())
            .bind(requester.as_bytes().as_slice())
            .execute(&mut self.tx)
            .await?;
        Ok(closed == 1)
    }

    /// Forgets a ceremony, whoever opened it, and says which. None when there is no such one.
    ///
    /// # Errors
    /// When the database fails or an id is damaged.
    pub async fn cancel_ceremony(
        &mut self,
        ceremony: &CeremonyId,
    ) -> Result<Option<CeremonyRecord>, StoreError> {
        let row = self
            .tx
            .query(
                "SELECT profile, ceremony, requester, expires_at FROM ceremonies
                 WHERE ceremony = ?",
            )
            .bind(ceremony.as_bytes().as_slice())
            .fetch_optional(&mut self.tx)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let record = record(&row)?;
        let closed = self
            .close_ceremony(&record.profile, &record.id, &record.requester)
            .await?;
        Ok(closed.then_some(record))
    }

    /// Forgets all ceremonies that have expired by `now`, and says which.
    ///
    /// # Errors
    /// When the database fails or an id is damaged.
    pub async fn expire_ceremonies(
        &mut self,
        now: UnixMillis,
    ) -> Result<Vec<CeremonyRecord>, StoreError> {
        let rows = self
            .tx
            .query(
                "SELECT profile, ceremony, requester, expires_at FROM ceremonies
                 WHERE expires_at <= ?",
            )
            .bind(now.0)
            .fetch_all(&mut self.tx)
            .await?;
        if !rows.is_empty() {
            self.tx
                .query("DELETE FROM ceremonies WHERE expires_at <= ?")
                .bind(now.0)
                .execute(&mut self.tx)
                .await?;
        }
        rows.iter().map(record).collect()
    }
}

fn record(row: &Row) -> Result<CeremonyRecord, StoreError> {
    let corrupt = |column| {
        move |_| StoreError::Corrupt {
            table: "ceremonies",
            column,
        }
    };
    let profile: &[u8] = row.try_get("profile")?;
    let requester: &[u8] = row.try_get("requester")?;
    Ok(CeremonyRecord {
        profile: ProfileId::try_from(profile).map_err(corrupt("profile"))?,
        id: id(row)?,
        requester: DeviceId::try_from(requester).map_err(corrupt("requester"))?,
        expires_at: UnixMillis(row.try_get("expires_at")?),
    })
}

/// The row, as what is sealed in it is bound to it.
fn place(profile: &ProfileId, ceremony: &CeremonyId) -> Vec<u8> {
    [profile.as_bytes().as_slice(), ceremony.as_bytes()].concat()
}

fn id(row: &Row) -> Result<CeremonyId, StoreError> {
    let bytes: &[u8] = row.try_get("ceremony")?;
    CeremonyId::try_from(bytes).map_err(|_| StoreError::Corrupt {
        table: "ceremonies",
        column: "ceremony",
    })
}

fn sealed(row: &Row, table: &'static str, column: &'static str) -> Result<Sealed, StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    Sealed::from_bytes(bytes).map_err(|_| StoreError::Corrupt { table, column })
}
