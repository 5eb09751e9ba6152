//! Recipients of the OpenPGP format (RFC 4880, RFC 9580), in messages that every GnuPG since 2.0 opens.
//!
//! The session key is AES-256, and the data are integrity-protected by the older of the two ways (SEIPD version 1), since
//! GnuPG reads no other. They are not compressed: the members of an archive are already.

mod certificate;
mod judge;

use std::{
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use ostrakon_types::UnixMillis;
use pgp::{composed::MessageBuilder, crypto::sym::SymmetricKeyAlgorithm, errors::Error};
use rand_core::OsRng;

use self::{
    certificate::certificates,
    judge::{EncryptionPart, Judgement},
};
use super::{EncryptError, ReadKeyError, RecipientError, UnusableKey, read_file};
use crate::gpg::Gpg;

#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

/// A key that can be encrypted to.
#[derive(Debug)]
struct Key {
    fingerprint: String,
    users: Vec<String>,
    part: EncryptionPart,
}

impl Keys {
    pub(super) fn find(
        gpg: &Gpg,
        named: &[String],
        now: UnixMillis,
    ) -> Result<Self, RecipientError> {
        let mut keys: Vec<Key> = Vec::new();
        for named in named {
            let key = find_one(gpg, named, now)?;
            if keys
                .iter()
                .all(|known| known.fingerprint != key.fingerprint)
            {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err(RecipientError::Nobody);
        }
        Ok(Self(keys))
    }

    pub(super) fn described(&self) -> Vec<String> {
        let describe = |key: &Key| format!("{} {}", key.fingerprint, key.users.join(", "));
        self.0.iter().map(describe).collect()
    }

    pub(super) fn encrypt(
        &self,
        plain: impl Read,
        mut out: impl Write,
    ) -> Result<(), EncryptError> {
        let mut message =
            MessageBuilder::from_reader("", plain).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
        for key in &self.0 {
            match &key.part {
                EncryptionPart::Primary(part) => message.encrypt_to_key(OsRng, part),
                EncryptionPart::Subkey(part) => message.encrypt_to_key(OsRng, part),
            }
            .map_err(failed)?;
        }
        message.to_writer(OsRng, &mut out).map_err(failed)?;
        out.flush()?;
        Ok(())
    }
}

/// The one usable key of those that answer to a name.
fn find_one(gpg: &Gpg, named: &str, now: UnixMillis) -> Result<Key, RecipientError> {
    let by_path = named.contains('/') && Path::new(named).is_file();
    let found = if by_path {
        read_file(named)?
    } else {
        gpg.export(named)
            .map_err(|error| RecipientError::of_gpg(named, error))?
    };
    if found.is_empty() && !by_path {
        let named = named.to_owned();
        return Err(RecipientError::Unknown { named });
    }
    let name = (!by_path).then_some(named);
    let found =
        judge(&found, name, now).map_err(|fault| RecipientError::unreadable(named, fault))?;
    let mut usable = Vec::new();
    let mut unusable = Vec::new();
    for judgement in found {
        let fingerprint = judgement.fingerprint;
        match judgement.part {
            Ok(part) => usable.push(Key {
                fingerprint,
                users: judgement.users,
                part,
            }),
            Err(fault) => unusable.push(UnusableKey { fingerprint, fault }),
        }
    }
    let named = named.to_owned();
    match (usable.pop(), usable.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(last), false) => {
            usable.push(last);
            let keys = usable.into_iter().map(|key| key.fingerprint).collect();
            Err(RecipientError::Ambiguous { named, keys })
        }
        (None, _) => Err(RecipientError::Unusable {
            named,
            keys: unusable,
        }),
    }
}

/// Reads and judges the keys of `found`, at least one.
fn judge(
    found: &[u8],
    name: Option<&str>,
    now: UnixMillis,
) -> Result<Vec<Judgement>, ReadKeyError> {
    let judge = || -> Result<Vec<Judgement>, ReadKeyError> {
        let keys = certificates(found)?;
        let judgements = keys.iter().map(|key| Judgement::of(key, name, now));
        Ok(judgements.collect())
    };
    // A foreign key is no reason to end, and the authors of the parser do not promise that it never panics.
    let judgements = catch_unwind(AssertUnwindSafe(judge))
        .unwrap_or_else(|_| Err(ReadKeyError::Damaged("its parser gave up".into())))?;
    if judgements.is_empty() {
        return Err(ReadKeyError::NoKey);
    }
    Ok(judgements)
}

fn failed(error: Error) -> EncryptError {
    match error {
        Error::IO { source, .. } => EncryptError::Io(source),
        other => EncryptError::Message(other.into()),
    }
}
