//! From a file to an output, chunk by chunk.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
};

use age::{DecryptError, Decryptor, Encryptor};
use age_core::format::{FileKey, Stanza};
use ostrakon_shards::share;

use super::{FileError, ProfileRecipient, head};

/// The content's chunks are of this size; so are reads and writes.
const CHUNK: usize = 64 << 10;

/// Encrypts all of `input`, and gives how many bytes that were.
pub(crate) fn encrypt(
    input: &File,
    output: &File,
    recipient: &ProfileRecipient<'_>,
    advanced: &mut dyn FnMut(u64),
) -> Result<u64, FileError> {
    let encryptor = Encryptor::with_recipients(std::iter::once(recipient as _));
    let encryptor = encryptor.map_err(|error| FileError::Seal(io::Error::other(error)))?;
    let output = BufWriter::with_capacity(CHUNK, output);
    let mut sink = encryptor.wrap_output(output).map_err(FileError::Write)?;
    let bytes = copy(input, &mut sink, FileError::Read, advanced)?;
    let mut output = sink.finish().map_err(FileError::Write)?;
    output.flush().map_err(FileError::Write)?;
    Ok(bytes)
}

/// Decrypts all of `input` with its key. Unless this succeeds, nothing in `output` is to be trusted.
pub(crate) fn decrypt(
    mut input: &File,
    output: impl Write,
    key: &share::FileKey,
    advanced: &mut dyn FnMut(u64),
) -> Result<u64, FileError> {
    input.rewind().map_err(FileError::Read)?;
    let input = head::bounded(BufReader::with_capacity(CHUNK, input))?;
    let decryptor = Decryptor::new_buffered(input).map_err(head::header_error)?;
    let source = decryptor.decrypt(std::iter::once(&KnownKey(key) as _));
    let source = source.map_err(head::header_error)?;
    let mut output = BufWriter::with_capacity(CHUNK, output);
    let bytes = copy(source, &mut output, content_error, advanced)?;
    output.flush().map_err(FileError::Write)?;
    Ok(bytes)
}

fn copy(
    mut source: impl Read,
    sink: &mut impl Write,
    read_error: fn(io::Error) -> FileError,
    advanced: &mut dyn FnMut(u64),
) -> Result<u64, FileError> {
    // Plaintext: wiped when done.
    let mut buffer = zeroize::Zeroizing::new(vec![0; CHUNK]);
    let mut total = 0;
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(error)),
        };
        let chunk = buffer.get(..count).unwrap_or_default();
        sink.write_all(chunk).map_err(FileError::Write)?;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        total += count;
        advanced(count);
    }
}

/// The `age` crate reports what does not authenticate, or ends early, with these two kinds.
fn content_error(error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => FileError::Content(error),
        _ => FileError::Read(error),
    }
}

/// A key that is known already. Whether it is the header's, the header's authentication shows.
struct KnownKey<'a>(&'a share::FileKey);

impl age::Identity for KnownKey<'_> {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, _: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let key = self.0.as_bytes();
        Some(FileKey::try_init_with_mut(|file_key| {
            if key.len() != file_key.len() {
                return Err(DecryptError::KeyDecryptionFailed);
            }
            file_key.copy_from_slice(key);
            Ok(())
        }))
    }
}
