use std::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteArray};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::UnixMillis;

/// Text that is not the hexadecimal form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits")]
pub struct ParseIdError {
    expected: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = ParseIdError;

            fn try_from(bytes: &[u8]) -> Result<Self, ParseIdError> {
                bytes.try_into().map(Self).map_err(|_| ParseIdError { expected: $len * 2 })
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| ParseIdError { expected: $len * 2 })?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
                ByteArray::<$len>::decode(d, ctx).map(|bytes| Self(bytes.into()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

id!(
    /// Names a device: the first 16 bytes of the SHA-256 of its canonical card.
    DeviceId, 16
);
id!(
    /// Names a profile: the first 16 bytes of the hash of its first version.
    ProfileId, 16
);
id!(
    /// Names one splitting of one file key: 16 random bytes.
    SetId, 16
);
id!(
    /// Names one encrypted file's key: 16 random bytes.
    CryptographicId, 16
);
id!(
    /// Names a secure folder at the key shard server: 16 random bytes.
    LocationId, 16
);
id!(
    /// Names a request: a UUID of version 7, made by the client and kept over its retries.
    RequestId, 16
);
id!(
    /// Names one ceremony: 16 random bytes.
    CeremonyId, 16
);
id!(
    /// Names a certificate that a key shard server issued: its serial number, 16 random bytes.
    CertificateId, 16
);
id!(
    /// A SHA-256 digest.
    Digest, 32
);

impl RequestId {
    /// Builds a version 7 UUID (RFC 9562) from the time and random bytes.
    #[must_use]
    pub fn from_parts(now: UnixMillis, random: [u8; 10]) -> Self {
        let [_, _, t0, t1, t2, t3, t4, t5] = now.0.max(0).to_be_bytes();
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9] = random;
        Self([
            t0,
            t1,
            t2,
            t3,
            t4,
            t5, //
            0x70 | (r0 & 0x0f),
            r1, //
            0x80 | (r2 & 0x3f),
            r3,
            r4,
            r5,
            r6,
            r7,
            r8,
            r9,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_cbor_forms_round_trip() {
        let id = ProfileId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "30313233343536373839616263646566");
        assert_eq!(id.to_string().parse::<ProfileId>(), Ok(id));
        let bytes = crate::canonical::encode(&id);
        assert_eq!(bytes.len(), 17);
        assert_eq!(crate::canonical::decode::<ProfileId>(&bytes).unwrap(), id);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
        assert!("30".parse::<ProfileId>().is_err());
        assert!(
            "zz313233343536373839616263646566"
                .parse::<ProfileId>()
                .is_err()
        );
    }

    #[test]
    fn request_ids_are_version_7_uuids_in_time_order() {
        let early = RequestId::from_parts(UnixMillis(1_700_000_000_000), [0xff; 10]);
        let late = RequestId::from_parts(UnixMillis(1_700_000_000_001), [0; 10]);
        assert!(early < late);
        assert_eq!(early.as_bytes()[6] >> 4, 7);
        assert_eq!(early.as_bytes()[8] >> 6, 2);
        assert_eq!(&early.to_string()[..12], "018bcfe56800");
    }
}
