//! Every sentence that says why something failed.

use std::{io, path::PathBuf};

use ostrakon_server::{
    BuildError, HeldBy, HomeError, ProtectorError,
    admin::{AskError, FaultKind},
    audit::ArchiveError,
    authority::IdentityFileError,
    ceremony::{ConveneError, NotOfProfile, ParseBackupError, Stand, WriteBackupError},
    certificates::AdministratorError,
    clone_db::{CloneError, CopyError},
    policy_engine::LoadPolicyError,
    setup::StoppedError,
};
use ostrakon_types::ErrorChain;

/// Why a command failed.
pub(crate) enum Failure {
    /// One sentence, a cause where there is one, and a hint where something can be done.
    Said {
        message: String,
        hint: Option<&'static str>,
        code: u8,
    },
    /// Everything was printed already.
    Printed { code: u8 },
}

/// Exit codes, as `docs/commands.md` lists them.
pub(crate) const FAILED: u8 = 1;
pub(crate) const DENIED: u8 = 3;
pub(crate) const BAD_CONFIGURATION: u8 = 4;

const NAME_THEM: &str =
    "`keyserver save-backup-key --profile CARD` makes a backup key, and with it names them";

const MAKE_IT_SAFE: &str = "where a device was removed, add a replacement first: `ostrakon device add` adds devices, \
     `ostrakon profile threshold` sets how many it takes; `--ignore-security-checks` goes on all the same";

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Said {
            message: message.into(),
            hint: None,
            code: FAILED,
        }
    }

    pub(crate) fn hint(self, hint: &'static str) -> Self {
        match self {
            Self::Said { message, code, .. } => Self::Said {
                message,
                hint: Some(hint),
                code,
            },
            printed => printed,
        }
    }

    pub(crate) fn code(self, code: u8) -> Self {
        match self {
            Self::Said { message, hint, .. } => Self::Said {
                message,
                hint,
                code,
            },
            Self::Printed { .. } => Self::Printed { code },
        }
    }

    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path: PathBuf = path.to_owned();
        move |error| {
            let said = Self::new(format!("cannot use `{}`: {error}", path.display()));
            match error.kind() {
                io::ErrorKind::NotFound => {
                    said.hint("check the path; a relative one begins in the current folder")
                }
                io::ErrorKind::IsADirectory => said.hint("name a file in it"),
                io::ErrorKind::PermissionDenied => {
                    said.hint("`ls -l` says whose it is, and who may use it")
                }
                io::ErrorKind::InvalidData => said.hint("it must be text in UTF-8"),
                _ => said,
            }
        }
    }

    /// Prints it to standard error and gives the exit code.
    pub(crate) fn report(self) -> u8 {
        match self {
            Self::Said {
                message,
                hint,
                code,
            } => {
                eprintln!("error: {message}");
                if let Some(hint) = hint {
                    eprintln!("hint: {hint}");
                }
                code
            }
            Self::Printed { code } => code,
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let said = Self::new(ErrorChain(&error).to_string());
        match error {
            BuildError::Config(_) => said.code(BAD_CONFIGURATION),
            BuildError::NoPolicy => said
                .hint("write one to the home folder, or dump one from a server that has one")
                .code(BAD_CONFIGURATION),
            BuildError::Policy(error) => bad_policy(&error),
            BuildError::Staged => said.hint(
                "where the other server is gone for good, run `keyserver enable` and then `serve`",
            ),
            BuildError::Home(HomeError::Unfinished(_)) => said.hint(
                "where no command makes it now, begin again: `keyserver create`, or `keyserver recovery-ingest-key`",
            ),
            BuildError::Home(HomeError::Restoring(_)) => {
                said.hint("run `keybackup restore` again, which begins anew")
            }
            BuildError::Home(HomeError::InUse(_, by)) => said.hint(match by {
                HeldBy::Server => {
                    "`keyserver status` tells about the server that runs there, SIGTERM stops it"
                }
                HeldBy::Ceremony => {
                    "wait until it has its approvals, or interrupt it to give them up"
                }
                _ => "try again when it is done",
            }),
            BuildError::Home(HomeError::Uri(_)) => {
                said.hint("put the file back; docs/commands.md says what may stand in it")
            }
            BuildError::Home(HomeError::OpenToOthers { .. })
            | BuildError::Protector(ProtectorError::OpenToOthers { .. }) => {
                said.hint("`chmod 600` the file, and ask who could read it until now")
            }
            BuildError::Home(HomeError::Io { ref source, .. })
            | BuildError::Protector(ProtectorError::Io(ref source))
                if source.kind() == io::ErrorKind::NotFound =>
            {
                said.hint("`keyserver create` makes a server there; `--home` says where one is")
            }
            BuildError::Protector(_) => {
                said.hint("the file `instance.key` must be the one that was made with this server")
            }
            BuildError::Occupied => said.hint(
                "`keyserver initialize` lets this machine into that server; if an interrupted `keyserver create` has left \
                 it and no server was used since, drop the database, make an empty one, and run this again",
            ),
            BuildError::Store(error) => match error {
                ostrakon_server::StoreError::Missing => {
                    said.hint("`--home` says where a server is; `keyserver create` makes one in an empty folder")
                }
                ostrakon_server::StoreError::Exists => {
                    said.hint("nothing was changed; choose another `--home` for another server")
                }
                ostrakon_server::StoreError::WrongRootKey => {
                    said.hint("restore the `instance.key` that was made with this database")
                }
                ostrakon_server::StoreError::Moved { .. } => said.hint(
                    "nobody serves from the old database any more: `keyserver clone-db NEW_URI` with that one has this home follow",
                ),
                ostrakon_server::StoreError::Unfinished => said.hint(
                    "the server is in its old database still: run the `keyserver clone-db` that was interrupted again",
                ),
                ostrakon_server::StoreError::Full(_) => {
                    said.hint("make room on the disk; nothing was lost")
                }
                ostrakon_server::StoreError::Unavailable(_) => said.hint(
                    "see that the database runs and is reached; the home's `database.uri` says where a shared one is",
                ),
                ostrakon_server::StoreError::Denied(_) => said.hint(
                    "check user, password and database; the user needs all rights in that database",
                ),
                ostrakon_server::StoreError::NotJoined => said.hint(
                    "`keyserver initialize`, in an empty home, lets a machine in",
                ),
                ostrakon_server::StoreError::NewerSchema { .. } => {
                    said.hint("install the release that wrote it, or a newer one")
                }
                _ => said,
            },
            BuildError::AuditFaults { .. } => said.hint("`keyserver audit verify` tells all of it"),
            BuildError::Broken(_) => said.hint(
                "that is on record now, and the server disabled; look into it, then ask again",
            ),
            BuildError::Listen { .. } => {
                said.hint("set another `listen` in server.toml, or stop what listens there")
            }
            _ => said,
        }
    }
}

