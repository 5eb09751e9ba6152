//! The plain values that every part of Ostrakon speaks.
//!
//! Ids, requests as a policy sees them, proposals, charges and decisions, and [`Settling`], the one
//! state machine by which decisions become binding. Nothing here does I/O, reads a clock or draws
//! randomness, and nothing here is secret: secrets live in `ostrakon-shards`.

pub mod canonical;
mod error_chain;
mod id;
mod kss_id;
mod request;
mod settle;
mod shared_text;
mod time;

pub use error_chain::ErrorChain;
pub use id::{
    CeremonyId, CertificateId, CryptographicId, DeviceId, Digest, LocationId, ParseIdError,
    ProfileId, RequestId, SetId,
};
pub use kss_id::{KssId, ParseKssIdError};
pub use request::{
    ApprovalRequest, MetaItem, OpaqueId, ParseRequestKindError, ProfileRef, ProfileWords,
    RequestKind,
};
pub use settle::{
    Candidate, Charge, CounterKey, Decision, Denial, Period, Proposal, Recorded, Refusal, Reply,
    Settled, Settling, Step,
};
pub use time::UnixMillis;
