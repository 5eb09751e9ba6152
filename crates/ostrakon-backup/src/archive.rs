//! The archive: a plain tar of regular files, in an order that its reader checks.
//!
//! ```text
//! header.json             what it is a backup of, and by whom
//! files/NAME              the files of the home, in order; a large one is compressed, as
//! compressed/NAME.zst
//! database/00000001.zst   the state of one moment, in parts of about 1 MiB, compressed each
//! ...
//! manifest.json           every file with its digest, the parts with theirs, how many rows of which table
//! manifest.sig            the manifest, signed by the server or device whose backup it is
//! ```
//!
//! It is written and read as a stream, in memory that does not grow with it. What a reader was given counts
//! for nothing before the end, which alone says that it was whole: see [`read`].

mod hashed;
mod read;
mod track;
mod write;

use std::{collections::BTreeMap, fmt};

use ostrakon_shards::{
    card::Card,
    identity::{PublicCard, VerifiedKeyserver},
    random::RandomError,
    sign::VerifyKey,
};
use ostrakon_types::{DeviceId, Digest, KssId, UnixMillis};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::{
    hashed::Hashed,
    read::{ArchiveError, Verified, Visitor, read},
    write::Writer,
};

/// The version of the format.
pub const FORMAT: u32 = 1;

const HEADER: &str = "header.json";
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";
const FILES: &str = "files/";
const COMPRESSED_FILES: &str = "compressed/";
const DATABASE: &str = "database/";
/// What a compressed member ends in.
const COMPRESSED: &str = ".zst";

/// A header is smaller.
const MAX_HEADER: u64 = 64 << 10;
/// The manifest of a folder with a hundred thousand files is smaller.
const MAX_MANIFEST: u64 = 32 << 20;
/// A part of a database is smaller, compressed or not: it holds about 1 MiB, or one page of large rows.
const MAX_PART: u64 = 256 << 20;
/// A longer path is no file's.
const MAX_NAME: usize = 4096;

/// What an archive is a backup of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contents {
    /// The home and the database of a key shard server's instance.
    Keyserver,
    /// The home of a workstation or another device.
    Device,
    /// Any folder.
    Folder,
}

/// Who vouches for an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The key shard server.
    Keyserver {
        /// Its public card, canonical, in base64.
        card: String,
    },
    /// The device.
    Device {
        /// Its card.
        card: Card,
    },
    /// Nobody: the folder has no key of its own. What its digests find out is damage, not malice.
    Nobody,
}

/// Who vouches for an archive, as its own card proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// The key shard server with this id.
    Keyserver(KssId),
    /// The device with this id.
    Device(DeviceId),
    /// Nobody.
    Nobody,
}

impl fmt::Display for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyserver(id) => id.fmt(f),
            Self::Device(id) => write!(f, "device {id}"),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

/// The first member: what can be known before the rest is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The version of the format.
    pub format: u32,
    /// Tells one archive from every other: 16 random bytes in hexadecimal digits.
    pub archive: String,
    /// What it is a backup of.
    pub contents: Contents,
    /// The release that made it.
    pub release: String,
    /// On which machine.
    pub host: String,
    /// When.
    pub created_at: UnixMillis,
    /// Who vouches for it.
    pub author: Author,
    /// The kind of the database, where there is one: `sqlite`, `mysql` or `postgresql`.
    pub database: Option<String>,
    /// The instance, in hexadecimal digits, where it is a server's.
    pub instance: Option<String>,
}

impl Header {
    /// Who vouches for the archive, and with which key.
    fn voucher(&self) -> Option<(Voucher, Option<VerifyKey>)> {
        match &self.author {
            Author::Keyserver { .. } => {
                let server = self.keyserver()?;
                Some((
                    Voucher::Keyserver(server.kss_id()),
                    Some(*server.root_key()),
                ))
            }
            Author::Device { card } => Some((Voucher::Device(card.id()), Some(card.verify))),
            Author::Nobody => Some((Voucher::Nobody, None)),
        }
    }

    /// The server whose backup it is, as its own card has it.
    #[must_use]
    pub fn keyserver(&self) -> Option<VerifiedKeyserver> {
        let Author::Keyserver { card } = &self.author else {
            return None;
        };
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, card).ok()?;
        let card = PublicCard::from_bytes(&bytes).ok()?;
        card.verify(&card.claimed_id()).ok()
    }
}

impl Author {
    /// A server, by its canonical public card.
    #[must_use]
    pub fn keyserver(card: &[u8]) -> Self {
        Self::Keyserver {
            card: base64::Engine::encode(&base64::prelude::BASE64_STANDARD, card),
        }
    }
}

/// A file of the home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path in the home.
    pub name: String,
    /// Its length.
    pub size: u64,
    /// The SHA-256 of its content.
    pub sha256: Digest,
}

/// The state of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseEntry {
    /// In how many parts.
    pub parts: u64,
    /// How many rows each table has.
    pub rows: BTreeMap<String, u64>,
}

/// The last member but its signature: what the archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Which archive.
    pub archive: String,
    /// The SHA-256 of all that stands before the manifest, frames of the tar included.
    pub body: Digest,
    /// The files, in order.
    pub files: Vec<FileEntry>,
    /// The database.
    pub database: Option<DatabaseEntry>,
}

/// Draws what tells one archive from every other.
///
/// # Errors
/// When the operating system has no random bytes.
pub fn draw_id() -> Result<String, RandomError> {
    ostrakon_shards::random::array::<16>().map(hex::encode)
}

/// The name of a part of the database.
fn part_name(number: u64) -> String {
    format!("{DATABASE}{number:08}{COMPRESSED}")
}

/// What a tar says of a plain file that is its owner's alone, or of one that the owner runs.
fn frame(mode: u32, size: u64, at: UnixMillis) -> tar::Header {
    let mut frame = tar::Header::new_gnu();
    frame.set_entry_type(tar::EntryType::Regular);
    frame.set_mode(mode & 0o700 | 0o600);
    frame.set_mtime(u64::try_from(at.0 / 1000).unwrap_or(0));
    frame.set_size(size);
    frame
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests;
