//! One writer, two readers: an archive is encrypted and restored while it is made.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// So many bytes go at once.
const CHUNK: usize = 1 << 16;
/// So many chunks wait for the slower reader.
const WAITING: usize = 16;

type Chunk = Arc<[u8]>;

/// The end that is written to.
pub(crate) struct Tee {
    buffer: Vec<u8>,
    /// Without it nothing is written any more.
    main: SyncSender<Chunk>,
    /// It may go away.
    other: Option<SyncSender<Chunk>>,
}

/// An end that is read from. It ends when the writer is dropped, whatever that means.
pub(crate) struct Tap {
    from: Receiver<Chunk>,
    chunk: Option<(Chunk, usize)>,
}

/// A tee, its main tap, and another one where that is wanted.
pub(crate) fn tee(other: bool) -> (Tee, Tap, Option<Tap>) {
    let (main, from) = sync_channel(WAITING);
    let tap = |from| Tap { from, chunk: None };
    let (other, other_from) = match other {
        true => {
            let (other, from) = sync_channel(WAITING);
            (Some(other), Some(from))
        }
        false => (None, None),
    };
    let tee = Tee {
        buffer: Vec::with_capacity(CHUNK),
        main,
        other,
    };
    (tee, tap(from), other_from.map(tap))
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK - self.buffer.len();
        let count = bytes.len().min(room);
        self.buffer
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk: Chunk = self.buffer.as_slice().into();
        self.buffer.clear();
        if let Some(other) = &self.other
            && other.send(Arc::clone(&chunk)).is_err()
        {
            self.other = None;
        }
        self.main
            .send(chunk)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((chunk, at)) = &mut self.chunk {
                let rest = chunk.get(*at..).unwrap_or_default();
                if !rest.is_empty() {
                    let count = rest.len().min(buffer.len());
                    if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                        to.copy_from_slice(from);
                    }
                    *at += count;
                    return Ok(count);
                }
            }
            match self.from.recv() {
                Ok(chunk) => self.chunk = Some((chunk, 0)),
                Err(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tee: Tee, bytes: Vec<u8>) -> std::thread::JoinHandle<io::Result<()>> {
        std::thread::spawn(move || {
            let mut tee = tee;
            tee.write_all(&bytes)?;
            tee.flush()
        })
    }

    fn read(mut tap: Tap) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            tap.read_to_end(&mut bytes).unwrap();
            bytes
        })
    }

    #[test]
    fn both_readers_get_all() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(5_000_000).collect();
        let (tee, main, other) = tee(true);
        let (main, other) = (read(main), read(other.unwrap()));
        written(tee, bytes.clone()).join().unwrap().unwrap();
        assert!(main.join().unwrap() == bytes && other.join().unwrap() == bytes);
    }

    #[test]
    fn one_reader_may_go_and_the_other_must_not() {
        let bytes = vec![1; 5_000_000];
        let (first, main, other) = tee(true);
        drop(other);
        let main = read(main);
        written(first, bytes.clone()).join().unwrap().unwrap();
        assert_eq!(main.join().unwrap(), bytes);
        let (second, main, other) = tee(true);
        drop(main);
        let other = read(other.unwrap());
        assert!(written(second, bytes).join().unwrap().is_err());
        other.join().unwrap();
    }
}
