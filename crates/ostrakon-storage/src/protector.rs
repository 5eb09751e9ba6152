use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use ostrakon_shards::{random::RandomError, record::RecordKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::InstanceId;

const HEADER: &str = "ostrakon-instance-key-1:";

/// The key of one instance, from its key file, under which the root key is wrapped.
///
/// The file is one line of text, readable by its owner alone. Who has it and the database has the
/// server; it belongs on the instance's own disk, not beside the database of a cluster.
pub struct ProtectorKey {
    key: RecordKey,
    fingerprint: [u8; 32],
}

/// Why an instance's key file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtectorError {
    /// The file could not be read or written.
    #[error("cannot access the instance's key file")]
    Io(#[source] io::Error),
    /// The file is readable or writable by others.
    #[error("the instance's key file is open to others (mode {mode:03o}, must be 600)")]
    OpenToOthers {
        /// The permission bits that the file has.
        mode: u32,
    },
    /// The file holds something else.
    #[error("the instance's key file holds no instance key")]
    Malformed,
    /// The operating system gave no random bytes.
    #[error("cannot draw random bytes")]
    Random(#[source] RandomError),
}

impl ProtectorKey {
    /// Draws a key and writes it to a new file at `path`, mode 0600, durably.
    ///
    /// # Errors
    /// When there is a file already, or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, ProtectorError> {
        let key = RecordKey::generate().map_err(ProtectorError::Random)?;
        let text = Zeroizing::new(format!("{HEADER}{}\n", hex::encode(*key.to_bytes())));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(ProtectorError::Io)?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all());
        let synced = written.and_then(|()| match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        });
        if let Err(error) = synced {
            let _ = fs::remove_file(path);
            return Err(ProtectorError::Io(error));
        }
        Ok(Self::new(key))
    }

    /// Reads the key from the file at `path`.
    ///
    /// # Errors
    /// When the file is missing, open to others, or not a key file.
    pub fn load(path: &Path) -> Result<Self, ProtectorError> {
        let file = File::open(path).map_err(ProtectorError::Io)?;
        let mode = file
            .metadata()
            .map_err(ProtectorError::Io)?
            .permissions()
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            return Err(ProtectorError::OpenToOthers { mode });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(1024)
            .read_to_string(&mut text)
            .map_err(ProtectorError::Io)?;
        let digits = text
            .trim_end()
            .strip_prefix(HEADER)
            .ok_or(ProtectorError::Malformed)?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, bytes.as_mut()).map_err(|_| ProtectorError::Malformed)?;
        Ok(Self::new(RecordKey::from_bytes(&bytes)))
    }

    fn new(key: RecordKey) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"ostrakon instance key fingerprint 1");
        hash.update(key.to_bytes().as_ref());
        Self {
            key,
            fingerprint: hash.finalize().into(),
        }
    }

    /// Names the instance that has this key. Tells nothing of the key.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        let [first, ..] = self.fingerprint.as_chunks::<16>().0 else {
            return InstanceId::NONE;
        };
        InstanceId::from_bytes(*first)
    }

    pub(crate) fn key(&self) -> &RecordKey {
        &self.key
    }

    /// Tells this key from another without telling anything of it.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_and_reads_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("instance.key");
        let made = ProtectorKey::create(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let read = ProtectorKey::load(&path).unwrap();
        assert_eq!(made.fingerprint(), read.fingerprint());
        assert_eq!(made.instance(), read.instance());
        assert!(
            matches!(ProtectorKey::create(&path), Err(ProtectorError::Io(_))),
            "overwrote"
        );
    }

    #[test]
    fn key_files_that_others_can_read_or_that_hold_something_else_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("instance.key");
        ProtectorKey::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            ProtectorKey::load(&path),
            Err(ProtectorError::OpenToOthers { mode: 0o640 })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in [
            "",
            "ostrakon-instance-key-1:",
            "ostrakon-instance-key-1:00",
            "\u{0}",
        ] {
            fs::write(&path, text).unwrap();
            assert!(matches!(
                ProtectorKey::load(&path),
                Err(ProtectorError::Malformed)
            ));
        }
        fs::write(&path, [0xff; 80]).unwrap();
        assert!(ProtectorKey::load(&path).is_err());
        assert!(ProtectorKey::load(&home.path().join("absent")).is_err());
    }
}
