use std::{collections::BTreeSet, fs::File, io::BufReader};

use ostrakon_shards::{
    card::DeviceKind,
    kem::KemSecret,
    profile::Profile,
    sealed_shard::{
        OwnerShare, PublicContext, SealedOwnerShare, SealedShard, ShardContext, open_as_owner,
    },
    share::{FileKey, Shard, combine},
};
use ostrakon_types::{DeviceId, ProfileId};

use super::{FileError, head, stanza::ShareStanza};

/// An encrypted file, and this device's share of its key.
pub(crate) struct Locked {
    pub(crate) file: File,
    share: OwnerShare,
    server: Option<(PublicContext, SealedShard)>,
}

/// What it takes to decrypt a file.
pub(crate) enum Unlock {
    /// Nothing more: this device's share is the key.
    Own,
    /// The key shard server must open its shard in this context.
    Ask(ShardContext, SealedShard),
}

impl Locked {
    /// Reads the header of `file` and opens the share of `device` in it.
    pub(crate) fn open(
        file: File,
        profile: &Profile,
        device: DeviceId,
        secret: &KemSecret,
    ) -> Result<Self, FileError> {
        let shares = of_profile(head::shares(BufReader::new(&file))?, profile.id())?;
        let own = shares.iter().find(|share| share.public.device == device);
        let own = own.ok_or(FileError::NoShare)?;
        let sealed = SealedOwnerShare::from_bytes(&own.sealed).map_err(FileError::Sealed)?;
        let share = open_as_owner(secret, &own.public, &sealed).map_err(FileError::Share)?;
        let is_server = |device| {
            let card = profile.member(device);
            card.is_some_and(|card| card.kind == DeviceKind::Keyserver)
        };
        let server = shares.iter().find(|share| is_server(&share.public.device));
        let server = server
            .map(|share| {
                SealedShard::from_bytes(&share.sealed).map(|sealed| (share.public, sealed))
            })
            .transpose()
            .map_err(FileError::Sealed)?;
        Ok(Self {
            file,
            share,
            server,
        })
    }

    /// What it takes to decrypt it.
    ///
    /// # Errors
    /// When it takes more devices than can be asked.
    pub(crate) fn unlock(&self) -> Result<Unlock, FileError> {
        match (self.share.shard.threshold(), &self.server) {
            (1, _) => Ok(Unlock::Own),
            (2, Some((public, sealed))) => {
                let context = ShardContext {
                    public: *public,
                    meta: self.share.meta.clone(),
                };
                Ok(Unlock::Ask(context, sealed.clone()))
            }
            (needed, server) => Err(FileError::TooFewDevices {
                needed,
                reachable: 1 + u8::from(server.is_some()),
            }),
        }
    }

    /// Combines this device's share and the server's, if there is one, to the key.
    ///
    /// # Errors
    /// When the server's is not the one that was sealed to it.
    pub(crate) fn key(self, from_server: Option<Shard>) -> Result<(File, FileKey), FileError> {
        let device = self.server.map(|(public, _)| public.device);
        let shards: Vec<Shard> = [self.share.shard].into_iter().chain(from_server).collect();
        let combined = combine(&self.share.manifest, &shards)
            .map_err(|cause| FileError::BadShare { device, cause })?;
        Ok((self.file, combined.key))
    }
}

/// The shares of one profile's devices, which must be of one set.
pub(super) fn of_profile(
    shares: Vec<ShareStanza>,
    id: ProfileId,
) -> Result<Vec<ShareStanza>, FileError> {
    let other = shares.first().map(|share| share.public.profile);
    let own: Vec<_> = shares
        .into_iter()
        .filter(|share| share.public.profile == id)
        .collect();
    let Some(first) = own.first().map(|share| share.public) else {
        return Err(
            other.map_or(FileError::Foreign, |profile| FileError::OtherProfile {
                profile,
            }),
        );
    };
    let (mut devices, mut indices) = (BTreeSet::new(), BTreeSet::new());
    let consistent = own.iter().all(|ShareStanza { public, .. }| {
        let same = PublicContext {
            device: first.device,
            index: first.index,
            ..*public
        };
        same == first && devices.insert(public.device) && indices.insert(public.index)
    });
    if consistent {
        Ok(own)
    } else {
        Err(FileError::Header)
    }
}
