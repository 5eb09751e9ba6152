//! The ceremonies that a running server has open, and those that it carries for a command.

use std::sync::Arc;

use ostrakon_shards::{
    backup::BackupFile, ceremony::Requester, profile::SignedVersion, seal::Sealed,
};
use ostrakon_types::{CeremonyId, DeviceId, ProfileId, UnixMillis};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    Ask, Asked, ConveneError, Convened, Fulfilled, Listed, Operation, Progress, Room, Stand,
    age::LONGEST_FROM_AFAR,
    end_all,
    ending::count_of,
    held::{Held, Made},
    listing::{Answered, Verdicts, listed},
    newest_backup,
    profile::newest,
    relayed::{MOST, MOST_OF_ONE, most},
};
use crate::{admin::Caller, administrators::Administrators, server::BuildError};

/// A ceremony of a command that wants it carried: it counts the answers itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Carry {
    /// The ceremony, encoded.
    pub(crate) ceremony: Vec<u8>,
    /// The versions of the profile whose devices are asked.
    pub(crate) versions: Vec<SignedVersion>,
    /// What is for whom, sealed.
    pub(crate) notices: Vec<(DeviceId, Sealed)>,
}

/// What came for such a command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CarriedAnswers {
    /// The answers so far, the newest of each device.
    pub(crate) answers: Vec<Sealed>,
    /// Whether the operator has cancelled it.
    pub(crate) cancelled: bool,
}

/// What the administration socket has opened.
pub(crate) struct Pending {
    open: Mutex<Open>,
    administrators: Arc<Administrators>,
}

#[derive(Default)]
struct Open {
    asked: Vec<Held>,
    made: Vec<Made>,
    carried: Vec<Carried>,
    /// Those that the operator cancelled, so that a command that waits learns of it.
    cancelled: Vec<(CeremonyId, UnixMillis)>,
}

struct Carried {
    id: CeremonyId,
    profile: ProfileId,
    expires_at: UnixMillis,
}

impl Pending {
    /// With those whom the newest backup key names.
    pub(crate) fn new(administrators: Arc<Administrators>) -> Self {
        Self {
            open: Mutex::default(),
            administrators,
        }
    }

    /// Opens a ceremony, unless others wait already.
    pub(crate) async fn open(
        &self,
        room: &Room<'_>,
        mut ask: Ask,
        caller: Caller,
    ) -> Result<Convened, ConveneError> {
        if caller != Caller::Operator {
            if !matches!(ask.operation, Operation::Administer(_)) {
                return Err(ConveneError::Afar);
            }
            ask.wait_ms = ask.wait_ms.min(LONGEST_FROM_AFAR);
        }
        let mut open = self.open.lock().await;
        self.forget_over(&mut open, room.now);
        self.end_old(&mut open, room).await?;
        match caller {
            Caller::Operator => open.check_room()?,
            Caller::Administrator(id) => {
                if count_of(room.store, id, room.now).await? >= MOST_OF_ONE {
                    return Err(ConveneError::TooMany);
                }
            }
        }
        let (held, convened) = room.open(ask, caller).await?;
        self.administrators.ask(held.id(), held.profile().clone());
        open.asked.push(held);
        Ok(convened)
    }

    /// Counts answers to one of them: those that its command brings, and those that the relay has.
    pub(crate) async fn take(
        &self,
        room: &Room<'_>,
        id: CeremonyId,
        caller: Caller,
        answers: Vec<Sealed>,
    ) -> Result<Progress, ConveneError> {
        let mut open = self.open.lock().await;
        if open.is_cancelled(id) {
            return Ok(Progress {
                answered: Vec::new(),
                refused: Vec::new(),
                stand: Stand::Cancelled,
            });
        }
        let held = open.asked.iter_mut().find(|held| held.is(id, caller));
        let held = held.ok_or(ConveneError::NoCeremony)?;
        if held.is_old(room.now) {
            return Err(ConveneError::Old);
        }
        held.take(room, answers).await
    }

