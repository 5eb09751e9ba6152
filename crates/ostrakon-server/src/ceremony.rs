//! Ceremonies that a server, or the machine that becomes one, opens among its administrators' devices.
//!
//! | type | asks for | asked by |
//! | --- | --- | --- |
//! | [`Creation`] | making a server | the server that is made |
//! | [`OfServer`] | a new backup key; going on with an older state; what an operator may not do alone | the server, running or not |
//! | [`Ingestion`] | a lost server's identity | a machine that nobody knows |
//! | [`FileOpening`] | the key of an encrypted backup file | a machine that nobody knows |
//! | [`Joining`] | that another machine serves as an instance | a machine that nobody knows |
//! | [`Verification`] | proofs of the shares of a backup key | a machine that nobody knows |
//!
//! A command waits for each of them: it shows what is asked ([`Convened`]), relays it to the devices, and
//! hands their answers to whoever opened it, who counts ([`Asking::take`]). A running server counts
//! itself and does itself what was approved, so that its keys stay where they are. It relays its own
//! ceremonies, too, beside those of its profiles: devices that know it need no other address. It carries a
//! [`Verification`] on its own home, in which it has no part.
//!
//! [`list`] and [`cancel`] are for the operator, and for ceremonies of all kinds.

mod administration;
mod age;
mod backup_file;
mod checks;
mod creation;
mod ending;
mod file_opening;
mod held;
mod ingestion;
mod joining;
mod listing;
mod of_server;
mod pending;
mod profile;
mod relayed;
mod shares;
mod verification;

pub use ostrakon_shards::backup::{BackupFile, ParseBackupError};
use ostrakon_shards::{
    backup::{OpenBackupShareError, RecoverError},
    ceremony::{Ceremony, Need, OpenCeremonyError, Requester, Standing, Tally, recent},
    profile::{ChainError, Profile, SignedVersion},
    random::RandomError,
    seal::{SealError, Sealed},
    share::CombineError,
};
use ostrakon_types::{CeremonyId, DeviceId, ProfileId, UnixMillis, canonical};
use serde::{Deserialize, Serialize};

pub use self::{
    administration::{Administer, Administered},
    backup_file::{NewBackupFile, WriteBackupError},
    checks::{HolderCount, WeakProfile, Weakness},
    creation::Creation,
    file_opening::{FileOpening, NotOfProfile},
    held::{Ask, Fulfilled, Operation},
    ingestion::{Ingested, Ingestion},
    joining::Joining,
    listing::{About, Answered, Listed, ListedDevice, cancel, cancel_at, list, list_at},
    of_server::OfServer,
    profile::{ParseCardError, parse_card},
    verification::{HolderReport, Proved, Verification},
};
pub(crate) use self::{
    checks::holder_count,
    ending::{Asked, enables, end_all},
    held::{Held, Room, newest_backup},
    pending::{CarriedAnswers, Carry, Pending},
};
use ostrakon_policy::LoadPolicyError;
use ostrakon_shards::name::NameError;

use crate::{
    admin::{AskError, FaultKind},
    quota::ClearQuotaError,
    server::BuildError,
};

/// A ceremony that was opened, as a command shows and relays it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Convened {
    /// Its id.
    pub id: CeremonyId,
    /// The profile whose devices are asked.
    pub profile: ProfileId,
    /// The versions of that profile.
    pub versions: Vec<SignedVersion>,
    /// What is asked, in one line.
    pub title: String,
    /// The particulars, each with a label.
    pub details: Vec<(String, String)>,
    /// How many approvals it takes.
    pub needed: u8,
    /// Until when answers count.
    pub expires_at: UnixMillis,
    /// What people compare with what their devices show, where nobody knows who asks.
    pub words: Option<String>,
    /// What is for whom, sealed.
    pub notices: Vec<(DeviceId, Sealed)>,
}

