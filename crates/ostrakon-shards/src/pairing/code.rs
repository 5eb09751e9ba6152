use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
    str::FromStr,
};

use crate::hash::sha256;

/// Crockford's: no I, L, O or U, which people misread.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LEN: usize = 12;

/// The address of a host, short enough to type: `XXXX-XXXX-XXXX`, 48 bits and a checksum of 12.
///
/// It is no secret and proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(SocketAddrV4);

/// Text that is not such a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a code of 12 letters and digits, or mistyped")]
pub struct ParseCodeError;

impl Code {
    /// The code of an address.
    #[must_use]
    pub const fn new(address: SocketAddrV4) -> Self {
        Self(address)
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> SocketAddrV4 {
        self.0
    }

    /// Address, port and checksum, 60 bits in all.
    fn bits(&self) -> u64 {
        let address = u64::from(self.0.ip().to_bits()) << 16 | u64::from(self.0.port());
        address << 12 | checksum(address)
    }
}

fn checksum(address: u64) -> u64 {
    let digest = sha256(&address.to_be_bytes());
    let [first, second, ..] = *digest.as_bytes();
    u64::from(u16::from_be_bytes([first, second]) >> 4)
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits();
        for at in 0..LEN {
            if at % 4 == 0 && at > 0 {
                f.write_str("-")?;
            }
            let shift = 5 * (LEN - 1 - at);
            let digit = usize::try_from(bits >> shift & 31).unwrap_or(0);
            let letter = ALPHABET.get(digit).copied().unwrap_or(b'0');
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl FromStr for Code {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, ParseCodeError> {
        let mut bits = 0u64;
        let mut count = 0;
        for letter in text.bytes().filter(|byte| !b"- ".contains(byte)) {
            let letter = match letter.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                letter => letter,
            };
            let digit = ALPHABET.iter().position(|known| *known == letter);
            let digit = digit.ok_or(ParseCodeError)?;
            count += 1;
            if count > LEN {
                return Err(ParseCodeError);
            }
            bits = bits << 5 | digit as u64;
        }
        let address = bits >> 12;
        if count != LEN || bits & 0xfff != checksum(address) {
            return Err(ParseCodeError);
        }
        let ip = u32::try_from(address >> 16).map_err(|_| ParseCodeError)?;
        let port = u16::try_from(address & 0xffff).map_err(|_| ParseCodeError)?;
        let ip = Ipv4Addr::from_bits(ip);
        Ok(Self(SocketAddrV4::new(ip, port)))
    }
}
