use std::time::Duration;

use ostrakon_custody::SignedManifest;
use ostrakon_shards::seal::Sealed;
use ostrakon_storage::StoreError;
use ostrakon_transport::http::{
    BaseUrl, ClientIdentity, IdentityError, JsonClient, JsonError, ParseBaseUrlError,
};
use ostrakon_types::{CeremonyId, UnixMillis};

use super::ceremonies::{Answers, Ended, Named};
use super::reading::{AuditFeed, Page, Read};
use super::{
    ArchiveManifest, ClearQuota, Done, Fault, FaultKind, PolicyLoaded, PolicyText, Pruned,
    QuotaCleared, Status,
};
use crate::{
    Home,
    ceremony::{Ask, CarriedAnswers, Carry, Convened, Fulfilled, Listed, Progress},
    certificates::{Administrator, AdministratorName, Issued, NewAdministrator},
    quota::{AtQuota, ProfileName},
};

/// How long a command may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks a running server.
#[derive(Clone, Debug)]
pub struct Client(JsonClient);

/// Why a running server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No server runs on this home.
    #[error("no key shard server runs on this home")]
    NotRunning,
    /// The server says why.
    #[error("{}", .0.error)]
    Fault(Fault),
    /// The server did not answer as it should.
    #[error("cannot talk to the server")]
    Talk(#[source] JsonError),
    /// A record that it gave is none.
    #[error(transparent)]
    Log(StoreError),
}

/// Why a server cannot be asked from afar.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// Not an address.
    #[error(transparent)]
    Url(#[from] ParseBaseUrlError),
    /// An address without TLS.
    #[error("a server is administered by `https` alone")]
    Plain,
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl AskError {
    /// Whether it may be done all the same if the administrators' devices approve: by the server that says
    /// so or, where none runs, by the command itself.
    #[must_use]
    pub fn may_be_approved(&self) -> bool {
        match self {
            Self::NotRunning => true,
            Self::Fault(fault) => fault.kind == FaultKind::NeedsApproval,
            _ => false,
        }
    }
}

impl From<JsonError> for AskError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::NotListening(_) => Self::NotRunning,
            JsonError::Refused { ref body, .. } => match serde_json::from_slice(body) {
                Ok(fault) => Self::Fault(fault),
                Err(_) => Self::Talk(error),
            },
            error => Self::Talk(error),
        }
    }
}

impl Client {
    /// A client of the server that runs on `home`.
    #[must_use]
    pub fn new(home: &Home) -> Self {
        Self(JsonClient::unix(&home.socket(), TIMEOUT))
    }

    /// A client of the server at an `https` URL, for the administrator whose key, certificate and authority
    /// are in `identity`, in PEM. It is `now`.
    ///
    /// # Errors
    /// When it can be none, or the certificate has expired.
    pub fn remote(url: &str, identity: &[u8], now: UnixMillis) -> Result<Self, RemoteError> {
        let identity = ClientIdentity::from_pem(identity)?;
        identity.check_time(now)?;
        let client = JsonClient::mutual_tls(&url.parse::<BaseUrl>()?, identity, TIMEOUT)?;
        client.map(Self).ok_or(RemoteError::Plain)
    }

    /// What state the server is in.
    ///
    /// # Errors
    /// When it does not run or answer.
    pub async fn status(&self) -> Result<Status, AskError> {
        Ok(self.0.get("/status").await?)
    }

    /// Makes it answer requests, or none.
    ///
    /// # Errors
    /// When it does not run, or cannot record that.
    pub async fn set_enabled(&self, enabled: bool) -> Result<(), AskError> {
        let path = if enabled { "/enable" } else { "/disable" };
        let Done {} = self.0.post(path, &Done {}).await?;
        Ok(())
    }

    /// Puts a policy in force.
    ///
    /// # Errors
    /// When the policy is bad, or cannot be recorded; then the old one stays in force.
    pub async fn load_policy(&self, source: String) -> Result<PolicyLoaded, AskError> {
        Ok(self.0.post("/policy", &PolicyText { source }).await?)
    }

    /// The profiles that are at quota.
    ///
    /// # Errors
    /// When the server does not run or answer.
    pub async fn at_quota(&self) -> Result<Vec<AtQuota>, AskError> {
        Ok(self.0.get("/quota").await?)
    }

    /// Sets the counters of profiles back to zero, or everybody's where none is named.
    ///
    /// # Errors
    /// When there is no such profile, or it cannot be recorded.
    pub async fn clear_quota(&self, profiles: Vec<ProfileName>) -> Result<u64, AskError> {
        let asked = ClearQuota { profiles };
        let QuotaCleared { counters } = self.0.post("/quota/clear", &asked).await?;
        Ok(counters)
    }

