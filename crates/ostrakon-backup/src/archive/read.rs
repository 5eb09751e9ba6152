use std::{
    collections::BTreeMap,
    io::{self, Read},
    rc::Rc,
};

use ostrakon_shards::{archive::SignedArchive, sign::VerifyKey};
use ostrakon_storage::{PartError, Rows};

use super::{
    COMPRESSED, COMPRESSED_FILES, Contents, DATABASE, DatabaseEntry, Digest, FILES, FORMAT,
    FileEntry, HEADER, Header, MANIFEST, MAX_HEADER, MAX_MANIFEST, MAX_NAME, MAX_PART, Manifest,
    SIGNATURE, Voucher, frame,
    hashed::Hashed,
    part_name, sha256,
    track::{BLOCK, Track, Tracked},
};

/// What a tar ends with.
const END: u64 = 1024;

/// Files of a server are smaller: policies and keys.
const MAX_SERVER_FILE: u64 = 64 << 20;

/// Takes what an archive holds, as it is read.
pub trait Visitor {
    /// Why it cannot.
    type Error;

    /// What is said of the archive. That the voucher made it shows at the end.
    ///
    /// # Errors
    /// When it is not to be read on.
    fn header(&mut self, header: &Header, voucher: Voucher) -> Result<(), Self::Error>;

    /// A file of the home, with its mode. Its name is a plain relative path.
    ///
    /// # Errors
    /// When it cannot be taken, or read.
    fn file(&mut self, name: &str, mode: u32, content: &mut dyn Read) -> Result<(), Self::Error>;

    /// Rows of the database.
    ///
    /// # Errors
    /// When they cannot be taken.
    fn rows(&mut self, rows: Rows) -> Result<(), Self::Error>;
}

/// An archive of which every byte was read, and was as its maker signed it.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What it is.
    pub header: Header,
    /// Who vouches for it.
    pub voucher: Voucher,
    /// What it holds.
    pub manifest: Manifest,
}

/// Why an archive was not read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError<E> {
    /// It cannot be read.
    #[error("cannot read the archive")]
    Io(#[source] io::Error),
    /// It is not what was written.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// A part of the database is none.
    #[error("the archive is damaged: its part {number} of the database")]
    Part {
        /// Which one.
        number: u64,
        /// Why not.
        #[source]
        source: PartError,
    },
    /// Another program or a newer release wrote it.
    #[error("the archive has format {0}, and this release knows {FORMAT}")]
    Format(u32),
    /// It is no archive of this program.
    #[error("that is no archive of keybackup: {0}")]
    NotOne(String),
    /// It is not signed by who is said to have made it.
    #[error("the archive was altered, or is not by {0}, who is said to have made it")]
    Forged(Voucher),
    /// Who took it could not.
    #[error(transparent)]
    Taken(E),
}

use ArchiveError::{Damaged, NotOne};

/// Reads an archive to its last byte, hands on what it holds, and checks that it is whole, in order, and signed
/// by its maker. What the visitor was given counts for nothing when this fails.
///
/// # Errors
/// The first thing that is wrong.
pub fn read<V: Visitor>(
    from: impl Read,
    visitor: &mut V,
) -> Result<Verified, ArchiveError<V::Error>> {
    let track = Rc::new(Track::default());
    let mut tar = tar::Archive::new(Tracked {
        from,
        track: Rc::clone(&track),
    });
    let mut reading = Reading::default();
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path_bytes();
        let name = std::str::from_utf8(&path).ok().map(str::to_owned);
        let Some(name) = name.filter(|name| name.len() <= MAX_NAME) else {
            return Err(Damaged("a name is no text, or too long".to_owned()));
        };
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(Damaged(format!("`{name}` is no plain file")));
        }
        let mode = entry.header().mode().map_err(broken)?;
        let size = entry.size();
        let end = entry.raw_file_position().saturating_add(size);
        reading.end = end.next_multiple_of(BLOCK);
        track.padding.set((end, reading.end));
        if name == MANIFEST {
            reading.body = Some(track.before_frame());
        }
        if reading.body.is_some() && !reading.is_framed(&name, size, entry.header()) {
            return Err(Damaged(format!(
                "the frame of `{name}` is not what was written"
            )));
        }
        reading.member(&name, size, mode, &mut entry, visitor)?;
    }
    // Nothing but the end of a tar stands behind its last member.
    track.padding.set((reading.end, u64::MAX));
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(broken)?;
    let read = reading.finish()?;
    if track.stained.get() || track.position.get() != reading.end + END {
        return Err(Damaged(
            "there is something between its members, or behind them".to_owned(),
        ));
    }
    Ok(read)
}

