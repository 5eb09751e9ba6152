//! Every sentence about what went wrong, and the exit code that goes with it.

mod people;

use std::{error::Error, io, panic::PanicHookInfo, path::Path, process::ExitCode};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_client::{
    AskError, ConfigProblem, CreateFolderError, CreateProfileError, DecryptError, EncryptError,
    FileError, HomeError, LoadConfigError, OnboardError, OpenError, Skip, Summary,
    load::{LoadError, LoadReport},
};
use ostrakon_types::{Denial, ErrorChain, UnixMillis};

pub(crate) use people::away_said;

use crate::show;

/// Something failed.
pub(crate) const FAILED: u8 = 1;
/// Something was denied, and nothing failed otherwise.
const DENIED: u8 = 3;
/// The configuration is not valid.
const CONFIGURATION: u8 = 4;

/// Why the command ends otherwise than well.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code,
        }
    }

    fn of(error: &dyn Error) -> Self {
        Self::new(FAILED, ErrorChain(error).to_string())
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { hint, ..self }
    }

    fn hint_if(self, hint: Option<&str>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) -> ExitCode {
        show::aside(&format!("error: {}", self.message));
        if let Some(hint) = &self.hint {
            show::aside(&format!("hint: {hint}"));
        }
        ExitCode::from(self.code)
    }

    pub(crate) fn no_home() -> Self {
        Self::new(
            CONFIGURATION,
            "cannot tell where the home folder is: `$HOME` is not set",
        )
        .hint("name a folder with `--home` or `$OSTRAKON_HOME`")
    }

    pub(crate) fn no_profile() -> Self {
        Self::new(FAILED, "this workstation has no profile").hint(
            "make one with `ostrakon profile keyserver-onboard --keyserver-id ID`, or without a server \
             with `ostrakon profile create`",
        )
    }

    pub(crate) fn no_such_folder(name: &str) -> Self {
        Self::new(
            FAILED,
            format!(
                "there is no secure folder `{}`",
                show::path(Path::new(name))
            ),
        )
        .hint("`ostrakon folder list` names them")
    }

    pub(crate) fn runtime(error: io::Error) -> Self {
        Self::new(FAILED, format!("cannot start: {error}"))
    }

    pub(crate) fn hardening(errno: rustix::io::Errno) -> Self {
        Self::new(
            FAILED,
            format!(
                "cannot protect this process's memory: {}",
                io::Error::from(errno)
            ),
        )
    }

    pub(crate) fn write(path: &Path, error: &io::Error) -> Self {
        Self::new(
            FAILED,
            format!("cannot write `{}`: {error}", show::path(path)),
        )
    }

    pub(crate) fn unwritten(error: &io::Error) -> Self {
        Self::new(FAILED, format!("cannot write to standard output: {error}"))
    }

    /// What to say of all files together: nothing when all is well.
    pub(crate) fn of_files(
        verb: &str,
        summary: Summary,
        hint: Option<&'static str>,
    ) -> Result<(), Self> {
        let Summary {
            done,
            denied,
            failed,
            ..
        } = summary;
        let tried = done + denied + failed;
        let (code, what) = match (failed, denied) {
            (0, 0) => return Ok(()),
            (0, _) => (DENIED, format!("{denied} of {tried} files denied")),
            (_, 0) => (FAILED, format!("{failed} of {tried} files failed")),
            _ => (
                FAILED,
                format!("{failed} of {tried} files failed, {denied} denied"),
            ),
        };
        Err(Self::new(code, format!("{what}, {done} {verb}")).hint_if(hint))
    }

    pub(crate) fn remote() -> Self {
        Self::new(FAILED, "the server is on another machine").hint(
            "`--allow-remote` asks it all the same; a benchmark is a lot of load, and stays on record",
        )
    }

    /// What to say of a benchmark in which not everything was released.
    pub(crate) fn of_load(report: &LoadReport) -> Result<(), Self> {
        if report.failed > 0 {
            let first = report.first_failure.as_deref().unwrap_or("unknown");
            let message = format!("{} requests failed, the first: {first}", report.failed);
            return Err(Self::new(FAILED, message));
        }
        if report.wrong > 0 {
            let message = format!("{} shares were not those of their files", report.wrong);
            return Err(Self::new(FAILED, message));
        }
        match report.denied() {
            0 => Ok(()),
            denied => Err(Self::new(DENIED, format!("{denied} shares denied")).hint(
                "the policy must allow the paths of `--path`, and its quotas so many of them",
            )),
        }
    }

    fn denied(what: &str, denied: &Denial) -> Self {
        Self::new(DENIED, format!("{what}: {}", denial(denied)))
    }
}

