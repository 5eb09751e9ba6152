//! Pairing: how two devices that have never met come to know each other's cards.
//!
//! One device, the *host*, waits at an address; the other, the *guest*, comes. What it takes is shown
//! by the host and reaches the guest by a way that people control:
//!
//! | way | what is shown | what makes it safe |
//! | --- | --- | --- |
//! | [`Invitation`], in a QR code or link | address, the host's card digest, a one-time secret of 32 bytes | the digest names the host's card; the secret authenticates the guest's |
//! | [`Code`], typed | the address alone, in 12 characters | both commit to their cards and fresh nonces, then reveal them; people compare six [`Digits`] of both |
//!
//! Either way ends in a [`Pairing`]: both cards, and a session that no other pairing has. What follows
//! travels in [letters](Pairing::seal): sealed to the other's card and signed by the sender's, numbered
//! from 0 in each direction.
//!
//! # Threat model
//!
//! The network is the attacker's. With an invitation it learns cards and can do nothing, unless it has
//! seen the QR code: then it can come first, once, and the host shows which card came. With a typed code
//! it can stand in between; then the digits differ, but for one chance in a million, and because of the
//! commitments it has one try for each code, which people see fail.

mod code;
mod commitment;
mod invitation;
mod letter;

pub use code::{Code, ParseCodeError};
pub use commitment::{Digits, Opening};
pub use invitation::{HelloError, Invitation, ParseInvitationError};
pub use letter::{LetterError, Pairing, Role};

#[cfg(test)]
mod tests;
