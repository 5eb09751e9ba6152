//! The policy in force, and how another takes its place.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_custody::{Change, Explain, Ledger, LedgerError};
use ostrakon_policy::{Explanation, LoadPolicyError, Policy, Registry};
use ostrakon_storage::{PolicyVersion, Store};
use ostrakon_types::{ApprovalRequest, Candidate, Denial, Proposal, UnixMillis};

use crate::{Config, admin::PolicyLoaded, server::BuildError};

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
    /// It was approved in the place of another one than is in force now.
    #[error("another policy was put in force meanwhile: ask for approval again")]
    Overtaken,
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

    /// The name of the zone in which its times are meant.
    pub(crate) fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// Checks that `source` is a policy that can be put in force.
    pub(crate) fn check(&self, source: &str) -> Result<(), LoadPolicyError> {
        Policy::load(FILE, source, &self.zone, &self.registry).map(|_| ())
    }

    /// Puts the policy `source` in force, all or nothing, and answers with its number, what loading
    /// warned of, and what becomes of the quotas.
    pub(crate) async fn set(
        &self,
        source: String,
        approval: Approval,
        ledger: &Ledger,
        now: UnixMillis,
    ) -> Result<PolicyLoaded, SetPolicyError> {
        let loaded = Policy::load(FILE, &source, &self.zone, &self.registry)?;
        let (number, by) = match approval {
            Approval::Operator => (None, None),
            Approval::Administrators { number, by } => (Some(number), Some(by)),
        };
        let change = Change::LoadPolicy {
            time_zone: self.zone_name.clone(),
            source: source.clone(),
            number,
            by,
        };
        let version = ledger.administer(change, now).await?;
        if version == 0 {
            return Err(SetPolicyError::Overtaken);
        }
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
        Ok(PolicyLoaded {
            version,
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
            quotas: quotas.iter().map(ToString::to_string).collect(),
        })
    }
}

/// On whose word a policy is put in force.
pub(crate) enum Approval {
    /// The operator's.
    Operator,
    /// The administrators', who approved it for this number.
    Administrators {
        /// The number.
        number: i64,
        /// Who approved, for the record.
        by: String,
    },
}

/// The policy that is to take the place of the one in the database when the server starts, if one is.
pub(crate) async fn at_start(
    config: &Config,
    store: &Store,
    stored: Option<&PolicyVersion>,
    file: Option<String>,
) -> Result<Option<String>, BuildError> {
    let Some(stored) = stored else {
        return file.map(Some).ok_or(BuildError::NoPolicy);
    };
    let file = file.filter(|file| *file != stored.source);
    let stays = match &file {
        None => true,
        Some(_) if config.admin_quorum => true,
        // It is one machine's, and what is in force is the cluster's: a restart must not undo it.
        Some(_) if store.is_shared() => true,
        // What administrators put in force is not undone by a file that it took the place of.
        Some(file) => stored.approved && store.had_policy(file).await?,
    };
    if stays && file.is_some() {
        tracing::warn!(
            version = stored.version,
            "{FILE} is not the policy in force, which stays: `keyserver policy --dump` writes it"
        );
    }
    // Times without a zone mean others when the zone is another.
    let mut another_zone = stored.time_zone != config.time_zone;
    if another_zone && store.is_shared() {
        tracing::warn!(
            zone = stored.time_zone,
            "`time_zone` is not the one in which the policy in force is meant, which stays"
        );
        another_zone = false;
    }
    Ok(match file.filter(|_| !stays) {
        Some(file) => Some(file),
        None => another_zone.then(|| stored.source.clone()),
    })
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
