use ostrakon_shards::{
    kem::KemSecret,
    sealed_shard::{SealedShard, ShardContext, open_at_server},
    share::Shard,
    stack,
};
use ostrakon_storage::RequestKey;
use ostrakon_types::{DeviceId, Digest, RequestId};
use sha2::{Digest as _, Sha256};

/// The proof that one shard may be released once, to one device, for one item of one request.
///
/// Made by [`Ledger::settle`](crate::Ledger::settle) alone, after the decision became durable. It
/// cannot be copied, and using it consumes it.
#[derive(Debug)]
#[must_use = "an approval that is not spent releases nothing"]
pub struct Approval {
    key: RequestKey,
    item: u32,
    binding: Digest,
}

impl Approval {
    pub(crate) fn grant(key: RequestKey, item: u32, binding: Digest) -> Self {
        Self { key, item, binding }
    }

    /// The device that may have the shard.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.key.device
    }

    /// The request that was approved.
    #[must_use]
    pub fn request(&self) -> RequestId {
        self.key.request
    }

    /// The number of the item within the request.
    #[must_use]
    pub fn item(&self) -> u32 {
        self.item
    }
}

/// Binds an approval to a shard: a digest of the context that it claims and of its ciphertext.
#[must_use]
pub fn binding(context: &ShardContext, sealed: &SealedShard) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"ostrakon release 1");
    hash.update(context.digest().as_bytes());
    hash.update(sealed.to_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// Why an approved shard was not released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The approval was given for another shard.
    #[error("approval is for another shard")]
    OtherShard,
    /// The shard does not open: it is damaged, another server's, or sealed in another context, such as
    /// for another file.
    #[error("shard does not open in this context")]
    Context,
}

/// The secret to which a server's shards are sealed.
pub struct ShardKey {
    secret: KemSecret,
}

impl ShardKey {
    pub(crate) fn new(secret: KemSecret) -> Self {
        Self { secret }
    }

    /// Opens the shard for which `approval` was given, and spends it.
    ///
    /// # Errors
    /// When the approval is for another shard, or the shard does not open in `context`.
    pub fn open(
        &self,
        approval: Approval,
        context: &ShardContext,
        sealed: &SealedShard,
    ) -> Result<Shard, ReleaseError> {
        if approval.binding != binding(context, sealed) {
            return Err(ReleaseError::OtherShard);
        }
        let opened = open_at_server(&self.secret, context, sealed);
        stack::wipe();
        opened.map_err(|_| ReleaseError::Context)
    }
}
