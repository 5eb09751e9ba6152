//! Archives: records that leave the database, sealed as they are, and a signed manifest that says which
//! they are. The newest manifest stays in the database as the place where the chains begin.

use std::io::{BufReader, Read, Write};

use minicbor::{Decode, Encode};
use ostrakon_shards::sign::{Signature, SigningKey, VerifyKey};
use ostrakon_storage::{ArchiveRow, AuditHead, InstanceId};
use ostrakon_types::{Digest, KssId, UnixMillis, canonical};
use sha2::{Digest as _, Sha256};

use super::AuditError;

const PURPOSE: &str = "audit archive";
const VERSION: u8 = 1;
const MAGIC: &[u8; 25] = b"ostrakon audit archive 1\n";

/// More than any frame takes.
const FRAME_LEN: u32 = 16 << 20;

/// The records of one chain in an archive. None when `first` is behind `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Span {
    /// Whose chain.
    #[n(0)]
    pub instance: InstanceId,
    /// The number of the first record.
    #[n(1)]
    pub first: u64,
    /// The authenticator of the record before.
    #[n(2)]
    pub before: Digest,
    /// The number of the last record.
    #[n(3)]
    pub last: u64,
    /// Its authenticator.
    #[n(4)]
    pub mac: Digest,
}

impl Span {
    /// Where it begins.
    pub(super) fn start(&self) -> AuditHead {
        AuditHead {
            sequence: self.first.saturating_sub(1),
            mac: *self.before.as_bytes(),
        }
    }

    /// Where it ends, and the database goes on.
    #[must_use]
    pub fn end(&self) -> AuditHead {
        AuditHead {
            sequence: self.last,
            mac: *self.mac.as_bytes(),
        }
    }
}

/// What is in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    #[n(0)]
    version: u8,
    /// Whose.
    #[n(1)]
    pub kss_id: KssId,
    /// Its number, from 1.
    #[n(2)]
    pub number: u64,
    /// When it was made.
    #[n(3)]
    pub at: UnixMillis,
    /// The hash of the manifest before; zeros for the first.
    #[n(4)]
    pub previous: Digest,
    /// The number of the checkpoint up to which it goes.
    #[n(5)]
    pub checkpoint: u64,
    /// The hash of that checkpoint.
    #[n(6)]
    pub checkpoint_hash: Digest,
    /// The chains, in the order of their instances.
    #[n(7)]
    pub spans: Vec<Span>,
    /// How many records there are.
    #[n(8)]
    pub records: u64,
    /// The SHA-256 of all that stands in the file before the manifest.
    #[n(9)]
    pub body: Digest,
}

impl Manifest {
    pub(super) fn new(
        kss_id: KssId,
        previous: Option<(u64, Digest)>,
        at: UnixMillis,
        checkpoint: (u64, Digest),
        spans: Vec<Span>,
        records: u64,
        body: Digest,
    ) -> Self {
        let (before, previous) = previous.unwrap_or((0, Digest::from_bytes([0; 32])));
        Self {
            version: VERSION,
            kss_id,
            number: before + 1,
            at,
            previous,
            checkpoint: checkpoint.0,
            checkpoint_hash: checkpoint.1,
            spans,
            records,
            body,
        }
    }

    /// Where the instance's chain goes on behind this archive.
    #[must_use]
    pub fn base(&self, instance: InstanceId) -> Option<AuditHead> {
        let span = self.spans.iter().find(|span| span.instance == instance);
        span.map(Span::end)
    }
}

/// A [`Manifest`] with the server's signature, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedManifest {
    #[n(0)]
    manifest: Manifest,
    #[n(1)]
    signature: Signature,
}

/// A manifest that is not this server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("manifest was altered, or is another server's")]
pub struct ManifestError;

impl SignedManifest {
    pub(crate) fn issue(root: &SigningKey, manifest: Manifest) -> Self {
        let signature = root.sign(PURPOSE, &canonical::encode(&manifest));
        Self {
            manifest,
            signature,
        }
    }

