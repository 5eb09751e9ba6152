//! What the log says of the state of the server, compared with the state: the policy in force, whether
//! requests are answered, the version of each profile, and, where that is asked for, every counter and every
//! request that is remembered.

use std::collections::{BTreeMap, HashMap, HashSet};

use ostrakon_storage::{
    InstanceId, LONGEST_WINDOW, REQUESTS_KEPT, RequestKey, Snapshot, StoreError,
};
use ostrakon_types::{CounterKey, Digest, ProfileId, UnixMillis, canonical};
use sha2::{Digest as _, Sha256};

use super::{
    AuditError, AuditEvent, AuditRecord, AuditReport, Auditor, FaultKind, ProfileHead,
    auditor::PAGE, fault::Faults,
};

/// What the running server forgets is told by its clock; this much on either side of that nothing is compared.
const SLACK: i64 = 60 * 1000;

/// What the records tell, as far as they were read.
#[derive(Debug)]
pub struct Told {
    /// When the reading began.
    begun: UnixMillis,
    policy: Option<(i64, Digest)>,
    /// What was switched to last, and when: another instance's chain may tell of it.
    enabled: Option<(UnixMillis, bool)>,
    profiles: BTreeMap<ProfileId, ProfileHead>,
    /// The first record of each chain that a counter or a remembered request may come from.
    recent: BTreeMap<InstanceId, u64>,
}

impl Told {
    /// Nothing yet, when the reading begins at the time `now`.
    #[must_use]
    pub fn new(now: UnixMillis) -> Self {
        Self {
            begun: now,
            policy: None,
            enabled: None,
            profiles: BTreeMap::new(),
            recent: BTreeMap::new(),
        }
    }

    /// Takes a record in. They come in order.
    pub fn add(&mut self, instance: InstanceId, sequence: u64, record: &AuditRecord) {
        if record.at >= self.begun.plus(-LONGEST_WINDOW) {
            self.recent.entry(instance).or_insert(sequence);
        }
        match &record.event {
            AuditEvent::PolicyLoaded {
                version, source, ..
            } if self.policy.is_none_or(|(known, _)| known < *version) => {
                self.policy = Some((*version, *source));
            }
            AuditEvent::Administered { action, .. } if action == "enable" => {
                self.switched(record.at, true);
            }
            AuditEvent::Administered { action, .. } if action == "disable" => {
                self.switched(record.at, false);
            }
            AuditEvent::Broken { .. } => self.switched(record.at, false),
            AuditEvent::Decided {
                profile,
                head: Some(head),
                ..
            }
            | AuditEvent::ProfileShown { profile, head } => {
                // Versions only grow, also where another instance's chain tells of the next one.
                let known = self.profiles.entry(*profile).or_insert(*head);
                if known.number < head.number {
                    *known = *head;
                }
            }
            _ => {}
        }
    }

    fn switched(&mut self, at: UnixMillis, enabled: bool) {
        if self.enabled.is_none_or(|(known, _)| known <= at) {
            self.enabled = Some((at, enabled));
        }
    }
}

/// A record that sets counters back.
struct Clear {
    instance: InstanceId,
    sequence: u64,
    at: UnixMillis,
    profile: Option<ProfileId>,
}

impl Clear {
    fn takes(&self, key: &CounterKey) -> bool {
        match &self.profile {
            Some(profile) => key.profile == *profile,
            None => key.profile != ALL_PROFILES,
        }
    }

    /// Whether a charge was there by then. In another chain the times tell, and where they are too close
    /// nothing does.
    fn comes_after(&self, (instance, sequence): (InstanceId, u64), at: UnixMillis) -> Option<bool> {
        let later = self.at.since(at);
        if instance == self.instance {
            Some(sequence < self.sequence)
        } else {
            (later.abs() > SLACK).then_some(later > 0)
        }
    }
}

/// What the charges on record come to.
#[derive(Default)]
struct Recount {
    clears: Vec<Clear>,
    counted: HashMap<CounterKey, u64>,
    /// Counters of which it is not told whether a charge came before they were set back.
    doubtful: HashSet<CounterKey>,
}

impl Recount {
    fn count(&mut self, oldest: UnixMillis, place: (InstanceId, u64), record: &AuditRecord) {
        let AuditEvent::Decided {
            profile,
            charged: Some(charged),
            ..
        } = &record.event
        else {
            return;
        };
        let keys = charged.iter().flat_map(|of| of.counters(*profile));
        for key in keys.filter(|key| key.window >= oldest) {
            let clears = self.clears.iter().filter(|clear| clear.takes(&key));
            let mut cleared = Some(false);
            for clear in clears {
                match clear.comes_after(place, record.at) {
                    Some(true) => cleared = Some(true),
                    Some(false) => {}
                    None if cleared == Some(false) => cleared = None,
                    None => {}
                }
            }
            match cleared {
                Some(true) => {}
                Some(false) => *self.counted.entry(key).or_default() += 1,
                None => {
                    self.doubtful.insert(key);
                }
            }
        }
    }
}

