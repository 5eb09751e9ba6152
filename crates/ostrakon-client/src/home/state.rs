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
use ostrakon_types::{CeremonyId, DeviceId, KssId, ProfileId, RequestId, UnixMillis, canonical};

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
    /// The newest backup key of each server that was made, as far as this device knows.
    #[n(3)]
    pub(crate) backups: Option<Vec<KnownBackup>>,
    /// What is there of a recovery, until it is finished.
    #[n(4)]
    pub(crate) recovery: Option<Recovery>,
    /// What is known of ceremonies that this device took part in.
    #[n(5)]
    pub(crate) ceremonies: Option<PastCeremonies>,
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

/// What a device knows of ceremonies that it took part in, until that is past.
#[derive(Clone, Default, Encode, Decode)]
pub(crate) struct PastCeremonies {
    /// Those that it has answered.
    #[n(0)]
    pub(crate) answered: Vec<AnsweredCeremony>,
    /// Backup keys that it approved the making of, and has not heard of whether they were made.
    #[n(1)]
    pub(crate) unheard: Vec<UnheardBackup>,
    /// Servers whose own ceremonies it answered, and where they are.
    #[n(2)]
    pub(crate) servers: Vec<KnownServer>,
}

/// A ceremony that this device has answered.
#[derive(Clone, Copy, Encode, Decode)]
pub(crate) struct AnsweredCeremony {
    #[n(0)]
    pub(crate) id: CeremonyId,
    #[n(1)]
    pub(crate) expires_at: UnixMillis,
}

/// A backup key that may have been made.
#[derive(Clone, Copy, Encode, Decode)]
pub(crate) struct UnheardBackup {
    #[n(0)]
    pub(crate) backup: KnownBackup,
    /// From when on it is not made any more, if it was not before.
    #[n(1)]
    pub(crate) until: UnixMillis,
}

/// A key shard server that relays to this device what it asks itself.
#[derive(Clone, Encode, Decode)]
pub(crate) struct KnownServer {
    #[n(0)]
    pub(crate) kss_id: KssId,
    #[n(1)]
    pub(crate) urls: Vec<String>,
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

    /// Changes what is known of past ceremonies.
    pub(crate) fn ceremonies_mut(&mut self) -> &mut PastCeremonies {
        self.ceremonies.get_or_insert_default()
    }

    /// Whether it is news that this is the newest backup key of a server at `now`.
    pub(crate) fn is_news(&self, newest: KnownBackup, now: UnixMillis) -> bool {
        let mut known = self.backups.iter().flatten();
        let mut unheard = self.ceremonies.iter().flat_map(|past| &past.unheard);
        !known.any(|known| known.kss_id == newest.kss_id && known.generation >= newest.generation)
            || unheard.any(|unheard| unheard.is_settled_by(newest, now))
    }

    /// Notes that this is the newest backup key of a server at `now`. One that it could have made by then,
    /// and says nothing of, was not made.
    pub(crate) fn note_newest(&mut self, newest: KnownBackup, now: UnixMillis) {
        self.note_made(newest);
        let unheard = &mut self.ceremonies_mut().unheard;
        unheard.retain(|unheard| !unheard.is_settled_by(newest, now));
    }

    /// Notes that a backup key was made.
    pub(crate) fn note_made(&mut self, made: KnownBackup) {
        let known = self.backups.get_or_insert_default();
        match known.iter_mut().find(|known| known.kss_id == made.kss_id) {
            Some(known) => known.generation = known.generation.max(made.generation),
            None => known.push(made),
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

impl UnheardBackup {
    /// Whether it is known what came of it, where the newest backup key of a server at `now` is this.
    fn is_settled_by(&self, newest: KnownBackup, now: UnixMillis) -> bool {
        let own = self.backup;
        own.kss_id == newest.kss_id && (own.generation <= newest.generation || now >= self.until)
    }
}

impl PastCeremonies {
    /// Notes that this device has answered.
    pub(crate) fn note_answer(&mut self, answered: AnsweredCeremony, now: UnixMillis) {
        self.answered
            .retain(|known| now < known.expires_at && known.id != answered.id);
        self.answered.push(answered);
    }

    /// Notes that a backup key may be made.
    pub(crate) fn note_unheard(&mut self, unheard: UnheardBackup) {
        self.unheard.push(unheard);
    }

    /// Notes where a server is, as the last of a few.
    pub(crate) fn note_server(&mut self, server: KnownServer) {
        const MOST: usize = 8;
        self.servers.retain(|known| known.kss_id != server.kss_id);
        self.servers.push(server);
        let over = self.servers.len().saturating_sub(MOST);
        self.servers.drain(..over);
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
