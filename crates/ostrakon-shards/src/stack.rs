//! What ciphers leave behind on the stack.
//!
//! The block ciphers below pass plaintext through buffers on the stack that they do not wipe. They are
//! overwritten by whatever runs next, which on a server that has gone idle may be nothing. So whoever
//! opens or seals a secret calls [`wipe`] afterwards, from the function that called the cipher.

use std::hint::black_box;

/// More than the functions below use between them, in 8 byte words.
const WORDS: usize = 8192;

/// Overwrites the part of the stack that functions called before from the same place have used: 64 KiB
/// below the caller.
#[inline(never)]
pub fn wipe() {
    let mut blank = [0_u64; WORDS];
    black_box(&mut blank);
}