    /// Reads the audit log.
    #[must_use]
    pub fn audit(&self) -> AuditFeed<'_> {
        AuditFeed::new(self)
    }

    pub(super) async fn read_audit(&self, asked: &Read) -> Result<Page, AskError> {
        Ok(self.0.post("/audit/read", asked).await?)
    }

    /// The certificates of administrators.
    ///
    /// # Errors
    /// When the server does not run or answer.
    pub async fn administrators(&self) -> Result<Vec<Administrator>, AskError> {
        Ok(self.0.get("/administrators").await?)
    }

    /// Has a certificate issued.
    ///
    /// # Errors
    /// When it cannot be, or the server is far.
    pub async fn create_administrator(&self, new: &NewAdministrator) -> Result<Issued, AskError> {
        Ok(self.0.post("/administrators/create", new).await?)
    }

    /// Revokes the certificates that are in force under a name.
    ///
    /// # Errors
    /// When there are none, or it cannot be recorded.
    pub async fn revoke_administrator(
        &self,
        named: &AdministratorName,
    ) -> Result<Vec<Administrator>, AskError> {
        Ok(self.0.post("/administrators/revoke", named).await?)
    }

    /// Puts an archive on record.
    pub(crate) async fn keep_archive(&self, signed: &SignedManifest) -> Result<(), AskError> {
        let bytes = signed.to_bytes();
        let Done {} = self
            .0
            .post("/audit/archive", &ArchiveManifest { bytes })
            .await?;
        Ok(())
    }

    /// Takes some of what the newest archive holds out of the database.
    pub(crate) async fn prune(&self) -> Result<u64, AskError> {
        let Pruned { rows } = self.0.post("/audit/prune", &Done {}).await?;
        Ok(rows)
    }

    /// Opens a ceremony among the server's administrators' devices.
    pub(crate) async fn convene(&self, ask: &Ask) -> Result<Convened, AskError> {
        Ok(self.0.post("/ceremony/open", ask).await?)
    }

    /// Hands in answers to a ceremony.
    pub(crate) async fn take_answers(
        &self,
        id: CeremonyId,
        answers: Vec<Sealed>,
    ) -> Result<Progress, AskError> {
        let answers = Answers { id, answers };
        Ok(self.0.post("/ceremony/take", &answers).await?)
    }

    /// Has done what was approved.
    pub(crate) async fn fulfil(&self, id: CeremonyId) -> Result<Fulfilled, AskError> {
        Ok(self.0.post("/ceremony/fulfil", &Named { id }).await?)
    }

    /// Has put on record what was made, and is kept.
    pub(crate) async fn keep(&self, id: CeremonyId) -> Result<(), AskError> {
        let Done {} = self.0.post("/ceremony/keep", &Named { id }).await?;
        Ok(())
    }

    /// Gives a ceremony up.
    pub(crate) async fn give_up(&self, id: CeremonyId) -> Result<(), AskError> {
        let Done {} = self.0.post("/ceremony/give-up", &Named { id }).await?;
        Ok(())
    }

    /// The ceremonies that wait.
    pub(crate) async fn ceremonies(&self) -> Result<Vec<Listed>, AskError> {
        Ok(self.0.get("/ceremony/list").await?)
    }

    /// Ends a ceremony, whoever has opened it.
    pub(crate) async fn cancel(&self, id: CeremonyId) -> Result<(), AskError> {
        let Done {} = self.0.post("/ceremony/cancel", &Named { id }).await?;
        Ok(())
    }

    /// Has a ceremony of this command relayed.
    pub(crate) async fn carry(&self, carry: &Carry) -> Result<(), AskError> {
        let Done {} = self.0.post("/ceremony/carry", carry).await?;
        Ok(())
    }

    /// The answers to a ceremony of this command.
    pub(crate) async fn carried(&self, id: CeremonyId) -> Result<CarriedAnswers, AskError> {
        Ok(self.0.post("/ceremony/carried", &Named { id }).await?)
    }

    /// Has a ceremony of this command relayed no more.
    pub(crate) async fn set_down(&self, id: CeremonyId, completed: bool) -> Result<(), AskError> {
        let ended = Ended { id, completed };
        let Done {} = self.0.post("/ceremony/set-down", &ended).await?;
        Ok(())
    }

    /// The policy in force.
    ///
    /// # Errors
    /// When the server does not run or answer.
    pub async fn policy(&self) -> Result<PolicyText, AskError> {
        Ok(self.0.get("/policy").await?)
    }
}