/// How far the reading of an archive has come.
#[derive(Default)]
struct Reading {
    header: Option<(Header, Voucher, Option<VerifyKey>)>,
    files: Vec<FileEntry>,
    parts: u64,
    rows: Option<BTreeMap<String, u64>>,
    manifest: Option<(Manifest, Digest)>,
    signature: Option<SignedArchive>,
    /// The digest of all before the manifest.
    body: Option<Digest>,
    /// Where the last member ends.
    end: u64,
}

impl Reading {
    /// Whether the frame of a member behind the body says what it must.
    fn is_framed(&self, name: &str, size: u64, found: &tar::Header) -> bool {
        let Some((header, ..)) = &self.header else {
            return false;
        };
        let mut expected = frame(0o600, size, header.created_at);
        let named = expected.set_path(name).is_ok();
        expected.set_cksum();
        named && expected.as_bytes() == found.as_bytes()
    }

    fn member<V: Visitor>(
        &mut self,
        name: &str,
        size: u64,
        mode: u32,
        content: &mut dyn Read,
        visitor: &mut V,
    ) -> Result<(), ArchiveError<V::Error>> {
        if self.header.is_none() {
            if name != HEADER {
                return Err(NotOne(format!("it begins with `{name}`")));
            }
            let bytes = whole(content, size, MAX_HEADER, name)?;
            return self.take_header(&bytes, visitor);
        }
        if self.signature.is_some() {
            return Err(Damaged(format!("`{name}` stands behind its end")));
        }
        if self.manifest.is_some() {
            if name != SIGNATURE {
                return Err(Damaged(format!("`{name}` stands behind its end")));
            }
            let bytes = whole(content, size, MAX_HEADER, name)?;
            let signature = SignedArchive::from_bytes(&bytes);
            let signature = signature.map_err(|_| Damaged("its signature is none".to_owned()))?;
            self.signature = Some(signature);
            return Ok(());
        }
        if name == MANIFEST {
            let bytes = whole(content, size, MAX_MANIFEST, name)?;
            let manifest = serde_json::from_slice(&bytes);
            let manifest = manifest.map_err(|_| Damaged("its manifest is none".to_owned()))?;
            self.manifest = Some((manifest, sha256(&bytes)));
            return Ok(());
        }
        if name.starts_with(DATABASE) {
            return self.take_part(name, size, content, visitor);
        }
        let plain = name.strip_prefix(FILES).map(|file| (file, false));
        let compressed = || {
            let name = name.strip_prefix(COMPRESSED_FILES)?;
            Some((name.strip_suffix(COMPRESSED)?, true))
        };
        match plain.or_else(compressed) {
            Some((file, compressed)) => self.take_file(file, compressed, mode, content, visitor),
            None => Err(Damaged(format!(
                "it holds `{name}`, which has no place in it"
            ))),
        }
    }

    fn take_header<V: Visitor>(
        &mut self,
        bytes: &[u8],
        visitor: &mut V,
    ) -> Result<(), ArchiveError<V::Error>> {
        #[derive(serde::Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_slice(bytes)
            .map_err(|_| NotOne("its header says no format".to_owned()))?;
        if version.format != FORMAT {
            return Err(ArchiveError::Format(version.format));
        }
        let header: Header = serde_json::from_slice(bytes)
            .map_err(|error| Damaged(format!("its header: {error}")))?;
        let (voucher, key) = header
            .voucher()
            .ok_or_else(|| Damaged("the card of its maker is none".to_owned()))?;
        visitor
            .header(&header, voucher)
            .map_err(ArchiveError::Taken)?;
        self.header = Some((header, voucher, key));
        Ok(())
    }

    fn take_file<V: Visitor>(
        &mut self,
        name: &str,
        compressed: bool,
        mode: u32,
        content: &mut dyn Read,
        visitor: &mut V,
    ) -> Result<(), ArchiveError<V::Error>> {
        let ordered = self
            .files
            .last()
            .is_none_or(|last| last.name.as_str() < name);
        if !ordered || self.rows.is_some() {
            return Err(Damaged(format!("`{name}` is out of order")));
        }
        if !is_plain(name) {
            return Err(Damaged(format!("`{name}` leads out of the folder")));
        }
        let of_server = self
            .header
            .as_ref()
            .is_some_and(|(header, ..)| header.contents == Contents::Keyserver);
        let most = if of_server { MAX_SERVER_FILE } else { u64::MAX };
        let mut decoder;
        let content: &mut dyn Read = if compressed {
            decoder = zstd::Decoder::new(content).map_err(broken)?;
            &mut decoder
        } else {
            content
        };
        let mut digested = Hashed::new(content.take(most));
        let taken = visitor.file(name, mode, &mut digested);
        if let Some(error) = digested.failed {
            return Err(broken(error));
        }
        taken.map_err(ArchiveError::Taken)?;
        // Whatever the visitor has left.
        io::copy(&mut digested, &mut io::sink()).map_err(broken)?;
        if digested.length == most {
            return Err(Damaged(format!("`{name}` is too large")));
        }
        self.files.push(FileEntry {
            name: name.to_owned(),
            size: digested.length,
            sha256: digested.digest(),
        });
        Ok(())
    }

