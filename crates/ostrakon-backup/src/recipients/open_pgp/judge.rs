//! Whether a key can be encrypted to, and with which of its parts.
//!
//! Only what the primary key signed counts, and of several signatures the newest: a binding that does not verify, is not yet
//! or no longer valid, or rests on MD5 says nothing. A revocation counts whenever it verifies, however old or weak.
//! SHA-1 is taken where the input shows no trace of a collision attack (the parser's hash looks for it), since keys of
//! GnuPG 2.0 have nothing else.

use ostrakon_types::UnixMillis;
use pgp::{
    composed::{SignedPublicKey, SignedPublicSubKey},
    crypto::{hash::HashAlgorithm, public_key::PublicKeyAlgorithm, sym::SymmetricKeyAlgorithm},
    packet::{
        PublicKey, PublicKeyEncryptedSessionKey, PublicSubkey, Signature, SignatureType,
        SubpacketData,
    },
    types::{EncryptionKey, KeyDetails, KeyVersion, SignedUser, Tag, Timestamp},
};
use rand_core::OsRng;

use super::super::KeyFault;

/// What there is to say of a key.
pub(super) struct Judgement {
    pub(super) fingerprint: String,
    /// The user ids that hold, for people to read.
    pub(super) users: Vec<String>,
    /// What to encrypt to.
    pub(super) part: Result<EncryptionPart, KeyFault>,
}

/// The part of a key that is encrypted to.
#[derive(Debug)]
pub(super) enum EncryptionPart {
    Primary(PublicKey),
    Subkey(PublicSubkey),
}

/// What a key says of one of its user ids.
enum Standing<'a> {
    /// By this signature.
    Live(&'a Signature),
    Revoked,
    Unproven,
}

/// A key at a time, in seconds of the Unix epoch.
struct Bench<'a> {
    key: &'a SignedPublicKey,
    now: i64,
}

impl Judgement {
    /// Judges `key` at `now`, which was found by `name` unless it was given as a file.
    pub(super) fn of(key: &SignedPublicKey, name: Option<&str>, now: UnixMillis) -> Self {
        let bench = Bench {
            key,
            now: now.0.div_euclid(1000),
        };
        let (mut users, mut revoked, mut own) = (Vec::new(), Vec::new(), Vec::new());
        for user in &key.details.users {
            match bench.standing(user) {
                Standing::Live(certification) => {
                    users.push(user_id(user));
                    own.push(certification);
                }
                Standing::Revoked => revoked.push(user_id(user)),
                Standing::Unproven => {}
            }
        }
        own.extend(bench.direct_signatures());
        let part = match name {
            Some(name) if only_among(name, &revoked, &users) => Err(KeyFault::Revoked),
            _ => bench.part(&own),
        };
        Self {
            fingerprint: format!("{:X}", key.fingerprint()),
            users,
            part,
        }
    }
}

impl<'a> Bench<'a> {
    /// What can be encrypted to, when `own` are the valid signatures of the key over itself.
    fn part(&self, own: &[&Signature]) -> Result<EncryptionPart, KeyFault> {
        let primary = &self.key.primary_key;
        if self.revoked(own) {
            return Err(KeyFault::Revoked);
        }
        if primary.version() != KeyVersion::V4 {
            return Err(KeyFault::CannotEncrypt);
        }
        let newest = newest(own.iter().copied()).ok_or(KeyFault::Unproven)?;
        // User ids that were signed at once say the same; should they not, the earlier end holds.
        let mut alike = own
            .iter()
            .filter(|other| other.created() == newest.created());
        if alike.any(|signature| self.expired(primary.created_at(), signature)) {
            return Err(KeyFault::Expired);
        }

        let mut subkeys: Vec<_> = self.key.public_subkeys.iter().collect();
        subkeys.sort_by_key(|subkey| std::cmp::Reverse(subkey.key.created_at()));
        let mut fault = KeyFault::CannotEncrypt;
        for subkey in subkeys {
            match self.subkey(subkey) {
                Ok(()) => return Ok(EncryptionPart::Subkey(subkey.key.clone())),
                Err(KeyFault::CannotEncrypt) => {}
                // The newest one's is what the owner would want to hear.
                Err(other) if fault == KeyFault::CannotEncrypt => fault = other,
                Err(_) => {}
            }
        }
        if may_encrypt(newest, primary.algorithm()) && works(primary) {
            return Ok(EncryptionPart::Primary(primary.clone()));
        }
        Err(fault)
    }

