use minicbor::{Decode, Encode};
use ostrakon_shards::{
    name::Name,
    profile::{Profile, SignedVersion},
    record::{RecordKey, SealRecordError, open_record, seal_record},
};
use ostrakon_types::{DeviceId, LocationId, ProfileId, UnixMillis, canonical};
use zeroize::Zeroizing;

use super::{Store, Transaction};
use crate::{StoreError, engine::or_nothing};

const VERSION: (&str, &str) = ("profile_versions", "sealed");
const FOLDER_KEY: (&str, &str) = ("locations", "folder_key");
const LOCATION: (&str, &str) = ("locations", "sealed");

/// How many words of a profile are unique over all profiles.
const UNIQUE_WORDS: usize = 4;

/// How many secure folders a profile may have: what one answer can list.
pub const MAX_LOCATIONS: u32 = 4096;

/// A secure folder as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationRecord {
    /// Its id.
    pub location: LocationId,
    /// Its name, which is user data.
    pub name: Name,
    /// When it was made.
    pub created_at: UnixMillis,
}

/// A secure folder on its way from one database to another.
pub struct CarriedLocation {
    /// Its id.
    pub location: LocationId,
    folder_key: Zeroizing<Vec<u8>>,
    /// What is sealed under that key.
    sealed: Vec<u8>,
    created_at: UnixMillis,
}

impl std::fmt::Debug for CarriedLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CarriedLocation({})", self.location)
    }
}

#[derive(Encode, Decode)]
struct SealedLocation {
    #[n(0)]
    name: Name,
}

impl Store {
    /// All versions of a profile, the first one first. None when the profile is not known.
    ///
    /// # Errors
    /// When the database fails or a version is damaged.
    pub async fn profile(&self, id: &ProfileId) -> Result<Vec<SignedVersion>, StoreError> {
        let rows = self
            .db
            .query("SELECT number, sealed FROM profile_versions WHERE profile = ? ORDER BY number")
            .bind(id.as_bytes().as_slice())
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        rows.iter()
            .map(|row| open_version(self, id, row.try_get("number")?, row.try_get("sealed")?))
            .collect()
    }

    /// The profiles of which the device is a member, each with the number of its newest version.
    ///
    /// # Errors
    /// When the database fails or an id is damaged.
    pub async fn profiles_of(
        &self,
        device: &DeviceId,
    ) -> Result<Vec<(ProfileId, u64)>, StoreError> {
        let rows = self.db.query(
            "SELECT profile, number FROM devices JOIN profiles USING (profile) WHERE device = ?",
        )
        .bind(device.as_bytes().as_slice())
        .fetch_all(&mut self.db.reader().await?)
        .await?;
        let corrupt = |_| StoreError::Corrupt {
            table: "devices",
            column: "profile",
        };
        rows.iter()
            .map(|row| {
                let id = ProfileId::try_from(row.try_get::<&[u8]>("profile")?);
                let number: i64 = row.try_get("number")?;
                Ok((id.map_err(corrupt)?, number.try_into().unwrap_or(0)))
            })
            .collect()
    }

    /// How many profiles there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_profiles(&self) -> Result<u64, StoreError> {
        let row = self
            .db
            .query("SELECT count(*) AS n FROM profiles")
            .fetch_one(&mut self.db.reader().await?)
            .await?;
        Ok(row.try_get::<i64>("n")?.try_into().unwrap_or(0))
    }

    /// A profile's secure folders, in the order in which they were made.
    ///
    /// # Errors
    /// When the database fails or a record is damaged.
    pub async fn locations(&self, profile: &ProfileId) -> Result<Vec<LocationRecord>, StoreError> {
        let rows = self
            .db
            .query(
                "SELECT location, folder_key, sealed, created_at FROM locations
             WHERE profile = ? ORDER BY created_at, location",
            )
            .bind(profile.as_bytes().as_slice())
            .fetch_all(&mut self.db.reader().await?)
            .await?;
        let corrupt = || StoreError::Corrupt {
            table: LOCATION.0,
            column: LOCATION.1,
        };
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let location: &[u8] = row.try_get("location")?;
            let location = LocationId::try_from(location).map_err(|_| corrupt())?;
            let place = location_row(profile, &location);
            let key = self
                .keys
                .open(FOLDER_KEY, &place, row.try_get("folder_key")?)?;
            let key = RecordKey::from_bytes(key.as_slice().try_into().map_err(|_| corrupt())?);
            let bytes = open_record(&key, LOCATION.0, LOCATION.1, &place, row.try_get("sealed")?)
                .map_err(|_| corrupt())?;
            let record: SealedLocation = canonical::decode(&bytes).map_err(|_| corrupt())?;
            let created_at = UnixMillis(row.try_get("created_at")?);
            records.push(LocationRecord {
                location,
                name: record.name,
                created_at,
            });
        }
        Ok(records)
    }
}

