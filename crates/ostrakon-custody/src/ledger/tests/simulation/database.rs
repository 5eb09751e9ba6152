//! A transactional database in memory, as several instances share one: what is written is seen once it is
//! committed, a row that one transaction writes or locks holds others up until that ends, a circle of those
//! who wait is broken, and connections, commits and the whole server fail as chance has it.

use ostrakon_storage::{AuditHead, AuditRow, CounterChange, Durability, InstanceId, RequestRecord};
use ostrakon_types::Recorded;
use tokio::{task::JoinSet, time};

use super::{
    world::{Away, Row, State, Work, World},
    *,
};
use crate::ledger::{
    Act,
    database::{Database, Transact},
    job::{Done, Job},
};

/// An instance's way to the database.
#[derive(Clone)]
pub(super) struct SimDatabase(pub(super) Arc<World>);

pub(super) struct SimTransaction {
    world: Arc<World>,
    id: u64,
    /// How many changes had been made when it began.
    begun: i64,
    work: Work,
    open: bool,
}

/// What the network and the server of databases say when they are gone.
fn gone() -> StoreError {
    StoreError::Unavailable(sqlx::Error::PoolClosed)
}

fn taken() -> StoreError {
    StoreError::Taken(sqlx::Error::RowNotFound)
}

impl SimDatabase {
    /// The way of a statement to the server, and there.
    async fn hop(&self) -> Result<(), StoreError> {
        let way = self.0.with(|state| match state.chance.below(100) {
            0 if !state.calm => state.chance.millis(300),
            _ => state.chance.millis(3),
        });
        time::sleep(way).await;
        let fault = self.0.with(|state| {
            if state.away == Some(Away::Gone) {
                return Some((gone(), state.chance.millis(1000)));
            }
            if state.calm {
                return None;
            }
            match state.chance.below(1000) {
                0..3 => Some((gone(), state.chance.millis(100))),
                3..6 => {
                    state.tally.deadlocks += 1;
                    Some((StoreError::Overtaken, Duration::ZERO))
                }
                _ => None,
            }
        });
        match fault {
            None => Ok(()),
            Some((error, after)) => {
                time::sleep(after).await;
                Err(error)
            }
        }
    }

    pub(super) async fn change_number(&self) -> Result<i64, StoreError> {
        self.hop().await?;
        Ok(self.0.with(|state| state.tables.changes))
    }
}

impl Database for SimDatabase {
    type Transaction<'d> = SimTransaction;

    fn is_shared(&self) -> bool {
        true
    }

    fn seal_audit(
        &self,
        _: InstanceId,
        _: u64,
        records: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(records.into_iter().collect())
    }

    async fn audit_head(&self, instance: InstanceId) -> Result<AuditHead, StoreError> {
        self.hop().await?;
        Ok(self.0.with(|state| {
            let chain = state.tables.chains.get(&instance);
            let last = chain.and_then(|chain| Some((chain.len() as u64, chain.last()?)));
            last.map_or(AuditHead::EMPTY, |(sequence, (_, mac))| AuditHead {
                sequence,
                mac: mac.as_slice().try_into().unwrap(),
            })
        }))
    }

    async fn counts(&self, keys: &[&CounterKey]) -> Result<Vec<Option<u64>>, StoreError> {
        self.hop().await?;
        Ok(self.0.with(|state| counts(state, keys)))
    }

    async fn begin(&self) -> Result<SimTransaction, StoreError> {
        self.hop().await?;
        Ok(self.0.with(|state| {
            state.next += 1;
            SimTransaction {
                world: Arc::clone(&self.0),
                id: state.next,
                begun: state.tables.changes,
                work: Work::default(),
                open: true,
            }
        }))
    }

