//! Where a home says that its database is.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use ostrakon_storage::{DatabaseUri, Place};
use zeroize::Zeroizing;

use super::{Home, HomeError, remove, write_new};

/// What stands for the home's own database file.
const HERE: &str = "sqlite:";

impl Home {
    /// Where the shared database is, without its password; absent where the database is a file.
    #[must_use]
    pub fn database_uri(&self) -> PathBuf {
        self.folder.join("database.uri")
    }

    /// The password of the shared database, where it was given with the URI.
    #[must_use]
    pub fn database_password(&self) -> PathBuf {
        self.folder.join("database.password")
    }

    /// Whether there is a server, or the making of one has begun.
    #[must_use]
    pub fn has_database(&self) -> bool {
        self.database().exists() || self.database_uri().exists()
    }

    /// Where the database is.
    ///
    /// # Errors
    /// When the files that say so cannot be read, or are open to others.
    pub fn place(&self) -> Result<Place, HomeError> {
        let Some(text) = self.read(&self.database_uri())? else {
            return Ok(Place::File(self.database()));
        };
        self.place_of(text.trim())
    }

    /// Notes where the shared database is. A password goes to a file of its own, mode 0600; one that is in a
    /// file already stays there alone, so that it can be changed there.
    ///
    /// # Errors
    /// When there is such a note already, or it cannot be written.
    pub fn set_database(&self, uri: &DatabaseUri) -> Result<(), HomeError> {
        let mut uri = uri.clone();
        if uri.password_file().is_none()
            && let Some(password) = uri.take_password()
        {
            let file = self.database_password();
            write_new(&file, &password)?;
            uri = uri.with_password_file(name_of(&file));
        }
        write_new(&self.database_uri(), &format!("{}\n", uri.shown()))
    }

    /// Where the database will be, while its state is moved there.
    fn next_uri(&self) -> PathBuf {
        self.folder.join("database.next")
    }

    /// Notes durably where the database will be, for whoever finishes the move.
    pub(crate) fn set_next(&self, place: &Place) -> Result<(), HomeError> {
        let text = match place {
            Place::File(_) => HERE.to_owned(),
            Place::Shared(uri) => {
                let mut uri = uri.as_ref().clone();
                if uri.password_file().is_none()
                    && let Some(password) = uri.take_password()
                {
                    // Not into the file of the old database, which is needed until the move is done.
                    let [one, other] = self.password_files();
                    let file = if self.password_in_use()?.as_ref() == Some(&one) {
                        other
                    } else {
                        one
                    };
                    replace(&file, &password)?;
                    uri = uri.with_password_file(name_of(&file));
                }
                uri.shown()
            }
        };
        replace(&self.next_uri(), &format!("{text}\n"))?;
        self.sync()
    }

    /// Where the database will be, if a move has begun.
    pub(crate) fn next_place(&self) -> Result<Option<Place>, HomeError> {
        let Some(text) = self.read(&self.next_uri())? else {
            return Ok(None);
        };
        self.place_of(text.trim()).map(Some)
    }

    /// Has the database be where [`Home::set_next`] said. May be done again.
    pub(crate) fn take_next(&self) -> Result<(), HomeError> {
        let next = self.next_uri();
        let Some(text) = self.read(&next)? else {
            return self.forget_passwords();
        };
        if text.trim() == HERE {
            remove(&self.database_uri())?;
            self.sync()?;
            remove(&next)?;
        } else {
            let moved = fs::rename(&next, self.database_uri());
            moved.map_err(|source| self.failed(source))?;
        }
        self.sync()?;
        self.forget_passwords()
    }

    /// Removes the passwords of databases that were moved from.
    fn forget_passwords(&self) -> Result<(), HomeError> {
        let used = self.password_in_use()?;
        let files = self.password_files().into_iter();
        for file in files.filter(|file| used.as_ref() != Some(file)) {
            remove(&file)?;
        }
        self.sync()
    }

    /// The two files in which a password may be: one for a database, the other for its successor.
    fn password_files(&self) -> [PathBuf; 2] {
        [
            self.database_password(),
            self.folder.join("database.password-2"),
        ]
    }

    fn password_in_use(&self) -> Result<Option<PathBuf>, HomeError> {
        let Some(text) = self.read(&self.database_uri())? else {
            return Ok(None);
        };
        let uri = DatabaseUri::from_str(text.trim())?.within(&self.folder);
        Ok(uri.password_file().map(Path::to_owned))
    }

    fn place_of(&self, text: &str) -> Result<Place, HomeError> {
        if text == HERE {
            return Ok(Place::File(self.database()));
        }
        let uri = DatabaseUri::from_str(text)?.within(&self.folder);
        Ok(Place::Shared(Box::new(with_password(uri)?)))
    }
}

/// The URI with the password from the file that it names, if it names one.
///
/// # Errors
/// When that file cannot be read, or is open to others.
pub fn with_password(uri: DatabaseUri) -> Result<DatabaseUri, HomeError> {
    let Some(path) = uri.password_file().map(Path::to_owned) else {
        return Ok(uri);
    };
    let failed = |source| HomeError::Password {
        path: path.clone(),
        source,
    };
    let file = File::open(&path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(HomeError::OpenToOthers { path, mode });
    }
    let mut password = Zeroizing::new(String::new());
    let read = file.take(4096).read_to_string(&mut password);
    read.map_err(failed)?;
    let end = password.trim_end_matches(['\r', '\n']).len();
    password.truncate(end);
    Ok(uri.with_password(password))
}

/// The file's name: a home says where its own files are by their names, so that it can be moved.
fn name_of(file: &Path) -> PathBuf {
    file.file_name().map_or_else(PathBuf::new, PathBuf::from)
}

/// Writes a file in place of what was there, mode 0600, durably but for its name.
fn replace(path: &Path, text: &str) -> Result<(), HomeError> {
    let new = path.with_added_extension("new");
    remove(&new)?;
    write_new(&new, text)?;
    fs::rename(&new, path).map_err(|source| HomeError::Io {
        folder: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> DatabaseUri {
        text.parse().unwrap()
    }

    fn shared(home: &Home) -> DatabaseUri {
        match home.place().unwrap() {
            Place::Shared(uri) => *uri,
            Place::File(path) => panic!("a file: {path:?}"),
        }
    }

    #[test]
    fn a_home_that_was_moved_finds_its_password() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
        let home = Home::new(&old);
        home.make().unwrap();
        home.set_database(&uri("mysql://u:s3cret@h/d")).unwrap();
        let noted = fs::read_to_string(home.database_uri()).unwrap();
        assert!(!noted.contains("s3cret"), "{noted}");
        fs::rename(&old, &new).unwrap();
        let home = Home::new(&new);
        let password = shared(&home).take_password();
        assert_eq!(password.as_deref().map(String::as_str), Some("s3cret"));
    }

    #[test]
    fn a_password_that_is_in_a_file_stays_there_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        write_new(&file, "first\n").unwrap();
        let home = Home::new(folder.path().join("home"));
        home.make().unwrap();
        let given = uri("mysql://u@h/d?password_file=password").within(folder.path());
        home.set_database(&with_password(given).unwrap()).unwrap();
        assert!(!home.database_password().exists());
        fs::write(&file, "second\n").unwrap();
        let password = shared(&home).take_password();
        assert_eq!(password.as_deref().map(String::as_str), Some("second"));

        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(home.place(), Err(HomeError::OpenToOthers { .. })));
        fs::remove_file(&file).unwrap();
        assert!(matches!(home.place(), Err(HomeError::Password { .. })));
    }
}
