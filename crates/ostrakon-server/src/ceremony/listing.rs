use std::collections::BTreeMap;

use ostrakon_shards::{
    ceremony::{Ceremony, Requester},
    profile::{Profile, SignedVersion},
};
use ostrakon_storage::{InstanceId, PendingCeremony, StoreError};
use ostrakon_types::{CeremonyId, DeviceId, ProfileId, UnixMillis, canonical};
use serde::{Deserialize, Serialize};

use super::ConveneError;
use crate::{
    Clock, Home,
    admin::{AskError, Client},
    offline::{Offline, Opened},
    server::BuildError,
};

/// A ceremony that waits, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its id.
    pub id: CeremonyId,
    /// What is asked. Of a ceremony among a profile's own devices the server knows nothing.
    pub about: Option<About>,
    /// The profile whose devices are asked.
    pub profile: ProfileId,
    /// The device that asks; this server's own where it is the server, or a command of its operator.
    pub requester: DeviceId,
    /// When it was opened.
    pub opened_at: UnixMillis,
    /// Until when answers count.
    pub expires_at: UnixMillis,
    /// Who is asked.
    pub devices: Vec<ListedDevice>,
}

/// What a ceremony of the server's own is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The kind's name.
    pub kind: String,
    /// What is asked, in one line, as devices show it.
    pub title: String,
    /// The particulars, each with a label.
    pub details: Vec<(String, String)>,
    /// How many approvals it takes.
    pub needed: u8,
    /// Whether a machine asks that nobody knows.
    pub by_machine: bool,
}

/// A device that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedDevice {
    /// Its id.
    pub device: DeviceId,
    /// Its name, where the server knows it.
    pub name: Option<String>,
    /// What it answered; none where it has not.
    pub answer: Option<Answered>,
}

/// What a device answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// Yes, and it counts.
    Approved,
    /// No.
    Denied,
    /// Something that only who asked can read.
    Sealed,
}

/// What the devices of a ceremony have answered, as far as who asked has counted.
pub(crate) type Verdicts = BTreeMap<CeremonyId, Vec<(DeviceId, Answered)>>;

/// The ceremonies that wait at the server of this home, running or not.
///
/// # Errors
/// When there is no server, or its database cannot be read.
pub async fn list(home: &Home, clock: &Clock) -> Result<Vec<Listed>, ConveneError> {
    match Client::new(home).ceremonies().await {
        Err(AskError::NotRunning) => {}
        asked => return Ok(asked?),
    }
    let opened = Opened::open(home).await?;
    let pending = opened.store.pending_ceremonies(clock.now()).await;
    opened.store.close().await;
    let pending = pending.map_err(BuildError::from)?;
    Ok(listed(pending, &Verdicts::new())?)
}

/// The ceremonies that wait at a server that runs, wherever it is.
///
/// # Errors
/// When it does not answer.
pub async fn list_at(client: &Client) -> Result<Vec<Listed>, ConveneError> {
    Ok(client.ceremonies().await?)
}

/// Ends a ceremony that waits at the server of this home, running or not, for good and on record.
///
/// # Errors
/// When there is none such, or it cannot be recorded.
pub async fn cancel(home: &Home, clock: &Clock, id: CeremonyId) -> Result<(), ConveneError> {
    match Client::new(home).cancel(id).await {
        Err(AskError::NotRunning) => {}
        asked => return Ok(asked?),
    }
    let offline = Offline::start(home, clock).await?;
    let cancelling = ostrakon_custody::Relay::Cancel {
        ceremony: id,
        by: offline.keyserver.device_id(),
    };
    let cancelled = offline.ledger.relay(cancelling, clock.now()).await;
    offline.finish().await;
    if cancelled.map_err(BuildError::from)? {
        Ok(())
    } else {
        Err(ConveneError::NoCeremony)
    }
}

/// The same at a server that runs, wherever it is.
///
/// # Errors
/// When there is none such, or it cannot be recorded.
pub async fn cancel_at(client: &Client, id: CeremonyId) -> Result<(), ConveneError> {
    Ok(client.cancel(id).await?)
}

/// What is kept of a ceremony of the server's own: the instance that has the key for the answers, and what
/// it is about.
type Opening = (InstanceId, Ceremony, Vec<SignedVersion>);

/// How that is kept.
pub(super) fn opening(
    instance: InstanceId,
    ceremony: &Ceremony,
    versions: &[SignedVersion],
) -> Vec<u8> {
    canonical::encode(&(instance, ceremony, versions))
}

/// Whether a ceremony was opened by this instance.
pub(super) fn is_opened_by(instance: InstanceId, pending: &PendingCeremony) -> bool {
    let opening = pending.opening.as_deref();
    let opening = opening.and_then(|bytes| canonical::decode::<Opening>(bytes).ok());
    opening.is_some_and(|(by, ..)| by == instance)
}

/// What a ceremony of the server's own is about.
pub(super) fn asked_in(pending: &PendingCeremony) -> Option<Ceremony> {
    let opening = pending.opening.as_deref()?;
    let (_, ceremony, _) = canonical::decode::<Opening>(opening).ok()?;
    Some(ceremony)
}

/// What the database says of ceremonies, with what is known of their answers beside.
pub(crate) fn listed(
    pending: Vec<PendingCeremony>,
    verdicts: &Verdicts,
) -> Result<Vec<Listed>, BuildError> {
    pending
        .into_iter()
        .map(|pending| one(pending, verdicts))
        .collect()
}

fn one(pending: PendingCeremony, verdicts: &Verdicts) -> Result<Listed, BuildError> {
    let PendingCeremony {
        ceremony,
        opening,
        opened_at,
        asked,
    } = pending;
    let corrupt = || StoreError::Corrupt {
        table: "ceremony_openings",
        column: "opening",
    };
    let known = match &opening {
        None => None,
        Some(bytes) => {
            let opening: Opening = canonical::decode(bytes).map_err(|_| corrupt())?;
            let (_, about, versions) = opening;
            let profile = Profile::from_chain(versions).map_err(|_| corrupt())?;
            Some((about, profile))
        }
    };
    let counted = verdicts.get(&ceremony.id);
    let devices = asked.into_iter().map(|(device, answered)| {
        let card = known.as_ref().and_then(|(_, of)| of.member(&device));
        let mut counted = counted.into_iter().flatten();
        let counted = counted.find(|(of, _)| *of == device);
        ListedDevice {
            device,
            name: card.map(|card| card.name.as_str().to_owned()),
            answer: match counted {
                Some((_, answer)) => Some(*answer),
                None => answered.then_some(Answered::Sealed),
            },
        }
    });
    Ok(Listed {
        id: ceremony.id,
        profile: ceremony.profile,
        requester: ceremony.requester,
        opened_at,
        expires_at: ceremony.expires_at,
        devices: devices.collect(),
        about: known.map(|(ceremony, profile)| about(&ceremony, &profile)),
    })
}

fn about(ceremony: &Ceremony, profile: &Profile) -> About {
    let description = ceremony.subject.describe(profile.version());
    let details = description.details.into_iter();
    About {
        kind: ceremony.subject.kind().to_owned(),
        title: description.title.to_owned(),
        details: details
            .map(|(label, text)| (label.to_owned(), text))
            .collect(),
        needed: ceremony.threshold,
        by_machine: matches!(ceremony.requester, Requester::Machine(_)),
    }
}