/// How a ceremony stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// More approvals are needed.
    Open {
        /// How many there are.
        approved: usize,
        /// How many it takes.
        needed: u8,
    },
    /// There are enough.
    Approved,
    /// A device denied it.
    Denied {
        /// Which.
        by: DeviceId,
    },
    /// Not enough devices answered in time.
    Expired,
    /// The operator cancelled it.
    Cancelled,
}

/// What answers came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Who answered.
    pub answered: Vec<DeviceId>,
    /// Whose answers do not count, and why not, ready to be shown.
    pub refused: Vec<String>,
    /// How the ceremony stands now.
    pub stand: Stand,
}

/// Somebody who has opened a ceremony and counts the answers.
pub trait Asking {
    /// The ceremony.
    fn convened(&self) -> &Convened;

    /// Takes answers as they came from devices, each once. None at all asks how it stands.
    fn take(
        &mut self,
        answers: Vec<Sealed>,
    ) -> impl Future<Output = Result<Progress, ConveneError>>;

    /// Whether a running server relays it, to devices that know that server.
    fn is_served(&self) -> bool {
        false
    }
}

/// Why a ceremony was not opened, or what it was for not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConveneError {
    /// The server or its home.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The policy is bad.
    #[error(transparent)]
    Policy(LoadPolicyError),
    /// Another policy was put in force since it was asked for this one.
    #[error("another policy was put in force meanwhile: ask for approval again")]
    Overtaken,
    /// Profiles whose quotas are to be cleared.
    #[error(transparent)]
    Clear(#[from] ClearQuotaError),
    /// The time zone cannot be shown to people.
    #[error("the time zone of the policy has no name that can be shown")]
    Zone(#[from] NameError),
    /// It is not done from afar.
    #[error("that is done on the server's own machine alone")]
    Afar,
    /// The running server says why.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The profile is not fit for a backup key.
    #[error(transparent)]
    Weak(#[from] WeakProfile),
    /// It is not known whose devices are to be asked.
    #[error("no profile of administrators is known: this server has no backup key")]
    NoProfile,
    /// The server's backup key is another profile's.
    #[error("the server's backup key is held by profile {known}, not by {given}")]
    OtherProfile {
        /// Whose it is.
        known: ProfileId,
        /// Whose devices were to be asked.
        given: ProfileId,
    },
    /// What is known of the profile and what was given differ.
    #[error("the profile that was given is another branch of the one that is known")]
    Fork,
    /// The profile is none.
    #[error("the profile is not valid")]
    Chain(#[from] ChainError),
    /// The devices cannot be asked that.
    #[error(transparent)]
    Open(#[from] OpenCeremonyError),
    /// A notice could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Others wait already.
    #[error("too many ceremonies wait already")]
    TooMany,
    /// It is over.
    #[error("there is no such ceremony here, or it is over")]
    NoCeremony,
    /// The running server does not carry that.
    #[error("this server does not carry such a ceremony")]
    NotCarried,
    /// It is enabled.
    #[error("the server is enabled")]
    Enabled,
    /// It was approved, and not done in time.
    #[error("the approval has grown old")]
    Old,
    /// It goes on from another state than was approved.
    #[error("the server's state went on since: ask for approval again")]
    OtherState,
    /// It was not approved.
    #[error("{}", not_approved(.0))]
    NotApproved(Stand),
    /// The backup file.
    #[error("the backup file cannot be used")]
    File(#[from] ParseBackupError),
    /// The shares that devices gave do not open the file.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// A share that counted as good is none.
    #[error(transparent)]
    Share(#[from] OpenBackupShareError),
    /// The encrypted file is not one that the profile's devices can open.
    #[error(transparent)]
    NotOfProfile(#[from] NotOfProfile),
    /// The shares that devices gave do not come to the encrypted file's key.
    #[error("the shares do not combine to the key of the encrypted file")]
    Combine(#[from] CombineError),
}

impl ConveneError {
    /// Whether another profile's devices were to be asked than decide there.
    #[must_use]
    pub fn is_of_another_profile(&self) -> bool {
        match self {
            Self::OtherProfile { .. } => true,
            Self::Ask(AskError::Fault(fault)) => fault.kind == FaultKind::OtherProfile,
            _ => false,
        }
    }
}

fn not_approved(stand: &Stand) -> String {
    match stand {
        Stand::Denied { by } => format!("device {by} denied it"),
        Stand::Open { .. } => "not enough devices have approved yet".to_owned(),
        Stand::Cancelled => "it was cancelled".to_owned(),
        Stand::Approved | Stand::Expired => "not enough devices approved in time".to_owned(),
    }
}

impl From<Standing> for Stand {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Open { approved, needed } => Self::Open { approved, needed },
            Standing::Approved => Self::Approved,
            Standing::Denied { by } => Self::Denied { by },
            Standing::Expired => Self::Expired,
        }
    }
}

impl Convened {
    /// Seals a notice to each device that is asked, with what it needs for its contribution.
    fn of(
        tally: &Tally,
        profile: &Profile,
        versions: &[SignedVersion],
        enclosed: Option<&[u8]>,
    ) -> Result<Self, SealError> {
        let to_all = |_: &DeviceId| enclosed.map(<[u8]>::to_vec);
        Self::enclosing(tally, profile, versions, to_all)
    }

    /// The same, where each device needs something else.
    fn enclosing(
        tally: &Tally,
        profile: &Profile,
        versions: &[SignedVersion],
        enclosed: impl Fn(&DeviceId) -> Option<Vec<u8>>,
    ) -> Result<Self, SealError> {
        let ceremony = tally.ceremony();
        let description = ceremony.subject.describe(profile.version());
        let details = description.details.into_iter();
        let notices = tally.asked().map(|card| {
            let id = card.id();
            let enclosed = enclosed(&id);
            Ok((id, tally.notice_for(card, recent(versions), enclosed)?))
        });
        let stranger = matches!(ceremony.requester, Requester::Machine(_));
        let compared = stranger && ceremony.subject.need() != Need::ShareProof;
        Ok(Self {
            id: ceremony.id,
            profile: ceremony.profile,
            versions: versions.to_vec(),
            title: description.title.to_owned(),
            details: details
                .map(|(label, text)| (label.to_owned(), text))
                .collect(),
            needed: ceremony.threshold,
            expires_at: ceremony.expires_at,
            words: compared.then(|| ceremony.words().to_string()),
            notices: notices.collect::<Result<_, SealError>>()?,
        })
    }
}

/// Checks that a profile with these versions is fit to hold a backup key.
///
/// # Errors
/// [`ConveneError::Weak`] says why it is not; another error, that it is no profile.
pub fn check_profile(versions: &[SignedVersion]) -> Result<(), ConveneError> {
    let (profile, _) = profile::newest(&[], versions)?;
    Ok(checks::check(&profile)?)
}

/// Reads the text of a backup file, and checks it.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse_backup(text: &str) -> Result<BackupFile, ParseBackupError> {
    BackupFile::parse(text)
}

/// Reads the ceremony that a command wants carried. It is not checked yet.
fn parse_ceremony(bytes: &[u8]) -> Result<Ceremony, ConveneError> {
    canonical::decode(bytes).map_err(|_| ConveneError::NotCarried)
}

/// Counts answers, and tells of those that do not count.
fn take(tally: &mut Tally, answers: &[Sealed], now: UnixMillis) -> Progress {
    let mut progress = Progress {
        answered: Vec::new(),
        refused: Vec::new(),
        stand: Stand::Expired,
    };
    for answer in answers {
        match tally.take(answer, now) {
            Ok(device) => progress.answered.push(device),
            Err(error) => progress.refused.push(error.to_string()),
        }
    }
    progress.stand = tally.standing(now).into();
    progress
}

#[cfg(test)]
mod tests;
