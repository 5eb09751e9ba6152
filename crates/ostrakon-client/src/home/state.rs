use std::{
    ffi::OsStr,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use minicbor::{Decode, Decoder, Encode, Encoder, encode::Write};
use ostrakon_shards::{
    card::Card,
    generation::Generation,
    identity::PublicCard,
    profile::{Head, HeadError, Profile, SignedHead, SignedVersion},
};
use ostrakon_types::{DeviceId, KssId, ProfileId, RequestId, canonical};

use super::HomeError;
use crate::folder::{SecureFolder, SecurityGroup};

const VERSION: u8 = 1;

/// All that a workstation knows beside its keys.
#[derive(Encode, Decode)]
pub(crate) struct State {
    #[n(0)]
    version: u8,
    /// An onboarding that was begun, until it is done.
    #[n(1)]
    pub(crate) pending: Option<Pending>,
    #[n(2)]
    pub(crate) membership: Option<Membership>,
    #[n(3)]
    pub(crate) groups: Vec<SecurityGroup>,
    #[n(4)]
    pub(crate) folders: Vec<SecureFolder>,
    /// What is known of other devices. There is none in a home that a version of before wrote.
    #[n(5)]
    pub(crate) people: Option<People>,
}

/// What a home knows of itself as one of several devices.
#[derive(Clone, Default, Encode, Decode)]
pub(crate) struct People {
    /// This device's card, from when it has one: before it belongs to a profile.
    #[n(0)]
    pub(crate) card: Option<Card>,
    /// Where this home last waited for other devices.
    #[n(1)]
    pub(crate) listen: Option<String>,
    /// Where other devices of the profile wait for this one's answers.
    #[n(2)]
    pub(crate) relays: Vec<String>,
    /// The newest backup key of each server that this device has approved the making of.
    #[n(3)]
    pub(crate) backups: Option<Vec<KnownBackup>>,
    /// What is there of a recovery, until it is finished.
    #[n(4)]
    pub(crate) recovery: Option<Recovery>,
}

/// A profile that is being recovered on this machine.
#[derive(Clone, Default, Encode, Decode)]
pub(crate) struct Recovery {
    /// Devices that came, with what they know of their profile.
    #[n(0)]
    pub(crate) devices: Vec<MetDevice>,
    /// The profiles that were loaded, each by its versions.
    #[n(1)]
    pub(crate) profiles: Vec<Vec<SignedVersion>>,
    #[n(2)]
    pub(crate) selected: Option<ProfileId>,
    /// The devices in whose place this machine comes, once that is decided.
    #[n(3)]
    pub(crate) staged: Option<Vec<DeviceId>>,
}

/// A device that came, and showed its profile or was shown it.
#[derive(Clone, Encode, Decode)]
pub(crate) struct MetDevice {
    #[n(0)]
    pub(crate) card: Card,
    #[n(1)]
    pub(crate) versions: Vec<SignedVersion>,
    /// The profile's server, as the device knows it.
    #[n(2)]
    pub(crate) keyserver: Option<PinnedKeyserver>,
    /// That server's word on which version is in force.
    #[n(3)]
    pub(crate) signed_head: Option<SignedHead>,
}

/// A backup key that this device knows of.
#[derive(Clone, Copy, Encode, Decode)]
pub(crate) struct KnownBackup {
    #[n(0)]
    pub(crate) kss_id: KssId,
    #[n(1)]
    pub(crate) generation: Generation,
}

/// What was drawn for an onboarding, so that its repetition does not make a second profile.
#[derive(Clone, Encode, Decode)]
pub(crate) struct Pending {
    #[n(0)]
    pub(crate) request: RequestId,
    #[n(1)]
    pub(crate) keyserver: PinnedKeyserver,
    /// The first version, signed by the workstation alone.
    #[n(2)]
    pub(crate) version: SignedVersion,
}

/// A profile, and this device's place in it.
#[derive(Clone, Encode, Decode)]
pub(crate) struct Membership {
    #[n(0)]
    pub(crate) device: Card,
    #[n(1)]
    pub(crate) versions: Vec<SignedVersion>,
    /// The highest head that was seen.
    #[n(2)]
    pub(crate) head: Head,
    #[n(3)]
    pub(crate) signed_head: Option<SignedHead>,
    #[n(4)]
    pub(crate) keyserver: Option<PinnedKeyserver>,
}

/// A key shard server, by its card, and where it was last told to be.
#[derive(Clone, Encode, Decode)]
pub(crate) struct PinnedKeyserver {
    #[n(0)]
    pub(crate) card: PublicCard,
    #[n(1)]
    pub(crate) urls: Vec<String>,
}

/// A path as bytes, since it need not be text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoredPath(pub(crate) PathBuf);

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            pending: None,
            membership: None,
            groups: Vec::new(),
            folders: Vec::new(),
            people: None,
        }
    }
}

impl State {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, HomeError> {
        // The version first: of another one, the rest need not make sense.
        let mut decoder = Decoder::new(bytes);
        let version = decoder.array().and_then(|_| decoder.u8());
        if let Some(other) = version.ok().filter(|version| *version != VERSION) {
            return Err(HomeError::Version(other));
        }
        canonical::decode(bytes).map_err(HomeError::State)
    }
}

impl Membership {
    /// Takes over a chain and what the server says of it, unless it denies what was seen before.
    ///
    /// # Errors
    /// When the chain does not descend from the kept head. The membership stays as it was.
    pub(crate) fn follow(
        &mut self,
        profile: &Profile,
        versions: Vec<SignedVersion>,
        signed_head: SignedHead,
    ) -> Result<(), HeadError> {
        self.head = self.head.follow(profile)?;
        self.versions = versions;
        self.signed_head = Some(signed_head);
        Ok(())
    }
}

impl State {
    /// Changes what is known of other devices.
    pub(crate) fn people_mut(&mut self) -> &mut People {
        self.people.get_or_insert_default()
    }
}

impl Recovery {
    /// Notes that a device came, in place of what it showed before.
    pub(crate) fn meet(&mut self, met: MetDevice) {
        self.devices.retain(|known| known.card != met.card);
        self.devices.push(met);
    }
}

impl People {
    /// Changes what is there of a recovery.
    pub(crate) fn recovery_mut(&mut self) -> &mut Recovery {
        self.recovery.get_or_insert_default()
    }

    /// Notes that a backup key was made.
    pub(crate) fn note_backup(&mut self, kss_id: KssId, generation: Generation) {
        let known = self.backups.get_or_insert_default();
        match known.iter_mut().find(|known| known.kss_id == kss_id) {
            Some(known) => known.generation = known.generation.max(generation),
            None => known.push(KnownBackup { kss_id, generation }),
        }
    }

    /// Notes where another device waits, as the last of a few.
    pub(crate) fn note_relay(&mut self, url: String) {
        const MOST: usize = 8;
        self.relays.retain(|known| *known != url);
        self.relays.push(url);
        let over = self.relays.len().saturating_sub(MOST);
        self.relays.drain(..over);
    }
}

impl AsRef<Path> for StoredPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl<C> Encode<C> for StoredPath {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self.0.as_os_str().as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for StoredPath {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?.to_vec();
        Ok(Self(std::ffi::OsString::from_vec(bytes).into()))
    }
}

impl From<&OsStr> for StoredPath {
    fn from(path: &OsStr) -> Self {
        Self(path.into())
    }
}
