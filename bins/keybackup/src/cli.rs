//! What may be typed. Nothing is done here.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ostrakon_server::quota::ProfileName;
use ostrakon_types::{KssId, LocationId};

/// Backups of a key shard server and of its clients, proven to restore.
///
/// Without a command, it makes one: `keybackup --gpg-recipient 'John Doe' --output /var/backups --roll 10`.
#[derive(Debug, Parser)]
#[command(
    name = "keybackup",
    version,
    propagate_version = true,
    args_conflicts_with_subcommands = true,
    infer_long_args = false
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) create: CreateArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an archive, and prove that it restores. This is done when no command is named.
    Create(CreateArgs),
    /// Read every byte of an archive, and check all that its maker signed.
    Verify(VerifyArgs),
    /// Make an archive a server, a device's home or a folder again.
    Restore(Box<RestoreArgs>),
    /// Restore an archive into a throw-away server, start it, and open a shard with it.
    Drill(DrillArgs),
    /// List the archives of a folder, and which of them are proven to restore.
    List(ListArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// The home of a key shard server, the home of a device, or any other folder. By default the server's
    /// home of this user.
    #[arg(short = 'c', long, env = "OSTRAKON_HOME", value_name = "DIR")]
    pub(crate) confdir: Option<PathBuf>,
    /// The port of the shared database, where it is another than the home says.
    #[arg(long, value_name = "PORT")]
    pub(crate) database_port: Option<u16>,
    /// Encrypt to this OpenPGP key, which `gpg` has in its keyring: a name, an e-mail address or a
    /// fingerprint, or a path with a `/` of a file with the key. May be repeated.
    #[arg(long, value_name = "ID")]
    pub(crate) gpg_recipient: Vec<String>,
    /// Encrypt to this age recipient: `age1…`, or the path of a file with one a line. May be repeated.
    #[arg(long, value_name = "ID", conflicts_with = "gpg_recipient")]
    pub(crate) age_recipient: Vec<String>,
    /// Do not encrypt. The archive of a server is then without the instance's key file, and of no use
    /// without that.
    #[arg(long, conflicts_with_all = ["gpg_recipient", "age_recipient"])]
    pub(crate) cleartext: bool,
    /// Where the archive goes. By default the folder `ostrakon-backups` beside the home.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Keep this many archives, the new one counted, and remove older ones that were made here, once the
    /// new one is verified. The newest that is proven to restore always stays.
    #[arg(long, value_name = "N")]
    pub(crate) roll: Option<NonZeroUsize>,
    /// Do not restore the archive to see that it can be.
    #[arg(long)]
    pub(crate) no_drill: bool,
    /// Write what happened for Prometheus' textfile collector.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
    /// Print the path of the archive alone.
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Tell what is done.
    #[arg(long)]
    pub(crate) verbose: bool,
}

/// How an archive is opened.
#[derive(Clone, Debug, Args)]
pub(crate) struct OpenArgs {
    /// A file with an age identity, where the archive is encrypted to one. May be repeated. OpenPGP
    /// archives are opened by `gpg`.
    #[arg(long, value_name = "FILE")]
    pub(crate) age_identity: Vec<PathBuf>,
    /// The instance's key file, `instance.key`, where the archive is without one.
    #[arg(long, value_name = "FILE")]
    pub(crate) instance_key: Option<PathBuf>,
    /// The server of which it must be.
    #[arg(long, value_name = "ID")]
    pub(crate) kss_id: Option<KssId>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The archive.
    pub(crate) archive: PathBuf,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DrillArgs {
    /// The archive.
    pub(crate) archive: PathBuf,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// Write what happened for Prometheus' textfile collector.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The archive.
    pub(crate) archive: PathBuf,
    /// What it becomes: a folder that is empty, or not there. By default the server's home of this user.
    #[arg(short = 'c', long, env = "OSTRAKON_HOME", value_name = "DIR")]
    pub(crate) confdir: Option<PathBuf>,
    /// The database that it becomes, as for `keyserver create --db-uri`, or `sqlite:` for a file in the home,
    /// which is the default for a server that had one.
    #[arg(long, value_name = "URI")]
    pub(crate) db_uri: Option<String>,
    /// Put it in place of what is there. The old folder stays under another name; what the database had is lost.
    #[arg(long)]
    pub(crate) force: bool,
    /// Take this profile alone, by its id or its first words, to the server that is in the folder.
    #[arg(long, value_name = "PROFILE", conflicts_with_all = ["force", "db_uri"])]
    pub(crate) profile: Option<ProfileName>,
    /// Take this secure folder of the profile alone.
    #[arg(long, value_name = "ID", requires = "profile")]
    pub(crate) folder: Option<LocationId>,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// The folder. By default `ostrakon-backups` beside the home of this user's server.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// The form of the list.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// The form of what is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    Human,
    /// JSON for programs.
    Json,
}
