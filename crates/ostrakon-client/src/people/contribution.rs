//! What a device adds to its approval: its share of a backup key, or the proof of it.

use ostrakon_shards::{
    backup::{BackupFile, OpenBackupShareError, ParseBackupError},
    ceremony::{AnswerError, Need, Question, Subject},
    device::DeviceKeys,
    generation::Generation,
    seal::Sealed,
};
use ostrakon_types::{DeviceId, KssId};

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

/// The backup key that is used in a ceremony, by its server and generation.
pub(super) fn used(question: &Question) -> Option<(KssId, Generation)> {
    match &question.ceremony().subject {
        Subject::Recover {
            kss_id, generation, ..
        }
        | Subject::InitializeInstance {
            kss_id, generation, ..
        }
        | Subject::VerifyBackup {
            kss_id, generation, ..
        } => Some((*kss_id, *generation)),
        _ => None,
    }
}

/// The backup key that is made by a ceremony.
pub(super) fn made(question: &Question) -> Option<(KssId, Generation)> {
    match &question.ceremony().subject {
        Subject::CreateServer {
            kss_id, generation, ..
        }
        | Subject::SaveBackupKey {
            kss_id, generation, ..
        } => Some((*kss_id, *generation)),
        _ => None,
    }
}
