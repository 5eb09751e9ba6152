use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use zeroize::Zeroizing;

use super::{AuthorityError, certificate_pem};

/// How much of a file is read: an identity is far shorter.
const ENOUGH: u64 = 64 << 10;

/// A private key for which a certificate is asked. It leaves the process that made it for the file of its
/// owner, and for nowhere else.
pub struct ClientKey(Zeroizing<KeyPair>);

impl ClientKey {
    /// Draws one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        self.0.der_bytes().to_vec()
    }
}

/// A new file for a key and its certificates. Until they are in it, it goes away when this is dropped.
#[derive(Debug)]
pub struct IdentityFile {
    path: PathBuf,
    file: File,
    written: bool,
}

/// Why an identity cannot be taken from a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadIdentityError {
    /// It cannot be read.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// Others can read it, and be who it makes.
    #[error("holds a private key and is open to others (mode {mode:03o}, must be 600)")]
    OpenToOthers {
        /// The permission bits that it has.
        mode: u32,
    },
}

/// Reads key and certificates, in PEM, from the file of their owner.
///
/// # Errors
/// When there is none, or others can read it.
pub fn read_identity(path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadIdentityError> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ReadIdentityError::OpenToOthers { mode });
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(ENOUGH).read_to_end(&mut text)?;
    Ok(text)
}

/// Why an identity is not in a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFileError {
    /// There is something of this name.
    #[error("`{}` exists already", .0.display())]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl IdentityFile {
    /// Makes the file, mode 0600.
    ///
    /// # Errors
    /// When there is one already, or it cannot be made.
    pub fn reserve(path: &Path) -> Result<Self, IdentityFileError> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let file = made.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => IdentityFileError::Exists(path.to_owned()),
            _ => failed(path)(source),
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            written: false,
        })
    }

    /// Writes the key, its certificate and the authority's into it, in PEM, for good.
    ///
    /// # Errors
    /// When that fails; then there is no file.
    pub fn write(
        mut self,
        key: &ClientKey,
        certificate: &[u8],
        authority: &[u8],
    ) -> Result<(), IdentityFileError> {
        let text = Zeroizing::new(key.0.serialize_pem());
        let certificates = [certificate_pem(certificate), certificate_pem(authority)].concat();
        let whole = Zeroizing::new([text.as_str(), &certificates].concat());
        let written = self.file.write_all(whole.as_bytes());
        let written = written.and_then(|()| self.file.sync_all());
        written.map_err(failed(&self.path))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdentityFile {
    fn drop(&mut self) {
        if !self.written {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> IdentityFileError {
    let path = path.to_owned();
    move |source| IdentityFileError::Io { path, source }
}
