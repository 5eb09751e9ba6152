//! A device's home, as a backup takes it.

use std::path::Path;

use ostrakon_shards::{
    archive::SignedArchive,
    card::{Card, DeviceKind},
    device::DeviceKeys,
    name::Name,
};
use ostrakon_types::Digest;

use crate::{
    home::{Home, HomeError},
    workstation::{OpenError, member},
};

/// What a home has that is worth keeping, in the order of the names.
pub const FILES: [&str; 3] = ["device.key", "generation", "state"];

/// Vouches for backups of a device.
pub struct Signer {
    keys: DeviceKeys,
    card: Card,
}

impl Signer {
    /// Reads the device's keys, and sees that its profile is what it was.
    ///
    /// # Errors
    /// When the home cannot be used, has no keys, or is damaged.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let home = Home::open(folder)?;
        let state = home.read_state()?;
        let keys = home.read_keys()?.ok_or(HomeError::NoKeys)?;
        let card = match member(&home, &state)? {
            Some(member) => member.device,
            None => {
                // A device of no profile yet.
                let name = Name::new("device").map_err(|_| HomeError::NoKeys)?;
                keys.card(DeviceKind::Workstation, name)
            }
        };
        Ok(Self { keys, card })
    }

    /// The device.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Vouches for the archive whose manifest has this digest.
    #[must_use]
    pub fn sign(&self, manifest: Digest) -> SignedArchive {
        SignedArchive::issue(&self.keys.signing, manifest)
    }
}

/// Sees that a home is one, and that its keys and profile fit.
///
/// # Errors
/// When they do not.
pub fn check(folder: &Path) -> Result<(), OpenError> {
    Signer::open(folder).map(drop)
}