    async fn carry_out_alone(
        &self,
        audit: &AuditLog,
        head: AuditHead,
        job: &Job,
    ) -> Result<(Done, AuditHead, Option<Durability>), StoreError> {
        let Job::Administer(change, now, _) = job else {
            unreachable!("nobody asks for that");
        };
        let mut tx = self.begin().await?;
        let (event, number) = match change {
            Change::LoadPolicy { time_zone, .. } => {
                tx.hop().await?;
                tx.hold(Row::Changes).await?;
                tx.work.changes = 1;
                let version = self.0.with(|state| state.tables.changes) + 1;
                let event = AuditEvent::PolicyLoaded {
                    version,
                    time_zone: time_zone.clone(),
                    source: Digest::from_bytes([0; 32]),
                    by: None,
                };
                (event, version)
            }
            Change::ClearQuota { profile, .. } => {
                tx.hop().await?;
                let is_meant = |key: &&CounterKey| Some(key.profile) == *profile;
                let keys: Vec<CounterKey> = self.0.with(|state| {
                    let keys = state.tables.counters.keys().filter(is_meant);
                    keys.cloned().collect()
                });
                for key in &keys {
                    tx.hold(Row::Counter(key.clone())).await?;
                    tx.work.counters.insert(key.clone(), None);
                }
                let counters = keys.len() as u64;
                let profile = *profile;
                let cleared = AuditEvent::QuotaCleared {
                    profile,
                    counters,
                    by: None,
                };
                (cleared, 0)
            }
            _ => unreachable!("nobody asks for that"),
        };
        let record = AuditRecord::new(*now, event);
        let (rows, head) = audit.link(self, head, &[record])?;
        tx.append_audit(audit.instance(), rows).await?;
        tx.commit().await?;
        Ok((Done::Administered(number), head, None))
    }

    /// As a task, so that it has its turn from the one scheduler that there is.
    fn write_beside<T: Send + 'static>(
        writing: &mut JoinSet<T>,
        write: impl Future<Output = T> + Send + 'static,
    ) {
        writing.spawn(write);
    }
}

fn counts(state: &State, keys: &[&CounterKey]) -> Vec<Option<u64>> {
    let counters = &state.tables.counters;
    keys.iter().map(|key| counters.get(*key).copied()).collect()
}

impl SimTransaction {
    async fn hop(&self) -> Result<(), StoreError> {
        SimDatabase(Arc::clone(&self.world)).hop().await?;
        match self.world.with(|state| state.away) {
            Some(Away::ReadOnly) => Err(StoreError::ReadOnly(sqlx::Error::PoolClosed)),
            _ => Ok(()),
        }
    }

    /// Waits until no other transaction holds the row, and holds it.
    async fn hold(&self, row: Row) -> Result<(), StoreError> {
        loop {
            let free = self.world.released.notified();
            let held = self.world.with(|state| {
                let holder = *state.held.entry(row.clone()).or_insert(self.id);
                if holder == self.id {
                    return Ok(true);
                }
                // Whoever closes a circle is the one to go.
                let mut last = holder;
                while let Some(&next) = state.waits.get(&last) {
                    last = next;
                }
                if last == self.id {
                    state.tally.deadlocks += 1;
                    return Err(StoreError::Overtaken);
                }
                state.waits.insert(self.id, holder);
                Ok(false)
            })?;
            if held {
                return Ok(());
            }
            free.await;
            self.world.with(|state| state.waits.remove(&self.id));
        }
    }
}

/// Lets the rows of a transaction go.
fn release(world: &World, id: u64) {
    world.with(|state| {
        state.held.retain(|_, holder| *holder != id);
        state.waits.remove(&id);
    });
    world.released.notify_waiters();
}

impl Drop for SimTransaction {
    fn drop(&mut self) {
        if self.open {
            release(&self.world, self.id);
        }
    }
}

impl Transact for SimTransaction {
    async fn change_number(&mut self) -> Result<ChangeNumber, StoreError> {
        self.hop().await?;
        let (away, number) = self.world.with(|state| (state.away, state.tables.changes));
        match (away, self.world.bug) {
            (Some(Away::NoReplica), _) => Err(StoreError::NoReplica),
            (_, Bug::BasisUnchecked) => Ok(ChangeNumber::default()),
            _ => Ok(number.into()),
        }
    }

    fn durability(&self) -> Option<Durability> {
        None
    }

    async fn recall(&mut self, keys: &[RequestKey]) -> Result<Vec<Option<Recorded>>, StoreError> {
        self.hop().await?;
        if self.world.bug == Bug::NothingRecalled {
            return Ok(vec![None; keys.len()]);
        }
        let of = |state: &mut State| {
            let requests = &state.tables.requests;
            keys.iter().map(|key| requests.get(key).cloned()).collect()
        };
        Ok(self.world.with(of))
    }

