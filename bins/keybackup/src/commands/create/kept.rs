//! What is backed up, and how it is written.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use ostrakon_backup::{
    INSTANCE_KEY, SERVER_FILES,
    archive::{Author, Contents, FORMAT, Header, Writer, draw_id},
};
use ostrakon_client::backup::Signer;
use ostrakon_server::{Home, Place, backup::Source};
use ostrakon_types::{Digest, UnixMillis};
use tokio::runtime::Handle;

use crate::{
    aside,
    error::{Failure, code},
    pipe::Tee,
};

/// What is backed up, opened.
pub(super) enum Kept {
    Keyserver(Box<Source>),
    Device(Signer),
    Folder,
}

impl Kept {
    pub(super) async fn open(
        confdir: &Path,
        contents: Contents,
        port: Option<u16>,
    ) -> Result<Self, Failure> {
        Ok(match contents {
            Contents::Keyserver => {
                let home = Home::new(confdir);
                let place = match port {
                    Some(port) => Some(at_port(&home, port)?),
                    None => None,
                };
                Self::Keyserver(Box::new(Source::open(&home, place).await?))
            }
            Contents::Device => {
                let signer = Signer::open(confdir);
                Self::Device(signer.map_err(|error| Failure::of(code::SOURCE, &error))?)
            }
            Contents::Folder => Self::Folder,
        })
    }

    pub(super) fn header(&self, host: &str, now: UnixMillis) -> Result<Header, Failure> {
        let id = draw_id();
        let (contents, author) = match self {
            Self::Keyserver(source) => {
                let card = source.card().to_bytes();
                (Contents::Keyserver, Author::keyserver(&card))
            }
            Self::Device(signer) => {
                let card = signer.card().clone();
                (Contents::Device, Author::Device { card })
            }
            Self::Folder => (Contents::Folder, Author::Nobody),
        };
        let of_server = |told: fn(&Source) -> String| match self {
            Self::Keyserver(source) => Some(told(source)),
            _ => None,
        };
        Ok(Header {
            format: FORMAT,
            archive: id.map_err(|error| Failure::of(code::FAILED, &error))?,
            contents,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            host: host.to_owned(),
            created_at: now,
            author,
            database: of_server(|source| source.database().to_owned()),
            instance: of_server(|source| source.instance().to_string()),
        })
    }
}

/// The home's shared database, at another port.
fn at_port(home: &Home, port: u16) -> Result<Place, Failure> {
    match home.place() {
        Ok(Place::Shared(uri)) => Ok(Place::Shared(Box::new(uri.with_port(port)))),
        Ok(Place::File(_)) => Err(Failure::new(
            code::USAGE,
            "the server's database is a file, and has no port",
        )
        .hint("leave `--database-port` out")),
        Err(error) => Err(Failure::of(code::SOURCE, &error)),
    }
}

/// Writes what is kept as an archive.
pub(super) fn produce(
    kept: &Kept,
    confdir: &Path,
    header: &Header,
    with_key: bool,
    out: BufWriter<Tee>,
    runtime: &Handle,
    bar: &Bar,
) -> Result<(), Failure> {
    let disk =
        |error: io::Error| Failure::new(code::DISK, format!("cannot write the archive: {error}"));
    let mut writer = Writer::begin(out, header).map_err(disk)?;
    let add = |name: &str, path: &Path, writer: &mut Writer<_>| {
        let mut file = File::open(path).map_err(Failure::file(path))?;
        let mode = file.metadata().map_err(Failure::file(path))?;
        let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
        bar.0.inc(1);
        writer.file(name, mode, &mut file).map_err(disk)
    };
    let sign_server;
    let sign_device;
    let sign: Option<&dyn Fn(Digest) -> _> = match kept {
        Kept::Keyserver(source) => {
            for (name, path) in source.files(&SERVER_FILES) {
                if with_key || name != INSTANCE_KEY {
                    add(name, &path, &mut writer)?;
                }
            }
            let mut dump = runtime.block_on(source.dump())?;
            while let Some(part) = runtime
                .block_on(dump.next())
                .map_err(|error| Failure::of(code::SOURCE, &error))?
            {
                writer
                    .part(part.table, part.rows, &part.bytes)
                    .map_err(disk)?;
                bar.0.inc(part.rows);
            }
            sign_server = |manifest| source.sign(manifest);
            Some(&sign_server)
        }
        Kept::Device(signer) => {
            for name in ostrakon_client::backup::FILES {
                let path = confdir.join(name);
                if path.exists() {
                    add(name, &path, &mut writer)?;
                }
            }
            sign_device = |manifest| signer.sign(manifest);
            Some(&sign_device)
        }
        Kept::Folder => {
            for (name, path) in files(confdir)? {
                add(&name, &path, &mut writer)?;
            }
            None
        }
    };
    let (mut out, _) = writer.finish(sign).map_err(disk)?;
    out.flush().map_err(disk)
}

/// The plain files below a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.map_err(|error| Failure::of(code::SOURCE, &error))?;
        let path = entry.path();
        let Ok(below) = path.strip_prefix(folder) else {
            continue;
        };
        if entry.file_type().is_dir() {
            continue;
        }
        let Some(name) = below.to_str() else {
            let said = format!("the name of `{}` is no text", path.display());
            return Err(Failure::new(code::SOURCE, said));
        };
        if entry.file_type().is_file() {
            files.push((name.to_owned(), path.to_owned()));
        } else {
            aside(&format!(
                "warning: `{name}` is no plain file, and is left out"
            ));
        }
    }
    files.sort();
    Ok(files)
}

/// Shows on a terminal how far it has come.
#[derive(Clone)]
pub(super) struct Bar(pub(super) ProgressBar);

impl Bar {
    pub(super) fn new(quiet: bool) -> Self {
        if quiet || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {pos} rows and files {per_sec} {elapsed}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        Self(bar)
    }
}
