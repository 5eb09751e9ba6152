use std::{collections::HashSet, io};

use age::EncryptError;
use age_core::{
    format::{FileKey, Stanza},
    secrecy::ExposeSecret,
};
use ostrakon_shards::{
    card::{Card, DeviceKind},
    profile::Profile,
    random,
    sealed_shard::{PublicContext, ShardContext, seal_for_owner, seal_for_server},
    share::{self, Manifest, Shard},
    suite::Suite,
};
use ostrakon_types::{CryptographicId, MetaItem};

use super::stanza::ShareStanza;

/// Shares a file's key out among the devices of a profile. It knows no secret.
pub(crate) struct ProfileRecipient<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) suite: Suite,
    /// What requests will call the file.
    pub(crate) meta: MetaItem,
}

impl age::Recipient for ProfileRecipient<'_> {
    fn wrap_file_key(
        &self,
        file_key: &FileKey,
    ) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let key = share::FileKey::new(file_key.expose_secret()).map_err(io::Error::other)?;
        let split = share::split(&key, self.profile.threshold()).map_err(io::Error::other)?;
        let cryptographic_id: CryptographicId = random::id().map_err(io::Error::other)?;
        let devices = &self.profile.version().devices;
        let stanzas = split.shards.iter().zip(devices).map(|(shard, card)| {
            self.seal(shard, &split.manifest, cryptographic_id, card)
                .map(ShareStanza::into_age)
        });
        Ok((stanzas.collect::<Result<_, _>>()?, HashSet::new()))
    }
}

impl ProfileRecipient<'_> {
    fn seal(
        &self,
        shard: &Shard,
        manifest: &Manifest,
        cryptographic_id: CryptographicId,
        card: &Card,
    ) -> Result<ShareStanza, io::Error> {
        let public = PublicContext {
            set_id: shard.set_id(),
            cryptographic_id,
            profile: self.profile.id(),
            device: card.id(),
            threshold: shard.threshold(),
            index: shard.index(),
            manifest: manifest.digest(),
        };
        let context = ShardContext {
            public,
            meta: self.meta.clone(),
        };
        let sealed = if card.kind == DeviceKind::Keyserver {
            seal_for_server(self.suite, shard, &context, &card.kem).map(|sealed| sealed.to_bytes())
        } else {
            seal_for_owner(self.suite, shard, manifest, &context, &card.kem)
                .map(|sealed| sealed.to_bytes())
        };
        let sealed = sealed.map_err(io::Error::other)?;
        Ok(ShareStanza { public, sealed })
    }
}
