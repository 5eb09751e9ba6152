//! The command line, declared.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint, value_parser};
use clap_complete::Shell;
use ostrakon_client::{
    BaseUrl, Suite,
    people::{DigestPrefix, Name},
};
use ostrakon_types::{DeviceId, KssId, ProfileId};

/// Files whose keys are split among your devices and a key shard server.
#[derive(Parser)]
#[command(name = "ostrakon", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args)]
pub(crate) struct Global {
    /// The folder of this workstation's keys and state
    /// (default: $XDG_DATA_HOME/ostrakon, ~/.local/share/ostrakon).
    #[arg(long, global = true, env = "OSTRAKON_HOME", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
    /// The user's configuration
    /// (default: $XDG_CONFIG_HOME/ostrakon/ostrakon.toml, ~/.config/ostrakon/ostrakon.toml).
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// How results are written to standard output.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// A form of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs: one JSON object a line.
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make and show this workstation's profile.
    Profile {
        #[command(subcommand)]
        command: ProfileCommand,
    },
    /// Add, link, list and remove the profile's devices.
    Device {
        #[command(subcommand)]
        command: DeviceCommand,
    },
    /// See and answer what waits for this device's approval.
    Approvals {
        #[command(subcommand)]
        command: ApprovalsCommand,
    },
    /// Make and show secure folders.
    Folder {
        #[command(subcommand)]
        command: FolderCommand,
    },
    /// Encrypt files and whole folders within secure folders.
    Encrypt(EncryptArguments),
    /// Decrypt files and whole folders, as far as the key shard server's policy allows.
    Decrypt(DecryptArguments),
    /// Ask a key shard server for as many shares as it gives, and tell how fast it was.
    Bench(BenchArguments),
    /// Write a shell's completions to standard output.
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write man pages.
    #[command(hide = true)]
    Man {
        /// The folder to write them to.
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        output: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum ProfileCommand {
    /// Make a profile of this workstation alone.
    Create {
        /// What it is called (default: username@hostname).
        #[arg(long)]
        name: Option<String>,
    },
    /// Show the profile and its devices.
    Show,
    /// Set how many of the profile's devices it takes.
    Threshold {
        /// How many.
        needed: u8,
        #[command(flatten)]
        wait: WaitArguments,
    },
    /// Write the profile's public card, by which others can verify it.
    ExportCard {
        /// The file to write; it must not exist (default: standard output).
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// Come back into a profile on a new machine, with the devices that are left of it.
    Recovery {
        #[command(subcommand)]
        command: RecoveryCommand,
    },
    /// Make a profile of this workstation and a key shard server.
    KeyserverOnboard {
        /// The server's id, as `keyserver status` shows it.
        #[arg(long, value_name = "ID")]
        keyserver_id: KssId,
        /// Where the server is; may be given several times, and is tried in that order
        /// (default: the configuration's).
        #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
        keyserver_url: Vec<BaseUrl>,
    },
}

/// The steps of a recovery, after `ostrakon device add` in a home without a profile.
#[derive(Subcommand)]
pub(crate) enum RecoveryCommand {
    /// Load the profile that a device has shown.
    LoadProfiles {
        /// The device, as `ostrakon device add` showed it.
        #[arg(long, value_name = "ID")]
        device: DeviceId,
    },
    /// List the profiles that were loaded.
    ListProfiles,
    /// Select the profile to come back into.
    SelectProfile {
        /// The profile, as `list-profiles` shows it.
        #[arg(long, value_name = "ID")]
        profile: ProfileId,
    },
    /// Prepare the profile's next version, in which this machine is.
    StageNewDevice {
        /// A device that came here, and will approve.
        #[arg(long, value_name = "ID")]
        device: DeviceId,
        /// A lost device, which is not in that version any more. May be given several times.
        #[arg(long, value_name = "ID")]
        replaces: Vec<DeviceId>,
    },
    /// Have the profile's devices approve that version.
    Finalize {
        /// How many devices it takes from then on (default: as many as before).
        #[arg(long, value_name = "M")]
        threshold: Option<u8>,
        #[command(flatten)]
        wait: WaitArguments,
    },
}

/// Where and how long to wait for other devices.
#[derive(Args)]
pub(crate) struct WaitArguments {
    /// Where to wait for other devices: an address of this machine that they can reach, and a port
    /// (default: the one of the last time, else this machine's in its network, port 7421).
    #[arg(long, value_name = "IP:PORT", env = "OSTRAKON_WAIT_AT")]
    pub(crate) listen: Option<SocketAddr>,
    /// How many seconds to wait for them.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) wait: u32,
}

/// How another device learns where to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PairingMethod {
    /// A QR code in the terminal, and its text.
    #[default]
    Qr,
    /// A code to type, and six digits to compare.
    Code,
}

/// As what a device joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum JoinKind {
    /// A device that a person carries.
    #[default]
    Mobile,
    /// A person's computer.
    Workstation,
}

#[derive(Subcommand)]
pub(crate) enum DeviceCommand {
    /// Add a device to the profile: it follows with `ostrakon device join`.
    Add {
        /// What the device is called.
        name: Name,
        /// How it learns where to come.
        #[arg(long, value_enum, default_value_t)]
        method: PairingMethod,
        /// The device is a home with loaded recovery words.
        #[arg(long)]
        recovery: bool,
        /// How many devices it takes from then on (default: as many as before, at least 2).
        #[arg(long, value_name = "M")]
        threshold: Option<u8>,
        #[command(flatten)]
        wait: WaitArguments,
    },
    /// Show a device of the profile anew where this one waits, and how the profile is now.
    Link {
        /// The device, as `ostrakon device list` shows it.
        id: DeviceId,
        /// How it learns where to come.
        #[arg(long, value_enum, default_value_t)]
        method: PairingMethod,
        #[command(flatten)]
        wait: WaitArguments,
    },
    /// Join a profile, or be linked: the other side of `device add` and `device link`.
    Join {
        /// The code, or the text of the QR code; `-` reads it from standard input.
        #[arg(required_unless_present = "image", conflicts_with = "image")]
        invitation: Option<String>,
        /// An image of the QR code.
        #[arg(long, value_name = "PNG", value_hint = ValueHint::FilePath)]
        image: Option<PathBuf>,
        /// As what this device joins.
        #[arg(long, value_enum, default_value_t)]
        kind: JoinKind,
        /// How many seconds to wait for the other side.
        #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
        wait: u32,
    },
    /// List the profile's devices.
    List,
    /// Remove a device from the profile.
    Remove {
        /// The device, as `ostrakon device list` shows it.
        id: DeviceId,
        /// How many devices it takes from then on (default: as many as before, as far as it goes).
        #[arg(long, value_name = "M")]
        threshold: Option<u8>,
        #[command(flatten)]
        wait: WaitArguments,
    },
    /// Add a device that is made of 24 words, and show them, once.
    Words {
        /// Read words from standard input instead, and make this fresh home act as their device.
        #[arg(long, conflicts_with = "threshold")]
        load: bool,
        /// How many devices it takes from then on (default: as many as before, at least 2).
        #[arg(long, value_name = "M")]
        threshold: Option<u8>,
        #[command(flatten)]
        wait: WaitArguments,
    },
}

/// Where else to look for what waits.
#[derive(Args)]
pub(crate) struct RelayArguments {
    /// Where a command waits for approvals, as it shows; instead of the places that this device knows. May
    /// be given several times.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) relay: Vec<BaseUrl>,
}

#[derive(Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List what waits for this device.
    List {
        #[command(flatten)]
        relays: RelayArguments,
    },
    /// Show all that is asked.
    Show {
        /// Its id, or the beginning of it.
        id: String,
        #[command(flatten)]
        relays: RelayArguments,
    },
    /// Approve it.
    Approve {
        /// Its id, or the beginning of it.
        id: String,
        /// The eight words that the asking machine shows, where nobody knows it.
        #[arg(long, value_name = "WORDS")]
        words: Option<String>,
        /// Use a backup key although this device has approved the making of a newer one.
        #[arg(long)]
        old_backup: bool,
        /// The first digits, eight at least, of the SHA-256 of a policy that you have read, where not all of it
        /// is shown.
        #[arg(long, value_name = "PREFIX")]
        sha256: Option<DigestPrefix>,
        #[command(flatten)]
        relays: RelayArguments,
    },
    /// Deny it, which ends it for all.
    Deny {
        /// Its id, or the beginning of it.
        id: String,
        #[command(flatten)]
        relays: RelayArguments,
    },
    /// Show what waits as it comes, until interrupted.
    Watch {
        #[command(flatten)]
        relays: RelayArguments,
    },
}

