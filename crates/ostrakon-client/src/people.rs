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
//! | `words` | recovery words, as a device |
//!
//! A ceremony travels through the profile's key shard server where there is one, and otherwise through
//! the waiting command itself. Neither can read it, change it, or answer it (see
//! [`ostrakon_shards::ceremony`]).

mod approvals;
mod calls;
mod change;
mod desk;
mod front;
mod guest;
mod hold;
mod host;
mod wire;
mod words;

use std::net::SocketAddr;

use ostrakon_types::{CeremonyId, DeviceId, UnixMillis};

pub use approvals::{AnswerApprovalError, Approvals, ListApprovalsError, PendingApproval};
pub use change::{ChangeOptions, ChangeProfileError};
pub use front::ListenError;
pub use guest::{GuestOptions, JoinError, Joined};
pub use hold::HoldError;
pub use host::{AddDeviceError, HostOptions, Method};
// Types of the layer below that this interface speaks.
pub use ostrakon_shards::{
    card::{Card, DeviceKind},
    ceremony::{Ceremony, Description, Question, Requester, Standing},
    name::Name,
    pairing::{Code, Digits, Invitation},
    words::{ParseWordsError, RecoveryWords},
};
pub use words::LoadWordsError;

/// How long a ceremony or a pairing is waited for, unless somebody says otherwise: ten minutes.
pub const DEFAULT_WAIT_MS: i64 = 10 * 60 * 1000;

/// The person before the screen.
pub trait Person {
    /// Hears how it goes.
    fn hear(&mut self, news: &News<'_>);

    /// Is asked whether both devices show these digits. The answer may take its time: it is waited for
    /// away from the network.
    fn compare(&mut self, digits: Digits, other: &Card) -> Box<dyn FnOnce() -> bool + Send>;
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
    },
    /// A device answered.
    Answered(DeviceId),
}