/// Why a key shard server said no.
pub(crate) fn denial(denial: &Denial) -> String {
    match denial {
        Denial::Policy => "the policy does not allow it".to_owned(),
        Denial::Quota { resets_at } => {
            format!("the quota is used up until {}", local_time(*resets_at))
        }
        Denial::Disabled => "the key shard server is disabled".to_owned(),
        Denial::Conflict => "it exists already, or has changed meanwhile".to_owned(),
        Denial::ServerLimit { resets_at } => {
            format!(
                "the key shard server's own limit is used up until {}",
                local_time(*resets_at)
            )
        }
        _ => "for a reason that this version does not know".to_owned(),
    }
}

/// Why a file was left alone.
pub(crate) fn skip(skip: Skip) -> &'static str {
    match skip {
        Skip::SymbolicLink => "it is a symbolic link",
        Skip::NotAFile => "it is not a regular file",
        Skip::AlreadyEncrypted => "it is encrypted already",
        _ => "for a reason that this version does not know",
    }
}

/// What can be done about a file that failed.
pub(crate) fn file_hint(error: &FileError) -> Option<&'static str> {
    Some(match error {
        FileError::OutputExists => "`--force` replaces it, `--output DIR` writes elsewhere",
        FileError::SameOutput => "write them to different folders, one command for each",
        FileError::NotInFolder => "`ostrakon folder create DIR` makes a folder secure",
        FileError::FolderPending => "repeat `ostrakon folder create` for its folder",
        FileError::Foreign => "try `age --decrypt`",
        FileError::NoExtension => "name the encrypted file `NAME.age`",
        FileError::AlreadyEncrypted => "`ostrakon decrypt` decrypts it",
        _ => return None,
    })
}

/// Says that something impossible happened, without what was in memory at the time.
pub(crate) fn report_panic(info: &PanicHookInfo<'_>) {
    let place = info
        .location()
        .map(|at| format!(" at {}:{}", at.file(), at.line()));
    show::aside(&format!(
        "error: internal error{}",
        place.unwrap_or_default()
    ));
    show::aside("hint: this is a defect of the program; please report that line");
}

pub(crate) fn local_time(at: UnixMillis) -> String {
    match Timestamp::from_millisecond(at.0) {
        Ok(at) => at
            .to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S %Z")
            .to_string(),
        Err(_) => "a time that cannot be shown".to_owned(),
    }
}

