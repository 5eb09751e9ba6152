//! What may be typed. Nothing is done here.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ostrakon_server::quota::ProfileName;

use crate::moment::Moment;

/// The key shard server and its administration.
///
/// A key shard server holds one shard of each file key and releases it when its policy approves.
#[derive(Debug, Parser)]
#[command(
    name = "keyserver",
    version,
    propagate_version = true,
    infer_long_args = false
)]
pub(crate) struct Cli {
    /// Where the server keeps what is its own.
    #[arg(long, global = true, env = "OSTRAKON_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// The form of what is reported.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The form of what is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    Human,
    /// JSON for programs.
    Json,
    /// The Common Event Format, for `audit export` alone.
    #[value(hide = true)]
    Cef,
}

/// What to do with instances.
#[derive(Debug, Subcommand)]
pub(crate) enum InstanceCommand {
    /// List them: who is there, and since when not.
    List,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server until it is told to stop.
    Serve(ServeArgs),
    /// Show the main job on real files: a server is made, files are encrypted, and those that the
    /// policy allows are decrypted. Leaves nothing behind.
    Demo {
        /// The files: a file or a folder. By default the project's own README and docs.
        path: Option<PathBuf>,
    },
    /// Make a new key shard server and print its id. The devices of the administrators' profile, where it is
    /// known, must approve it, and hold its backup key.
    Create {
        /// The server's name, as its users see it.
        #[arg(long, default_value = "keyserver")]
        name: String,
        /// Keep the server's state in this database, which its instances share. It must be there, and
        /// empty: `mysql:host=…,port=…,user=…,password_file=…,database=…`, or a URL. `fd:N` reads it
        /// from an inherited descriptor.
        #[arg(long, value_name = "URI")]
        db_uri: Option<String>,
        #[command(flatten)]
        backup: BackupArgs,
    },
    /// Let this machine serve as an instance of the server in a shared database. The devices that hold the
    /// server's backup key must approve it.
    Initialize {
        /// The database, as for `create --db-uri`.
        #[arg(long, value_name = "URI")]
        db_uri: String,
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Move the server, which must not run, to another database: its whole state is copied, the copy
    /// compared, and the server switched over. May be interrupted, and repeated.
    CloneDb {
        /// The new database, which must be empty: as for `create --db-uri`, or `sqlite:` for a file in the
        /// server's home.
        #[arg(value_name = "NEW_URI")]
        new_uri: String,
    },
    /// Show the instances that share the server's database.
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// Answer requests again, or begin to after a recovery.
    Enable {
        #[command(flatten)]
        backup: BackupArgs,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Answer no requests, but refuse each of them, until `enable`.
    Disable {
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Show what state the server is in, and its id.
    Status {
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Make a new backup key, in place of all earlier ones, and write its file.
    SaveBackupKey {
        /// The new file.
        path: PathBuf,
        /// Take a profile with fewer devices, or a lower threshold, than is safe.
        #[arg(long)]
        ignore_security_checks: bool,
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Check a backup key.
    #[command(subcommand)]
    BackupKey(BackupKeyCommand),
    /// Bring a lost server's identity to this machine, from its backup file and its administrators'
    /// devices. It waits there until `enable`.
    RecoveryIngestKey {
        /// The backup file.
        path: PathBuf,
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Let the server go on although its state is older than one that was seen, or may be. Its
    /// administrators' devices must approve it.
    AcceptRollback {
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Show what waits for devices' approvals, and end it.
    #[command(subcommand)]
    Ceremony(CeremonyCommand),
    /// Read, check and archive the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show which profiles are at quota, and set quotas back.
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// Load, dump, check and test policies.
    Policy(PolicyArgs),
    /// Say who is heard as an administrator from afar.
    #[command(subcommand)]
    Administrator(AdministratorCommand),
    /// Write the certificate of the server's own authority, which issues those of administrators.
    #[command(alias = "root_ca")]
    RootCa {
        /// The file: `.pem`, or `.p7b` for a bundle.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Replace the file if there is one.
        #[arg(long)]
        force: bool,
    },
    /// Print a completion script for a shell.
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    #[command(hide = true)]
    Man,
}

impl Command {
    /// The database that it names, if it names one.
    pub(crate) fn database_uri(&self) -> Option<&str> {
        match self {
            Self::Create { db_uri, .. } => db_uri.as_deref(),
            Self::Initialize { db_uri, .. } => Some(db_uri),
            Self::CloneDb { new_uri } => Some(new_uri),
            _ => None,
        }
    }
}

/// What to do with what waits for devices' approvals.
#[derive(Debug, Subcommand)]
pub(crate) enum CeremonyCommand {
    /// List what waits.
    List {
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Show who is asked what, and who has answered.
    Show {
        /// Its id, or how that begins.
        id: String,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// End it: no answer counts any more, and who waits for answers is told.
    Cancel {
        /// Its id, or how that begins.
        id: String,
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// What to do with a backup key.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupKeyCommand {
    /// Have each device prove that it holds a good share. Nothing is put together.
    Verify {
        /// The backup file.
        path: PathBuf,
        #[command(flatten)]
        ask: AskArgs,
    },
}

/// Where the backup key goes, and who holds it.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Write the backup key to this new file (default: `backup-key.txt` in the home folder).
    #[arg(long, value_name = "PATH")]
    pub(crate) backup_path: Option<PathBuf>,
    /// Take a profile with fewer devices, or a lower threshold, than is safe.
    #[arg(long)]
    pub(crate) ignore_security_checks: bool,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

/// Whose devices are asked, and how long they are waited for.
#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    /// The card of the administrators' profile, as `ostrakon profile export-card` writes it (default: the
    /// profile of this user's workstation on this machine). With a new backup key it is remembered, else used
    /// this once.
    #[arg(long, value_name = "CARD")]
    pub(crate) profile: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Where and how long devices are waited for.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Where to wait for devices: an address of this machine that they can reach, and a port (default: this
    /// machine's in its network, port 7421).
    #[arg(long, value_name = "IP:PORT", env = "OSTRAKON_WAIT_AT")]
    pub(crate) listen: Option<SocketAddr>,
    /// How many seconds to wait for them.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) wait: u32,
}

impl WaitArgs {
    pub(crate) fn wait_ms(&self) -> i64 {
        i64::from(self.wait) * 1000
    }
}

/// Which running server is meant.
#[derive(Debug, Default, Args)]
pub(crate) struct RemoteArgs {
    /// Ask the server at this `https` URL, not the one on this machine.
    #[arg(long, value_name = "URL", env = "OSTRAKON_SERVER")]
    pub(crate) server: Option<String>,
    /// Your identity there, as `keyserver administrator create` made it.
    #[arg(long, value_name = "FILE", env = "OSTRAKON_IDENTITY")]
    pub(crate) identity: Option<PathBuf>,
}

/// What to do about administrators.
#[derive(Debug, Subcommand)]
pub(crate) enum AdministratorCommand {
    /// Make a key and a certificate by which an administrator is heard from afar.
    Create {
        /// Whose it is.
        #[arg(long)]
        name: String,
        /// The new file, which must be kept as a password is.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// For how many days it is valid.
        #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: u16,
    },
    /// List the certificates that were issued.
    List {
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Hear who has a certificate no more, from now on.
    Revoke {
        /// The certificate's id, or a name for all that are in force under it.
        #[arg(value_name = "NAME|ID")]
        which: String,
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the newest records. They name paths.
    Tail {
        /// So many.
        #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
        lines: u64,
        /// Go on with those that come.
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Write records, one a line, to FILE or standard output: JSON, or with `--format cef` the Common Event
    /// Format. They name paths.
    Export {
        /// From this time on: 2026-03-09T17:00:00Z, 2026-03-09 for when that day begins, or 7d for seven days
        /// ago.
        #[arg(long, value_name = "TIME")]
        since: Option<Moment>,
        /// Up to this time.
        #[arg(long, value_name = "TIME")]
        until: Option<Moment>,
        /// A new file; by default standard output.
        file: Option<PathBuf>,
    },
    /// Read the whole log, check it against its checkpoints, and say where it is not what was written.
    Verify {
        /// Check it against the checkpoints in the lines of FILE, too; by default those of
        /// `audit.checkpoint_file`.
        #[arg(long, value_name = "FILE")]
        checkpoints: Option<PathBuf>,
        /// Check archives, too.
        #[arg(long, value_name = "FILE", num_args = 1..)]
        archive: Vec<PathBuf>,
        /// Compare every counter, and every request that is remembered, with the log.
        #[arg(long)]
        quotas: bool,
    },
    /// Move records to a new FILE, as far as a checkpoint covers them.
    Archive {
        /// Only those that were written before; 90d for ninety days ago.
        #[arg(long, value_name = "TIME")]
        before: Option<Moment>,
        /// The new file.
        file: PathBuf,
    },
}

/// What to do with quotas.
#[derive(Debug, Subcommand)]
pub(crate) enum QuotaCommand {
    /// List the profiles that are at quota, by rule, with the time of reset.
    List {
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Set counters back to zero.
    Clear {
        /// Those of these profiles, each by its id or its first words, four at least.
        #[arg(
            long,
            value_name = "ID",
            num_args = 1..,
            required_unless_present = "all",
            conflicts_with = "all"
        )]
        profile: Vec<ProfileName>,
        /// Those of every profile.
        #[arg(long)]
        all: bool,
        /// The card of the administrators' profile, where their devices must approve, as `ostrakon profile
        /// export-card` writes it (default: the profile of this user's workstation on this machine).
        #[arg(long, value_name = "CARD")]
        administrators: Option<PathBuf>,
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        remote: RemoteArgs,
    },
}

/// How to run the server.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Run a throw-away server on loopback that approves everything, and print how to use it.
    #[arg(long)]
    pub(crate) dev: bool,
}

/// What to do with policies.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct PolicyArgs {
    /// Put `keyserver.yml` in force in the running server, all or nothing; with `--server`, PATH.
    #[arg(long, value_name = "PATH", num_args = 0..=1, conflicts_with = "dump")]
    pub(crate) load: Option<Option<PathBuf>>,
    /// Write the policy in force to PATH, or to standard output.
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    pub(crate) dump: Option<Option<PathBuf>>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
    #[command(subcommand)]
    pub(crate) command: Option<PolicyCommand>,
}

/// What to do with policy files.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Say everything that is wrong with a policy file.
    Check {
        /// Warnings are errors.
        #[arg(long)]
        strict: bool,
        /// The policy.
        file: PathBuf,
    },
    /// Run policy suites.
    Test {
        /// Write a JUnit XML report to PATH as well.
        #[arg(long, value_name = "PATH")]
        junit: Option<PathBuf>,
        /// Suites, and folders of suites.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Say what a policy decides of a request, and why.
    Explain {
        /// The policy; by default the one in the server's home.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// A file with `request` in it, and `at` for another time than now, as in a suite; or the id of a
        /// request in the audit log.
        request: String,
    },
    /// Decide the requests in the audit log by another policy, and show what would differ.
    Simulate {
        /// The policy.
        file: PathBuf,
        /// Compare requests from this time on: 2026-03-09T17:00:00Z, 2026-03-09 for when that day begins, or
        /// 7d for seven days ago.
        #[arg(long, value_name = "TIME")]
        since: Moment,
    },
    /// Print the JSON Schema of policy files, for editors.
    Schema,
}
