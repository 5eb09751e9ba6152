//! Generations: how a server that was put back to an older state is found out.
//!
//! A server numbers its state and signs each number: a [`SignedGeneration`]. It makes a new one at
//! every start, when its backup or its profiles change, and every so often while it settles requests.
//! Each names the one before and has random bytes of its own, so the statements of one line of state
//! form a chain, and two lines that parted have different statements from then on, even where their
//! numbers are alike.
//!
//! Whoever has seen a statement shows it. A server that is shown one of its own key that is not part
//! of its [`History`] has lost state, or another server has its identity: it stops. A client refuses
//! what is lower than what it has seen. An epoch is begun by a recovery or by accepting a rollback,
//! both of which M devices approve; whatever was said in earlier epochs is then past.
//!
//! # Threat model
//!
//! Statements are evidence, not a lock: two servers of one identity whose clients never meet do not
//! find out about each other. Whoever has the root key can sign anything.

use std::{collections::HashSet, fmt};

use minicbor::{Decode, Decoder, Encode, Encoder, bytes::ByteArray, encode::Write};
use ostrakon_types::{
    Digest, UnixMillis,
    canonical::{self, DecodeError},
};

use crate::{
    base64_text::serde_as_base64,
    hash::sha256,
    random::{RandomError, Source, System},
    sign::{Signature, SignatureError, SigningKey, VerifyKey},
    versioned::{Version, versioned},
};

const PURPOSE: &str = "generation";
const NONCE_LEN: usize = 16;

/// The number of a server's state. A later epoch is higher whatever the counter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    /// 0 until a first recovery; then the Unix time in seconds at which the epoch was begun, or more.
    pub epoch: u64,
    /// Grows by one with each statement of the epoch.
    pub counter: u64,
}

/// A generation, signed by the server whose state it numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignedGeneration {
    statement: Statement,
    signature: Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Statement {
    generation: Generation,
    /// The digest of the statement before; none for the first of an epoch.
    previous: Option<Digest>,
    nonce: [u8; NONCE_LEN],
    issued_at: UnixMillis,
}

/// All that one line of state has said in its epoch.
#[derive(Clone, Debug)]
pub struct History {
    newest: SignedGeneration,
    began_at: UnixMillis,
    digests: HashSet<Digest>,
}

/// What a statement that somebody shows means for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is of this line of state, or of an epoch that is past.
    Known,
    /// It is the server's own word and not of this line: state was lost, or there is another server.
    Superseded,
    /// The server never said so.
    Foreign,
}

/// Why statements are not one line of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// There is none.
    #[error("there is no generation")]
    Empty,
    /// The newest is not signed by the server.
    #[error("generation {0} is not signed by this server")]
    Signature(Generation),
    /// One does not follow the one before it.
    #[error("generation {0} does not follow the one before it")]
    Broken(Generation),
}

impl Generation {
    /// The epoch that a recovery at the time `now` begins after this generation.
    #[must_use]
    pub fn next_epoch(self, now: UnixMillis) -> u64 {
        let seconds = u64::try_from(now.0 / 1000).unwrap_or(0);
        seconds.max(self.epoch.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.counter)
    }
}

impl SignedGeneration {
    /// The first statement of an epoch.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn begin(root: &SigningKey, epoch: u64, now: UnixMillis) -> Result<Self, RandomError> {
        let generation = Generation { epoch, counter: 1 };
        Self::issue_impl(root, generation, None, now, &mut System)
    }

    /// The statement after this one.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn next(&self, root: &SigningKey, now: UnixMillis) -> Result<Self, RandomError> {
        let Generation { epoch, counter } = self.generation();
        let generation = Generation {
            epoch,
            counter: counter.saturating_add(1),
        };
        Self::issue_impl(root, generation, Some(self.digest()), now, &mut System)
    }

    pub(crate) fn issue_impl(
        root: &SigningKey,
        generation: Generation,
        previous: Option<Digest>,
        issued_at: UnixMillis,
        source: &mut impl Source,
    ) -> Result<Self, RandomError> {
        let mut nonce = [0; NONCE_LEN];
        source.fill(&mut nonce)?;
        let statement = Statement {
            generation,
            previous,
            nonce,
            issued_at,
        };
        Ok(Self {
            signature: root.sign(PURPOSE, &canonical::encode(&statement)),
            statement,
        })
    }

    /// The number. It proves nothing until the statement is [verified](Self::verify).
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.statement.generation
    }

    /// When the server said so.
    #[must_use]
    pub fn issued_at(&self) -> UnixMillis {
        self.statement.issued_at
    }

    /// SHA-256 of the canonical encoding.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&self.to_bytes())
    }

    /// Checks that the server with this root key said so.
    ///
    /// # Errors
    /// When the signature does not match.
    pub fn verify(&self, root: &VerifyKey) -> Result<Generation, SignatureError> {
        let message = canonical::encode(&self.statement);
        root.verify_strict(PURPOSE, &message, &self.signature)?;
        Ok(self.generation())
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes a canonical statement. It is not verified yet.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of a statement of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        canonical::decode(bytes)
    }

    fn follows(&self, before: &Self) -> bool {
        let (own, other) = (self.generation(), before.generation());
        own.epoch == other.epoch
            && other.counter.checked_add(1) == Some(own.counter)
            && self.statement.previous == Some(before.digest())
    }
}

