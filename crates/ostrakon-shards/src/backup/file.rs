use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteSlice, encode::Write};
use ostrakon_types::{
    DeviceId, Digest, KssId, UnixMillis,
    canonical::{self, DecodeError},
};

use super::{
    armor::{self, ArmorError},
    make::{MakeBackupError, holders, threshold},
};
use crate::{
    generation::Generation,
    hash::{DOMAIN, sha256},
    identity::{PublicCard, VerifiedKeyserver, VerifyPublicCardError},
    profile::{ChainError, Profile, SignedVersion},
    seal::Sealed,
    share::{Manifest, Threshold},
    sign::{Signature, SigningKey, VerifyKey},
    versioned::{Version, versioned},
};

const SIGNED: &str = "backup file";
/// For what a share is sealed to its device.
pub(super) const SHARE: &str = "backup share";

/// A device that holds a share, and that share, sealed to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The device.
    pub device: DeviceId,
    /// Its share, which it alone can open.
    pub share: Sealed,
    /// What a proof of the share is verified with.
    pub proof: VerifyKey,
}

/// A backup file of which everything was checked that can be checked without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFile {
    pub(super) body: Body,
    pub(super) keyserver: VerifiedKeyserver,
    profile: Profile,
    signature: Signature,
}

/// What the identity signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) card: PublicCard,
    pub(super) generation: Generation,
    pub(super) created_at: UnixMillis,
    pub(super) versions: Vec<SignedVersion>,
    pub(super) manifest: Manifest,
    pub(super) holders: Vec<Holder>,
    pub(super) recovery: Vec<u8>,
}

/// What is sealed under the backup key.
pub(super) struct Recovery<'a> {
    pub(super) identity: &'a ByteSlice,
    pub(super) root_key: Option<&'a ByteSlice>,
}

/// What a share is bound to.
pub(super) struct ShareContext<'a> {
    kss_id: KssId,
    body: &'a Body,
    device: DeviceId,
}

