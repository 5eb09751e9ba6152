//! The host's side of a pairing, as it answers a guest.

use std::sync::Arc;

use ostrakon_shards::{
    card::Card,
    device::DeviceKeys,
    name::Name,
    pairing::{Digits, Invitation, Opening, Pairing, Role},
    seal::Sealed,
};
use ostrakon_types::{Digest, canonical};

use super::wire::{Call, Reply};

/// Letters that a guest may send.
const LETTERS: usize = 4;

/// The host's side of one pairing.
pub(crate) struct HostSide {
    pub(crate) keys: Arc<DeviceKeys>,
    pub(crate) card: Card,
    /// What the guest's device is to be called.
    pub(crate) name: Option<Name>,
    pub(crate) stage: Stage,
}

/// How far a pairing has come.
pub(crate) enum Stage {
    /// Whoever has the invitation may come.
    Invited(Invitation),
    /// Whoever comes first may commit.
    Open(Opening),
    /// Somebody has.
    Committed(Opening, Digest),
    /// A guest is there.
    Paired {
        pairing: Pairing,
        /// What made it so, in case it is said again.
        by: Vec<u8>,
        reply: Vec<u8>,
        digits: Option<Digits>,
        from_guest: Vec<Sealed>,
        for_guest: Vec<Sealed>,
    },
    /// Somebody tried what does not fit. There is no second try.
    Failed,
}

impl HostSide {
    /// What a guest is answered. The same call gets the same answer, so that a lost one can be asked
    /// for again.
    pub(super) fn answer(&mut self, call: Call, bytes: &[u8]) -> Vec<u8> {
        if let Stage::Paired { by, reply, .. } = &self.stage
            && *by == bytes
        {
            return reply.clone();
        }
        let reply = match call {
            Call::Greeting => Reply::Greeting {
                card: self.card.clone(),
                name: self.name.clone(),
            },
            Call::Hello(hello) => self.hello(&hello, bytes),
            Call::Commit(commitment) => self.commit(commitment),
            Call::Reveal(opening) => self.reveal(&opening, bytes),
            Call::Letter { number, letter } => self.letter(number, letter),
            Call::Fetch(number) => match &self.stage {
                Stage::Paired { for_guest, .. } => for_guest
                    .get(usize::try_from(number).unwrap_or(usize::MAX))
                    .map_or(Reply::Wait, |letter| Reply::Letter(letter.clone())),
                _ => Reply::Refused,
            },
        };
        canonical::encode(&reply)
    }

    fn hello(&mut self, hello: &Sealed, bytes: &[u8]) -> Reply {
        let Stage::Invited(invitation) = &self.stage else {
            return Reply::Refused;
        };
        // Whoever does not have the invitation spoils nothing.
        let Ok(guest) = invitation.receive(&self.keys, hello) else {
            return Reply::Refused;
        };
        let pairing = invitation.pair(Role::Host, self.card.clone(), guest);
        self.stage = Stage::paired(pairing, None, bytes, &Reply::Taken);
        Reply::Taken
    }

    fn commit(&mut self, commitment: Digest) -> Reply {
        match &self.stage {
            Stage::Open(opening) => {
                let own = opening.commitment(Role::Host);
                self.stage = Stage::Committed(opening.clone(), commitment);
                Reply::Commit(own)
            }
            Stage::Committed(opening, known) if *known == commitment => {
                Reply::Commit(opening.commitment(Role::Host))
            }
            _ => Reply::Refused,
        }
    }

    fn reveal(&mut self, guest: &Opening, bytes: &[u8]) -> Reply {
        let Stage::Committed(own, commitment) = &self.stage else {
            return Reply::Refused;
        };
        if guest.commitment(Role::Guest) != *commitment {
            self.stage = Stage::Failed;
            return Reply::Refused;
        }
        let own = own.clone();
        let (pairing, digits) = own.meet(Role::Host, guest);
        let reply = Reply::Reveal(own);
        self.stage = Stage::paired(pairing, Some(digits), bytes, &reply);
        reply
    }

    fn letter(&mut self, number: u32, letter: Sealed) -> Reply {
        let Stage::Paired { from_guest, .. } = &mut self.stage else {
            return Reply::Refused;
        };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        match from_guest.get(number) {
            Some(known) if *known == letter => Reply::Taken,
            None if number == from_guest.len() && number < LETTERS => {
                from_guest.push(letter);
                Reply::Taken
            }
            _ => Reply::Refused,
        }
    }
}

impl Stage {
    fn paired(pairing: Pairing, digits: Option<Digits>, by: &[u8], reply: &Reply) -> Self {
        Self::Paired {
            pairing,
            by: by.to_vec(),
            reply: canonical::encode(reply),
            digits,
            from_guest: Vec::new(),
            for_guest: Vec::new(),
        }
    }
}
