//! What every command needs to know of this machine and this user.

use std::{
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_backup::archive::Contents;
use ostrakon_types::{Digest, UnixMillis};

use crate::error::{Failure, code};

/// The home of this user's server, as `keyserver` has it by default.
fn default_home() -> Result<PathBuf, Failure> {
    let data = match env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()) {
        Some(data) => Some(PathBuf::from(data)),
        None => env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")),
    };
    let data = data.ok_or_else(|| {
        Failure::new(code::USAGE, "there is no home folder").hint("name one with `--confdir DIR`")
    })?;
    Ok(data.join("ostrakon-keyserver"))
}

/// The folder that is backed up or restored.
pub(crate) fn confdir(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let folder = named.map_or_else(default_home, Ok)?;
    std::path::absolute(&folder).map_err(Failure::file(&folder))
}

/// The folder in which archives are.
pub(crate) fn output(named: Option<PathBuf>, confdir: &Path) -> PathBuf {
    named.unwrap_or_else(|| match confdir.parent() {
        Some(parent) => parent.join("ostrakon-backups"),
        None => PathBuf::from("ostrakon-backups"),
    })
}

/// What a folder is the home of.
pub(crate) fn contents(folder: &Path) -> Result<Contents, Failure> {
    if !folder.is_dir() {
        let said = format!("there is no folder `{}`", folder.display());
        return Err(Failure::new(code::SOURCE, said).hint("`--confdir` says what to back up"));
    }
    let has = |name: &str| {
        let path = folder.join(name);
        path.try_exists().map_err(Failure::file(&path))
    };
    if has("instance.key")? {
        return Ok(Contents::Keyserver);
    }
    for name in ["keyserver.db", "database.uri", "keyserver.lock"] {
        if has(name)? {
            let said = format!(
                "`{}` is the home of a server, without its key file `instance.key`",
                folder.display()
            );
            return Err(Failure::new(code::SOURCE, said)
                .hint("put the file back: without it nothing of the server can be read"));
        }
    }
    Ok(if has("device.key")? {
        Contents::Device
    } else {
        Contents::Folder
    })
}

/// This machine's name.
pub(crate) fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// A moment in local time, as names of archives have it.
pub(crate) fn stamp(at: UnixMillis) -> String {
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
    let at = at.to_zoned(TimeZone::system());
    at.strftime("%Y-%m-%d_%H-%M-%S").to_string()
}

/// The same for people.
pub(crate) fn shown(at: UnixMillis) -> String {
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
    let at = at.to_zoned(TimeZone::system());
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The SHA-256 and the length of a file.
pub(crate) fn digest(path: &Path) -> Result<(Digest, u64), Failure> {
    let read = || {
        let mut hash = <sha2::Sha256 as sha2::Digest>::new();
        let mut file = fs::File::open(path)?;
        let mut buffer = vec![0; 1 << 18];
        let mut length = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                let hash = sha2::Digest::finalize(hash);
                return Ok((Digest::from_bytes(hash.into()), length));
            }
            sha2::Digest::update(&mut hash, buffer.get(..count).unwrap_or_default());
            length += count as u64;
        }
    };
    read().map_err(Failure::file(path))
}

/// How many bytes it is, for people.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
