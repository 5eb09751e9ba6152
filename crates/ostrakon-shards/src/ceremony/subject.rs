use minicbor::{Decode, Encode};
use ostrakon_types::{CertificateId, CryptographicId, DeviceId, Digest, KssId, SetId};

use super::Administration;
use crate::{
    backup::Challenge,
    card::{Card, DeviceKind},
    generation::Generation,
    name::Name,
    profile::ProfileVersion,
};

/// What a ceremony is about. Every kind has its own typed fields, and all of them are signed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Subject {
    /// Makes a new key shard server, whose backup key is split among the profile's devices.
    #[n(0)]
    CreateServer {
        /// The new server.
        #[n(0)]
        kss_id: KssId,
        /// Its name.
        #[n(1)]
        name: Name,
        /// The generation of its first backup key.
        #[n(2)]
        generation: Generation,
    },
    /// Makes a new backup key for a server, in place of all earlier ones.
    #[n(1)]
    SaveBackupKey {
        /// The server.
        #[n(0)]
        kss_id: KssId,
        /// The generation of the new backup key.
        #[n(1)]
        generation: Generation,
        /// How many of the holders it takes.
        #[n(2)]
        threshold: u8,
        /// The devices that get a share.
        #[n(3)]
        holders: Vec<DeviceId>,
    },
    /// Lets another machine serve as an instance of the server.
    #[n(2)]
    InitializeInstance {
        /// The server.
        #[n(0)]
        kss_id: KssId,
        /// The machine.
        #[n(1)]
        instance: Name,
        /// The generation of the backup key whose shares are asked for.
        #[n(2)]
        generation: Generation,
    },
    /// Rebuilds a lost server's identity from its backup key.
    #[n(3)]
    Recover {
        /// The server.
        #[n(0)]
        kss_id: KssId,
        /// The generation of the backup key.
        #[n(1)]
        generation: Generation,
        /// The machine that gets the identity.
        #[n(2)]
        machine: Name,
    },
    /// Makes a recovered machine a member of the profile in place of lost ones.
    #[n(4)]
    FinalizeRecovery {
        /// The profile's next version.
        #[n(0)]
        draft: ProfileVersion,
    },
    /// Replaces the profile's version by the next one.
    #[n(5)]
    ChangeProfile {
        /// The next version, whole: what is added and removed shows by comparison with the one that
        /// the device knows, so that no field can contradict it.
        #[n(0)]
        draft: ProfileVersion,
    },
    /// Lets a server serve although its state is older than one that was seen.
    #[n(6)]
    AcceptRollback {
        /// The server.
        #[n(0)]
        kss_id: KssId,
        /// The epoch that it goes on with.
        #[n(1)]
        epoch: u64,
        /// The counter that it goes on with.
        #[n(2)]
        counter: u64,
    },
    /// Has each device prove that it holds a good share of a backup key. Nothing is put together.
    #[n(7)]
    VerifyBackup {
        /// The server.
        #[n(0)]
        kss_id: KssId,
        /// The generation of the backup key.
        #[n(1)]
        generation: Generation,
        /// The digest of the backup file.
        #[n(2)]
        file: Digest,
        /// What the proofs are made over.
        #[n(3)]
        challenge: Challenge,
    },
    /// Lets a machine read an encrypted file: a backup file that its owner keeps in a secure folder.
    #[n(8)]
    OpenFile {
        /// The file's key.
        #[n(0)]
        file: CryptographicId,
        /// The splitting of that key.
        #[n(1)]
        set: SetId,
        /// The digest of what its shares are checked against.
        #[n(2)]
        manifest: Digest,
        /// The machine that gets to read it.
        #[n(3)]
        machine: Name,
    },
    /// Has a running server do what its operator asks of it.
    #[n(9)]
    Administer {
        /// The server.
        #[n(0)]
        kss_id: KssId,
        /// What.
        #[n(1)]
        act: Administration,
        /// The certificate of the administrator who asks from afar; nobody means the machine's operator.
        #[n(2)]
        asked_by: Option<CertificateId>,
    },
}

/// What a device adds to its approval of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: its signature says all.
    Consent,
    /// Its signature under the profile's next version.
    VersionSignature,
    /// Its share of a key.
    Share,
    /// A proof of that share, or that it has none.
    ShareProof,
}

/// A subject as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What happens, in one line.
    pub title: &'static str,
    /// The particulars, each with a label.
    pub details: Vec<(&'static str, String)>,
}