impl History {
    /// Checks the statements of one epoch, the first one first. Each names the digest of the one
    /// before, so the newest one's signature vouches for all.
    ///
    /// # Errors
    /// When there is none, the newest is not signed with `root`, or they do not follow each other from
    /// the first of the epoch on.
    pub fn new(statements: &[SignedGeneration], root: &VerifyKey) -> Result<Self, HistoryError> {
        let mut before: Option<&SignedGeneration> = None;
        for statement in statements {
            let generation = statement.generation();
            let continues = match before {
                None => generation.counter == 1 && statement.statement.previous.is_none(),
                Some(before) => statement.follows(before),
            };
            if !continues {
                return Err(HistoryError::Broken(generation));
            }
            before = Some(statement);
        }
        let newest = *before.ok_or(HistoryError::Empty)?;
        newest
            .verify(root)
            .map_err(|_| HistoryError::Signature(newest.generation()))?;
        Ok(Self {
            newest,
            began_at: statements
                .first()
                .map_or(newest.issued_at(), SignedGeneration::issued_at),
            digests: statements.iter().map(SignedGeneration::digest).collect(),
        })
    }

    /// A history that begins with the first statement of an epoch, made just now.
    ///
    /// # Errors
    /// When it is not the first.
    pub fn begin(first: SignedGeneration) -> Result<Self, HistoryError> {
        let generation = first.generation();
        if generation.counter != 1 || first.statement.previous.is_some() {
            return Err(HistoryError::Broken(generation));
        }
        Ok(Self {
            newest: first,
            began_at: first.issued_at(),
            digests: HashSet::from([first.digest()]),
        })
    }

    /// The newest statement.
    #[must_use]
    pub fn newest(&self) -> &SignedGeneration {
        &self.newest
    }

    /// When the epoch began.
    #[must_use]
    pub fn began_at(&self) -> UnixMillis {
        self.began_at
    }

    /// Whether the statement is one of these.
    #[must_use]
    pub fn contains(&self, statement: &SignedGeneration) -> bool {
        self.digests.contains(&statement.digest())
    }

    /// What a statement that somebody shows means. A signature is checked only where one that is
    /// valid would matter.
    #[must_use]
    pub fn standing(&self, shown: &SignedGeneration, root: &VerifyKey) -> Standing {
        if shown == &self.newest
            || shown.generation().epoch < self.newest.generation().epoch
            || self.contains(shown)
        {
            Standing::Known
        } else if shown.verify(root).is_ok() {
            Standing::Superseded
        } else {
            Standing::Foreign
        }
    }

    /// Takes a newer statement.
    ///
    /// # Errors
    /// When it does not follow the newest one. The history stays as it was.
    pub fn push(&mut self, next: SignedGeneration) -> Result<(), HistoryError> {
        if !next.follows(&self.newest) {
            return Err(HistoryError::Broken(next.generation()));
        }
        self.digests.insert(next.digest());
        self.newest = next;
        Ok(())
    }
}

impl<C> Encode<C> for Statement {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (
            Version::<1>,
            self.generation,
            self.previous,
            ByteArray::from(self.nonce),
            self.issued_at,
        )
            .encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Statement {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let (Version::<1>, generation, previous, nonce, issued_at) = Decode::decode(d, ctx)?;
        Ok(Self {
            generation,
            previous,
            nonce: ByteArray::into(nonce),
            issued_at,
        })
    }
}

impl<C> Encode<C> for Generation {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (self.epoch, self.counter).encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Generation {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let (epoch, counter) = Decode::decode(d, ctx)?;
        Ok(Self { epoch, counter })
    }
}

versioned!(SignedGeneration, 1 { statement, signature });
serde_as_base64!(SignedGeneration);

#[cfg(test)]
mod tests;
