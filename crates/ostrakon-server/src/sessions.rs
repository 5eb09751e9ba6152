use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock},
};

use ostrakon_storage::StoreError;
use ostrakon_transport::envelope::{Authentic, ServerSession, SessionId, SessionMessage, Stranger};
use ostrakon_types::{DeviceId, UnixMillis};

use crate::directory::{Directory, Seen};

/// Sessions of one device at once: for as many commands that run side by side.
const OF_ONE_DEVICE: usize = 16;

/// The envelope sessions of this process, bounded: the oldest gives way.
///
/// Only a known device's verified request begins one, so strangers can neither fill it nor push others
/// out. It is in memory alone: after a restart, and at another instance, clients begin anew.
pub(crate) struct Sessions {
    most: usize,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<SessionId, Arc<Entry>>,
    /// By the order in which they began.
    by_age: BTreeMap<u64, SessionId>,
    by_device: HashMap<DeviceId, VecDeque<SessionId>>,
    begun: u64,
}

struct Entry {
    session: ServerSession,
    number: u64,
    /// The device as the directory knew it when it was last asked.
    seen: RwLock<Seen>,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    #[error(transparent)]
    Stranger(#[from] Stranger),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            table: RwLock::default(),
        }
    }

    /// Whether a session of this name may begin: there is none yet.
    pub(crate) fn may_begin(&self, id: &SessionId) -> bool {
        self.most > 0 && !self.read(|table| table.by_id.contains_key(id))
    }

    /// Keeps a session that was granted. `false` when there is one of its name by now: then that one
    /// stays, and this one must not be told to the client.
    pub(crate) fn begin(&self, session: ServerSession, seen: Seen, now: UnixMillis) -> bool {
        self.write(|table| {
            table.forget_over(now);
            if self.most == 0 || table.by_id.contains_key(&session.id()) {
                return false;
            }
            let of_device = table.by_device.get(&session.device());
            if let Some(of_device) = of_device.filter(|ids| ids.len() >= OF_ONE_DEVICE)
                && let Some(&oldest) = of_device.front()
            {
                table.remove(&oldest);
            }
            if table.by_id.len() >= self.most
                && let Some((_, &oldest)) = table.by_age.first_key_value()
            {
                table.remove(&oldest);
            }
            table.insert(session, seen);
            true
        })
    }

    /// Opens a message, and looks up whether its device is still known.
    pub(crate) async fn resume(
        &self,
        message: &SessionMessage<'_>,
        directory: &Directory,
        now: UnixMillis,
    ) -> Result<(Authentic, Seen), ResumeError> {
        let id = message.session();
        let entry = self.read(|table| table.by_id.get(&id).cloned());
        let entry = entry.ok_or(Stranger::NoSession)?;
        let authentic = entry.session.open(message, now)?;
        let seen = entry.seen();
        if directory.is_current(&seen) {
            return Ok((authentic, seen));
        }
        let Some(seen) = directory.member(&entry.session.device()).await? else {
            self.write(|table| table.remove(&id));
            return Err(Stranger::UnknownDevice.into());
        };
        *entry.seen.write().unwrap_or_else(PoisonError::into_inner) = seen.clone();
        Ok((authentic, seen))
    }

    /// Forgets sessions whose time is over.
    pub(crate) fn forget_over(&self, now: UnixMillis) {
        self.write(|table| table.forget_over(now));
    }

    fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Table {
    fn insert(&mut self, session: ServerSession, seen: Seen) {
        let (id, number) = (session.id(), self.begun);
        self.begun += 1;
        self.by_age.insert(number, id);
        let of_device = self.by_device.entry(session.device()).or_default();
        of_device.push_back(id);
        let entry = Entry {
            session,
            number,
            seen: RwLock::new(seen),
        };
        self.by_id.insert(id, Arc::new(entry));
    }

    fn remove(&mut self, id: &SessionId) {
        let Some(entry) = self.by_id.remove(id) else {
            return;
        };
        self.by_age.remove(&entry.number);
        let device = entry.session.device();
        if let Some(of_device) = self.by_device.get_mut(&device) {
            of_device.retain(|other| other != id);
            if of_device.is_empty() {
                self.by_device.remove(&device);
            }
        }
    }

    /// All that are over; the oldest are over first, but for a clock that was set.
    fn forget_over(&mut self, now: UnixMillis) {
        while let Some((_, &oldest)) = self.by_age.first_key_value() {
            let entry = self.by_id.get(&oldest);
            if entry.is_some_and(|entry| !entry.session.is_over(now)) {
                break;
            }
            self.remove(&oldest);
        }
    }
}

impl Entry {
    fn seen(&self) -> Seen {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}
