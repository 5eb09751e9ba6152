//! What went wrong between devices.

use std::{io, path::Path};

use ostrakon_client::RefreshError;
use ostrakon_client::people::{
    AddDeviceError, AnswerApprovalError, AwayRelay, ChangeProfileError, HoldError, JoinError,
    ListApprovalsError, ListenError, LoadWordsError, LookError, ParseWordsError,
    RecoverProfileError, UnreadPolicyError,
};

use ostrakon_types::ErrorChain;

use super::{DENIED, FAILED, Failure};
use crate::show;

impl Failure {
    pub(crate) fn input(error: &io::Error) -> Self {
        Self::new(FAILED, format!("cannot read standard input: {error}"))
    }

    pub(crate) fn no_invitation() -> Self {
        Self::new(FAILED, "this is neither a code nor the text of a QR code")
            .hint("copy it whole, in quotes; `ostrakon device add` on the other device shows it")
    }

    pub(crate) fn no_image(path: &Path) -> Self {
        Self::new(
            FAILED,
            format!("`{}` is not a PNG image that can be read", show::path(path)),
        )
    }

    pub(crate) fn no_qr_code(path: &Path) -> Self {
        Self::new(
            FAILED,
            format!("`{}` shows no QR code that can be read", show::path(path)),
        )
        .hint("the whole code must be on it, with the margin around it")
    }

    pub(crate) fn no_such_approval(id: &str) -> Self {
        Self::new(FAILED, format!("nothing that waits here has the id `{id}`")).hint(
            "`ostrakon approvals list` lists what waits; `--relay URL` looks where a command waits",
        )
    }

    pub(crate) fn away(away: &AwayRelay) -> Self {
        let said = Self::new(FAILED, away_said(away));
        match away.error {
            LookError::Away(_) => said.hint("whoever waited there may have ended; `ostrakon approvals list` without `--relay` looks at all known places"),
            _ => said,
        }
    }

    pub(crate) fn already_answered(id: &str) -> Self {
        Self::new(FAILED, format!("already answered: `{id}`"))
            .hint("a device answers once; the others decide, until it expires")
    }

    pub(crate) fn refused_approval(why: &str) -> Self {
        Self::new(FAILED, format!("this device does not answer {why}")).hint(
            "where the profile has changed, whoever asks must name it as it is now: \
             `ostrakon profile export-card`, and `--profile CARD` there",
        )
    }

    pub(crate) fn ambiguous_approval(id: &str) -> Self {
        Self::new(FAILED, format!("more than one id begins with `{id}`"))
    }
}

/// The sentence about a relay of which it is not known what waits there.
pub(crate) fn away_said(AwayRelay { url, error }: &AwayRelay) -> String {
    match error {
        LookError::Away(cause) => format!("nobody answers at {url}: {}", ErrorChain(cause)),
        LookError::Unsaid(cause) => {
            format!("it is not known what waits at {url}: {}", ErrorChain(cause))
        }
        error => format!("{url}: {}", ErrorChain(error)),
    }
}

impl From<ChangeProfileError> for Failure {
    fn from(error: ChangeProfileError) -> Self {
        match error {
            ChangeProfileError::NoProfile => Self::no_profile(),
            ChangeProfileError::Open(error) => error.into(),
            ChangeProfileError::Ask(error) => error.into(),
            ChangeProfileError::Hold(error) => error.into(),
            ChangeProfileError::Refresh(error) => (*error).into(),
            ChangeProfileError::Listen(error) => error.into(),
            ChangeProfileError::Denied(denied) => Self::denied(
                "the key shard server denied the change of the profile",
                &denied,
            ),
            error @ ChangeProfileError::NoSuchDevice(_) => {
                Self::of(&error).hint("`ostrakon device list` lists them")
            }
            error @ ChangeProfileError::Own => {
                Self::of(&error).hint("remove it from another device of the profile")
            }
            error @ ChangeProfileError::Conflict => {
                Self::of(&error).hint("look with `ostrakon profile show`, and try again")
            }
            error => Self::of(&error),
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        Self::of(&error).hint(
            "`--listen IP:PORT` takes another address; perhaps another command waits on this one",
        )
    }
}

impl From<RefreshError> for Failure {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::NoProfile => Self::no_profile(),
            RefreshError::Open(error) => error.into(),
            RefreshError::Ask(error) => error.into(),
            error => Self::of(&error),
        }
    }
}

impl From<HoldError> for Failure {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Ask(error) => error.into(),
            HoldError::DeniedBy { .. } | HoldError::Cancelled => {
                Self::new(DENIED, error.to_string())
            }
            HoldError::Denied(denied) => Self::denied(
                "the key shard server denied to relay the request for approval",
                &denied,
            ),
            HoldError::Expired => Self::of(&error).hint(
                "`ostrakon approvals list` on the other devices shows it while the command waits",
            ),
            error => Self::of(&error),
        }
    }
}

