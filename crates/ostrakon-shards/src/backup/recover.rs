use ostrakon_types::{DeviceId, canonical};
use zeroize::Zeroizing;

use super::{
    BackupFile, BackupKey, Holder,
    file::{Body, Recovery, SHARE, ShareContext},
};
use crate::{
    device::DeviceKeys,
    record::{RecordKey, open_record},
    seal::{self, OpenError},
    secret::{self, assert_secret},
    share::{CheckShardError, CombineError, Shard, ShardDecodeError, combine},
    stack,
};

/// What a backup file held.
pub struct Recovered {
    /// The server's private keys.
    pub identity: Zeroizing<Vec<u8>>,
    /// The key under which the server's database is sealed, if the file has it.
    pub root_key: Option<RecordKey>,
    /// Devices whose shares were altered, and not used.
    pub bad: Vec<DeviceId>,
}

assert_secret!(Recovered);

/// Why a device cannot give its share.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenBackupShareError {
    /// It holds none in this file.
    #[error("device {device} holds no share of this backup file")]
    NoHolder {
        /// The device.
        device: DeviceId,
    },
    /// The share does not open with these keys.
    #[error("the share of device {device} does not open with its keys")]
    Sealed {
        /// The device.
        device: DeviceId,
        /// As it says itself.
        #[source]
        cause: OpenError,
    },
    /// What opens is no share.
    #[error("the share of device {device} is malformed")]
    Malformed {
        /// The device.
        device: DeviceId,
        /// What is wrong with it.
        #[source]
        cause: ShardDecodeError,
    },
    /// The share is not the one that was made for the device.
    #[error("the share of device {device} is not the one that was made for it")]
    Other {
        /// The device.
        device: DeviceId,
        /// What is wrong with it.
        #[source]
        cause: CheckShardError,
    },
}

/// Why shares do not open a backup file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// They do not combine to its key.
    #[error("the shares do not combine to the backup key")]
    Combine(#[from] CombineError),
    /// The key opens nothing.
    #[error("the backup key does not open the file")]
    Sealed,
}

impl BackupFile {
    /// Opens a device's share with its keys.
    ///
    /// # Errors
    /// When the device holds none, or it does not open or is not the one that was made for it.
    pub fn open_share(
        &self,
        keys: &DeviceKeys,
        device: DeviceId,
    ) -> Result<Shard, OpenBackupShareError> {
        let (_, holder) = self.indexed(device)?;
        let context = canonical::encode(&ShareContext::new(&self.body, device));
        let opened = seal::open(SHARE, &keys.kem, &context, &holder.share);
        stack::wipe();
        let bytes = opened.map_err(|cause| OpenBackupShareError::Sealed { device, cause })?;
        self.check_share(device, &bytes)
    }

    /// Checks that these bytes, as a device gave them, are the share that was made for it.
    ///
    /// # Errors
    /// When the device holds none, or it is another.
    pub fn check_share(
        &self,
        device: DeviceId,
        bytes: &[u8],
    ) -> Result<Shard, OpenBackupShareError> {
        let (index, _) = self.indexed(device)?;
        let shard = Shard::from_bytes(bytes)
            .map_err(|cause| OpenBackupShareError::Malformed { device, cause })?;
        let checked = if shard.index() == index {
            self.body.manifest.check(&shard)
        } else {
            Err(CheckShardError::NoSuchIndex {
                index: shard.index(),
            })
        };
        checked.map_err(|cause| OpenBackupShareError::Other { device, cause })?;
        Ok(shard)
    }

    fn indexed(&self, device: DeviceId) -> Result<(u8, &Holder), OpenBackupShareError> {
        let mut holders = (1_u8..).zip(&self.body.holders);
        holders
            .find(|(_, holder)| holder.device == device)
            .ok_or(OpenBackupShareError::NoHolder { device })
    }

    /// Combines the shares of M devices or more and opens the file. Altered ones are left out, and
    /// named in the result, as long as M others are there.
    ///
    /// # Errors
    /// When they are too few or belong elsewhere.
    pub fn recover(&self, shards: &[Shard]) -> Result<Recovered, RecoverError> {
        let combined = combine(&self.body.manifest, shards)?;
        let key = BackupKey::from_combined(combined.key).ok_or(RecoverError::Sealed)?;
        let (table, column) = Body::RECOVERY;
        let row = self.body.recovery_row();
        let opened = open_record(&key.record_key(), table, column, &row, &self.body.recovery);
        stack::wipe();
        let plaintext = opened.map_err(|_| RecoverError::Sealed)?;
        let Recovery { identity, root_key } =
            secret::decode(&plaintext).map_err(|_| RecoverError::Sealed)?;
        let root_key = match root_key {
            None => None,
            Some(key) => {
                let key = <&[u8; 32]>::try_from(&**key).map_err(|_| RecoverError::Sealed)?;
                Some(RecordKey::from_bytes(key))
            }
        };
        Ok(Recovered {
            identity: Zeroizing::new(identity.to_vec()),
            root_key,
            bad: combined
                .bad
                .iter()
                .filter_map(|index| self.device_at(*index))
                .collect(),
        })
    }

    /// The device whose share has this index.
    #[must_use]
    pub fn device_at(&self, index: u8) -> Option<DeviceId> {
        let at = usize::from(index).checked_sub(1)?;
        self.body.holders.get(at).map(|holder| holder.device)
    }
}
