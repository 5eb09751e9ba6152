use std::{
    cell::{Cell, RefCell},
    io::{self, Read},
    rc::Rc,
};

use ostrakon_types::Digest;
use sha2::{Digest as _, Sha256};

/// How long a tar's frame of a member is, and what a member is filled up to.
pub(super) const BLOCK: u64 = 512;
const HELD: usize = 512;

/// What was read of an archive: how far, with which digest, and whether there was something where nothing
/// should be.
#[derive(Default)]
pub(super) struct Track {
    pub(super) position: Cell<u64>,
    /// Where zeros should be: from here to there.
    pub(super) padding: Cell<(u64, u64)>,
    pub(super) stained: Cell<bool>,
    hash: RefCell<Sha256>,
    /// The last block, which is not in the hash yet.
    held: RefCell<Vec<u8>>,
}

impl Track {
    /// The digest of all before the frame that was read last, when nothing behind that was read.
    pub(super) fn before_frame(&self) -> Digest {
        Digest::from_bytes(self.hash.borrow().clone().finalize().into())
    }

    fn add(&self, bytes: &[u8]) {
        let at = self.position.get();
        let padding = self.padding.get();
        let end = at + bytes.len() as u64;
        if at < padding.1 && end > padding.0 {
            let mut read = (at..).zip(bytes);
            let stain = |(at, byte): (u64, &u8)| *byte != 0 && at >= padding.0 && at < padding.1;
            self.stained.set(self.stained.get() || read.any(stain));
        }
        self.position.set(end);
        let (mut hash, mut held) = (self.hash.borrow_mut(), self.held.borrow_mut());
        held.extend_from_slice(bytes);
        let ripe = held.len().saturating_sub(HELD);
        hash.update(held.get(..ripe).unwrap_or_default());
        held.drain(..ripe);
    }
}

/// Keeps track of what is read through it.
pub(super) struct Tracked<R> {
    pub(super) from: R,
    pub(super) track: Rc<Track>,
}

impl<R: Read> Read for Tracked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.track.add(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