impl Auditor<'_> {
    /// Compares the state of the server with what was told, once the log was verified, and adds what
    /// differs to the report; with `quotas` every counter, and every request that is remembered, too. The
    /// server may run: `clock` is read once its state has been taken, so that nothing that it has forgotten by
    /// then is missed.
    ///
    /// # Errors
    /// When the database cannot be read, or records were archived since the log was verified.
    pub async fn compare_state(
        &self,
        mut told: Told,
        quotas: bool,
        clock: impl Fn() -> UnixMillis,
        report: &mut AuditReport,
    ) -> Result<(), AuditError> {
        let mut faults = Faults {
            first: std::mem::take(&mut report.faults),
            count: report.fault_count,
        };
        let mut snapshot = self.store.snapshot().await?;
        let now = clock();
        self.is_still_of(report).await?;
        for chain in &report.chains {
            // What came since the log was read.
            let (instance, mut from) = (chain.instance, chain.newest + 1);
            while let Some(page) = self.page(&mut snapshot, instance, &mut from).await? {
                for (sequence, record) in page {
                    told.add(instance, sequence, &record);
                }
            }
        }
        let archived = report.chains.iter().any(|chain| chain.archived > 0);
        self.compare_policy(&told, archived, &mut snapshot, &mut faults)
            .await?;
        compare_profiles(&told, &mut snapshot, &mut faults).await?;
        if quotas {
            self.recount(&told, now, report, &mut snapshot, &mut faults)
                .await?;
        }
        report.faults = faults.first;
        report.fault_count = faults.count;
        Ok(())
    }

    async fn page(
        &self,
        snapshot: &mut Snapshot<'_>,
        instance: InstanceId,
        from: &mut u64,
    ) -> Result<Option<Vec<(u64, AuditRecord)>>, AuditError> {
        let page = snapshot.audit_page(instance, *from, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        *from = last.sequence + 1;
        let records = page.into_iter().filter_map(|row| {
            let bytes = self.store.open_audit(instance, &row).ok()?;
            Some((row.sequence, canonical::decode(&bytes).ok()?))
        });
        Ok(Some(records.collect()))
    }

    async fn compare_policy(
        &self,
        told: &Told,
        archived: bool,
        snapshot: &mut Snapshot<'_>,
        faults: &mut Faults,
    ) -> Result<(), AuditError> {
        let mut fault = |note: String| faults.add(FaultKind::State, None, (0, 0), note);
        let (policy, enabled) = snapshot.state().await?;
        let policy = policy.map(|policy| {
            let digest = Digest::from_bytes(Sha256::digest(policy.source).into());
            (policy.version, digest)
        });
        match (told.policy, policy) {
            (told, stored) if told == stored => {}
            (None, Some(_)) if archived => {}
            (Some((version, _)), None) => {
                fault(format!(
                    "policy version {version} is not in the database any more"
                ));
            }
            (Some((version, _)), Some((stored, _))) if version == stored => {
                fault(format!(
                    "policy version {version} is not the one that was loaded"
                ));
            }
            (told, stored) => {
                let number = |policy: Option<(i64, _)>| policy.map_or(0, |(version, _)| version);
                let (told, stored) = (number(told), number(stored));
                fault(format!(
                    "policy version {stored} is in force, but version {told} is the last that was loaded"
                ));
            }
        }
        // A new server is enabled, and that is not on record. Of one whose records are archived it is not
        // known.
        let told = told.enabled.map(|(_, enabled)| enabled);
        let told = told.unwrap_or(!archived || enabled);
        if told != enabled {
            let word = |enabled| if enabled { "enabled" } else { "disabled" };
            fault(format!(
                "the server is {}, but was {} last",
                word(enabled),
                word(told)
            ));
        }
        Ok(())
    }

    /// The records of the last day that set counters back.
    async fn clears(
        &self,
        told: &Told,
        snapshot: &mut Snapshot<'_>,
    ) -> Result<Vec<Clear>, AuditError> {
        let mut clears = Vec::new();
        for (&instance, &first) in &told.recent {
            let mut from = first;
            while let Some(page) = self.page(snapshot, instance, &mut from).await? {
                clears.extend(page.into_iter().filter_map(|(sequence, record)| {
                    let AuditEvent::QuotaCleared { profile, .. } = record.event else {
                        return None;
                    };
                    Some(Clear {
                        instance,
                        sequence,
                        at: record.at,
                        profile,
                    })
                }));
            }
        }
        Ok(clears)
    }

    /// Counts all charges of the last day again, and looks the requests of the last day up.
    async fn recount(
        &self,
        told: &Told,
        now: UnixMillis,
        report: &AuditReport,
        snapshot: &mut Snapshot<'_>,
        faults: &mut Faults,
    ) -> Result<(), AuditError> {
        let oldest = now.plus(SLACK - LONGEST_WINDOW);
        let remembered = now.plus(SLACK - REQUESTS_KEPT);
        let mut recount = Recount {
            clears: self.clears(told, snapshot).await?,
            ..Recount::default()
        };
        // Charges that were archived cannot be counted again: then a counter may say more than the log.
        let whole = report.chains.iter().all(|chain| {
            chain.archived == 0 || told.recent.get(&chain.instance) != Some(&(chain.archived + 1))
        });
        for (&instance, &first) in &told.recent {
            let mut from = first;
            while let Some(page) = self.page(snapshot, instance, &mut from).await? {
                for (sequence, record) in page {
                    recount.count(oldest, (instance, sequence), &record);
                    if record.at >= remembered {
                        let place = (instance, sequence);
                        look_up(snapshot, place, &record.event, faults).await?;
                    }
                }
            }
        }
        let Recount {
            mut counted,
            doubtful,
            ..
        } = recount;
        let mut after = None;
        loop {
            let profiles = snapshot.counting_profiles(after).await?;
            let Some(last) = profiles.last() else { break };
            after = Some(*last);
            for profile in &profiles {
                for counter in snapshot.counters(profile).await? {
                    if counter.key.window < oldest || doubtful.contains(&counter.key) {
                        continue;
                    }
                    let logged = counted.remove(&counter.key).unwrap_or(0);
                    if counter.count < logged || (whole && counter.count > logged) {
                        faults.push(super::AuditFault::counter(
                            &counter.key,
                            counter.count,
                            logged,
                        ));
                    }
                }
            }
        }
        let mut gone: Vec<_> = counted
            .into_iter()
            .filter(|(key, count)| *count > 0 && !doubtful.contains(key))
            .collect();
        gone.sort();
        for (key, logged) in gone {
            faults.push(super::AuditFault::counter(&key, 0, logged));
        }
        Ok(())
    }
}

