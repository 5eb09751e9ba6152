//! Several devices of one profile: how they meet, change the profile, and ask each other.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `front` | a small listener in a command that waits: pairing, and the relay of one ceremony |
//! | `host`, `guest` | the two sides on which a device is added or linked |
//! | `desk`, `calls` | what those say to each other: the host's answers, the guest's calls |
//! | `change` | a changed version of the profile: who must sign it, and how it comes into force |
//! | `hold` | a ceremony from its opening to its end |
//! | `approvals` | the other side of ceremonies: what waits for this device |
//! | `look` | all relays asked at once |
//! | `versions` | how the profile changed, as other devices and servers hand it on |
//! | `backups` | which backup keys were made, as far as this device knows |
//! | `difference` | what people are shown of a policy that is to replace another one |
//! | `contribution` | what a device adds to its approval: its share of a backup key, or a proof of it |
//! | `relay` | the listener of somebody who is no device: a key shard server's commands |
//! | `words` | recovery words, as a device |
//! | `recovery` | a new machine, into a profile whose other devices are left |
//!
//! A ceremony travels through the profile's key shard server where there is one, and otherwise through
//! the waiting command itself. What a key shard server asks its administrators travels through that
//! server, whether or not it is their profile's. None of these can read it, change it, or answer it (see
//! [`ostrakon_shards::ceremony`]).

mod approvals;
mod backups;
mod calls;
mod change;
mod contribution;
mod desk;
mod difference;
mod digest_prefix;
mod front;
mod guest;
mod hold;
mod host;
mod look;
mod recovery;
mod relay;
mod versions;
mod wire;
mod words;

use std::{
    future::{Future, pending},
    net::SocketAddr,
    path::Path,
    pin::Pin,
};

use ostrakon_types::{CeremonyId, DeviceId, ProfileWords, UnixMillis};

pub use approvals::{
    AnswerApprovalError, Approvals, ApproveOptions, ListApprovalsError, PendingApproval,
};
pub use change::{ChangeOptions, ChangeProfileError};
pub use contribution::ContributeError;
pub use difference::{PolicyChange, UnreadPolicyError};
pub use digest_prefix::{DigestPrefix, ParseDigestPrefixError};
pub use front::ListenError;
pub use guest::{GuestOptions, JoinError, Joined};
pub use hold::HoldError;
pub use host::{AddDeviceError, HostOptions, Method};
pub use look::{AwayRelay, LookError};
// Types of the layer below that this interface speaks.
pub use ostrakon_shards::{
    card::{Card, DeviceKind},
    ceremony::{Ceremony, Description, Question, Requester, Standing},
    generation::Generation,
    name::Name,
    pairing::{Code, Digits, Invitation},
    profile::{Profile, SignedVersion},
    words::{ParseWordsError, RecoveryWords},
};
pub use recovery::RecoverProfileError;
pub use relay::{Relay, RelayedCeremony};
pub use words::LoadWordsError;

use crate::home::{Home, HomeError};

/// How long a ceremony or a pairing is waited for, unless somebody says otherwise: ten minutes.
pub const DEFAULT_WAIT_MS: i64 = 10 * 60 * 1000;

/// The versions of the profile that a home folder knows: its own or, on a machine on which one is being
/// recovered, that one. None at all where there is no such folder or profile.
///
/// # Errors
/// When the folder cannot be used.
pub fn known_profile(home: &Path) -> Result<Vec<SignedVersion>, HomeError> {
    if !home.is_dir() {
        return Ok(Vec::new());
    }
    let state = Home::open(home)?.read_state()?;
    if let Some(membership) = state.membership {
        return Ok(membership.versions);
    }
    let recovery = state.people.and_then(|people| people.recovery);
    let newest = recovery.and_then(|recovery| recovery.newest(recovery.selected?).ok()?);
    Ok(newest.map(|(_, versions)| versions).unwrap_or_default())
}

/// The person before the screen.
pub trait Person {
    /// Hears how it goes.
    fn hear(&mut self, news: &News<'_>);

    /// Is asked whether both devices show these digits. The answer may take its time: it is waited for
    /// away from the network.
    fn compare(&mut self, digits: Digits, other: &Card) -> Box<dyn FnOnce() -> bool + Send>;

    /// Completes when the person does not want to wait any more for devices that a server asks. What was asked
    /// is withdrawn then. By default never.
    fn gives_up(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }
}

/// What a person hears.
#[derive(Debug)]
#[non_exhaustive]
pub enum News<'a> {
    /// The text of a QR code for the other device to read. It is a secret.
    Invitation(&'a str),
    /// A code to type into the other device.
    Code(String),
    /// A device came.
    Met(&'a Card),
    /// Other devices must approve.
    Opened {
        /// The ceremony.
        id: CeremonyId,
        /// What is asked.
        description: Description,
        /// How many approvals it takes, and how many there are.
        standing: Standing,
        /// Until when they are waited for.
        expires_at: UnixMillis,
        /// Where the answers are waited for, when it is this command itself.
        here: Option<SocketAddr>,
        /// What people compare with what their devices show, where nobody knows who asks.
        words: Option<ProfileWords>,
    },
    /// A device answered.
    Answered(DeviceId),
}