impl Subject {
    /// The kind's name, for logs and records. It holds nothing of the fields.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CreateServer { .. } => "create_server",
            Self::SaveBackupKey { .. } => "save_backup_key",
            Self::InitializeInstance { .. } => "initialize_instance",
            Self::Recover { .. } => "recover",
            Self::FinalizeRecovery { .. } => "finalize_recovery",
            Self::ChangeProfile { .. } => "change_profile",
            Self::AcceptRollback { .. } => "accept_rollback",
            Self::VerifyBackup { .. } => "verify_backup",
            Self::OpenFile { .. } => "open_file",
            Self::Administer { act, .. } => act.kind(),
        }
    }

    /// What an approval must bring.
    #[must_use]
    pub const fn need(&self) -> Need {
        match self {
            Self::Recover { .. } | Self::InitializeInstance { .. } | Self::OpenFile { .. } => {
                Need::Share
            }
            Self::VerifyBackup { .. } => Need::ShareProof,
            Self::ChangeProfile { .. } | Self::FinalizeRecovery { .. } => Need::VersionSignature,
            Self::CreateServer { .. }
            | Self::SaveBackupKey { .. }
            | Self::AcceptRollback { .. }
            | Self::Administer { .. } => Need::Consent,
        }
    }

    /// The profile's next version, where that is what it is about.
    #[must_use]
    pub const fn draft(&self) -> Option<&ProfileVersion> {
        match self {
            Self::ChangeProfile { draft } | Self::FinalizeRecovery { draft } => Some(draft),
            _ => None,
        }
    }

    /// The server that it is about.
    #[must_use]
    pub const fn server(&self) -> Option<&KssId> {
        match self {
            Self::CreateServer { kss_id, .. }
            | Self::SaveBackupKey { kss_id, .. }
            | Self::InitializeInstance { kss_id, .. }
            | Self::Recover { kss_id, .. }
            | Self::AcceptRollback { kss_id, .. }
            | Self::VerifyBackup { kss_id, .. }
            | Self::Administer { kss_id, .. } => Some(kss_id),
            Self::ChangeProfile { .. } | Self::FinalizeRecovery { .. } | Self::OpenFile { .. } => {
                None
            }
        }
    }

    /// Whether a machine that is no member of the profile can ask for it.
    #[must_use]
    pub const fn open_to_machines(&self) -> bool {
        matches!(
            self,
            Self::InitializeInstance { .. }
                | Self::Recover { .. }
                | Self::FinalizeRecovery { .. }
                | Self::VerifyBackup { .. }
                | Self::OpenFile { .. }
        )
    }

    /// Says to people of the profile `current` what it is about.
    #[must_use]
    pub fn describe(&self, current: &ProfileVersion) -> Description {
        let mut details = Vec::new();
        let mut say = |label, text: String| details.push((label, text));
        if let Some(kss_id) = self.server() {
            say("server", kss_id.to_string());
        }
        let title = match self {
            Self::CreateServer {
                name, generation, ..
            } => {
                say("name", quoted(name));
                say("backup key", format!("generation {generation}"));
                "create a key shard server"
            }
            Self::SaveBackupKey {
                generation,
                threshold,
                holders,
                ..
            } => {
                say("backup key", format!("generation {generation}"));
                say("needs", format!("{threshold} of {}", holders.len()));
                for id in holders {
                    let holder = match current.member(id) {
                        Some(card) => device(card),
                        None => format!("{id}, NOT a device of this profile"),
                    };
                    say("holder", holder);
                }
                "make a new backup key for a key shard server"
            }
            Self::InitializeInstance {
                instance,
                generation,
                ..
            } => {
                say("backup key", format!("generation {generation}"));
                say("machine", quoted(instance));
                "let another machine serve as this key shard server"
            }
            Self::Recover {
                generation,
                machine,
                ..
            } => {
                say("backup key", format!("generation {generation}"));
                say("machine", quoted(machine));
                "give a key shard server's identity to another machine"
            }
            Self::FinalizeRecovery { draft } => {
                details.extend(changes(current, draft));
                "finish a recovery: change the profile's devices"
            }
            Self::ChangeProfile { draft } => {
                details.extend(changes(current, draft));
                "change the profile's devices"
            }
            Self::VerifyBackup { generation, .. } => {
                say("backup key", format!("generation {generation}"));
                "prove that this device holds a share of a backup key"
            }
            Self::OpenFile { file, machine, .. } => {
                say("file", file.to_string());
                say("machine", quoted(machine));
                "let another machine read an encrypted file"
            }
            Self::AcceptRollback { epoch, counter, .. } => {
                say("goes on with", format!("state {epoch}.{counter}"));
                "let a key shard server go on with an older state"
            }
            Self::Administer { act, asked_by, .. } => {
                let described = act.describe(asked_by.as_ref());
                details.extend(described.details);
                described.title
            }
        };
        Description { title, details }
    }
}

fn changes(current: &ProfileVersion, draft: &ProfileVersion) -> Vec<(&'static str, String)> {
    let mut changes = Vec::new();
    let lacks = |version: &ProfileVersion, card: &Card| !version.devices.contains(card);
    let added = draft.devices.iter().filter(|card| lacks(current, card));
    changes.extend(added.map(|card| ("adds", device(card))));
    let removed = current.devices.iter().filter(|card| lacks(draft, card));
    changes.extend(removed.map(|card| ("removes", device(card))));
    if draft.name != current.name {
        changes.push(("renames to", quoted(&draft.name)));
    }
    let of = |version: &ProfileVersion| {
        let (needed, count) = (version.threshold, version.devices.len());
        format!("{needed} of {count}")
    };
    changes.push(("threshold", format!("{}, now {}", of(draft), of(current))));
    changes
}

fn device(card: &Card) -> String {
    let kind = match card.kind {
        DeviceKind::Workstation => "workstation",
        DeviceKind::Mobile => "mobile",
        DeviceKind::Keyserver => "key shard server",
        DeviceKind::Recovery => "recovery words",
    };
    format!("{kind} {} ({})", quoted(&card.name), card.id())
}

/// Names come from whoever chose them; the quotes keep them from passing for this program's words.
pub(super) fn quoted(name: &Name) -> String {
    format!("`{}`", name.as_str().replace('`', "'"))
}
