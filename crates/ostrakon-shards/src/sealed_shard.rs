//! Shards sealed to devices.
//!
//! Each shard of a file's key is sealed to one device. A key shard server's is sealed with its whole
//! [`ShardContext`] bound in, the path among it, and the context stands nowhere beside it: whoever
//! wants it opened must name the context, and under another path, profile, threshold, set or device it
//! does not open. An owner's own device must be able to name the path, so its share carries the path
//! and the set's manifest inside the seal, and only the public part of the context is bound in.
//!
//! So a file holds the public context and sealed boxes, and no path in clear. The length of a path
//! shows in the length of the owners' boxes.

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteSlice, encode::Write};
use ostrakon_types::{
    CryptographicId, DeviceId, Digest, MetaItem, ProfileId, SetId,
    canonical::{self, DecodeError},
};
use zeroize::Zeroizing;

use crate::{
    base64_text::serde_as_base64,
    hash::sha256,
    kem::{KemPublic, KemSecret},
    random::{Source, System},
    seal::{self, ParseSealedError, SealError, Sealed},
    secret::{self, assert_secret},
    share::{CheckShardError, Manifest, Shard, ShardDecodeError},
    suite::Suite,
    versioned::versioned,
};

const VERSION: u8 = 1;
const SERVER: &str = "server shard";
const OWNER: &str = "owner share";

/// What may be known of a sealed shard by whoever holds the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicContext {
    /// The splitting.
    pub set_id: SetId,
    /// The file's key.
    pub cryptographic_id: CryptographicId,
    /// The profile among whose devices the key is shared.
    pub profile: ProfileId,
    /// The device that the shard is sealed to.
    pub device: DeviceId,
    /// How many shards combine to the key.
    pub threshold: u8,
    /// The shard's index.
    pub index: u8,
    /// The digest of the set's manifest.
    pub manifest: Digest,
}

/// What a sealed shard is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShardContext {
    /// The part that may stand in a file.
    pub public: PublicContext,
    /// The file's path, and whether it is complete.
    pub meta: MetaItem,
}

/// A shard sealed to a key shard server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SealedShard(Sealed);

/// An [`OwnerShare`] sealed to one of the owner's devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SealedOwnerShare(Sealed);

/// One of the owner's devices' share of a file's key, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileShare {
    /// What may be known of it.
    pub public: PublicContext,
    /// The share.
    pub sealed: SealedOwnerShare,
}

/// What an owner's device gets: its shard, and what it takes to ask for others and to combine them.
pub struct OwnerShare {
    /// The device's own shard.
    pub shard: Shard,
    /// What all shards of the set are checked against.
    pub manifest: Manifest,
    /// The path that the other shards are bound to.
    pub meta: MetaItem,
}

/// What an owner's device gives of a file's key to whoever puts it together. The path stays with it.
pub struct GivenShare {
    /// The device's shard.
    pub shard: Shard,
    /// What all shards of the set are checked against.
    pub manifest: Manifest,
}

assert_secret!(OwnerShare, GivenShare);

