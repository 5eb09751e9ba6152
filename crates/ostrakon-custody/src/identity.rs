use ostrakon_shards::{
    archive::SignedArchive,
    backup::SignedNewest,
    ceremony::{OpenCeremonyError, Plan, Requester, Subject, Tally},
    generation::{Generation, SignedGeneration},
    identity::{PublicCard, RootKeyRecord, VerifiedKeyserver},
    kem::KemSecret,
    name::Name,
    profile::{Head, Profile, ProfileVersion, SignedHead},
    random::RandomError,
    sign::{Signature, SigningKey},
};
use ostrakon_storage::{InstanceId, ServerRecord, Store, StoreError};
use ostrakon_types::{Digest, UnixMillis};
use zeroize::Zeroizing;

use crate::{AuditLog, Checkpoint, Manifest, ShardKey, SignedCheckpoint, SignedManifest};

/// A server's identity, unsealed: each key in the type that bounds its use.
pub struct Identity {
    /// What the world knows of the server.
    pub keyserver: VerifiedKeyserver,
    /// The same, as it is published.
    pub public_card: PublicCard,
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
    /// The stored identity does not decode, or does not fit its own public card.
    #[error("stored identity is damaged")]
    Damaged,
}

const VERSION: u8 = 1;
const ROOT_LEN: usize = 32;

/// The secrets as they are sealed in the database: version, root key, shard keys, envelope keys.
fn encode(root: &SigningKey, shard: &KemSecret, envelope: &KemSecret) -> Zeroizing<Vec<u8>> {
    let (root, shard, envelope) = (root.to_bytes(), shard.to_bytes(), envelope.to_bytes());
    let length = 1 + root.len() + shard.len() + envelope.len();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    bytes.push(VERSION);
    bytes.extend_from_slice(root.as_ref());
    bytes.extend_from_slice(&shard);
    bytes.extend_from_slice(&envelope);
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Option<(SigningKey, KemSecret, KemSecret)> {
    let (&VERSION, rest) = bytes.split_first()? else {
        return None;
    };
    let (root, kems) = rest.split_first_chunk::<ROOT_LEN>()?;
    let (shard, envelope) = kems.split_at_checked(kems.len() / 2)?;
    let shard = KemSecret::from_bytes(shard).ok()?;
    let envelope = KemSecret::from_bytes(envelope).ok()?;
    Some((SigningKey::from_bytes(root), shard, envelope))
}

/// Whether these are the private halves of the keys that the server shows.
pub(crate) fn fits(
    keyserver: &VerifiedKeyserver,
    root: &SigningKey,
    shard: &KemSecret,
    envelope: &KemSecret,
) -> bool {
    root.verify_key() == *keyserver.root_key()
        && *shard.public() == keyserver.device().kem
        && envelope.public() == keyserver.envelope_key()
}

impl Identity {
    /// Draws a new server's keys and stores them, sealed. The server answers requests at once.
    ///
    /// # Errors
    /// When the database holds a server already, or cannot be written.
    pub async fn create(
        store: &Store,
        name: Name,
        now: UnixMillis,
    ) -> Result<VerifiedKeyserver, IdentityError> {
        let new = NewIdentity::draw(name)?;
        new.store(store, now).await?;
        Ok(new.keyserver)
    }

    /// Loads and unseals the server's identity, and checks that its keys fit its public card.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub async fn load(store: &Store, instance: InstanceId) -> Result<Self, IdentityError> {
        let record = store.server().await?.ok_or(StoreError::Missing)?;
        let bytes = store.identity().await?;
        let (root, shard, envelope) = decode(&bytes).ok_or(IdentityError::Damaged)?;
        let card =
            PublicCard::from_bytes(&record.public_card).map_err(|_| IdentityError::Damaged)?;
        let keyserver = card
            .verify(&record.kss_id)
            .map_err(|_| IdentityError::Damaged)?;
        if !fits(&keyserver, &root, &shard, &envelope) {
            return Err(IdentityError::Damaged);
        }
        Ok(Self {
            public_card: card,
            shard_key: ShardKey::new(shard),
            envelope_secret: envelope,
            audit: AuditLog::new(instance, root.derive_chain_key("audit")),
            signer: Signer { root },
            keyserver,
        })
    }
}