    async fn counts(&mut self, keys: &[&CounterKey]) -> Result<Vec<Option<u64>>, StoreError> {
        self.hop().await?;
        for key in keys {
            if self
                .world
                .with(|state| state.tables.counters.contains_key(*key))
            {
                self.hold(Row::Counter((*key).clone())).await?;
            }
        }
        Ok(self.world.with(|state| counts(state, keys)))
    }

    async fn count(&mut self, changes: &[CounterChange]) -> Result<(), StoreError> {
        self.hop().await?;
        for change in changes {
            self.hold(Row::Counter(change.key.clone())).await?;
            let holds = self.world.with(|state| {
                let held = state.tables.counters.get(&change.key).copied();
                match self.world.bug {
                    Bug::CountedBlindly => true,
                    Bug::DeniedBlindly => held == change.read || change.read == Some(change.count),
                    _ => held == change.read,
                }
            });
            if !holds {
                self.world.with(|state| state.tally.overtaken += 1);
                return Err(StoreError::Overtaken);
            }
            // A denial changes nothing.
            if change.read != Some(change.count) || self.world.bug == Bug::CountedBlindly {
                let count = Some(change.count);
                self.work.counters.insert(change.key.clone(), count);
            }
        }
        Ok(())
    }

    async fn apply(&mut self, request: &SettleRequest, act: &Act) -> Result<bool, StoreError> {
        let Act::CreateLocation(folder) = act else {
            unreachable!("nobody asks for that");
        };
        self.hop().await?;
        let (profile, folder) = (request.key.profile, folder.location);
        self.hold(Row::Folder(profile, folder)).await?;
        let there = self
            .world
            .with(|state| state.tables.folders.contains(&(profile, folder)));
        Ok(!there && self.work.folders.insert((profile, folder)))
    }

    async fn record(&mut self, records: &[RequestRecord]) -> Result<(), StoreError> {
        self.hop().await?;
        for record in records {
            self.hold(Row::Request(record.key)).await?;
            let there = self
                .world
                .with(|state| state.tables.requests.contains_key(&record.key));
            if there && self.world.bug != Bug::NothingRecalled {
                return Err(taken());
            }
            self.work.records.push(record.clone());
        }
        Ok(())
    }

    async fn append_audit(
        &mut self,
        instance: InstanceId,
        rows: Vec<AuditRow>,
    ) -> Result<(), StoreError> {
        self.hop().await?;
        for row in rows {
            self.hold(Row::Link(instance, row.sequence)).await?;
            let length = |state: &mut State| state.tables.chains.get(&instance).map_or(0, Vec::len);
            if self.world.with(length) as u64 >= row.sequence {
                return Err(taken());
            }
            let row = (instance, row.sequence, row.sealed, row.mac);
            self.work.audit.push(row);
        }
        Ok(())
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        self.hop().await?;
        let (chance, later) = self.world.with(|state| {
            let chance = if state.calm {
                999
            } else {
                state.chance.below(1000)
            };
            (chance, state.chance.millis(4000))
        });
        self.open = false;
        let (world, id, begun) = (Arc::clone(&self.world), self.id, self.begun);
        let work = std::mem::take(&mut self.work);
        let apply = move || {
            world.event(&format!("transaction {id}: {} records", work.records.len()));
            world.apply(begun, work);
            release(&world, id);
        };
        let unknown = || self.world.with(|state| state.tally.unknown_commits += 1);
        match chance {
            // The answer is lost.
            0..10 => {
                unknown();
                apply();
                Err(gone())
            }
            // The commit is lost.
            10..20 => {
                unknown();
                release(&self.world, id);
                Err(gone())
            }
            // Nobody is told, and it becomes durable when all others have gone on.
            20..30 => {
                unknown();
                tokio::spawn(async move {
                    time::sleep(later).await;
                    apply();
                });
                Err(gone())
            }
            30..40 if self.world.bug == Bug::CommitLost => {
                release(&self.world, id);
                Ok(())
            }
            _ => {
                apply();
                let way = self.world.with(|state| state.chance.millis(3));
                time::sleep(way).await;
                Ok(())
            }
        }
    }
}
