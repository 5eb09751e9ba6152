use minicbor::{Decode, Encode, bytes::ByteVec};
use ostrakon_shards::{
    KemSecret, ProfileVersion, PublicCard, RandomError, Signature, SignedHead, SigningKey,
    VerifiedKeyserver,
};
use ostrakon_storage::{InstanceId, ServerRecord, Store, StoreError};
use ostrakon_types::{UnixMillis, canonical};
use zeroize::Zeroizing;

use crate::{AuditLog, ShardKey};

/// A server's identity, unsealed: each key in the type that bounds its use.
pub struct Identity {
    /// What the world knows of the server.
    pub keyserver: VerifiedKeyserver,
    /// The same, as it is published.
    pub public_card: Vec<u8>,
    /// Opens shards, one for each approval.
    pub shard_key: ShardKey,
    /// Opens request envelopes, and no shard.
    pub envelope_secret: KemSecret,
    /// Signs what the server vouches for.
    pub signer: Signer,
    /// This instance's audit chain.
    pub audit: AuditLog,
}

/// Why an identity could not be made or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system gave no random bytes.
    #[error("cannot draw random bytes")]
    Random(#[from] RandomError),
    /// The name is empty, too long, or holds control characters.
    #[error("server name is empty, too long, or has control characters")]
    Name,
    /// The stored identity does not decode, or does not fit its own public card.
    #[error("stored identity is damaged")]
    Damaged,
}

/// The secrets as they are sealed in the database.
#[derive(Encode, Decode)]
struct Secrets {
    #[n(0)]
    root: ByteVec,
    #[n(1)]
    shard: ByteVec,
    #[n(2)]
    envelope: ByteVec,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        for secret in [&mut self.root, &mut self.shard, &mut self.envelope] {
            Vec::zeroize(secret);
        }
    }
}

impl Identity {
    /// Draws a new server's keys and stores them, sealed. The server answers requests at once.
    ///
    /// # Errors
    /// When the database holds a server already, or cannot be written.
    pub async fn create(
        store: &Store,
        name: &str,
        now: UnixMillis,
    ) -> Result<VerifiedKeyserver, IdentityError> {
        let root = SigningKey::generate()?;
        let shard = KemSecret::generate()?;
        let envelope = KemSecret::generate()?;
        let card = PublicCard::issue(&root, name, shard.public(), envelope.public())
            .map_err(|_| IdentityError::Name)?;
        let keyserver = card.verify(&card.kss_id()).map_err(|_| IdentityError::Damaged)?;
        let secrets = Secrets {
            root: root.to_bytes().to_vec().into(),
            shard: shard.to_bytes().to_vec().into(),
            envelope: envelope.to_bytes().to_vec().into(),
        };
        let encoded = Zeroizing::new(canonical::encode(&secrets));
        let record = ServerRecord {
            kss_id: card.kss_id(),
            public_card: canonical::encode(&card),
            enabled: true,
            created_at: now,
        };
        let mut tx = store.begin().await?;
        tx.insert_server(&record, &encoded).await?;
        tx.commit().await?;
        Ok(keyserver)
    }

    /// Loads and unseals the server's identity, and checks that its keys fit its public card.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub async fn load(store: &Store, instance: InstanceId) -> Result<Self, IdentityError> {
        let record = store.server().await?.ok_or(StoreError::Missing)?;
        let bytes = store.identity().await?;
        let secrets: Secrets = canonical::decode(&bytes).map_err(|_| IdentityError::Damaged)?;
        let card: PublicCard =
            canonical::decode(&record.public_card).map_err(|_| IdentityError::Damaged)?;
        let keyserver = card.verify(&record.kss_id).map_err(|_| IdentityError::Damaged)?;
        let root = SigningKey::from_bytes(&secrets.root).map_err(|_| IdentityError::Damaged)?;
        let kem = |bytes: &[u8]| KemSecret::from_bytes(bytes).map_err(|_| IdentityError::Damaged);
        let (shard, envelope) = (kem(&secrets.shard)?, kem(&secrets.envelope)?);
        let fits = *root.verify_key() == keyserver.device().verify
            && shard.public() == &keyserver.device().kem
            && envelope.public() == keyserver.envelope_key();
        if !fits {
            return Err(IdentityError::Damaged);
        }
        Ok(Self {
            public_card: record.public_card,
            shard_key: ShardKey::new(shard),
            envelope_secret: envelope,
            audit: AuditLog::new(instance, root.derive_chain_key("audit")),
            signer: Signer { root },
            keyserver,
        })
    }
}

/// Signs what the server vouches for, and nothing else.
pub struct Signer {
    root: SigningKey,
}

impl Signer {
    /// Consents to being a device of this profile version.
    #[must_use]
    pub fn join(&self, version: &ProfileVersion) -> Signature {
        version.sign(&self.root)
    }

    /// States that `version` is a profile's newest version.
    #[must_use]
    pub fn head(&self, version: &ProfileVersion, now: UnixMillis) -> SignedHead {
        SignedHead::issue(&self.root, version, now)
    }
}
