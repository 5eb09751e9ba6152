//! Looking at every byte of a text, many at once.

/// How many bytes are looked at together. Paths are not much longer.
const LANES: usize = 16;

/// Whether `test` says anything but 0 of two bytes that stand at one place in two texts of one length.
///
/// All bytes are looked at, whatever comes of the first, so that the compiler can make vectors of them.
pub(crate) fn any(one: &[u8], other: &[u8], test: impl Fn(u8, u8) -> u8) -> bool {
    let of = |any, (byte, other): (&u8, &u8)| any | test(*byte, *other);
    let chunks = one
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(other.as_chunks::<LANES>().0);
    let any = chunks.fold(0, |any, (one, other)| one.iter().zip(other).fold(any, of));
    // What is left over is looked at together with what comes before it.
    let any = match (one.last_chunk::<LANES>(), other.last_chunk::<LANES>()) {
        (Some(one), Some(other)) => one.iter().zip(other).fold(any, of),
        _ => one.iter().zip(other).fold(any, of),
    };
    any != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_looked_at() {
        for length in 0..70 {
            let text = vec![b'a'; length];
            let differ = |byte, other| u8::from(byte != other);
            assert!(!any(&text, &text, differ), "{length}");
            for at in 0..length {
                let mut other = text.clone();
                other[at] = b'b';
                assert!(any(&text, &other, differ), "{at} of {length}");
            }
        }
    }
}
