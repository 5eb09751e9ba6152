use ostrakon_types::{KssId, canonical};

use crate::{
    generation::Generation,
    identity::VerifiedKeyserver,
    sign::{Signature, SignatureError, SigningKey, VerifyKey},
    versioned::versioned,
};

const PURPOSE: &str = "newest backup key";

/// A key shard server's word on which of its backup keys is the newest that was made: so a device knows
/// that earlier files are out of date, whether or not it approved the making. That it approved proves
/// nothing, since others may have denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignedNewest {
    generation: Generation,
    signature: Signature,
}

impl SignedNewest {
    /// Signs with the server's `root` key.
    #[must_use]
    pub fn issue(root: &SigningKey, server: &KssId, generation: Generation) -> Self {
        Self {
            signature: root.sign(PURPOSE, &message(server, generation)),
            generation,
        }
    }

    /// Checks that the server said so, and gives the backup key's generation.
    ///
    /// # Errors
    /// When the signature does not match.
    pub fn verify(&self, server: &VerifiedKeyserver) -> Result<Generation, SignatureError> {
        self.verify_by(server.root_key(), &server.kss_id())
    }

    fn verify_by(&self, root: &VerifyKey, server: &KssId) -> Result<Generation, SignatureError> {
        let message = message(server, self.generation);
        root.verify_strict(PURPOSE, &message, &self.signature)?;
        Ok(self.generation)
    }
}

fn message(server: &KssId, generation: Generation) -> Vec<u8> {
    canonical::encode(&(server, generation))
}

versioned!(SignedNewest, 1 { generation, signature });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{generation::SignedGeneration, identity::RootKeyRecord};
    use ostrakon_types::UnixMillis;

    #[test]
    fn the_newest_backup_key_is_the_servers_word() {
        let root = SigningKey::generate().unwrap();
        let verify = root.verify_key();
        let server = RootKeyRecord { verify }.kss_id();
        let generation = |counter| Generation { epoch: 3, counter };
        let said = SignedNewest::issue(&root, &server, generation(7));
        assert_eq!(said.verify_by(&verify, &server), Ok(generation(7)));
        let decoded: SignedNewest = canonical::decode(&canonical::encode(&said)).unwrap();
        assert_eq!(decoded, said);

        let raised = SignedNewest {
            generation: generation(8),
            ..said
        };
        assert!(raised.verify_by(&verify, &server).is_err());
        let other = SigningKey::generate().unwrap().verify_key();
        assert!(said.verify_by(&other, &server).is_err());
        let elsewhere = RootKeyRecord { verify: other }.kss_id();
        assert!(said.verify_by(&verify, &elsewhere).is_err());
        // The server's word on its state is none on a backup key.
        let state = SignedGeneration::begin(&root, 3, UnixMillis(1)).unwrap();
        let bytes = canonical::encode(&state);
        assert!(canonical::decode::<SignedNewest>(&bytes).is_err());
    }
}