/// Looks up in which version each profile is.
async fn compare_profiles(
    told: &Told,
    snapshot: &mut Snapshot<'_>,
    faults: &mut Faults,
) -> Result<(), AuditError> {
    for (profile, told) in &told.profiles {
        let is = match snapshot.profile_heads(profile).await {
            Ok(Some(heads)) => {
                let told = (told.number, Some(told.hash));
                match heads.into_iter().find(|head| *head != told) {
                    None => continue,
                    Some((number, _)) if number == told.0 => "in another one of that number",
                    Some((number, _)) if number < told.0 => "in an older one",
                    Some(_) => "in a newer one",
                }
            }
            Ok(None) => "not there any more",
            Err(StoreError::Corrupt { .. }) => "not what was written",
            Err(error) => return Err(error.into()),
        };
        let number = told.number;
        let note = format!("profile {profile} was put in version {number} last, and is {is}");
        faults.add(FaultKind::Profile, None, (0, 0), note);
    }
    Ok(())
}

/// The profile under which the server counts over all profiles.
const ALL_PROFILES: ProfileId = ProfileId::from_bytes([0; 16]);

/// Whether a decision is remembered as it was made.
async fn look_up(
    snapshot: &mut Snapshot<'_>,
    (instance, sequence): (InstanceId, u64),
    event: &AuditEvent,
    faults: &mut Faults,
) -> Result<(), AuditError> {
    let AuditEvent::Decided {
        profile,
        device,
        request,
        item,
        decision,
        ..
    } = event
    else {
        return Ok(());
    };
    let key = RequestKey {
        profile: *profile,
        device: *device,
        request: *request,
    };
    let item = usize::try_from(*item).unwrap_or(usize::MAX);
    let is = match snapshot.remembered(&key).await {
        Ok(Some(recorded)) if recorded.decisions.get(item) == Some(decision) => return Ok(()),
        Ok(Some(_)) => "is remembered with another decision",
        Ok(None) => "is not remembered any more",
        Err(StoreError::Corrupt { .. }) => "is not remembered as it was written",
        Err(error) => return Err(error.into()),
    };
    let note = format!("request {request} {is}; record {sequence} has its decision");
    faults.add(
        FaultKind::Request,
        Some(instance),
        (sequence, sequence),
        note,
    );
    Ok(())
}

impl super::AuditFault {
    fn counter(key: &CounterKey, stored: u64, logged: u64) -> Self {
        let CounterKey {
            profile,
            rule_id,
            period,
            window,
        } = key;
        let note = format!(
            "counter of rule `{rule_id}` for profile {profile} ({period:?} from {window}) says {stored}, the log {logged}"
        );
        Self {
            kind: FaultKind::Counter,
            chain: None,
            first: 0,
            last: 0,
            note,
        }
    }
}
