//! What a device adds to its approval: its share of a backup key, or the proof of it; or its share of a file's
//! key.

use ostrakon_shards::{
    backup::{BackupFile, OpenBackupShareError, ParseBackupError},
    ceremony::{AnswerError, Need, Question, Subject},
    device::DeviceKeys,
    seal::Sealed,
    sealed_shard::{FileShare, OpenShardError, OwnerShare, open_as_owner},
};
use ostrakon_types::{DeviceId, canonical::DecodeError};

use crate::home::KnownBackup;

/// Why a device has nothing to add.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContributeError {
    /// The backup file did not come along.
    #[error("the backup file did not come along")]
    NoFile,
    /// It is none.
    #[error("the backup file that came along cannot be used")]
    File(#[from] ParseBackupError),
    /// It is not the one that is asked about.
    #[error("the backup file that came along is not the one that is asked about")]
    OtherFile,
    /// The device's share of it is not good.
    #[error(transparent)]
    Share(#[from] OpenBackupShareError),
    /// The file that is asked about has no share for this device.
    #[error("the file that is asked about has no share for this device")]
    NoShare,
    /// What came along is not this device's share of the file that is asked about.
    #[error("what came along is not this device's share of the file that is asked about")]
    OtherShare,
    /// What came along cannot be read.
    #[error("what came along cannot be read")]
    Decode(#[from] DecodeError),
    /// The device's share of the file's key does not open.
    #[error("this device's share of the file's key cannot be opened")]
    FileShare(#[from] OpenShardError),
    /// It could not be sealed.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// Approves, with what the operation needs of this device.
pub(super) fn approve(
    question: &Question,
    keys: &DeviceKeys,
    device: DeviceId,
) -> Result<Sealed, ContributeError> {
    match question.ceremony().subject.need() {
        Need::Share if is_of_file(question) => {
            let given = file_share(question, keys, device)?.give();
            Ok(question.approve(keys, Some(&given.to_bytes()))?)
        }
        Need::Share => {
            let share = enclosed(question)?.open_share(keys, device)?;
            Ok(question.approve(keys, Some(&share.to_bytes()))?)
        }
        Need::ShareProof => {
            let file = enclosed(question)?;
            let proof = match &question.ceremony().subject {
                Subject::VerifyBackup { challenge, .. } => file.prove(keys, device, challenge).ok(),
                _ => None,
            };
            Ok(question.prove(keys, proof)?)
        }
        Need::Consent | Need::VersionSignature => Ok(question.approve(keys, None)?),
    }
}

fn is_of_file(question: &Question) -> bool {
    matches!(question.ceremony().subject, Subject::OpenFile { .. })
}

/// The path of the file that a machine wants to read, as this device's own share of its key says. `None` when
/// something else is asked.
pub(super) fn path(
    question: &Question,
    keys: &DeviceKeys,
    device: DeviceId,
) -> Option<Result<String, ContributeError>> {
    is_of_file(question).then(|| file_share(question, keys, device).map(|share| share.meta.meta))
}

/// This device's share of the file's key: the one that the subject names, of this profile.
fn file_share(
    question: &Question,
    keys: &DeviceKeys,
    device: DeviceId,
) -> Result<OwnerShare, ContributeError> {
    let bytes = question.enclosed().ok_or(ContributeError::NoShare)?;
    let FileShare { public, sealed } = FileShare::from_bytes(bytes)?;
    let ceremony = question.ceremony();
    let named = match &ceremony.subject {
        Subject::OpenFile {
            file,
            set,
            manifest,
            ..
        } => {
            public.cryptographic_id == *file
                && public.set_id == *set
                && public.manifest == *manifest
        }
        _ => false,
    };
    if !named || public.profile != ceremony.profile || public.device != device {
        return Err(ContributeError::OtherShare);
    }
    Ok(open_as_owner(&keys.kem, &public, &sealed)?)
}

/// The backup file that came along: the one that the subject names, of this profile.
fn enclosed(question: &Question) -> Result<BackupFile, ContributeError> {
    let bytes = question.enclosed().ok_or(ContributeError::NoFile)?;
    let file = BackupFile::from_bytes(bytes)?;
    let ceremony = question.ceremony();
    let named = match &ceremony.subject {
        Subject::Recover {
            kss_id, generation, ..
        }
        | Subject::InitializeInstance {
            kss_id, generation, ..
        } => file.kss_id() == *kss_id && file.generation() == *generation,
        Subject::VerifyBackup {
            kss_id,
            generation,
            file: digest,
            ..
        } => {
            file.kss_id() == *kss_id && file.generation() == *generation && file.digest() == *digest
        }
        _ => false,
    };
    if named && file.profile().id() == ceremony.profile {
        Ok(file)
    } else {
        Err(ContributeError::OtherFile)
    }
}

/// The backup key that is used in a ceremony.
pub(super) fn used(question: &Question) -> Option<KnownBackup> {
    match question.ceremony().subject {
        Subject::Recover {
            kss_id, generation, ..
        }
        | Subject::InitializeInstance {
            kss_id, generation, ..
        }
        | Subject::VerifyBackup {
            kss_id, generation, ..
        } => Some(KnownBackup { kss_id, generation }),
        _ => None,
    }
}

/// The backup key that is made by a ceremony.
pub(super) fn made(question: &Question) -> Option<KnownBackup> {
    match question.ceremony().subject {
        Subject::CreateServer {
            kss_id, generation, ..
        }
        | Subject::SaveBackupKey {
            kss_id, generation, ..
        } => Some(KnownBackup { kss_id, generation }),
        _ => None,
    }
}
