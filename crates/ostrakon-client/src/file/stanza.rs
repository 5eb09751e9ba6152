//! The stanza that holds one device's share of a file's key.
//!
//! ```text
//! -> ostrakon-share v1 SET CRYPTOGRAPHIC-ID PROFILE DEVICE INDEX THRESHOLD MANIFEST
//! the sealed share
//! ```
//!
//! Ids and the manifest's digest are in lower-case hexadecimal, numbers in decimal without leading
//! zeros. The arguments are what may be known to whoever holds the file; they are bound into the
//! sealed share, so none of them can be changed. No path is among them.

use age_core::format::Stanza;
use ostrakon_shards::sealed_shard::PublicContext;

const TAG: &str = "ostrakon-share";
const VERSION: &str = "v1";

/// One device's share, sealed.
pub(crate) struct ShareStanza {
    pub(crate) public: PublicContext,
    pub(crate) sealed: Vec<u8>,
}

/// A stanza of our type that is not as we write them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MalformedStanza;

impl ShareStanza {
    pub(crate) fn into_age(self) -> Stanza {
        let public = &self.public;
        let args = vec![
            VERSION.to_owned(),
            public.set_id.to_string(),
            public.cryptographic_id.to_string(),
            public.profile.to_string(),
            public.device.to_string(),
            public.index.to_string(),
            public.threshold.to_string(),
            public.manifest.to_string(),
        ];
        Stanza {
            tag: TAG.to_owned(),
            args,
            body: self.sealed,
        }
    }

    /// Reads a stanza; `None` when it is of another type.
    pub(crate) fn from_age(stanza: &Stanza) -> Option<Result<Self, MalformedStanza>> {
        (stanza.tag == TAG).then(|| Self::parse(stanza).ok_or(MalformedStanza))
    }

    fn parse(stanza: &Stanza) -> Option<Self> {
        let [
            version,
            set_id,
            cryptographic_id,
            profile,
            device,
            index,
            threshold,
            manifest,
        ] = stanza.args.as_slice()
        else {
            return None;
        };
        if version != VERSION {
            return None;
        }
        let public = PublicContext {
            set_id: set_id.parse().ok()?,
            cryptographic_id: cryptographic_id.parse().ok()?,
            profile: profile.parse().ok()?,
            device: device.parse().ok()?,
            threshold: threshold.parse().ok()?,
            index: index.parse().ok()?,
            manifest: manifest.parse().ok()?,
        };
        let sealed = stanza.body.clone();
        // One spelling: what parses but would be written otherwise is not ours.
        let read = Self { public, sealed };
        let written = Self {
            public,
            sealed: Vec::new(),
        }
        .into_age();
        (written.args == stanza.args).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_types::{CryptographicId, DeviceId, Digest, ProfileId, SetId};

    use super::*;

    fn stanza() -> Stanza {
        let public = PublicContext {
            set_id: SetId::from_bytes([1; 16]),
            cryptographic_id: CryptographicId::from_bytes([2; 16]),
            profile: ProfileId::from_bytes([3; 16]),
            device: DeviceId::from_bytes([4; 16]),
            threshold: 2,
            index: 1,
            manifest: Digest::from_bytes([0xab; 32]),
        };
        ShareStanza {
            public,
            sealed: vec![7; 60],
        }
        .into_age()
    }

    #[test]
    fn the_text_form_is_stable_and_round_trips() {
        let stanza = stanza();
        assert_eq!(stanza.tag, "ostrakon-share");
        let expected = format!(
            "v1 {} {} {} {} 1 2 {}",
            "01".repeat(16),
            "02".repeat(16),
            "03".repeat(16),
            "04".repeat(16),
            "ab".repeat(32),
        );
        assert_eq!(stanza.args.join(" "), expected);
        let read = ShareStanza::from_age(&stanza).unwrap().ok().unwrap();
        assert_eq!(read.into_age(), stanza);
    }

    #[test]
    fn other_spellings_are_malformed_and_other_types_are_not_ours() {
        for (at, spelling) in [
            (0, "v2"),
            (1, "01"),
            (5, "+1"),
            (5, "01"),
            (6, "256"),
            (7, "AB"),
        ] {
            let mut stanza = stanza();
            stanza.args[at] = spelling.to_owned();
            assert!(
                matches!(ShareStanza::from_age(&stanza), Some(Err(_))),
                "{spelling}"
            );
        }
        let mut upper = stanza();
        upper.args[7] = upper.args[7].to_uppercase();
        assert!(matches!(ShareStanza::from_age(&upper), Some(Err(_))));
        let mut longer = stanza();
        longer.args.push("more".to_owned());
        assert!(matches!(ShareStanza::from_age(&longer), Some(Err(_))));
        let mut other = stanza();
        other.tag = "X25519".to_owned();
        assert!(ShareStanza::from_age(&other).is_none());
    }
}
