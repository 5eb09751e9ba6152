//! The policy in force, and how another takes its place.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_custody::{Change, Explain, Ledger, LedgerError};
use ostrakon_policy::{Diagnostic, Explanation, LoadPolicyError, Policy, QuotaChange, Registry};
use ostrakon_storage::PolicyVersion;
use ostrakon_types::{ApprovalRequest, Candidate, Denial, Proposal, UnixMillis};

/// A policy that was loaded, with the number under which the database keeps it.
pub(crate) struct Loaded {
    pub(crate) version: i64,
    pub(crate) loaded_at: UnixMillis,
    pub(crate) source: String,
    pub(crate) policy: Policy,
}

/// Why a policy did not take the place of another.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetPolicyError {
    /// It cannot be loaded; the old one stays in force.
    #[error(transparent)]
    Load(#[from] LoadPolicyError),
    /// It cannot be recorded; the old one stays in force.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The policy in force.
pub(crate) struct InForce {
    registry: Registry,
    zone: TimeZone,
    zone_name: String,
    current: RwLock<Arc<Loaded>>,
}

impl InForce {
    /// Begins with a policy from the database.
    pub(crate) fn new(
        registry: Registry,
        zone: (TimeZone, String),
        stored: PolicyVersion,
    ) -> Result<Self, LoadPolicyError> {
        let loaded = load(stored, &zone.0, &registry)?;
        let current = RwLock::new(Arc::new(loaded));
        Ok(Self {
            registry,
            zone: zone.0,
            zone_name: zone.1,
            current,
        })
    }

    pub(crate) fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts the policy `source` in force, all or nothing, and answers with its number, what loading
    /// warned of, and what becomes of the quotas.
    pub(crate) async fn set(
        &self,
        source: String,
        ledger: &Ledger,
        now: UnixMillis,
    ) -> Result<(i64, Vec<Diagnostic>, Vec<QuotaChange>), SetPolicyError> {
        let loaded = Policy::load(FILE, &source, &self.zone, &self.registry)?;
        let change = Change::LoadPolicy {
            time_zone: self.zone_name.clone(),
            source: source.clone(),
        };
        let version = ledger.administer(change, now).await?;
        let next = Loaded {
            version,
            loaded_at: now,
            source,
            policy: loaded.policy,
        };
        let quotas = next.policy.quota_changes(&self.current().policy);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Of two that are set at once, the later one in the database stays.
        if current.version < version {
            *current = Arc::new(next);
        }
        Ok((version, loaded.warnings, quotas))
    }
}

impl InForce {
    /// Takes the policy that another instance put in force, if it is another one than the current.
    pub(crate) fn follow(&self, stored: PolicyVersion) -> Result<(), LoadPolicyError> {
        if self.current().version >= stored.version {
            return Ok(());
        }
        let next = load(stored, &self.zone, &self.registry)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.version < next.version {
            tracing::info!(version = next.version, "policy loaded by another instance");
            *current = Arc::new(next);
        }
        Ok(())
    }
}

fn load(
    stored: PolicyVersion,
    zone: &TimeZone,
    registry: &Registry,
) -> Result<Loaded, LoadPolicyError> {
    let policy = Policy::load(FILE, &stored.source, zone, registry)?.policy;
    Ok(Loaded {
        version: stored.version,
        loaded_at: stored.loaded_at,
        source: stored.source,
        policy,
    })
}

/// So many rule sets are explained in the audit record of a denial; who wants more asks for it.
const EXPLAINED_SETS: u32 = 20;

/// The name by which diagnostics call the policy.
pub(crate) const FILE: &str = "keyserver.yml";

impl Loaded {
    /// What the policy says of a request, and why it is denied if it is.
    pub(crate) fn propose(
        self: Arc<Self>,
        request: &ApprovalRequest,
        now: UnixMillis,
    ) -> (Proposal, Option<Explain>) {
        let Ok(now) = Timestamp::from_millisecond(now.0) else {
            let why = Explain::Policy("clock is out of range".to_owned());
            return (Proposal::denied(Denial::Policy), Some(why));
        };
        let evaluation = self.policy.evaluate(request, now);
        for failure in evaluation.failures() {
            tracing::warn!(
                request = %request.kind,
                rule_set = failure.rule_set,
                rule = failure.rule,
                rule_id = failure.rule_id,
                "a rule failed, which counts as not holding: {}",
                failure.message
            );
        }
        let proposal = evaluation.into_proposal();
        let explanation = if proposal.candidates.is_empty() {
            Some(Explain::Policy(self.explain(request, now).to_string()))
        } else if proposal.candidates.iter().all(charges) {
            let request = request.clone();
            Some(Explain::Quota(Box::new(move |refused| {
                let explanation = self.explain(&request, now);
                explanation.with_refused(refused).to_string()
            })))
        } else {
            None
        };
        (proposal, explanation)
    }

    fn explain(&self, request: &ApprovalRequest, now: Timestamp) -> Explanation {
        self.policy.explain_briefly(request, now, EXPLAINED_SETS)
    }
}

fn charges(candidate: &Candidate) -> bool {
    !candidate.charges().is_empty()
}