    fn take_part<V: Visitor>(
        &mut self,
        name: &str,
        size: u64,
        content: &mut dyn Read,
        visitor: &mut V,
    ) -> Result<(), ArchiveError<V::Error>> {
        let number = self.parts + 1;
        if name != part_name(number) {
            return Err(Damaged(format!("`{name}` is out of order")));
        }
        if size > MAX_PART {
            return Err(Damaged(format!("`{name}` is too large")));
        }
        self.parts = number;
        let mut part = Vec::new();
        let decoder = zstd::Decoder::new(content).map_err(broken)?;
        let length = decoder.take(MAX_PART).read_to_end(&mut part);
        if length.map_err(broken)? as u64 == MAX_PART {
            return Err(Damaged(format!("`{name}` is too large")));
        }
        let rows = Rows::decode(&part);
        let rows = rows.map_err(|source| ArchiveError::Part { number, source })?;
        let counted = self.rows.get_or_insert_default();
        *counted.entry(rows.table().to_owned()).or_default() += rows.count();
        visitor.rows(rows).map_err(ArchiveError::Taken)
    }

    /// Compares what was read with what the maker signed.
    fn finish<E>(&mut self) -> Result<Verified, ArchiveError<E>> {
        let Some((header, voucher, key)) = self.header.take() else {
            return Err(NotOne("it is empty".to_owned()));
        };
        let Some((manifest, digest)) = self.manifest.take() else {
            return Err(Damaged("it is cut off".to_owned()));
        };
        match (key, self.signature.take()) {
            (None, None) => {}
            (Some(key), Some(signature)) if signature.verify(&key, &digest).is_ok() => {}
            (Some(_), None) => {
                return Err(Damaged("it is cut off before its signature".to_owned()));
            }
            _ => return Err(ArchiveError::Forged(voucher)),
        }
        let parts = self.parts;
        let database = self.rows.take().map(|rows| DatabaseEntry { parts, rows });
        let Some(body) = self.body else {
            return Err(Damaged("it is cut off".to_owned()));
        };
        let read = Manifest {
            archive: header.archive.clone(),
            body,
            files: std::mem::take(&mut self.files),
            database,
        };
        if read != manifest {
            return Err(Damaged(difference(&read, &manifest)));
        }
        Ok(Verified {
            header,
            voucher,
            manifest,
        })
    }
}

/// Where what was read is not what was signed.
fn difference(read: &Manifest, signed: &Manifest) -> String {
    if read.archive != signed.archive {
        return "its header is another archive's".to_owned();
    }
    if read.database != signed.database {
        return "its database is not what was signed".to_owned();
    }
    let pairs = read.files.iter().zip(&signed.files);
    let mut differ = pairs.filter(|(read, signed)| read != signed);
    match differ.next() {
        Some((read, _)) => format!("`{}` is not what was signed", read.name),
        None if read.files.len() != signed.files.len() => {
            "it has not the files that were signed".to_owned()
        }
        None => "what stands before its manifest is not what was signed".to_owned(),
    }
}

/// Whether a name is a relative path that stays below where it begins.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    !name.contains('\0') && name.split('/').all(plain)
}

fn whole<E>(
    content: &mut dyn Read,
    size: u64,
    most: u64,
    name: &str,
) -> Result<Vec<u8>, ArchiveError<E>> {
    if size > most {
        return Err(Damaged(format!("`{name}` is too large")));
    }
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 != size {
        return Err(Damaged("it is cut off".to_owned()));
    }
    Ok(bytes)
}

/// What the tar, or what is compressed in it, says when it is not what was written, and what the disk says when
/// it cannot be read.
fn broken<E>(error: io::Error) -> ArchiveError<E> {
    match error.raw_os_error() {
        Some(_) => ArchiveError::Io(error),

        None => Damaged(error.to_string()),
    }
}