/// A new server's keys, which are stored nowhere yet.
pub struct NewIdentity {
    signer: Signer,
    shard: KemSecret,
    envelope: KemSecret,
    card: PublicCard,
    keyserver: VerifiedKeyserver,
}

impl NewIdentity {
    /// Draws them.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn draw(name: Name) -> Result<Self, IdentityError> {
        let root = SigningKey::generate()?;
        let shard = KemSecret::generate()?;
        let envelope = KemSecret::generate()?;
        let card = PublicCard::issue(&root, 1, name, shard.public(), envelope.public());
        let keyserver = card.verify(&card.claimed_id());
        Ok(Self {
            keyserver: keyserver.map_err(|_| IdentityError::Damaged)?,
            signer: Signer { root },
            shard,
            envelope,
            card,
        })
    }

    /// The server, as its clients will know it.
    #[must_use]
    pub fn keyserver(&self) -> &VerifiedKeyserver {
        &self.keyserver
    }

    /// Signs for it.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Stores them, sealed. The server answers requests at once.
    ///
    /// # Errors
    /// When the database holds a server already, or cannot be written.
    pub async fn store(&self, store: &Store, now: UnixMillis) -> Result<(), IdentityError> {
        let record = ServerRecord {
            kss_id: self.keyserver.kss_id(),
            public_card: self.card.to_bytes(),
            enabled: true,
            created_at: now,
        };
        let secrets = encode(&self.signer.root, &self.shard, &self.envelope);
        let mut tx = store.begin().await?;
        tx.insert_server(&record, &secrets).await?;
        tx.commit().await?;
        Ok(())
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

    /// Asks the devices of a profile to approve something that is about this server.
    ///
    /// # Errors
    /// When they cannot be asked that.
    pub fn open_ceremony(
        &self,
        profile: &Profile,
        subject: Subject,
        threshold: u8,
        lifetime_ms: i64,
        now: UnixMillis,
    ) -> Result<Tally, OpenCeremonyError> {
        let plan = Plan {
            subject,
            threshold,
            requester: Requester::Server(RootKeyRecord {
                verify: self.root.verify_key(),
            }),
            lifetime_ms,
        };
        Tally::open(profile, plan, &self.root, now)
    }

    /// Numbers the state as it is from now on: after `before`, or as the first of an epoch.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generation(
        &self,
        before: Option<&SignedGeneration>,
        epoch: u64,
        now: UnixMillis,
    ) -> Result<SignedGeneration, RandomError> {
        match before {
            Some(before) => before.next(&self.root, now),
            None => SignedGeneration::begin(&self.root, epoch, now),
        }
    }

    /// States how far the audit chains have come.
    #[must_use]
    pub fn checkpoint(&self, checkpoint: Checkpoint) -> SignedCheckpoint {
        SignedCheckpoint::issue(&self.root, checkpoint)
    }

    /// States which records are in an archive.
    #[must_use]
    pub fn archive(&self, manifest: Manifest) -> SignedManifest {
        SignedManifest::issue(&self.root, manifest)
    }

    /// States that the server made the backup archive whose manifest has this digest.
    #[must_use]
    pub fn backup(&self, manifest: Digest) -> SignedArchive {
        SignedArchive::issue(&self.root, manifest)
    }

    /// States that the backup key of this generation is the newest that was made.
    #[must_use]
    pub fn newest_backup(&self, generation: Generation) -> SignedNewest {
        let verify = self.root.verify_key();
        let server = RootKeyRecord { verify }.kss_id();
        SignedNewest::issue(&self.root, &server, generation)
    }

    /// States that `head` is a profile's newest version.
    #[must_use]
    pub fn head(&self, head: Head, now: UnixMillis) -> SignedHead {
        SignedHead::issue(&self.root, head, now)
    }
}
