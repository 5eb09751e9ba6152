//! What a running server, or one that does not run, does for its operator once its administrators' devices
//! approved: the operator asks from afar, or has set `admin_quorum`.

use ostrakon_custody::{Change, Spends};
use ostrakon_shards::{
    ceremony::{Administration, PolicyTexts, Subject},
    name::Name,
};
use ostrakon_types::{CertificateId, Digest};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ConveneError, Room, Stand};
use crate::{
    admin::{AskError, PolicyLoaded},
    policy::{Approval, SetPolicyError},
    quota::{self, ProfileName},
    server::BuildError,
};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Administer {
    /// Answering requests again.
    Enable,
    /// Putting a policy in force.
    LoadPolicy {
        /// Its text.
        source: String,
    },
    /// Setting counters back to zero.
    ClearQuota {
        /// Those of these profiles; none means every profile's.
        profiles: Vec<ProfileName>,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Administered {
    /// Requests are answered; at once, or when the server runs.
    Enabled,
    /// The policy is in force.
    PolicyLoaded(PolicyLoaded),
    /// So many counters are at zero.
    QuotaCleared {
        /// So many.
        counters: u64,
    },
}

/// What is done once it is approved. The text of a policy is kept here, so that the one that is put in force
/// is the one whose digest was approved.
pub(super) struct Todo {
    act: Administration,
    source: String,
    asked_by: Option<CertificateId>,
}

/// What the devices are asked, what comes along for them to see, and what is done then.
pub(super) async fn prepare(
    room: &Room<'_>,
    asked: Administer,
    asked_by: Option<CertificateId>,
) -> Result<(Subject, Option<Vec<u8>>, Todo), ConveneError> {
    let (mut text, mut enclosed) = (String::new(), None);
    let act = match asked {
        Administer::Enable => {
            if is_enabled(room).await? {
                return Err(ConveneError::Enabled);
            }
            Administration::Enable
        }
        Administer::LoadPolicy { source } => {
            let node = room.node.ok_or(AskError::NotRunning)?;
            let policy = &node.pipeline.policy;
            policy.check(&source).map_err(ConveneError::Policy)?;
            let current = policy.current();
            let next = current.version.saturating_add(1);
            let act = Administration::LoadPolicy {
                number: u64::try_from(next).unwrap_or(0),
                source: sha256(&source),
                time_zone: Name::new(policy.zone_name())?,
                replaces: sha256(&current.source),
            };
            let texts = PolicyTexts {
                in_force: current.source.clone(),
                asked: source.clone(),
            };
            enclosed = texts.enclose();
            text = source;
            act
        }
        Administer::ClearQuota { profiles } => Administration::ClearQuota {
            profiles: quota::find_all(room.store, &profiles).await?,
        },
    };
    let subject = Subject::Administer {
        kss_id: room.keyserver.kss_id(),
        act: act.clone(),
        asked_by,
    };
    let todo = Todo {
        act,
        source: text,
        asked_by,
    };
    Ok((subject, enclosed, todo))
}

fn sha256(text: &str) -> Digest {
    Digest::from_bytes(Sha256::digest(text).into())
}

/// Whether there is nothing to enable. Who enables a server has looked at its clock, too.
async fn is_enabled(room: &Room<'_>) -> Result<bool, BuildError> {
    if let Some(node) = room.node {
        return Ok(node.pipeline.is_enabled() && node.pipeline.clock_fault().is_none());
    }
    Ok(room
        .store
        .server()
        .await?
        .is_some_and(|record| record.enabled))
}

/// Does what was approved, on record with who asked and who approved.
pub(super) async fn perform(
    room: &Room<'_>,
    todo: Todo,
    approved: String,
    spends: Spends,
) -> Result<Administered, ConveneError> {
    let by = match todo.asked_by {
        Some(id) => format!("by administrator's certificate {id}, {approved}"),
        None => approved,
    };
    let (ledger, now) = (room.ledger, room.now);
    match todo.act {
        Administration::Enable => {
            let by = Some(by);
            let done = match room.node {
                Some(node) => node.set_enabled(true, by, Some(spends)).await,
                None => {
                    let change = Change::SetEnabled {
                        enabled: true,
                        by,
                        spends: Some(spends),
                    };
                    let done = ledger.administer(change, now).await;
                    done.map(|done| done != 0)
                }
            };
            match done.map_err(BuildError::from)? {
                true => Ok(Administered::Enabled),
                // Disabled since, by somebody at another instance.
                false => Err(ConveneError::NotApproved(Stand::Cancelled)),
            }
        }
        Administration::LoadPolicy { number, .. } => {
            let node = room.node.ok_or(AskError::NotRunning)?;
            let approval = Approval::Administrators {
                number: i64::try_from(number).unwrap_or(i64::MAX),
                by,
            };
            let set = node.pipeline.policy.set(todo.source, approval, ledger, now);
            match set.await {
                Ok(loaded) => Ok(Administered::PolicyLoaded(loaded)),
                Err(SetPolicyError::Load(error)) => Err(ConveneError::Policy(error)),
                Err(SetPolicyError::Ledger(error)) => Err(BuildError::from(error).into()),
                Err(SetPolicyError::Overtaken) => Err(ConveneError::Overtaken),
            }
        }
        Administration::ClearQuota { profiles } => {
            let cleared = quota::clear_of(ledger, &profiles, Some(by), now).await;
            let counters = cleared.map_err(BuildError::from)?;
            Ok(Administered::QuotaCleared { counters })
        }
        // What this release does not know it did not ask for.
        _ => Err(ConveneError::NoCeremony),
    }
}