    /// Does what was approved in one of them. What is to be kept first waits for [`Pending::keep`].
    pub(crate) async fn fulfil(
        &self,
        room: &Room<'_>,
        id: CeremonyId,
        caller: Caller,
    ) -> Result<Fulfilled, ConveneError> {
        let mut open = self.open.lock().await;
        if open.is_cancelled(id) {
            return Err(ConveneError::NotApproved(Stand::Cancelled));
        }
        let found = open.asked.iter().find(|held| held.is(id, caller));
        // What is not approved goes on waiting.
        match found.map(|held| Stand::from(held.tally().standing(room.now))) {
            None | Some(Stand::Approved) => {}
            Some(stand) => return Err(ConveneError::NotApproved(stand)),
        }
        let held = take_out(&mut open.asked, |held| held.is(id, caller));
        let held = held.ok_or(ConveneError::NoCeremony)?;
        let done = room.fulfil(held).await;
        let done = done.map(|(fulfilled, made)| {
            open.made.extend(made);
            fulfilled
        });
        self.serve(&open);
        done
    }

    /// Puts on record what was made in one of them and is kept now.
    pub(crate) async fn keep(&self, room: &Room<'_>, id: CeremonyId) -> Result<(), ConveneError> {
        let mut open = self.open.lock().await;
        let made = take_out(&mut open.made, |made| made.id() == id);
        room.keep(made.ok_or(ConveneError::NoCeremony)?).await?;
        self.administrators
            .look_again(room.store, room.signer)
            .await;
        self.serve(&open);
        Ok(())
    }

    /// Gives one of them up.
    pub(crate) async fn give_up(
        &self,
        room: &Room<'_>,
        id: CeremonyId,
        caller: Caller,
    ) -> Result<(), ConveneError> {
        let mut open = self.open.lock().await;
        let held = take_out(&mut open.asked, |held| held.is(id, caller));
        let is_made = |made: &Made| made.id() == id && caller == Caller::Operator;
        let made = take_out(&mut open.made, is_made);
        self.serve(&open);
        match (held, made) {
            (Some(held), _) => room.give_up(&held).await,
            (None, Some(made)) => room.discard(made).await,
            (None, None) => Err(ConveneError::NoCeremony),
        }
    }

    /// Carries a ceremony that a command on this machine has opened among the administrators' devices.
    pub(crate) async fn carry(&self, room: &Room<'_>, carry: Carry) -> Result<(), ConveneError> {
        let ceremony = super::parse_ceremony(&carry.ceremony)?;
        let backup = newest_backup(room.store).await?;
        let known = backup.as_ref().map_or(&[][..], BackupFile::versions);
        if known.is_empty() {
            return Err(ConveneError::NoProfile);
        }
        let (profile, versions) = newest(known, &carry.versions)?;
        let own = ceremony.subject.server() == Some(&room.keyserver.kss_id());
        if !own || !matches!(ceremony.requester, Requester::Machine(_)) {
            return Err(ConveneError::NotCarried);
        }
        ceremony
            .check(&profile)
            .map_err(ostrakon_shards::ceremony::OpenCeremonyError::from)?;
        let mut open = self.open.lock().await;
        self.forget_over(&mut open, room.now);
        open.check_room()?;
        let most = most(Caller::Operator);
        room.relay(&ceremony, &versions, &carry.notices, most)
            .await?;
        self.administrators.ask(ceremony.id, profile);
        open.carried.push(Carried {
            id: ceremony.id,
            profile: ceremony.profile,
            expires_at: ceremony.expires_at,
        });
        Ok(())
    }

    /// The answers to a ceremony that is carried.
    pub(crate) async fn carried(
        &self,
        room: &Room<'_>,
        id: CeremonyId,
    ) -> Result<CarriedAnswers, ConveneError> {
        let open = self.open.lock().await;
        if open.is_cancelled(id) {
            return Ok(CarriedAnswers {
                answers: Vec::new(),
                cancelled: true,
            });
        }
        let carried = open.carried.iter().find(|carried| carried.id == id);
        let carried = carried.ok_or(ConveneError::NoCeremony)?;
        let answers = room.answers(carried.profile, id).await?;
        // What is gone before its time was cancelled, here or by another instance.
        Ok(CarriedAnswers {
            cancelled: answers.is_none() && room.now < carried.expires_at,
            answers: answers.unwrap_or_default(),
        })
    }

    /// Carries a ceremony no more. `completed` is for the record.
    pub(crate) async fn set_down(
        &self,
        room: &Room<'_>,
        id: CeremonyId,
        completed: bool,
    ) -> Result<(), ConveneError> {
        let mut open = self.open.lock().await;
        let carried = take_out(&mut open.carried, |carried| carried.id == id);
        let carried = carried.ok_or(ConveneError::NoCeremony)?;
        self.serve(&open);
        let outcome = match completed {
            true => "approved",
            false if room.now >= carried.expires_at => "expired",
            false => "cancelled",
        };
        room.end(carried.profile, id, outcome).await
    }