    /// Checks that the server with this id and key signed, and gives the manifest.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(&self, kss_id: &KssId, root: &VerifyKey) -> Result<&Manifest, ManifestError> {
        let message = canonical::encode(&self.manifest);
        let signed = root.verify_strict(PURPOSE, &message, &self.signature);
        let ours = self.manifest.kss_id == *kss_id && self.manifest.version == VERSION;
        if signed.is_err() || !ours {
            return Err(ManifestError);
        }
        Ok(&self.manifest)
    }

    /// The SHA-256 of the bytes.
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest::from_bytes(Sha256::digest(self.to_bytes()).into())
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes the canonical encoding. It is not verified yet.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        canonical::decode(bytes).map_err(|_| ManifestError)
    }

    /// The row in which the database keeps it.
    #[must_use]
    pub fn row(&self) -> ArchiveRow {
        ArchiveRow {
            number: self.manifest.number,
            signed: self.to_bytes(),
        }
    }
}

/// A part of an archive's file.
#[derive(Encode, Decode)]
pub(super) enum Frame {
    /// The first: where the chains begin. The manifest says so, too, at the end.
    #[n(0)]
    Begin(#[n(0)] Vec<Span>),
    #[n(1)]
    Record {
        #[n(0)]
        instance: InstanceId,
        #[n(1)]
        sequence: u64,
        #[cbor(n(2), with = "minicbor::bytes")]
        sealed: Vec<u8>,
        #[cbor(n(3), with = "minicbor::bytes")]
        mac: Vec<u8>,
    },
    /// A checkpoint that names records of the archive, signed.
    #[n(2)]
    Checkpoint(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The last: the signed manifest.
    #[n(3)]
    Manifest(#[n(0)] Box<SignedManifest>),
}

/// Writes frames, and hashes what it wrote.
pub(super) struct FrameWriter<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> FrameWriter<W> {
    pub(super) fn new(mut out: W) -> Result<Self, AuditError> {
        out.write_all(MAGIC)?;
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        Ok(Self { out, hash })
    }

    pub(super) fn write(&mut self, frame: &Frame) -> Result<(), AuditError> {
        let bytes = canonical::encode(frame);
        let length = u32::try_from(bytes.len()).map_err(|_| AuditError::NoArchive("too large"))?;
        for part in [&length.to_be_bytes()[..], &bytes] {
            self.hash.update(part);
            self.out.write_all(part)?;
        }
        Ok(())
    }

    /// The digest of all that was written so far.
    pub(super) fn digest(&self) -> Digest {
        Digest::from_bytes(self.hash.clone().finalize().into())
    }

    pub(super) fn finish(mut self) -> Result<W, AuditError> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads frames, and hashes what it read.
pub(super) struct FrameReader<R> {
    from: BufReader<R>,
    hash: Sha256,
    /// The digest of all before the frame that was read last.
    before: Digest,
}

impl<R: Read> FrameReader<R> {
    pub(super) fn new(from: R) -> Result<Self, AuditError> {
        let mut from = BufReader::new(from);
        let mut magic = [0; MAGIC.len()];
        let read = from.read_exact(&mut magic);
        if read.is_err() || magic != *MAGIC {
            return Err(AuditError::NoArchive("it does not begin as one"));
        }
        let mut hash = Sha256::new();
        hash.update(magic);
        Ok(Self {
            from,
            hash,
            before: Digest::from_bytes([0; 32]),
        })
    }

    /// The next frame; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, AuditError> {
        let mut length = [0; 4];
        let mut first = [0; 1];
        if self.from.read(&mut first)? == 0 {
            return Ok(None);
        }
        let [high, low @ ..] = &mut length;
        [*high] = first;
        let cut = |_| AuditError::NoArchive("it is cut off");
        self.from.read_exact(low).map_err(cut)?;
        let size = u32::from_be_bytes(length);
        if size > FRAME_LEN {
            return Err(AuditError::NoArchive("a part of it is too large"));
        }
        let mut bytes = Vec::new();
        let read = Read::take(&mut self.from, size.into()).read_to_end(&mut bytes)?;
        if read as u64 != u64::from(size) {
            return Err(AuditError::NoArchive("it is cut off"));
        }
        self.before = Digest::from_bytes(self.hash.clone().finalize().into());
        self.hash.update(length);
        self.hash.update(&bytes);
        let frame = canonical::decode(&bytes);
        frame
            .map(Some)
            .map_err(|_| AuditError::NoArchive("a part of it was changed"))
    }

    pub(super) fn digest_before_last(&self) -> Digest {
        self.before
    }
}