impl From<AddDeviceError> for Failure {
    fn from(error: AddDeviceError) -> Self {
        match error {
            AddDeviceError::Change(error) => error.into(),
            error @ AddDeviceError::NoCode(_) => {
                Self::of(&error).hint("use `--method qr`, or `--listen` with an IPv4 address")
            }
            error @ AddDeviceError::Gone => Self::of(&error).hint(
                "`ostrakon device link ID` here and `ostrakon device join` there make up for it",
            ),
            error @ AddDeviceError::Digits => {
                Self::of(&error).hint("nothing was changed; try again, or use `--method qr`")
            }
            error => Self::of(&error),
        }
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Open(error) => error.into(),
            JoinError::Ask(error) => error.into(),
            JoinError::NotApproved => Self::new(DENIED, error.to_string()),
            error @ JoinError::Unreachable(_) => Self::of(&error)
                .hint("the other device must still wait, and be reachable from here"),
            error @ JoinError::OtherHost => {
                Self::of(&error).hint("scan the code anew; nothing was sent to whoever answered")
            }
            error => Self::of(&error),
        }
    }
}

impl From<ListApprovalsError> for Failure {
    fn from(error: ListApprovalsError) -> Self {
        match error {
            ListApprovalsError::NoProfile => Self::no_profile(),
            ListApprovalsError::Open(error) => error.into(),
            ListApprovalsError::Refresh(error) => (*error).into(),
            ListApprovalsError::Relay(error) => error.into(),
            error => Self::of(&error),
        }
    }
}

impl From<AnswerApprovalError> for Failure {
    fn from(error: AnswerApprovalError) -> Self {
        match error {
            AnswerApprovalError::NoProfile => Self::no_profile(),
            AnswerApprovalError::Open(error) => error.into(),
            AnswerApprovalError::Ask(error) => error.into(),
            AnswerApprovalError::Relay(error) => error.into(),
            error @ AnswerApprovalError::OldBackup { .. } => Self::of(&error)
                .hint("look for the newer file; where it was never made, or is lost, use this one with `--old-backup`"),
            error @ AnswerApprovalError::Unread(UnreadPolicyError::NotShown) => Self::of(&error).hint(
                "read the file, see that its `sha256sum` is what `ostrakon approvals show` shows, and give its first \
                 eight digits or more with `--sha256`",
            ),
            error @ AnswerApprovalError::Unread(UnreadPolicyError::Other) => {
                Self::of(&error).hint("it is not the file that you have read: deny it, or read it anew")
            }
            error @ AnswerApprovalError::OtherWords => Self::of(&error).hint(
                "ask whoever runs the command to read its words again; where they differ from what is shown here, deny it",
            ),
            error @ AnswerApprovalError::NotCompared => {
                Self::of(&error).hint("give the words with `--words`, or deny it")
            }
            error => Self::of(&error),
        }
    }
}

impl From<RecoverProfileError> for Failure {
    fn from(error: RecoverProfileError) -> Self {
        match error {
            RecoverProfileError::Open(error) => error.into(),
            RecoverProfileError::Add(error) => error.into(),
            RecoverProfileError::Card(error) => error.into(),
            RecoverProfileError::Hold(error) => error.into(),
            RecoverProfileError::Change(error) => error.into(),
            error @ RecoverProfileError::Member => {
                Self::of(&error).hint("name a fresh folder with `--home`")
            }
            error @ RecoverProfileError::NoSuchDevice(_) => {
                Self::of(&error).hint("`ostrakon device add` here, `ostrakon device join` there")
            }
            error @ RecoverProfileError::NoSuchProfile(_) => Self::of(&error)
                .hint("`ostrakon profile recovery load-profiles` loads what a device has shown"),
            error @ RecoverProfileError::NotSelected => {
                Self::of(&error).hint("`ostrakon profile recovery select-profile` selects one")
            }
            error @ RecoverProfileError::NotStaged => {
                Self::of(&error).hint("`ostrakon profile recovery stage-new-device` comes first")
            }
            error @ RecoverProfileError::KeyserverAway(_) => Self::of(&error).hint(
                "recover and start the server first, and have it go on (`keyserver accept-rollback`); then finish here",
            ),
            error @ RecoverProfileError::NoKeyserver => {
                Self::of(&error).hint("let a device come that uses it: `ostrakon device link`")
            }
            error => Self::of(&error),
        }
    }
}

impl From<ParseWordsError> for Failure {
    fn from(error: ParseWordsError) -> Self {
        Self::of(&error)
    }
}

impl From<LoadWordsError> for Failure {
    fn from(error: LoadWordsError) -> Self {
        match error {
            LoadWordsError::Open(error) => error.into(),
            error => Self::of(&error).hint("name a fresh folder with `--home`"),
        }
    }
}
