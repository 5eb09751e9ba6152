use minicbor::{Decode, Encode};
use ostrakon_shards::chain_key::ChainKey;
use ostrakon_storage::{AuditHead, AuditRow, InstanceId, Store, StoreError};
use ostrakon_types::{
    CryptographicId, Decision, DeviceId, MetaItem, ProfileId, RequestId, RequestKind, UnixMillis,
    canonical,
};

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AuditRecord {
    /// When it happened, by the server's clock.
    #[n(0)]
    pub at: UnixMillis,
    /// What happened.
    #[n(1)]
    pub event: AuditEvent,
}

/// What an audit record tells.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum AuditEvent {
    /// An item of a request was decided.
    #[n(0)]
    Decided {
        /// The profile for which it was asked.
        #[n(0)]
        profile: ProfileId,
        /// The device that asked.
        #[n(1)]
        device: DeviceId,
        /// The request.
        #[n(2)]
        request: RequestId,
        /// The number of the item in it.
        #[n(3)]
        item: u32,
        /// What was asked for.
        #[n(4)]
        kind: RequestKind,
        /// The file key, where one was meant.
        #[n(5)]
        cryptographic_id: Option<CryptographicId>,
        /// The files that were meant.
        #[n(6)]
        meta: Vec<MetaItem>,
        /// What was decided.
        #[n(7)]
        decision: Decision,
        /// Why, in words for the operator.
        #[n(8)]
        explanation: Option<String>,
    },
    /// An approved shard did not open as its requester said, and so nothing was released.
    #[n(2)]
    Unreleased {
        /// The profile for which it was asked.
        #[n(0)]
        profile: ProfileId,
        /// The device that asked.
        #[n(1)]
        device: DeviceId,
        /// The request.
        #[n(2)]
        request: RequestId,
        /// The number of the item in it.
        #[n(3)]
        item: u32,
    },
    /// An operator changed the server.
    #[n(1)]
    Administered {
        /// What was done, as a command names it.
        #[n(0)]
        action: String,
        /// To what.
        #[n(1)]
        detail: String,
    },
}

/// The chain of audit records of one instance.
///
/// Each record's authenticator covers the record and the authenticator before it, under a key that is
/// derived from the server's identity: who has the database alone can neither change a record nor take
/// one from the middle unnoticed.
pub struct AuditLog {
    instance: InstanceId,
    key: ChainKey,
}

/// What is wrong with a chain, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditFault {
    /// A record is not where it should be.
    #[error("record {expected} is missing: record {found} follows record {}", expected.saturating_sub(1))]
    Missing {
        /// The number that should come next.
        expected: u64,
        /// The number that comes instead.
        found: u64,
    },
    /// A record, or the one before it, is not what was written.
    #[error("record {sequence} was changed, or the one before it was")]
    Changed {
        /// The number of the record.
        sequence: u64,
    },
    /// The log could not be read.
    #[error("cannot read the audit log")]
    Store(#[from] StoreError),
}

impl AuditLog {
    pub(crate) fn new(instance: InstanceId, key: ChainKey) -> Self {
        Self { instance, key }
    }

    /// The instance whose chain it is.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Makes the next links of the chain behind `head`, and says what its head is then.
    pub(crate) fn link(
        &self,
        store: &Store,
        mut head: AuditHead,
        records: &[AuditRecord],
    ) -> Result<(Vec<AuditRow>, AuditHead), StoreError> {
        let encoded = records.iter().map(canonical::encode);
        let sealed = store.seal_audit(self.instance, head.sequence + 1, encoded)?;
        let link = |sealed: Vec<u8>| {
            let sequence = head.sequence + 1;
            let number = sequence.to_be_bytes();
            let mac = self.key.mac(&self.parts(&number, &sealed, &head.mac));
            head = AuditHead { sequence, mac };
            AuditRow {
                sequence,
                sealed,
                mac: mac.to_vec(),
            }
        };
        let rows = sealed.into_iter().map(link).collect();
        Ok((rows, head))
    }

    fn parts<'a>(
        &'a self,
        sequence: &'a [u8; 8],
        sealed: &'a [u8],
        previous: &'a [u8],
    ) -> [&'a [u8]; 4] {
        [self.instance.as_bytes(), sequence, previous, sealed]
    }

    /// Reads the whole chain in order, checks each link, and hands each record to `each`.
    ///
    /// Returns the number of records. That none was taken from the end shows only against a head that
    /// was noted elsewhere.
    ///
    /// # Errors
    /// The first fault that is found.
    pub async fn verify(
        &self,
        store: &Store,
        mut each: impl FnMut(u64, &AuditRecord),
    ) -> Result<u64, AuditFault> {
        let mut head = AuditHead {
            sequence: 0,
            mac: [0; 32],
        };
        loop {
            let page = store
                .audit_page(self.instance, head.sequence + 1, 1000)
                .await?;
            if page.is_empty() {
                return Ok(head.sequence);
            }
            for row in page {
                let expected = head.sequence + 1;
                if row.sequence != expected {
                    return Err(AuditFault::Missing {
                        expected,
                        found: row.sequence,
                    });
                }
                let changed = AuditFault::Changed { sequence: expected };
                let mac = <[u8; 32]>::try_from(row.mac.as_slice());
                let Ok(mac) = mac else { return Err(changed) };
                let number = expected.to_be_bytes();
                let parts = self.parts(&number, &row.sealed, &head.mac);
                if self.key.verify(&parts, &mac).is_err() {
                    return Err(changed);
                }
                let bytes = store.open_audit(self.instance, &row);
                let record = bytes.ok().and_then(|bytes| canonical::decode(&bytes).ok());
                each(expected, &record.ok_or(changed)?);
                head = AuditHead {
                    sequence: expected,
                    mac,
                };
            }
        }
    }
}