#[derive(Subcommand)]
pub(crate) enum FolderCommand {
    /// Make a folder a secure folder.
    Create {
        /// The folder; it is created when it is not there.
        #[arg(value_hint = ValueHint::DirPath)]
        path: PathBuf,
        /// The name with which the paths of its files begin (default: the folder's own).
        #[arg(long)]
        name: Option<String>,
        /// The suite of its files' key shards: `x25519`, or `x-wing` for what must outlive it.
        #[arg(long, default_value_t = Suite::X25519)]
        suite: Suite,
    },
    /// List the secure folders.
    List,
    /// Show one secure folder.
    Show {
        /// Its name, or its path.
        folder: String,
    },
}

#[derive(Args)]
pub(crate) struct EncryptArguments {
    /// The files and folders.
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Write to this folder instead of beside the originals.
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace what exists.
    #[arg(long)]
    pub(crate) force: bool,
    /// Remove each original once its encrypted form is safely stored.
    #[arg(long)]
    pub(crate) remove: bool,
}

#[derive(Args)]
pub(crate) struct DecryptArguments {
    /// The files, and the folders whose `.age` files are meant.
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Write to this folder instead of beside the encrypted files.
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace what exists.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct BenchArguments {
    /// The server, at which a profile is registered that nobody keeps
    /// (default: this workstation's profile and its server, against its quotas).
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) server: Option<BaseUrl>,
    /// Requests under way at once, each on a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..=4096))]
    pub(crate) connections: u16,
    /// For how many seconds requests are counted.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Seconds for which requests are sent before they are counted.
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = value_parser!(u64).range(0..=600))]
    pub(crate) warm_up: u64,
    /// Files in each request.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = value_parser!(u16).range(1..=256))]
    pub(crate) batch: u16,
    /// The suite of shares and envelopes: `x25519`, or `x-wing`.
    #[arg(long, default_value_t = Suite::X25519)]
    pub(crate) suite: Suite,
    /// Give every request an envelope of its own instead of a session for all.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// What the paths of the files begin with, for the policy to judge.
    #[arg(long, value_name = "PREFIX", default_value = "Bench/file-")]
    pub(crate) path: String,
    /// Ask a server on another machine. It is a lot of load, all of it on record.
    #[arg(long)]
    pub(crate) allow_remote: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declarations_are_consistent() {
        Cli::command().debug_assert();
    }
}