impl Store {
    /// A secure folder with its key, to be carried to another database. None where the profile has no such folder.
    ///
    /// # Errors
    /// When the database fails or the key is damaged.
    pub async fn carried_location(
        &self,
        profile: &ProfileId,
        location: &LocationId,
    ) -> Result<Option<CarriedLocation>, StoreError> {
        let row = self
            .db
            .query(
                "SELECT folder_key, sealed, created_at FROM locations
             WHERE profile = ? AND location = ?",
            )
            .bind(profile.as_bytes().as_slice())
            .bind(location.as_bytes().as_slice())
            .fetch_optional(&mut self.db.reader().await?)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let place = location_row(profile, location);
        let folder_key = row.try_get("folder_key")?;
        Ok(Some(CarriedLocation {
            location: *location,
            folder_key: self.keys.open(FOLDER_KEY, &place, folder_key)?,
            sealed: row.try_get("sealed")?,
            created_at: UnixMillis(row.try_get("created_at")?),
        }))
    }
}

impl Transaction<'_> {
    /// Stores a secure folder as another database had it, under the same folder key. `false` when it is there
    /// already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_location(
        &mut self,
        profile: &ProfileId,
        carried: &CarriedLocation,
    ) -> Result<bool, StoreError> {
        let place = location_row(profile, &carried.location);
        let keys = &self.store.keys;
        let folder_key = keys.seal(FOLDER_KEY, &place, &carried.folder_key)?;
        self.tx
            .query(or_nothing!(
                "INSERT INTO locations (profile, location, folder_key, sealed, created_at)
                 VALUES (?, ?, ?, ?, ?)"
            ))
            .bind(profile.as_bytes().as_slice())
            .bind(carried.location.as_bytes().as_slice())
            .bind(folder_key)
            .bind(carried.sealed.clone())
            .bind(carried.created_at.0)
            .add(&mut self.tx)
            .await
    }

    /// Stores a new profile with its first version. `false` when the profile, or one with the same
    /// first four words, is there already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_profile(
        &mut self,
        profile: &Profile,
        signed: &SignedVersion,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let id = profile.id();
        let number = i64::try_from(profile.head().number).unwrap_or(i64::MAX);
        let inserted = self
            .tx
            .query(or_nothing!(
                "INSERT INTO profiles (profile, number, first_words, created_at, head)
                 VALUES (?, ?, ?, ?, ?)"
            ))
            .bind(id.as_bytes().as_slice())
            .bind(number)
            .bind(profile.words().first(UNIQUE_WORDS))
            .bind(now.0)
            .bind(profile.head().hash.as_bytes().as_slice())
            .add(&mut self.tx)
            .await?;
        if !inserted {
            return Ok(false);
        }
        self.insert_version(&id, number, profile, signed).await?;
        Ok(true)
    }

    /// Stores the next version of a profile. `false` when the version that it continues is not the
    /// newest any more, or there is no such profile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn advance_profile(
        &mut self,
        profile: &Profile,
        signed: &SignedVersion,
    ) -> Result<bool, StoreError> {
        let (id, head) = (profile.id(), profile.head());
        let number = i64::try_from(head.number).unwrap_or(i64::MAX);
        let previous = signed
            .version()
            .previous
            .map(|hash| hash.as_bytes().to_vec());
        let advanced = self
            .tx
            .query(
                "UPDATE profiles SET number = ?, head = ?
             WHERE profile = ? AND number = ? AND (head = ? OR head IS NULL)",
            )
            .bind(number)
            .bind(head.hash.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .bind(number.saturating_sub(1))
            .bind(previous)
            .execute(&mut self.tx)
            .await?;
        if advanced == 0 {
            return Ok(false);
        }
        self.tx
            .query("DELETE FROM devices WHERE profile = ?")
            .bind(id.as_bytes().as_slice())
            .execute(&mut self.tx)
            .await?;
        self.insert_version(&id, number, profile, signed).await?;
        self.change().await?;
        Ok(true)
    }

    /// Stores a version, and its devices as those of the profile.
    async fn insert_version(
        &mut self,
        id: &ProfileId,
        number: i64,
        profile: &Profile,
        signed: &SignedVersion,
    ) -> Result<(), StoreError> {
        let place = version_row(id, number);
        let sealed = self.store.keys.seal(VERSION, &place, &signed.to_bytes())?;
        self.tx
            .query("INSERT INTO profile_versions (profile, number, sealed) VALUES (?, ?, ?)")
            .bind(id.as_bytes().as_slice())
            .bind(number)
            .bind(sealed)
            .execute(&mut self.tx)
            .await?;
        for device in &profile.version().devices {
            self.tx
                .query("INSERT INTO devices (profile, device) VALUES (?, ?)")
                .bind(id.as_bytes().as_slice())
                .bind(device.id().as_bytes().as_slice())
                .execute(&mut self.tx)
                .await?;
        }
        Ok(())
    }

    /// Takes a profile, or its newer versions, as its devices showed it: the versions up to `known` are
    /// there already. `false` when they are not, or another profile has the same first four words.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn restore_profile(
        &mut self,
        versions: &[SignedVersion],
        known: u64,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let Some((before, newer)) = versions.split_at_checked(known) else {
            return Ok(false);
        };
        let (mut current, newer) = match (before, newer) {
            ([], [first, newer @ ..]) => {
                let Ok(founded) = Profile::found(first.clone()) else {
                    return Ok(false);
                };
                if !self.insert_profile(&founded, first, now).await? {
                    return Ok(false);
                }
                (founded, newer)
            }
            (before, newer) => match Profile::from_chain(before.iter().cloned()) {
                Ok(current) => (current, newer),
                Err(_) => return Ok(false),
            },
        };
        for signed in newer {
            let Ok(next) = current.advance(signed.clone()) else {
                return Ok(false);
            };
            // Nobody else may have advanced it meanwhile.
            if !self.advance_profile(&next, signed).await? {
                return Ok(false);
            }
            current = next;
        }
        Ok(true)
    }

    /// Stores a new secure folder under a fresh folder key. `false` when it is there already, or the
    /// profile has [`MAX_LOCATIONS`] of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_location(
        &mut self,
        profile: &ProfileId,
        record: &LocationRecord,
    ) -> Result<bool, StoreError> {
        let place = location_row(profile, &record.location);
        let folder_key = RecordKey::generate().map_err(SealRecordError::from)?;
        let encoded = canonical::encode(&SealedLocation {
            name: record.name.clone(),
        });
        let sealed = seal_record(&folder_key, LOCATION.0, LOCATION.1, &place, &encoded)?;
        let folder_key =
            self.store
                .keys
                .seal(FOLDER_KEY, &place, folder_key.to_bytes().as_ref())?;
        let inserted = self
            .tx
            .query(or_nothing!(
                "INSERT INTO locations (profile, location, folder_key, sealed, created_at)
                 SELECT ?, ?, ?, ?, ?
                 FROM (SELECT count(*) AS n FROM locations WHERE profile = ?) AS held
                 WHERE held.n < ?"
            ))
            .bind(profile.as_bytes().as_slice())
            .bind(record.location.as_bytes().as_slice())
            .bind(folder_key)
            .bind(sealed)
            .bind(record.created_at.0)
            .bind(profile.as_bytes().as_slice())
            .bind(i64::from(MAX_LOCATIONS))
            .add(&mut self.tx)
            .await?;
        Ok(inserted)
    }
}

/// Opens the version of a profile that stands in the row with this number.
pub(super) fn open_version(
    store: &Store,
    profile: &ProfileId,
    number: i64,
    sealed: &[u8],
) -> Result<SignedVersion, StoreError> {
    let place = version_row(profile, number);
    let bytes = store.keys.open(VERSION, &place, sealed)?;
    SignedVersion::from_bytes(&bytes).map_err(|_| corrupt_version())
}

pub(super) fn corrupt_version() -> StoreError {
    StoreError::Corrupt {
        table: VERSION.0,
        column: VERSION.1,
    }
}

fn version_row(profile: &ProfileId, number: i64) -> Vec<u8> {
    [profile.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

fn location_row(profile: &ProfileId, location: &LocationId) -> Vec<u8> {
    [profile.as_bytes().as_slice(), location.as_bytes()].concat()
}