    /// Whether `subkey` can be encrypted to.
    fn subkey(&self, subkey: &SignedPublicSubKey) -> Result<(), KeyFault> {
        let primary = &self.key.primary_key;
        let (revocations, bindings): (Vec<_>, Vec<_>) = (subkey.signatures.iter())
            .filter(|signature| {
                let verified = signature.verify_subkey_binding(primary, &subkey.key);
                verified.is_ok()
            })
            .partition(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
        let binding = newest(bindings.into_iter().filter(|binding| self.holds(binding)))
            .filter(|binding| may_encrypt(binding, subkey.key.algorithm()))
            .ok_or(KeyFault::CannotEncrypt)?;
        if !revocations.is_empty() {
            return Err(KeyFault::Revoked);
        }
        if self.expired(subkey.key.created_at(), binding) {
            return Err(KeyFault::Expired);
        }
        if !works(&subkey.key) {
            return Err(KeyFault::CannotEncrypt);
        }
        Ok(())
    }

    /// What the newest signatures of the key itself say of a user id.
    fn standing(&self, user: &'a SignedUser) -> Standing<'a> {
        let primary = &self.key.primary_key;
        let (revocations, certifications): (Vec<_>, Vec<_>) = (user.signatures.iter())
            .filter(|signature| {
                let verified = signature.verify_certification(primary, Tag::UserId, &user.id);
                verified.is_ok()
            })
            .partition(|signature| signature.typ() == Some(SignatureType::CertRevocation));
        let certification = newest(certifications.into_iter().filter(|one| self.holds(one)));
        match (certification, newest(revocations.into_iter())) {
            // One that is as old counts.
            (certification, Some(revocation))
                if certification.is_none_or(|one| one.created() <= revocation.created()) =>
            {
                Standing::Revoked
            }
            (Some(certification), _) => Standing::Live(certification),
            (None, _) => Standing::Unproven,
        }
    }

    /// The valid signatures of the key over itself alone.
    fn direct_signatures(&self) -> impl Iterator<Item = &'a Signature> {
        (self.key.details.direct_signatures.iter()).filter(|signature| {
            signature.typ() == Some(SignatureType::Key)
                && signature.verify_key(&self.key.primary_key).is_ok()
                && self.holds(signature)
        })
    }

    /// Whether the key was revoked by itself; or by somebody else, when it names others who may. Those keys are not here to
    /// verify that, and the doubt is enough.
    fn revoked(&self, own: &[&Signature]) -> bool {
        let delegated = || {
            own.iter()
                .any(|signature| signature.revocation_key().is_some())
        };
        (self.key.details.revocation_signatures.iter())
            .any(|revocation| revocation.verify_key(&self.key.primary_key).is_ok() || delegated())
    }

    /// Whether a signature that verifies can be relied on now.
    fn holds(&self, signature: &Signature) -> bool {
        let made = signature.created().map(seconds);
        let ends = (signature.signature_expiration_time())
            .filter(|lasts| lasts.as_secs() != 0)
            .zip(made)
            .map(|(lasts, made)| made + i64::from(lasts.as_secs()));
        signature.hash_alg() != Some(HashAlgorithm::Md5)
            && made.is_some_and(|made| made <= self.now)
            && ends.is_none_or(|end| self.now < end)
    }

    /// Whether a part that was made then is too old, by what `signature` says of it.
    fn expired(&self, created: Timestamp, signature: &Signature) -> bool {
        (signature.key_expiration_time())
            .filter(|lasts| lasts.as_secs() != 0)
            .is_some_and(|lasts| self.now >= seconds(created) + i64::from(lasts.as_secs()))
    }
}

fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created())
}

/// Whether `signature` is for a part that may encrypt. One without any flags leaves that to the algorithm, as gpg does.
fn may_encrypt(signature: &Signature, algorithm: PublicKeyAlgorithm) -> bool {
    let flagged = (signature.config().into_iter())
        .flat_map(|config| config.hashed_subpackets())
        .any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)));
    let flags = signature.key_flags();
    algorithm.can_encrypt() && (!flagged || flags.encrypt_storage() || flags.encrypt_comms())
}

/// Whether encrypting to `part` succeeds, tried with a session key that is used for nothing.
fn works(part: &impl EncryptionKey) -> bool {
    let algorithm = SymmetricKeyAlgorithm::AES256;
    let unused = algorithm.new_session_key(OsRng);
    PublicKeyEncryptedSessionKey::from_session_key_v3(OsRng, &unused, algorithm, part).is_ok()
}

/// Whether `name` is found in the user ids of `these` and of none of `those`.
fn only_among(name: &str, these: &[String], those: &[String]) -> bool {
    // gpg's marks for how to search: exactly, an address, a part.
    let name = name.trim_start_matches(['=', '<', '@', '*']).to_lowercase();
    let found = |users: &[String]| users.iter().any(|user| user.to_lowercase().contains(&name));
    found(these) && !found(those)
}

/// A user id without what could change how a terminal shows it.
fn user_id(user: &SignedUser) -> String {
    String::from_utf8_lossy(user.id.id())
        .chars()
        .filter(|char| !char.is_control())
        .collect()
}

fn seconds(timestamp: Timestamp) -> i64 {
    i64::from(timestamp.as_secs())
}
