use std::fmt;

use minicbor::{Decode, Encode};
use ostrakon_shards::{
    name::Name,
    profile::{SignedHead, SignedVersion},
    seal::Sealed,
    sealed_shard::{SealedShard, ShardContext},
};
use ostrakon_types::{CeremonyId, DeviceId, LocationId, ProfileId, RequestKind, UnixMillis};

use super::{
    CeremonyOutcome, MAX_ANSWER_LEN, MAX_NOTICE_LEN, MAX_NOTICES, MAX_PATH_LEN, RequestBodyError,
};

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
    /// The replacement of the profile's version by the next one.
    #[n(5)]
    ChangeProfile {
        /// The next version, signed by all who must sign it but the server, which adds its own
        /// signature.
        #[n(0)]
        version: SignedVersion,
    },
    /// The versions of the profile that follow a known one.
    #[n(6)]
    ProfileChain {
        /// The known one's number.
        #[n(0)]
        after: u64,
    },
    /// Keeps the notices of a ceremony until their devices fetch them. The server reads none.
    #[n(7)]
    OpenCeremony {
        /// Its id, drawn by the requester.
        #[n(0)]
        id: CeremonyId,
        /// How long the notices are kept.
        #[n(1)]
        expires_at: UnixMillis,
        /// What is for whom.
        #[n(2)]
        notices: Vec<(DeviceId, Sealed)>,
    },
    /// The notices that wait for the asking device.
    #[n(8)]
    PendingCeremonies {
        /// The number of the newest version of its profile that the device knows. Where it has no server
        /// in it, later ones that the server knows come along.
        #[n(0)]
        known: Option<u64>,
    },
    /// Keeps an answer until the requester fetches it. The server cannot read it.
    #[n(9)]
    AnswerCeremony {
        /// The ceremony.
        #[n(0)]
        id: CeremonyId,
        /// The answer, sealed to the requester.
        #[n(1)]
        answer: Sealed,
    },
    /// The answers to a ceremony that the asking device opened.
    #[n(10)]
    CeremonyAnswers {
        /// The ceremony.
        #[n(0)]
        id: CeremonyId,
    },
    /// Ends a ceremony that the asking device opened.
    #[n(11)]
    CloseCeremony {
        /// The ceremony.
        #[n(0)]
        id: CeremonyId,
        /// How it ended, as the requester says: for the audit log.
        #[n(1)]
        outcome: CeremonyOutcome,
    },
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
    /// Whether the item asks for a list, which a request may ask for once only. It changes nothing.
    #[must_use]
    pub fn asks_for_a_list(&self) -> bool {
        matches!(
            self,
            Self::ListLocations
                | Self::ProfileHead
                | Self::ProfileChain { .. }
                | Self::PendingCeremonies { .. }
                | Self::CeremonyAnswers { .. }
        )
    }

    /// Whether a request with this item has no other.
    pub(super) fn stands_alone(&self) -> bool {
        matches!(
            self,
            Self::CreateProfile { .. } | Self::ChangeProfile { .. }
        )
    }

    /// As what a policy judges the item; `None` for what every member of the profile may know.
    #[must_use]
    pub fn kind(&self) -> Option<RequestKind> {
        match self {
            Self::Release { kind, .. } => Some((*kind).into()),
            Self::CreateProfile { .. } => Some(RequestKind::CreateProfile),
            Self::CreateLocation { .. } => Some(RequestKind::CreateLocation),
            Self::ChangeProfile { .. } => Some(RequestKind::ChangeProfile),
            Self::ListLocations
            | Self::ProfileHead
            | Self::ShowProfile { .. }
            | Self::ProfileChain { .. }
            | Self::OpenCeremony { .. }
            | Self::PendingCeremonies { .. }
            | Self::AnswerCeremony { .. }
            | Self::CeremonyAnswers { .. }
            | Self::CloseCeremony { .. } => None,
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
            Self::OpenCeremony { notices, .. } => {
                let fits = |(_, notice): &(_, Sealed)| notice.to_bytes().len() <= MAX_NOTICE_LEN;
                if notices.len() > MAX_NOTICES || !notices.iter().all(fits) {
                    return Err(RequestBodyError::CeremonyTooLarge);
                }
                true
            }
            Self::AnswerCeremony { answer, .. } => {
                if answer.to_bytes().len() > MAX_ANSWER_LEN {
                    return Err(RequestBodyError::CeremonyTooLarge);
                }
                true
            }
            // Which profile a version continues shows by its place in the chain alone.
            Self::ChangeProfile { .. }
            | Self::CreateLocation { .. }
            | Self::ListLocations
            | Self::ProfileHead
            | Self::ProfileChain { .. }
            | Self::PendingCeremonies { .. }
            | Self::CeremonyAnswers { .. }
            | Self::CloseCeremony { .. } => true,
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
            Self::ChangeProfile { .. } => f.debug_struct("ChangeProfile").finish_non_exhaustive(),
            Self::ProfileChain { after } => f
                .debug_struct("ProfileChain")
                .field("after", after)
                .finish(),
            Self::OpenCeremony { id, .. } => ceremony(f, "OpenCeremony", id),
            Self::PendingCeremonies { known } => f
                .debug_struct("PendingCeremonies")
                .field("known", known)
                .finish(),
            Self::AnswerCeremony { id, .. } => ceremony(f, "AnswerCeremony", id),
            Self::CeremonyAnswers { id } => ceremony(f, "CeremonyAnswers", id),
            Self::CloseCeremony { id, .. } => ceremony(f, "CloseCeremony", id),
        }
    }
}

fn ceremony(f: &mut fmt::Formatter<'_>, name: &str, id: &CeremonyId) -> fmt::Result {
    f.debug_struct(name).field("id", id).finish_non_exhaustive()
}
