//! Recipients of the age format (<https://age-encryption.org/v1>).

use std::io::{self, Read, Write};

use age::{Encryptor, Recipient, x25519};

use super::{EncryptError, ReadKeyError, RecipientError, read_file};

/// What every recipient begins with, and no path that is meant as one: `./age1` would be.
const PREFIX: &str = "age1";
/// What the line of an identity begins with.
const IDENTITY: &str = "AGE-";

#[derive(Debug)]
pub(super) struct Keys(Vec<x25519::Recipient>);

impl Keys {
    pub(super) fn parse(named: &[String]) -> Result<Self, RecipientError> {
        let mut keys = Vec::new();
        for named in named {
            let found = if named.starts_with(PREFIX) {
                parse_lines(named)
            } else {
                let content = read_file(named)?;
                str::from_utf8(&content)
                    .map_err(|error| ReadKeyError::Damaged(error.into()))
                    .and_then(parse_lines)
            };
            for key in found.map_err(|fault| RecipientError::unreadable(named, fault))? {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        if keys.is_empty() {
            return Err(RecipientError::Nobody);
        }
        Ok(Self(keys))
    }

    pub(super) fn described(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    pub(super) fn encrypt(
        &self,
        mut plain: impl Read,
        out: impl Write,
    ) -> Result<(), EncryptError> {
        let recipients = self.0.iter().map(|key| key as &dyn Recipient);
        let encryptor = Encryptor::with_recipients(recipients)
            .map_err(|error| EncryptError::Message(error.into()))?;
        let mut sealed = encryptor.wrap_output(out)?;
        io::copy(&mut plain, &mut sealed)?;
        sealed.finish()?.flush()?;
        Ok(())
    }
}

/// The recipients of a text with one a line, blank lines and comments aside.
fn parse_lines(text: &str) -> Result<Vec<x25519::Recipient>, ReadKeyError> {
    let mut keys = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with(IDENTITY) {
            return Err(ReadKeyError::SecretKey);
        }
        let key = line
            .parse()
            .map_err(|_| ReadKeyError::Line { line: place + 1 })?;
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(ReadKeyError::NoKey);
    }
    Ok(keys)
}
