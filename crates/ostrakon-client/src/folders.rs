//! Registering secure folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ostrakon_shards::{
    name::{Name, NameError},
    random::{self, RandomError},
    suite::Suite,
};
use ostrakon_transport::message::{Failure, Item, ItemAnswer};
use ostrakon_types::{Denial, LocationId};

use crate::{
    ask::{AskError, Expect, Link},
    folder::{PathError, SecureFolder, canonical_component},
    workstation::{Member, OpenError, Workstation},
};

/// Why there is no new secure folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateFolderError {
    /// There is no profile.
    #[error("there is no profile")]
    NoProfile,
    /// The folder cannot be made or found.
    #[error("cannot create the folder")]
    Io(#[source] io::Error),
    /// It has no name, or one that no policy could judge.
    #[error("the folder's name cannot begin the paths of its files")]
    Path(#[source] PathError),
    /// Its name cannot be shown.
    #[error("the folder's name cannot be used")]
    Name(#[from] NameError),
    /// It is a secure folder by another name.
    #[error("it is a secure folder already, named `{name}`")]
    Exists {
        /// That name.
        name: Name,
    },
    /// Another folder has the name.
    #[error("there is a secure folder named `{name}` already")]
    NameTaken {
        /// The name.
        name: Name,
    },
    /// It is within another secure folder, or another one is within it.
    #[error("it overlaps with the secure folder `{name}`")]
    Overlaps {
        /// That folder's name.
        name: Name,
    },
    /// The home folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key shard server could not be asked. The command can be repeated.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The key shard server denied it.
    #[error("the key shard server denied the new folder")]
    Denied(Denial),
    /// The key shard server could not do it.
    #[error("the key shard server could not register the folder")]
    Failed(#[source] Failure),
    /// The key shard server answered something else than was asked.
    #[error("the key shard server's answer makes no sense")]
    BadAnswer,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Workstation {
    /// Makes the folder at `path`, which is created when it is not there, a secure folder, named as
    /// `name` says or after the folder itself.
    ///
    /// What was begun and not finished is finished, and what is done already stays as it is.
    ///
    /// # Errors
    /// When the folder cannot be used, its name is taken, or the key shard server cannot be asked or
    /// denies it.
    pub async fn create_folder(
        &mut self,
        path: &Path,
        name: Option<&str>,
        suite: Suite,
    ) -> Result<SecureFolder, CreateFolderError> {
        let lock = self.lock_in_background().await?;
        let member = self.member().ok_or(CreateFolderError::NoProfile)?.clone();
        fs::create_dir_all(path).map_err(CreateFolderError::Io)?;
        let path = path.canonicalize().map_err(CreateFolderError::Io)?;
        let name = folder_name(&path, name)?;
        let folder = match self.known(&path, &name)? {
            Some(known) if known.is_registered() => return Ok(known),
            Some(begun) => begun,
            None => {
                let folder = self.draw(&member, path, name, suite)?;
                let drawn = folder.clone();
                self.change(&lock, |state| state.folders.push(drawn))?;
                folder
            }
        };
        let location = folder.location();
        let settled = self.register(&member, &folder).await;
        match settled {
            Ok(()) => self.change(&lock, |state| {
                let mut folders = state.folders.iter_mut();
                if let Some(folder) = folders.find(|folder| folder.location() == location) {
                    folder.registered();
                }
            })?,
            Err(CreateFolderError::Denied(_) | CreateFolderError::Failed(_)) => {
                self.change(&lock, |state| {
                    state.folders.retain(|folder| folder.location() != location);
                })?;
            }
            Err(_) => {}
        }
        settled?;
        let registered = self
            .folders()
            .iter()
            .find(|folder| folder.location() == location);
        registered.cloned().ok_or(CreateFolderError::BadAnswer)
    }

    /// Creates the folders that the configuration gives to an administrator.
    ///
    /// # Errors
    /// As [`create_folder`](Self::create_folder).
    pub(crate) async fn create_default_folders(&mut self) -> Result<(), CreateFolderError> {
        if self.config.administrator {
            for path in self.config.expanded_folders(&self.environment.user_home) {
                self.create_folder(&path, None, Suite::X25519).await?;
            }
        }
        Ok(())
    }

    /// The folder at `path`, if there is one, which then must have this name; nothing else may have it
    /// or overlap.
    fn known(&self, path: &Path, name: &Name) -> Result<Option<SecureFolder>, CreateFolderError> {
        for folder in self.folders() {
            let (same, named) = (folder.path() == path, folder.name() == name);
            let other = folder.name().clone();
            let overlaps = folder.path().starts_with(path) || path.starts_with(folder.path());
            match (same, named) {
                (true, true) => return Ok(Some(folder.clone())),
                (true, false) => return Err(CreateFolderError::Exists { name: other }),
                (false, true) => return Err(CreateFolderError::NameTaken { name: other }),
                (false, false) if overlaps => {
                    return Err(CreateFolderError::Overlaps { name: other });
                }
                (false, false) => {}
            }
        }
        Ok(None)
    }

    fn draw(
        &self,
        member: &Member,
        path: PathBuf,
        name: Name,
        suite: Suite,
    ) -> Result<SecureFolder, CreateFolderError> {
        let location: LocationId = random::id()?;
        let group = self.state().groups.first().map(|group| group.name.clone());
        let group = group.ok_or(CreateFolderError::NoProfile)?;
        let pending = match member.keyserver {
            Some(_) => Some(random::request_id(self.environment.now())?),
            None => None,
        };
        Ok(SecureFolder::new(
            location, name, path, group, suite, pending,
        ))
    }

    /// Tells the key shard server of a folder, if there is a server and it has not been told.
    async fn register(
        &self,
        member: &Member,
        folder: &SecureFolder,
    ) -> Result<(), CreateFolderError> {
        let (Some(keyserver), Some(request)) = (&member.keyserver, folder.pending()) else {
            return Ok(());
        };
        let link = Link::new(
            &self.config,
            self.config.urls_or(&member.urls),
            keyserver.clone(),
        )?
        .keeping(&member.kept);
        let location = folder.location();
        let name = folder.name().clone();
        let item = Item::CreateLocation { location, name };
        let answer = self.ask_item_as(member, &link, request, item, Expect::Nothing);
        match answer.await? {
            // Perhaps it was registered long ago, and the request forgotten since.
            Some(ItemAnswer::Denied(Denial::Conflict))
                if self.is_known(&link, member, location).await? =>
            {
                Ok(())
            }
            Some(ItemAnswer::LocationCreated { location: created }) if created == location => {
                Ok(())
            }
            Some(ItemAnswer::Denied(denial)) => Err(CreateFolderError::Denied(denial)),
            Some(ItemAnswer::Failed(failure)) => Err(CreateFolderError::Failed(failure)),
            _ => Err(CreateFolderError::BadAnswer),
        }
    }

    /// Whether the server has this folder of the profile's.
    async fn is_known(
        &self,
        link: &Link,
        member: &Member,
        location: LocationId,
    ) -> Result<bool, CreateFolderError> {
        let answer = self.ask_item(member, link, Item::ListLocations, Expect::Nothing);
        match answer.await? {
            Some(ItemAnswer::Locations(known)) => {
                Ok(known.iter().any(|entry| entry.location == location))
            }
            _ => Err(CreateFolderError::BadAnswer),
        }
    }
}

fn folder_name(path: &Path, name: Option<&str>) -> Result<Name, CreateFolderError> {
    let name = match (name, path.file_name()) {
        (Some(name), _) => name,
        (None, Some(name)) => {
            let name = name.to_str().ok_or(PathError::NotUtf8);
            name.map_err(CreateFolderError::Path)?
        }
        (None, None) => return Err(CreateFolderError::Path(PathError::Empty)),
    };
    let name = canonical_component(name).map_err(CreateFolderError::Path)?;
    Ok(Name::new(&name)?)
}