/// Why what was given is not the share of a file's key that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GivenShareError {
    /// It is nothing that a device gives.
    #[error("it is malformed")]
    Malformed(#[from] DecodeError),
    /// It holds no shard.
    #[error("it holds no shard")]
    Shard(#[from] ShardDecodeError),
    /// It is that of another device, or of another file.
    #[error("it is another one")]
    OtherContext,
    /// It was altered.
    #[error("it is not what was split")]
    OtherManifest(#[from] CheckShardError),
}

/// Why a shard could not be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealShardError {
    /// The context is that of another shard.
    #[error("shard and context do not belong together")]
    OtherContext,
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Why a sealed shard could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenShardError {
    /// It was sealed in another context or to another device, or was altered.
    #[error(transparent)]
    Open(#[from] seal::OpenError),
    /// It opens, but holds no shard.
    #[error("sealed box holds no shard")]
    Shard(#[from] ShardDecodeError),
    /// It opens, but holds no shard, manifest and path.
    #[error("sealed box holds no owner's share")]
    OwnerShare(#[from] DecodeError),
    /// It holds the shard of another context: whoever sealed it erred or lies.
    #[error("sealed shard contradicts its context")]
    OtherContext,
    /// It holds a shard that its manifest does not.
    #[error("sealed shard contradicts its manifest")]
    OtherManifest(#[from] CheckShardError),
}

/// Seals `shard` to a key shard server's shard key.
///
/// # Errors
/// When `context` is not that of `shard`, the key is not valid, or there is no randomness.
pub fn seal_for_server(
    suite: Suite,
    shard: &Shard,
    context: &ShardContext,
    recipient: &KemPublic,
) -> Result<SealedShard, SealShardError> {
    seal_for_server_impl(suite, shard, context, recipient, &mut System)
}

pub(crate) fn seal_for_server_impl(
    suite: Suite,
    shard: &Shard,
    context: &ShardContext,
    recipient: &KemPublic,
    source: &mut impl Source,
) -> Result<SealedShard, SealShardError> {
    if !context.public.is_of(shard) {
        return Err(SealShardError::OtherContext);
    }
    let bound = context.digest();
    let bytes = shard.to_bytes();
    seal::seal_impl(suite, SERVER, recipient, bound.as_bytes(), &bytes, source)
        .map(SealedShard)
        .map_err(Into::into)
}

/// Opens a key shard server's shard, which must have been sealed in this `context`.
///
/// # Errors
/// When it was not, or was altered.
pub fn open_at_server(
    secret: &KemSecret,
    context: &ShardContext,
    sealed: &SealedShard,
) -> Result<Shard, OpenShardError> {
    let bound = context.digest();
    let bytes = seal::open(SERVER, secret, bound.as_bytes(), &sealed.0)?;
    let shard = Shard::from_bytes(&bytes)?;
    if context.public.is_of(&shard) {
        Ok(shard)
    } else {
        Err(OpenShardError::OtherContext)
    }
}

/// Seals `shard`, with its set's manifest and the path, to one of the owner's devices.
///
/// # Errors
/// When `context` or `manifest` is not that of `shard`, the key is not valid, or there is no
/// randomness.
pub fn seal_for_owner(
    suite: Suite,
    shard: &Shard,
    manifest: &Manifest,
    context: &ShardContext,
    recipient: &KemPublic,
) -> Result<SealedOwnerShare, SealShardError> {
    seal_for_owner_impl(suite, shard, manifest, context, recipient, &mut System)
}

pub(crate) fn seal_for_owner_impl(
    suite: Suite,
    shard: &Shard,
    manifest: &Manifest,
    context: &ShardContext,
    recipient: &KemPublic,
    source: &mut impl Source,
) -> Result<SealedOwnerShare, SealShardError> {
    let public = &context.public;
    let belongs = public.is_of(shard) && public.manifest == manifest.digest();
    if !belongs || manifest.check(shard).is_err() {
        return Err(SealShardError::OtherContext);
    }
    let shard = shard.to_bytes();
    let shard = <&ByteSlice>::from(shard.as_slice());
    let bytes = secret::encode(&(VERSION, shard, manifest, &context.meta));
    let bound = canonical::encode(public);
    seal::seal_impl(suite, OWNER, recipient, &bound, &bytes, source)
        .map(SealedOwnerShare)
        .map_err(Into::into)
}

/// Opens an owner's share, which must have been sealed in this public context.
///
/// # Errors
/// When it was not, or was altered.
pub fn open_as_owner(
    secret: &KemSecret,
    public: &PublicContext,
    sealed: &SealedOwnerShare,
) -> Result<OwnerShare, OpenShardError> {
    let bound = canonical::encode(public);
    let bytes = seal::open(OWNER, secret, &bound, &sealed.0)?;
    let (version, shard, manifest, meta): (u8, &ByteSlice, Manifest, MetaItem) =
        secret::decode(&bytes)?;
    if version != VERSION {
        return Err(ShardDecodeError::Version(version).into());
    }
    let shard = Shard::from_bytes(shard)?;
    if !public.is_of(&shard) || public.manifest != manifest.digest() {
        return Err(OpenShardError::OtherContext);
    }
    manifest.check(&shard)?;
    Ok(OwnerShare {
        shard,
        manifest,
        meta,
    })
}

impl OwnerShare {
    /// What of it goes to whoever puts the key together.
    #[must_use]
    pub fn give(self) -> GivenShare {
        GivenShare {
            shard: self.shard,
            manifest: self.manifest,
        }
    }
}

impl FileShare {
    /// Decodes a canonical one.
    ///
    /// # Errors
    /// When the bytes are no canonical encoding of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes)
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }
}

impl GivenShare {
    /// Its form on the way. Wiped on drop.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let shard = self.shard.to_bytes();
        let shard = <&ByteSlice>::from(shard.as_slice());
        secret::encode(&(VERSION, shard, &self.manifest))
    }

    /// Takes what a device gave, if it is the share that stands in the file in this context.
    ///
    /// # Errors
    /// When it is another, or none.
    pub fn from_bytes(bytes: &[u8], public: &PublicContext) -> Result<Self, GivenShareError> {
        let (version, shard, manifest): (u8, &ByteSlice, Manifest) = secret::decode(bytes)?;
        if version != VERSION {
            return Err(ShardDecodeError::Version(version).into());
        }
        let shard = Shard::from_bytes(shard)?;
        if !public.is_of(&shard) || public.manifest != manifest.digest() {
            return Err(GivenShareError::OtherContext);
        }
        manifest.check(&shard)?;
        Ok(Self { shard, manifest })
    }
}

impl PublicContext {
    /// Decodes a canonical public context.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a context of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes)
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    fn is_of(&self, shard: &Shard) -> bool {
        self.set_id == shard.set_id()
            && self.threshold == shard.threshold()
            && self.index == shard.index()
    }
}

impl ShardContext {
    /// SHA-256 of the canonical encoding: what a server's shard is bound to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&canonical::encode(self))
    }
}

impl<C> Encode<C> for ShardContext {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (self.public, &self.meta).encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for ShardContext {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let (public, meta) = Decode::decode(d, ctx)?;
        Ok(Self { public, meta })
    }
}

versioned!(PublicContext, 1 {
    set_id,
    cryptographic_id,
    profile,
    device,
    threshold,
    index,
    manifest,
});

versioned!(FileShare, 1 { public, sealed });

macro_rules! sealed_box {
    ($($type:ident),+) => { $(
        impl $type {
            /// The suite that it was sealed with.
            #[must_use]
            pub fn suite(&self) -> Suite {
                self.0.suite()
            }

            /// The form on the wire, that of a [`Sealed`] box.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                self.0.to_bytes()
            }

            /// Takes the form on the wire apart.
            ///
            /// # Errors
            /// When the version or suite is unknown, or bytes are missing.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseSealedError> {
                Sealed::from_bytes(bytes).map(Self)
            }
        }

        impl<C> Encode<C> for $type {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                ctx: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                self.0.encode(e, ctx)
            }
        }

        impl<'b, C> Decode<'b, C> for $type {
            fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
                Sealed::decode(d, ctx).map(Self)
            }
        }
    )+ };
}
sealed_box!(SealedShard, SealedOwnerShare);
serde_as_base64!(SealedShard, SealedOwnerShare, PublicContext);

#[cfg(test)]
mod tests;
