//! The user's side: profiles, secure folders, and files whose key is shared out among devices.
//!
//! A [`Workstation`] is a [`Home`] opened with a [`Config`]. It makes a profile, alone
//! ([`Workstation::create_profile`]) or with a key shard server ([`Workstation::onboard`]), registers
//! secure folders, and encrypts and decrypts what is in them.
//!
//! Several devices of one profile, and what they ask each other, are in [`people`].
//!
//! | what | needs |
//! | --- | --- |
//! | encrypting | the public cards of the profile's devices: no server, no secret |
//! | decrypting | this device's key and, in a profile with a server, the server's consent for each file |
//!
//! # Threat model
//!
//! Files, folders and the network are anybody's. A file that was altered, cut off or made by somebody
//! else gives an error, and no output. A server is known by its id, whose card it must show; what it
//! answers is checked against what only the requester and the server know, and a share that it releases
//! against the file. A server cannot move a profile back to an earlier version or to another branch.
//! Whoever has this user's rights on this machine is out of scope.
//!
//! # Deliberately absent
//!
//! Clocks, environment variables and the machine's name, which are [handed in](Environment). Output of
//! any kind: work is reported through [`Progress`], and who reports to people is the binary. Names and
//! paths in logs or `Debug`.

mod ask;
mod background;
pub mod backup;
mod claims;
mod config;
mod decrypt;
mod encrypt;
mod environment;
mod file;
mod folder;
mod folders;
mod home;
mod kept;
pub mod load;
mod onboard;
pub mod people;
mod refresh;
mod report;
mod walk;
mod workstation;

pub use ask::AskError;
pub use config::{Config, ConfigFile, ConfigProblem, ENTERPRISE_FILE, LoadConfigError};
pub use decrypt::{DecryptError, DecryptOptions};
pub use encrypt::{EncryptError, EncryptOptions};
pub use environment::Environment;
pub use file::{EXTENSION, FileError, SealedFile};
pub use folder::{PathError, SecureFolder, SecurityGroup};
pub use folders::CreateFolderError;
pub use home::{Home, HomeError};
pub use kept::GenerationError;
pub use onboard::{CreateProfileError, OnboardError};
pub use ostrakon_shards::suite::Suite;
pub use refresh::RefreshError;
pub use report::{Outcome, Progress, Report, Skip, Summary};
// Types of the layers below that this interface speaks.
pub use ostrakon_transport::http::BaseUrl;
pub use workstation::{OpenError, ProfileView, Workstation};
