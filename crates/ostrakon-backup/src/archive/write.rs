use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek as _, Write},
};

use ostrakon_shards::archive::SignedArchive;
use ostrakon_types::{Digest, UnixMillis};
use serde::Serialize;

use super::{
    COMPRESSED, COMPRESSED_FILES, DatabaseEntry, FILES, FileEntry, HEADER, Header, MANIFEST,
    Manifest, SIGNATURE, frame, hashed::Hashed, part_name, sha256,
};

/// Files that are larger are compressed.
const LARGE: u64 = 1 << 20;

/// How hard members are compressed: more takes longer than it saves.
const LEVEL: i32 = 3;

/// Writes an archive.
pub struct Writer<W: Write> {
    tar: tar::Builder<Hashed<W>>,
    /// When it is made: the time of every member.
    at: UnixMillis,
    archive: String,
    files: Vec<FileEntry>,
    parts: u64,
    rows: Option<BTreeMap<String, u64>>,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(out: W, header: &Header) -> io::Result<Self> {
        let bytes = json(header)?;
        let mut writer = Self {
            tar: tar::Builder::new(Hashed::new(out)),
            at: header.created_at,
            archive: header.archive.clone(),
            files: Vec::new(),
            parts: 0,
            rows: None,
        };
        writer.member(HEADER, 0o600, bytes.len() as u64, &mut &bytes[..])?;
        Ok(writer)
    }

    /// Adds a file of the home as it is at this moment. Files are added in the order of their names.
    ///
    /// # Errors
    /// When it cannot be read or written, or becomes shorter meanwhile.
    pub fn file(&mut self, name: &str, mode: u32, file: &mut File) -> io::Result<()> {
        self.check_order(name)?;
        let size = file.metadata()?.len();
        let mut content = Hashed::new(file.take(size));
        if size > LARGE {
            // Its size stands before it.
            let mut spooled = tempfile::tempfile()?;
            zstd::stream::copy_encode(&mut content, &mut spooled, LEVEL)?;
            let length = spooled.stream_position()?;
            spooled.rewind()?;
            let name = format!("{COMPRESSED_FILES}{name}{COMPRESSED}");
            self.member(&name, mode, length, &mut spooled)?;
        } else {
            self.member(&format!("{FILES}{name}"), mode, size, &mut content)?;
        }
        if content.length != size {
            return Err(io::Error::other(format!(
                "`{name}` changed while it was read"
            )));
        }
        self.files.push(FileEntry {
            name: name.to_owned(),
            size,
            sha256: content.digest(),
        });
        Ok(())
    }

    /// Adds what is to be a file of the home.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn bytes(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.check_order(name)?;
        let size = content.len() as u64;
        self.member(&format!("{FILES}{name}"), 0o600, size, &mut &content[..])?;
        self.files.push(FileEntry {
            name: name.to_owned(),
            size,
            sha256: sha256(content),
        });
        Ok(())
    }

    /// Adds a part of the database, behind all files.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn part(&mut self, table: &str, rows: u64, part: &[u8]) -> io::Result<()> {
        let compressed = zstd::bulk::compress(part, LEVEL)?;
        self.parts += 1;
        let name = part_name(self.parts);
        let length = compressed.len() as u64;
        self.member(&name, 0o600, length, &mut &compressed[..])?;
        let counted = self.rows.get_or_insert_default();
        *counted.entry(table.to_owned()).or_default() += rows;
        Ok(())
    }

    /// Ends the archive, with a signature of the manifest where there is somebody to sign.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(
        mut self,
        sign: Option<&dyn Fn(Digest) -> SignedArchive>,
    ) -> io::Result<(W, Manifest)> {
        let parts = self.parts;
        let database = self.rows.take().map(|rows| DatabaseEntry { parts, rows });
        let manifest = Manifest {
            archive: self.archive.clone(),
            body: self.tar.get_ref().digest(),
            files: std::mem::take(&mut self.files),
            database,
        };
        let bytes = json(&manifest)?;
        self.member(MANIFEST, 0o600, bytes.len() as u64, &mut &bytes[..])?;
        if let Some(sign) = sign {
            let signature = sign(sha256(&bytes)).to_bytes();
            let length = signature.len() as u64;
            self.member(SIGNATURE, 0o600, length, &mut &signature[..])?;
        }
        Ok((self.tar.into_inner()?.inner, manifest))
    }

    /// A reader takes no other order, in which a name could come twice.
    fn check_order(&self, name: &str) -> io::Result<()> {
        let ordered = self
            .files
            .last()
            .is_none_or(|last| last.name.as_str() < name);
        if !ordered || self.rows.is_some() {
            return Err(io::Error::other(format!("`{name}` is added out of order")));
        }
        Ok(())
    }

    fn member(
        &mut self,
        name: &str,
        mode: u32,
        size: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let mut frame = frame(mode, size, self.at);
        self.tar.append_data(&mut frame, name, content.take(size))
    }
}

fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
