use ostrakon_types::{UnixMillis, canonical};
use zeroize::Zeroizing;

use super::{
    BackupFile, BackupKey, Holder,
    file::{Body, Recovery, SHARE, ShareContext},
    proof::proof_key,
};
use crate::{
    card::{Card, DeviceKind},
    generation::Generation,
    identity::{PublicCard, VerifyPublicCardError},
    profile::{ChainError, Profile, SignedVersion},
    random::{Source, System},
    record::{RecordKey, SealRecordError, seal_record_impl},
    seal::{SealError, seal_impl},
    secret,
    share::{FileKeyError, Split, Threshold, ThresholdError, split_impl},
    sign::SigningKey,
    stack,
    suite::Suite,
};

/// What goes into a backup file.
pub struct Backup<'a> {
    /// The server's card.
    pub card: &'a PublicCard,
    /// The generation of the server's state that the file belongs to.
    pub generation: Generation,
    /// When it is made.
    pub created_at: UnixMillis,
    /// All versions of the profile among whose devices the backup key is split.
    pub versions: &'a [SignedVersion],
    /// The server's private keys.
    pub identity: &'a [u8],
    /// The key under which the server's database is sealed, unless something else protects that one.
    pub root_key: Option<&'a RecordKey>,
    /// With which suite shares are sealed to their devices.
    pub suite: Suite,
}

/// Why no backup file could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeBackupError {
    /// The profile is none.
    #[error("the profile that is to hold the backup key is not valid")]
    Profile(#[from] ChainError),
    /// The profile has fewer devices that can hold a share than it takes.
    #[error("the profile has too few devices that can hold a share")]
    Threshold(#[from] ThresholdError),
    /// The card is none.
    #[error("the server's card is not valid")]
    Card(#[from] VerifyPublicCardError),
    /// The card is not that of the server whose root key signs.
    #[error("the root key is not that of the server's card")]
    OtherRoot,
    /// A share could not be sealed to its device.
    #[error("a share cannot be sealed to its device")]
    Seal(#[from] SealError),
    /// The identity could not be sealed.
    #[error("the identity cannot be sealed")]
    Record(#[from] SealRecordError),
    /// There is no randomness.
    #[error(transparent)]
    Key(#[from] FileKeyError),
}

/// The devices of a profile that hold shares: all but key shard servers, which cannot be asked.
pub(super) fn holders(profile: &Profile) -> impl Iterator<Item = &Card> {
    let devices = profile.version().devices.iter();
    devices.filter(|card| card.kind != DeviceKind::Keyserver)
}

/// How many shares of how many: the profile's threshold, of the devices that hold one.
pub(super) fn threshold(profile: &Profile) -> Result<Threshold, ThresholdError> {
    let shares = holders(profile).count();
    let shares = u8::try_from(shares).unwrap_or(u8::MAX);
    Threshold::new(profile.threshold().needed(), shares)
}

impl Backup<'_> {
    /// Draws a backup key, and makes the file that it opens. `root` is the server's root key, which
    /// signs the file.
    ///
    /// # Errors
    /// When the profile is not valid or too small, or there is no randomness.
    pub fn make(&self, root: &SigningKey) -> Result<BackupFile, MakeBackupError> {
        self.make_impl(root, &mut System)
    }

    pub(crate) fn make_impl(
        &self,
        root: &SigningKey,
        source: &mut impl Source,
    ) -> Result<BackupFile, MakeBackupError> {
        let profile = Profile::from_chain(self.versions.iter().cloned())?;
        let key = BackupKey::generate_impl(source)?;
        let split = split_impl(key.as_shared(), threshold(&profile)?, source)
            .map_err(FileKeyError::from)?;
        let mut body = Body {
            card: self.card.clone(),
            generation: self.generation,
            created_at: self.created_at,
            versions: self.versions.to_vec(),
            manifest: split.manifest.clone(),
            holders: Vec::new(),
            recovery: Vec::new(),
        };
        body.holders = self.seal_shares(&profile, &body, &split, source)?;
        body.recovery = self.seal_identity(&key, &body, source)?;
        stack::wipe();
        BackupFile::sign(body, profile, root)
    }

    fn seal_shares(
        &self,
        profile: &Profile,
        body: &Body,
        split: &Split,
        source: &mut impl Source,
    ) -> Result<Vec<Holder>, MakeBackupError> {
        let devices = holders(profile).zip(&split.shards);
        devices
            .map(|(card, shard)| {
                let device = card.id();
                let context = canonical::encode(&ShareContext::new(body, device));
                let bytes = shard.to_bytes();
                let share = seal_impl(self.suite, SHARE, &card.kem, &context, &bytes, source)?;
                Ok(Holder {
                    device,
                    share,
                    proof: proof_key(shard).verify_key(),
                })
            })
            .collect()
    }

    fn seal_identity(
        &self,
        key: &BackupKey,
        body: &Body,
        source: &mut impl Source,
    ) -> Result<Vec<u8>, MakeBackupError> {
        let root_key = self.root_key.map(RecordKey::to_bytes);
        let plaintext: Zeroizing<Vec<u8>> = secret::encode(&Recovery {
            identity: self.identity.into(),
            root_key: root_key.as_ref().map(|key| key.as_slice().into()),
        });
        let (table, column) = Body::RECOVERY;
        let row = body.recovery_row();
        Ok(seal_record_impl(
            &key.record_key(),
            table,
            column,
            &row,
            &plaintext,
            source,
        )?)
    }
}
