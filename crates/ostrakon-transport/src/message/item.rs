use std::fmt;

use minicbor::{Decode, Encode};
use ostrakon_shards::{
    name::Name,
    profile::{SignedHead, SignedVersion},
    sealed_shard::{SealedShard, ShardContext},
};
use ostrakon_types::{LocationId, ProfileId, RequestKind};

use super::{MAX_PATH_LEN, RequestBodyError};

/// What a released shard is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ReleaseKind {
    /// Decrypting the file.
    #[n(0)]
    Decrypt,
    /// Sealing the file under another name.
    #[n(1)]
    Rename,
    /// Taking the file out of its folder.
    #[n(2)]
    SecureExport,
}

/// One thing that a request asks for.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Item {
    /// The release of the server's shard of one file's key.
    #[n(0)]
    Release {
        /// What for.
        #[n(0)]
        kind: ReleaseKind,
        /// What the shard is bound to.
        #[n(1)]
        context: ShardContext,
        /// The shard, sealed to the server.
        #[n(2)]
        sealed: SealedShard,
    },
    /// The registration of a new profile.
    #[n(1)]
    CreateProfile {
        /// Its first version, signed by all its devices but the server, which adds its own signature.
        #[n(0)]
        version: SignedVersion,
    },
    /// The registration of a new secure folder.
    #[n(2)]
    CreateLocation {
        /// Its id, drawn by the client, so that asking again makes no second folder.
        #[n(0)]
        location: LocationId,
        /// Its name.
        #[n(1)]
        name: Name,
    },
    /// All secure folders of the profile.
    #[n(3)]
    ListLocations,
    /// The profile's version that is in force.
    #[n(4)]
    ProfileHead,
    /// Shows the profile to a server that may not know it, or not its newest version: one that was
    /// recovered, or put back to an older state. The server believes its own signature.
    #[n(20)]
    ShowProfile {
        /// All versions.
        #[n(0)]
        versions: Vec<SignedVersion>,
        /// The server's word that the last one is in force.
        #[n(1)]
        head: SignedHead,
    },
}

impl From<ReleaseKind> for RequestKind {
    fn from(kind: ReleaseKind) -> Self {
        match kind {
            ReleaseKind::Decrypt => Self::Decrypt,
            ReleaseKind::Rename => Self::Rename,
            ReleaseKind::SecureExport => Self::SecureExport,
        }
    }
}

impl Item {
    /// As what a policy judges the item; `None` for what every member of the profile may know.
    #[must_use]
    pub fn kind(&self) -> Option<RequestKind> {
        match self {
            Self::Release { kind, .. } => Some((*kind).into()),
            Self::CreateProfile { .. } => Some(RequestKind::CreateProfile),
            Self::CreateLocation { .. } => Some(RequestKind::CreateLocation),
            Self::ListLocations | Self::ProfileHead | Self::ShowProfile { .. } => None,
        }
    }

    /// Checks that the item may stand in a request for `profile`.
    pub(super) fn check(&self, profile: &ProfileId) -> Result<(), RequestBodyError> {
        let own = match self {
            Self::Release { context, .. } => {
                if context.meta.meta.len() > MAX_PATH_LEN {
                    return Err(RequestBodyError::PathTooLong);
                }
                context.public.profile == *profile
            }
            Self::CreateProfile { version } => {
                let hash = version.version().hash();
                hash.as_bytes().starts_with(profile.as_bytes())
            }
            Self::ShowProfile { versions, .. } => versions.first().is_some_and(|first| {
                let hash = first.version().hash();
                hash.as_bytes().starts_with(profile.as_bytes())
            }),
            Self::CreateLocation { .. } | Self::ListLocations | Self::ProfileHead => true,
        };
        if own {
            Ok(())
        } else {
            Err(RequestBodyError::OtherProfile)
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release { kind, context, .. } => f
                .debug_struct("Release")
                .field("kind", kind)
                .field("cryptographic_id", &context.public.cryptographic_id)
                .finish_non_exhaustive(),
            Self::CreateProfile { .. } => f.debug_struct("CreateProfile").finish_non_exhaustive(),
            Self::CreateLocation { location, .. } => f
                .debug_struct("CreateLocation")
                .field("location", location)
                .finish_non_exhaustive(),
            Self::ListLocations => f.write_str("ListLocations"),
            Self::ProfileHead => f.write_str("ProfileHead"),
            Self::ShowProfile { .. } => f.debug_struct("ShowProfile").finish_non_exhaustive(),
        }
    }
}
