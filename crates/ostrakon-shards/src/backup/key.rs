use zeroize::Zeroizing;

use crate::{
    random::Source,
    record::RecordKey,
    secret::assert_secret,
    share::{FileKey, FileKeyError},
};

/// Under what a server's identity is sealed in one backup file. Wiped on drop.
///
/// It exists while a file is made, and again while one is opened, and is stored nowhere.
pub struct BackupKey(FileKey);

assert_secret!(BackupKey);

impl BackupKey {
    /// The length in bytes.
    pub const LEN: usize = 32;

    pub(super) fn generate_impl(source: &mut impl Source) -> Result<Self, FileKeyError> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        source.fill(&mut *bytes)?;
        FileKey::new(&*bytes).map(Self)
    }

    /// Takes a key that shares were combined to, if it can be one.
    pub(super) fn from_combined(key: FileKey) -> Option<Self> {
        (key.as_bytes().len() == Self::LEN).then_some(Self(key))
    }

    /// The key, to be split.
    pub(super) fn as_shared(&self) -> &FileKey {
        &self.0
    }

    /// The same key, to seal and open with.
    pub(super) fn record_key(&self) -> RecordKey {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        for (to, from) in bytes.iter_mut().zip(self.0.as_bytes()) {
            *to = *from;
        }
        RecordKey::from_bytes(&bytes)
    }
}
