//! Every sentence that says why something failed, and its exit code.

use std::{io, path::Path};

use ostrakon_backup::{
    EncryptError, OpenError, RecipientError, RestoreError, archive::ArchiveError,
    catalogue::CatalogueError, staging::StagingError,
};
use ostrakon_server::{BuildError, LoadError, backup::TakeError};
use ostrakon_types::ErrorChain;

/// Exit codes, as `docs/backup.md` lists them.
pub(crate) mod code {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const RECIPIENT: u8 = 10;
    pub(crate) const BUSY: u8 = 11;
    pub(crate) const SOURCE: u8 = 12;
    pub(crate) const DISK: u8 = 13;
    pub(crate) const DAMAGED: u8 = 14;
    pub(crate) const FOREIGN: u8 = 15;
    pub(crate) const NO_KEY: u8 = 16;
    pub(crate) const NOT_EMPTY: u8 = 17;
    pub(crate) const NOT_PROVEN: u8 = 18;
    pub(crate) const NEWER: u8 = 19;
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code,
        }
    }

    pub(crate) fn of(code: u8, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(code, ErrorChain(error).to_string())
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| {
            Self::new(
                code::DISK,
                format!("cannot use `{}`: {error}", path.display()),
            )
        }
    }

    /// Prints it to standard error and gives the exit code.
    pub(crate) fn report(self) -> u8 {
        crate::aside(&format!("error: {}", self.message));
        if let Some(hint) = self.hint {
            crate::aside(&format!("hint: {hint}"));
        }
        self.code
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let said = Self::of(code::SOURCE, &error);
        match error {
            BuildError::Protector(_) => said
                .hint("`--confdir` says where a server's home is; its key file is `instance.key`"),
            BuildError::Home(ostrakon_server::HomeError::InUse(..)) => {
                said.hint("stop it first: nothing is restored beneath a server that runs")
            }
            _ => said,
        }
    }
}

impl From<TakeError> for Failure {
    fn from(error: TakeError) -> Self {
        let code = match &error {
            TakeError::OtherServer(_) => code::FOREIGN,
            _ => code::FAILED,
        };
        match error {
            TakeError::Build(error) => error.into(),
            TakeError::Differs => Self::of(code, &error)
                .hint("a profile never goes back: its devices know the newer versions"),
            error => Self::of(code, &error),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let code = match &error {
            LoadError::NotEmpty => code::NOT_EMPTY,
            LoadError::NotOpened(_) => code::NO_KEY,
            _ => code::DISK,
        };
        let said = Self::of(code, &error);
        match error {
            LoadError::NotEmpty => {
                said.hint("name an empty database, or say `--force` to lose what it has")
            }
            LoadError::Online(_) => said.hint("stop all instances that use it, and try again"),
            LoadError::NotOpened(_) => said.hint(
                "the key file must be that of the instance that was backed up, or of another one of its cluster",
            ),
            _ => said,
        }
    }
}

impl From<StagingError> for Failure {
    fn from(error: StagingError) -> Self {
        let code = match &error {
            StagingError::NotEmpty(_) => code::NOT_EMPTY,
            StagingError::Busy(_) => code::BUSY,
            _ => code::DISK,
        };
        let said = Self::of(code, &error);
        match error {
            StagingError::NotEmpty(_) => said.hint(
                "name another folder, or say `--force`: the old one stays under another name",
            ),
            StagingError::Fixed(_) => said.hint("name a folder below it"),
            _ => said,
        }
    }
}

impl From<CatalogueError> for Failure {
    fn from(error: CatalogueError) -> Self {
        let code = match &error {
            CatalogueError::Busy(_) => code::BUSY,
            _ => code::DISK,
        };
        let said = Self::of(code, &error);
        match error {
            CatalogueError::Damaged(_) => said.hint(
                "move it away: the archives that are there are then no longer counted or removed",
            ),
            _ => said,
        }
    }
}

impl From<RecipientError> for Failure {
    fn from(error: RecipientError) -> Self {
        Self::of(code::RECIPIENT, &error)
    }
}

impl From<EncryptError> for Failure {
    fn from(error: EncryptError) -> Self {
        Self::of(code::DISK, &error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Damaged { .. } | OpenError::Unknown => code::DAMAGED,
            OpenError::Io(_) => code::DISK,
            _ => code::NO_KEY,
        };
        Self::of(code, &error)
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let code = match &error {
            RestoreError::Foreign { .. } => code::FOREIGN,
            RestoreError::Unexpected(_) => code::DAMAGED,
            RestoreError::NoPlace => code::USAGE,
            RestoreError::NoInstanceKey | RestoreError::InstanceKey(_) => code::NO_KEY,
            _ => code::DISK,
        };
        let said = Self::of(code, &error);
        match error {
            RestoreError::Load(error) => error.into(),
            RestoreError::NoPlace => {
                said.hint("name the one that it becomes: `--db-uri URI`, or `--db-uri sqlite:`")
            }
            RestoreError::NoInstanceKey => said.hint("name that file: `--instance-key FILE`"),
            _ => said,
        }
    }
}

impl From<ArchiveError<RestoreError>> for Failure {
    fn from(error: ArchiveError<RestoreError>) -> Self {
        let code = match &error {
            ArchiveError::Io(_) => code::DISK,
            ArchiveError::Forged(_) => code::FOREIGN,
            ArchiveError::Format(_) => code::NEWER,
            _ => code::DAMAGED,
        };
        match error {
            ArchiveError::Taken(error) => error.into(),
            error => Self::of(code, &error),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