/// Why a text is not a backup file that can be relied on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseBackupError {
    /// The text around the content, or its checksum.
    #[error(transparent)]
    Armor(#[from] ArmorError),
    /// The content is not encoded as a backup file is.
    #[error("the content is not that of a backup file of this version")]
    Malformed(#[source] DecodeError),
    /// The server's card.
    #[error("the server's card in it is not valid")]
    Card(#[from] VerifyPublicCardError),
    /// The server did not sign it.
    #[error("it is not signed by the server that it names: it was changed")]
    Signature,
    /// The profile.
    #[error("the profile in it is not valid")]
    Profile(#[from] ChainError),
    /// The shares are not those of the profile's devices.
    #[error("its shares are not those of the profile's devices")]
    Holders,
}

impl BackupFile {
    pub(super) fn sign(
        body: Body,
        profile: Profile,
        root: &SigningKey,
    ) -> Result<Self, MakeBackupError> {
        let keyserver = body.card.verify(&body.card.claimed_id())?;
        if *keyserver.root_key() != root.verify_key() {
            return Err(MakeBackupError::OtherRoot);
        }
        Ok(Self {
            signature: root.sign(SIGNED, &canonical::encode(&body)),
            body,
            keyserver,
            profile,
        })
    }

    /// Reads a backup file. It must be as it was written, but for line ends, which may have become
    /// those of another system throughout.
    ///
    /// Which server it is of, it says itself: see [`kss_id`](Self::kss_id).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, ParseBackupError> {
        let content = armor::open(text)?;
        let file = Self::from_bytes(&content)?;
        armor::check_lines(text, &file)?;
        Ok(file)
    }

    /// The file, to be written.
    #[must_use]
    pub fn to_text(&self) -> String {
        armor::close(self)
    }

    /// The content, without the text around it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(&(&self.body, &self.signature))
    }

    /// Reads and checks the content as [`parse`](Self::parse) does.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseBackupError> {
        let (body, signature): (Body, Signature) =
            canonical::decode(bytes).map_err(ParseBackupError::Malformed)?;
        let keyserver = body.card.verify(&body.card.claimed_id())?;
        keyserver
            .root_key()
            .verify_strict(SIGNED, &canonical::encode(&body), &signature)
            .map_err(|_| ParseBackupError::Signature)?;
        let profile = Profile::from_chain(body.versions.iter().cloned())?;
        let devices = holders(&profile).map(|card| card.id());
        if !devices.eq(body.holders.iter().map(|holder| holder.device))
            || threshold(&profile) != Ok(body.manifest.threshold())
        {
            return Err(ParseBackupError::Holders);
        }
        Ok(Self {
            body,
            keyserver,
            profile,
            signature,
        })
    }

    /// The id of the server whose identity it can recover.
    #[must_use]
    pub fn kss_id(&self) -> KssId {
        self.keyserver.kss_id()
    }

    /// That server.
    #[must_use]
    pub fn keyserver(&self) -> &VerifiedKeyserver {
        &self.keyserver
    }

    /// That server, as it is published.
    #[must_use]
    pub fn public_card(&self) -> &PublicCard {
        &self.body.card
    }

    /// The generation of the server's state to which the file belongs. Of two files of one server, the
    /// lower one is out of date.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.body.generation
    }

    /// When it was made.
    #[must_use]
    pub fn created_at(&self) -> UnixMillis {
        self.body.created_at
    }

    /// The profile among whose devices the backup key is split.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// All versions of that profile.
    #[must_use]
    pub fn versions(&self) -> &[SignedVersion] {
        &self.body.versions
    }

    /// How many of how many devices open it.
    #[must_use]
    pub fn threshold(&self) -> Threshold {
        self.body.manifest.threshold()
    }

    /// The devices that hold shares, in the profile's order.
    #[must_use]
    pub fn holders(&self) -> &[Holder] {
        &self.body.holders
    }

    /// A device's part of it.
    #[must_use]
    pub fn holder(&self, device: &DeviceId) -> Option<&Holder> {
        self.body.holders.iter().find(|h| h.device == *device)
    }

    /// SHA-256 of the content.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&self.to_bytes())
    }
}

impl Body {
    /// The place to which the sealed identity is bound, beside [`recovery_row`](Self::recovery_row).
    pub(super) const RECOVERY: (&'static str, &'static str) = ("backup", "recovery");

    pub(super) fn recovery_row(&self) -> Vec<u8> {
        canonical::encode(&(
            DOMAIN,
            self.card.claimed_id().digest(),
            self.generation,
            self.manifest.digest(),
        ))
    }
}

impl<'a> ShareContext<'a> {
    pub(super) fn new(body: &'a Body, device: DeviceId) -> Self {
        Self {
            kss_id: body.card.claimed_id(),
            body,
            device,
        }
    }
}

impl<C> Encode<C> for ShareContext<'_> {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (
            DOMAIN,
            Version::<1>,
            self.kss_id.digest(),
            self.body.generation,
            self.body.manifest.digest(),
            self.device,
        )
            .encode(e, ctx)
    }
}

impl<C> Encode<C> for Recovery<'_> {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (Version::<1>, self.identity, self.root_key).encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Recovery<'b> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let (Version::<1>, identity, root_key) = Decode::decode(d, ctx)?;
        Ok(Self { identity, root_key })
    }
}

impl<C> Encode<C> for Body {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (
            Version::<1>,
            &self.card,
            self.generation,
            self.created_at,
            &self.versions,
            &self.manifest,
            &self.holders,
            <&ByteSlice>::from(self.recovery.as_slice()),
        )
            .encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Body {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let (Version::<1>, card, generation, created_at, versions, manifest, holders, recovery): (
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            &ByteSlice,
        ) = Decode::decode(d, ctx)?;
        Ok(Self {
            card,
            generation,
            created_at,
            versions,
            manifest,
            holders,
            recovery: recovery.to_vec(),
        })
    }
}

versioned!(Holder, 1 { device, share, proof });