impl From<LoadConfigError> for Failure {
    fn from(error: LoadConfigError) -> Self {
        let failure = Self::new(CONFIGURATION, ErrorChain(&error).to_string());
        match error {
            LoadConfigError::Invalid {
                cause: ConfigProblem::UnknownKey { nearest, .. },
                ..
            } => failure.hint(format!("did you mean `{nearest}`?")),
            _ => failure,
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let hint = match &error {
            OpenError::Home(HomeError::OpenToOthers { .. }) => Some(
                "take the rights of others away: `chmod -R go= DIR`, where DIR is the home folder",
            ),
            OpenError::Home(HomeError::Version(_)) => {
                Some("use the version that wrote it, or a later one")
            }
            _ => None,
        };
        Self::of(&error).hint_if(hint)
    }
}

impl From<CreateProfileError> for Failure {
    fn from(error: CreateProfileError) -> Self {
        match error {
            CreateProfileError::Open(error) => error.into(),
            error @ CreateProfileError::Exists => {
                Self::of(&error).hint("`ostrakon profile show` shows it")
            }
            error => Self::of(&error),
        }
    }
}

impl From<OnboardError> for Failure {
    fn from(error: OnboardError) -> Self {
        match error {
            OnboardError::Open(error) => error.into(),
            OnboardError::Ask(error) => error.into(),
            OnboardError::Create(error) => error.into(),
            OnboardError::Denied(denied) => {
                Self::denied("the key shard server denied the new profile", &denied)
            }
            error @ OnboardError::NoUrl => no_url(&error),
            error @ OnboardError::Card(_) => Self::of(&error).hint(
                "check the id and the address with whoever runs the server; nothing was sent",
            ),
            error => Self::of(&error),
        }
    }
}

impl From<CreateFolderError> for Failure {
    fn from(error: CreateFolderError) -> Self {
        match error {
            CreateFolderError::Open(error) => error.into(),
            CreateFolderError::Ask(error) => error.into(),
            CreateFolderError::NoProfile => Self::no_profile(),
            CreateFolderError::Denied(denied) => {
                Self::denied("the key shard server denied the new folder", &denied)
            }
            error @ (CreateFolderError::Path(_) | CreateFolderError::NameTaken { .. }) => {
                Self::of(&error).hint("`--name NAME` gives it another name")
            }
            error => Self::of(&error),
        }
    }
}

impl From<EncryptError> for Failure {
    fn from(_: EncryptError) -> Self {
        Self::no_profile()
    }
}

impl From<DecryptError> for Failure {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::Ask(error) => error.into(),
            DecryptError::NoProfile => Self::no_profile(),
            error => Self::of(&error),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match &error {
            AskError::NoUrl => no_url(&error),
            AskError::CaFile { .. } => Self::new(CONFIGURATION, ErrorChain(&error).to_string()),
            AskError::Clock { ahead_millis } => {
                let way = if *ahead_millis > 0 { "ahead" } else { "behind" };
                Self::of(&error).hint(format!(
                    "this machine's is {way}; set it right and try again"
                ))
            }
            AskError::Exchange(_) => Self::of(&error)
                .hint("something else may answer at that address, or the server has forgotten this device"),
            AskError::Unreachable(_) => Self::of(&error)
                .hint("check `keyserver_urls` in the configuration, and the network"),
            _ => Self::of(&error),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Ask(error) => error.into(),
            LoadError::Denied(denied) => {
                Self::denied("the key shard server denied the new profile", &denied)
            }
            error @ LoadError::NoProfile => Self::of(&error)
                .hint("`--server URL` registers one at a server, for the benchmark alone"),
            error => Self::of(&error),
        }
    }
}

fn no_url(error: &dyn Error) -> Failure {
    Failure::new(CONFIGURATION, ErrorChain(error).to_string())
        .hint("set `keyserver_urls` in the configuration, or give `--keyserver-url URL`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_files_and_failed_files_have_codes_of_their_own() {
        let code = |failed, denied| {
            let summary = Summary {
                done: 1,
                failed,
                denied,
                ..Summary::default()
            };
            Failure::of_files("decrypted", summary, None)
                .err()
                .map(|failure| failure.code)
        };
        assert_eq!(code(0, 0), None);
        assert_eq!(code(0, 2), Some(DENIED));
        assert_eq!(code(1, 2), Some(FAILED));
        assert_eq!(code(1, 0), Some(FAILED));
    }

    #[test]
    fn a_used_up_quota_names_the_time() {
        let shown = denial(&Denial::Quota {
            resets_at: UnixMillis(1_795_000_000_000),
        });
        assert!(
            shown.starts_with("the quota is used up until 2026-11-"),
            "{shown}"
        );
    }
}