impl From<ConveneError> for Failure {
    fn from(error: ConveneError) -> Self {
        let said = Self::new(ErrorChain(&error).to_string());
        match error {
            ConveneError::Build(error) => error.into(),
            ConveneError::Ask(error) => error.into(),
            ConveneError::Weak(_) => said.hint(MAKE_IT_SAFE),
            ConveneError::NoProfile => said.hint(NAME_THEM),
            ConveneError::Policy(error) => bad_policy(&error),
            ConveneError::OtherProfile { .. } => said.hint(
                "change the devices of the profile that holds it, and export its card anew",
            ),
            ConveneError::NotApproved(Stand::Denied { .. } | Stand::Cancelled) => {
                said.code(DENIED)
            }
            ConveneError::TooMany => said.hint(
                "`keyserver ceremony list` lists them, `keyserver ceremony cancel` ends one",
            ),
            ConveneError::NotOfProfile(NotOfProfile::TooFew { .. }) => said.hint(
                "where its key shard server answers, `ostrakon decrypt` decrypts it; a backup file is no secret",
            ),
            _ => said,
        }
    }
}

impl From<WriteBackupError> for Failure {
    fn from(error: WriteBackupError) -> Self {
        let said = Self::new(ErrorChain(&error).to_string());
        match error {
            WriteBackupError::Empty(_) => said.hint(
                "a command that waits for approvals writes it at the end, or was killed and left it: then remove it",
            ),
            WriteBackupError::Exists(_) => {
                said.hint("nothing was changed; name another file, or move that one away")
            }
            _ => said,
        }
    }
}

impl From<AdministratorError> for Failure {
    fn from(error: AdministratorError) -> Self {
        let said = Self::new(ErrorChain(&error).to_string());
        match error {
            AdministratorError::Build(error) => error.into(),
            AdministratorError::Unknown(_) => {
                said.hint("`keyserver administrator list` shows all of them")
            }
            _ => said,
        }
    }
}

impl From<IdentityFileError> for Failure {
    fn from(error: IdentityFileError) -> Self {
        let said = Self::new(ErrorChain(&error).to_string());
        match error {
            IdentityFileError::Exists(_) => {
                said.hint("nothing was changed; name another file, or move that one away")
            }
            _ => said,
        }
    }
}

impl From<ParseBackupError> for Failure {
    fn from(error: ParseBackupError) -> Self {
        Self::new(ErrorChain(&error).to_string())
    }
}

impl From<CloneError> for Failure {
    fn from(error: CloneError) -> Self {
        let said = Self::new(ErrorChain(&error).to_string());
        match error {
            CloneError::Build(error) => error.into(),
            CloneError::Copy(CopyError::NotEmpty) => {
                said.hint("nothing was changed; name a database that is there, and empty")
            }
            CloneError::Copy(CopyError::Online(_)) => said.hint(
                "stop the server on every machine; one that was killed counts as online for ten seconds",
            ),
            CloneError::Copy(CopyError::Changed | CopyError::Differs(_)) => said.hint(
                "the server is in its old database still; see that nobody writes to either, and run it again",
            ),
            CloneError::Elsewhere { .. } => said.hint("name that database"),
            _ => said,
        }
    }
}

impl From<StoppedError> for Failure {
    fn from(error: StoppedError) -> Self {
        match error {
            StoppedError::Build(error) => error.into(),
            error => Self::new(ErrorChain(&error).to_string()),
        }
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Open(error) => error.into(),
            ArchiveError::Ask(error) => error.into(),
            error => Self::new(ErrorChain(&error).to_string()),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let said = Self::new(ErrorChain(&error).to_string());
        match error {
            AskError::NotRunning => said.hint("`keyserver serve` runs it; `--home` says where"),
            AskError::Fault(fault) => match fault.kind {
                FaultKind::BadPolicy => {
                    eprintln!("{}", fault.error);
                    eprintln!("error: the policy was not loaded; the old one stays in force");
                    Self::Printed {
                        code: BAD_CONFIGURATION,
                    }
                }
                FaultKind::NoAdministrators => said.hint(NAME_THEM),
                FaultKind::WeakProfile => said.hint(MAKE_IT_SAFE),
                FaultKind::NoCeremony => said.hint(
                    "is it at another instance? Each counts what it was asked itself: with `--server`, name the \
                     address of one instance, not one behind which there are several",
                ),
                _ => said,
            },
            _ => said,
        }
    }
}

/// Prints all that is wrong with a policy.
pub(crate) fn bad_policy(error: &LoadPolicyError) -> Failure {
    eprintln!("{error}");
    Failure::Printed {
        code: BAD_CONFIGURATION,
    }
}