    /// Ends a ceremony, whoever has opened it, because the operator wants it so. What is approved already
    /// is none that waits.
    pub(crate) async fn cancel(&self, room: &Room<'_>, id: CeremonyId) -> Result<(), ConveneError> {
        let mut open = self.open.lock().await;
        if open.made.iter().any(|made| made.id() == id) {
            return Err(ConveneError::NoCeremony);
        }
        room.cancel(id).await?;
        let held = take_out(&mut open.asked, |held| held.id() == id);
        let carried = take_out(&mut open.carried, |carried| carried.id == id);
        let held = held.map(|held| held.expires_at());
        let until = held.or(carried.map(|carried| carried.expires_at));
        open.cancelled.extend(until.map(|until| (id, until)));
        self.serve(&open);
        Ok(())
    }

    /// Ends those of administrators for which that is so, whichever instance opened them. Of those of this one
    /// nothing is done any more, also if the database cannot be told.
    pub(crate) async fn end_all(
        &self,
        room: &Room<'_>,
        is_over: impl Fn(Asked<'_>) -> bool,
    ) -> Result<(), ConveneError> {
        let mut open = self.open.lock().await;
        while let Some(held) = take_out(&mut open.asked, |held| held.asked().is_some_and(&is_over))
        {
            open.cancelled.push((held.id(), held.expires_at()));
        }
        self.serve(&open);
        let by = room.keyserver.device_id();
        Ok(end_all(room.store, room.ledger, by, room.now, is_over).await?)
    }

    /// Ends those whose time has passed although answers to them would still count.
    async fn end_old(&self, open: &mut Open, room: &Room<'_>) -> Result<(), ConveneError> {
        while let Some(held) = take_out(&mut open.asked, |held| held.is_old(room.now)) {
            room.give_up(&held).await?;
        }
        self.serve(open);
        Ok(())
    }

    /// All that wait, those of members, too.
    pub(crate) async fn list(&self, room: &Room<'_>) -> Result<Vec<Listed>, ConveneError> {
        let open = self.open.lock().await;
        let verdicts = open.asked.iter().map(Held::verdicts);
        let verdicts: Verdicts = verdicts.collect();
        let pending = room.store.pending_ceremonies(room.now).await;
        let mut pending = pending.map_err(BuildError::from)?;
        pending.retain(|of| open.made.iter().all(|made| made.id() != of.ceremony.id));
        Ok(listed(pending, &verdicts)?)
    }

    fn forget_over(&self, open: &mut Open, now: UnixMillis) {
        open.asked.retain(|held| now < held.expires_at());
        open.made.retain(|made| now < made.expires_at());
        open.carried.retain(|carried| now < carried.expires_at);
        open.cancelled.retain(|(_, until)| now < *until);
        self.serve(open);
    }

    /// Serves those who are asked something yet.
    fn serve(&self, open: &Open) {
        self.administrators.retain(|id| {
            let carried = open.carried.iter().any(|carried| carried.id == *id);
            carried || open.asked.iter().any(|held| held.id() == *id)
        });
    }
}

impl Open {
    /// Whether the operator may ask for something more.
    fn check_room(&self) -> Result<(), ConveneError> {
        let asked = self.asked.iter();
        let asked = asked.filter(|held| held.caller() == Caller::Operator);
        if asked.count() + self.made.len() + self.carried.len() < MOST {
            Ok(())
        } else {
            Err(ConveneError::TooMany)
        }
    }

    fn is_cancelled(&self, id: CeremonyId) -> bool {
        self.cancelled.iter().any(|(cancelled, _)| *cancelled == id)
    }
}

impl Held {
    /// What devices have answered.
    fn verdicts(&self) -> (CeremonyId, Vec<(DeviceId, Answered)>) {
        let tally = self.tally();
        let approved = tally.approvals();
        let approved = approved.map(|approval| (approval.device, Answered::Approved));
        let denied = tally.denials().iter();
        let denied = denied.map(|device| (*device, Answered::Denied));
        (self.id(), approved.chain(denied).collect())
    }
}

fn take_out<T>(from: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> Option<T> {
    let at = from.iter().position(is_it)?;
    Some(from.swap_remove(at))
}
