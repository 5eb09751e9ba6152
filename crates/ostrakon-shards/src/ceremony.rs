//! Ceremonies: what M of a profile's devices are asked to approve, and how they answer.
//!
//! ```text
//! requester                                relay                         a member device
//! Tally::open ── notice_for(device) ──> sealed, by device ──> Notice::open ── Notice::examine
//!                                                                                   │ Question
//! Tally::take <───────────────────────── sealed answer <──────────── approve / deny ┘
//! Tally::complete
//! ```
//!
//! A [`Ceremony`] holds a [`Subject`] of typed fields, and a device shows what it
//! [describes](Question::description) from those and from the profile that it knows, never from text
//! that came along. Its digest covers the subject, the profile's version, the requester, the one-time
//! key for answers, the threshold and the times; the digest is what devices sign.
//!
//! # Threat model
//!
//! A relay carries notices and answers and may drop, keep, repeat, reorder or swap them, or make its
//! own. It reads none: a notice is sealed to its device, an answer to the ceremony's one-time key. It
//! cannot move one: seals are bound to ceremony and device. It cannot ask for anything itself: a notice
//! carries the requester's signature. And it cannot answer: an answer carries its device's signature
//! over the digest. What it can do is to withhold, and then the ceremony expires.
//!
//! A [machine](Requester::Machine) that is no member yet, as in a recovery, is known to nobody: there,
//! people compare the [words](Ceremony::words) that it shows with those that their devices show.
//!
//! A device answers for itself alone, once. A denial ends the ceremony, but where each device is asked for
//! a proof of its own: there it is that device's answer, and the others are waited for. A key shard server is a member
//! of profiles, but never answers: its word is its policy's, elsewhere.

mod administration;
mod answer;
mod notice;
mod opening;
mod policy;
mod subject;
mod tally;

pub use administration::Administration;
pub use answer::{Answer, Contribution, Verdict};
pub use notice::{AnswerError, Notice, NoticeError, Question, recent};
pub use opening::{Ceremony, CeremonyError, Requester};
pub use policy::{PolicyTexts, PolicyTextsError};
pub use subject::{Description, Need, Subject};
pub use tally::{
    Approval, Completed, DeviceShare, OpenCeremonyError, Plan, Standing, TakeError, Tally,
};

#[cfg(test)]
mod tests;
