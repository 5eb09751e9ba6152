use ostrakon_shards::generation::SignedGeneration;
use ostrakon_types::UnixMillis;

use super::{Store, Transaction};
use crate::StoreError;

/// Whether the state is known to be the newest there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateDoubt {
    /// Since when this state is in use without a proof that it is the newest.
    pub unproven_since: Option<UnixMillis>,
    /// A statement that this state does not know, and that shows that there is another.
    pub superseded_by: Option<SignedGeneration>,
}

const UNPROVEN: &str = "unproven_since";
const SUPERSEDED: &str = "superseded_by";

impl Store {
    /// The statements of the newest epoch, the first one first.
    ///
    /// # Errors
    /// When the database fails or a statement is damaged.
    pub async fn generations(&self) -> Result<Vec<SignedGeneration>, StoreError> {
        let rows = self
            .db
            .query(
                "SELECT statement FROM generations
             WHERE epoch = (SELECT max(epoch) FROM generations) ORDER BY counter",
            )
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        rows.iter()
            .map(|row| {
                SignedGeneration::from_bytes(row.try_get("statement")?).map_err(|_| corrupt())
            })
            .collect()
    }

    /// What was found out about the state.
    ///
    /// # Errors
    /// When the database fails or a value is damaged.
    pub async fn state_doubt(&self) -> Result<StateDoubt, StoreError> {
        let rows = self
            .db
            .query("SELECT name, value FROM settings WHERE name IN (?, ?)")
            .bind(UNPROVEN)
            .bind(SUPERSEDED)
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        let mut doubt = StateDoubt::default();
        for row in rows {
            let value: &[u8] = row.try_get("value")?;
            if row.try_get::<&str>("name")? == UNPROVEN {
                let bytes = value.try_into().map_err(|_| corrupt())?;
                doubt.unproven_since = Some(UnixMillis(i64::from_be_bytes(bytes)));
            } else {
                let statement = SignedGeneration::from_bytes(value).map_err(|_| corrupt())?;
                doubt.superseded_by = Some(statement);
            }
        }
        Ok(doubt)
    }
}

impl Transaction<'_> {
    /// Stores a statement.
    ///
    /// # Errors
    /// When there is one of that number, or the database fails.
    pub async fn insert_generation(
        &mut self,
        statement: &SignedGeneration,
    ) -> Result<(), StoreError> {
        self.stay().await?;
        let generation = statement.generation();
        self.tx
            .query("INSERT INTO generations (epoch, counter, statement) VALUES (?, ?, ?)")
            .bind(i64::try_from(generation.epoch).unwrap_or(i64::MAX))
            .bind(i64::try_from(generation.counter).unwrap_or(i64::MAX))
            .bind(statement.to_bytes())
            .execute(&mut self.tx)
            .await
            .map_err(StoreError::or_overtaken)?;
        Ok(())
    }

    /// Stores what was found out about the state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_state_doubt(&mut self, doubt: &StateDoubt) -> Result<(), StoreError> {
        let since = doubt.unproven_since.map(|at| at.0.to_be_bytes().to_vec());
        let by = doubt.superseded_by.map(|statement| statement.to_bytes());
        for (name, value) in [(UNPROVEN, since), (SUPERSEDED, by)] {
            match value {
                Some(value) => self.set(name, &value).await?,
                None => self.unset(name).await?,
            }
        }
        Ok(())
    }
}

fn corrupt() -> StoreError {
    StoreError::Corrupt {
        table: "generations",
        column: "statement",
    }
}
