use std::io;

use ostrakon_custody::{
    AuditError, AuditFault, BackUpError, Break, HeadFileError, IdentityError, LedgerError,
};
use ostrakon_policy::LoadPolicyError;
use ostrakon_shards::backup::ParseBackupError;
use ostrakon_storage::{ProtectorError, StoreError, TakeOverError};
use ostrakon_transport::http::SetUpTlsError;
use ostrakon_types::KssId;

use crate::{
    authority::AuthorityError, config::ConfigError, home::HomeError, lineage::LineageError,
};

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The home folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The instance's key.
    #[error(transparent)]
    Protector(#[from] ProtectorError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server was to be made in a shared database, and there is one.
    #[error("there is a server's state in that database already")]
    Occupied,
    /// The server's identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What was restored is not what it was said to be.
    #[error("the database is of the server {0}")]
    OtherServer(KssId),
    /// There is no policy, neither in the database nor in the home folder.
    #[error("there is no policy: `keyserver.yml` is missing")]
    NoPolicy,
    /// The policy.
    #[error(transparent)]
    Policy(#[from] LoadPolicyError),
    /// The audit log cannot be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The audit log is not what was written.
    #[error("the audit log is not what was written: {first}{}", and_more(*.count))]
    AuditFaults {
        /// How many faults there are.
        count: u64,
        /// The first of them.
        first: AuditFault,
    },
    /// The audit log is not where it was left. That is on record now, and the server disabled.
    #[error("the audit log is not where it was left: {0}")]
    Broken(Break),
    /// The server was recovered, and waits.
    #[error("the server was recovered here, and waits to be enabled")]
    Staged,
    /// The head file of the audit log.
    #[error(transparent)]
    HeadFile(#[from] HeadFileError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The backup file.
    #[error("the backup file that was made cannot be read back")]
    Backup(#[source] ParseBackupError),
    /// A backup key could not be made.
    #[error(transparent)]
    BackUp(#[from] BackUpError),
    /// The age of the state.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// The state was moved to another database, which cannot be used.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// The certificate authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS for administration from afar.
    #[error(transparent)]
    Tls(#[from] SetUpTlsError),
    /// The address or the socket.
    #[error("cannot listen on {at}")]
    Listen {
        /// Where.
        at: String,
        /// Why not.
        source: io::Error,
    },
}

fn and_more(count: u64) -> String {
    match count.saturating_sub(1) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    }
}
