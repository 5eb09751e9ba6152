mod kept;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read},
    path::Path,
    thread::{self, JoinHandle},
};

use ostrakon_backup::{
    INSTANCE_KEY, Recipients, RestoreError, Restored,
    archive::{Contents, Hashed, Header, Verified, Visitor, Voucher, read},
    catalogue::{Catalogue, Entry},
};
use ostrakon_server::{Clock, backup::Rows};
use ostrakon_types::{Digest, UnixMillis};
use tokio::runtime::Handle;

use self::kept::{Bar, Kept, produce};
use super::{
    drill::{blocking, prove, restorer, scratch, take},
    metrics,
};
use crate::{
    aside,
    cli::CreateArgs,
    context,
    error::{Failure, code},
    pipe::{Tap, tee},
    print,
};

/// Makes an archive.
pub(crate) async fn run(args: CreateArgs) -> Result<(), Failure> {
    let now = Clock::system().now();
    let say = |text: &str| {
        if !args.quiet {
            aside(text);
        }
    };
    let recipients = recipients(&args, now)?;
    let confdir = context::confdir(args.confdir.clone())?;
    let contents = context::contents(&confdir)?;
    warn(&args, contents, &say)?;
    for recipient in recipients.iter().flat_map(Recipients::described) {
        say(&format!("encrypting to {recipient}"));
    }
    let kept = Kept::open(&confdir, contents, args.database_port).await?;
    let output = context::output(args.output.clone(), &confdir);
    if contents == Contents::Folder && is_within(&output, &confdir) {
        return Err(Failure::new(
            code::USAGE,
            "the archive would be in the folder that it is a backup of",
        )
        .hint("name another folder: `--output DIR`"));
    }
    let host = context::host();
    let mut catalogue = Catalogue::open(&output, &host)?;
    let name = catalogue.name(
        &context::stamp(now),
        recipients.as_ref().map(Recipients::extension),
    );
    if args.verbose {
        aside(&format!("writing {}", catalogue.part(&name).display()));
    }
    let header = kept.header(&host, now)?;
    let file = catalogue.begin(&name)?;
    let made = make(&args, kept, &confdir, header.clone(), recipients, file).await;
    let made = match made {
        Ok(made) => made,
        Err(failure) => {
            let _ = fs::remove_file(catalogue.part(&name));
            return Err(failure);
        }
    };
    // What the disk gives back is what was written.
    let (sha256, size) = context::digest(&catalogue.part(&name))?;
    if (sha256, size) != (made.sha256, made.size) {
        let _ = fs::remove_file(catalogue.part(&name));
        return Err(Failure::new(
            code::DISK,
            "what the disk gives back is not what was written to it",
        ));
    }
    let entry = Entry {
        file: name,
        archive: header.archive.clone(),
        contents,
        of: made.voucher.to_string(),
        source: confdir.display().to_string(),
        created_at: now,
        size,
        sha256,
        recipients: made.recipients,
        proven_at: made.proof.is_ok().then(|| Clock::system().now()),
    };
    let path = catalogue.add(entry.clone())?;
    print(&path.display().to_string())?;
    // One that may not restore takes no other's place.
    if let Some(count) = args.roll
        && (made.proof.is_ok() || args.no_drill)
    {
        let rolled = catalogue.roll(&entry, count.get())?;
        for file in rolled.removed {
            say(&format!("removed {file}"));
        }
        if let Some(file) = rolled.spared {
            say(&format!(
                "{file} stays, too: none of the newer archives is proven to restore"
            ));
        }
    }
    if let Some(file) = &args.metrics_file {
        metrics::made(file, &entry)?;
    }
    match made.proof {
        Ok(proof) => {
            say(&format!("{}. {proof}", context::size(size)));
            if args.cleartext && contents == Contents::Keyserver {
                say("That took the instance's key file, which is not in the archive");
            }
        }
        Err(_) if args.no_drill => say("It was not restored to see that it can be: `--no-drill`"),
        Err(failure) => {
            // The archive is there, and may be good: but nobody knows.
            return Err(Failure::new(
                code::NOT_PROVEN,
                format!("the archive was made, and is not proven to restore: {failure}"),
            )
            .hint("`keybackup drill ARCHIVE` tries it again"));
        }
    }
    Ok(())
}

/// Whether a path, which may not be there yet, leads into a folder.
fn is_within(path: &Path, folder: &Path) -> bool {
    let absolute = std::path::absolute(path);
    let known = absolute.iter().flat_map(|path| path.ancestors());
    let found = known.filter_map(|path| path.canonicalize().ok()).next();
    found.is_some_and(|found| {
        folder
            .canonicalize()
            .is_ok_and(|folder| found.starts_with(folder))
    })
}

fn recipients(args: &CreateArgs, now: UnixMillis) -> Result<Option<Recipients>, Failure> {
    if !args.gpg_recipient.is_empty() {
        return Ok(Some(Recipients::open_pgp(&args.gpg_recipient, now)?));
    }
    if !args.age_recipient.is_empty() {
        return Ok(Some(Recipients::age(&args.age_recipient)?));
    }
    if args.cleartext {
        return Ok(None);
    }
    Err(Failure::new(
        code::RECIPIENT,
        "nobody is named to whom the archive is encrypted",
    )
    .hint("name somebody: `--gpg-recipient ID` or `--age-recipient ID`; or say `--cleartext`"))
}

fn warn(args: &CreateArgs, contents: Contents, say: &impl Fn(&str)) -> Result<(), Failure> {
    match contents {
        _ if !args.cleartext => {}
        Contents::Keyserver => {
            say(
                "warning: not encrypted. The instance's key file is left out, and restoring needs it:",
            );
            say("         keep a copy of `instance.key` in another place");
        }
        Contents::Device => {
            return Err(Failure::new(
                code::RECIPIENT,
                "a device's home holds its private keys, and is not backed up in clear",
            )
            .hint("name somebody: `--gpg-recipient ID` or `--age-recipient ID`"));
        }
        Contents::Folder => {
            say("warning: not encrypted. Whoever reads the archive reads the folder")
        }
    }
    Ok(())
}

/// An archive that was made, and what is known of it.
struct Made {
    voucher: Voucher,
    sha256: Digest,
    size: u64,
    recipients: Vec<String>,
    proof: Result<String, Failure>,
}

/// Writes the archive, and restores it while it is written.
async fn make(
    args: &CreateArgs,
    kept: Kept,
    confdir: &Path,
    header: Header,
    recipients: Option<Recipients>,
    file: File,
) -> Result<Made, Failure> {
    let described = recipients.iter().flat_map(Recipients::described).collect();
    let bar = Bar::new(args.quiet);
    // Not where the archives are: what is restored is not encrypted.
    let scratch = match header.contents {
        Contents::Folder => scratch(&std::env::temp_dir())?,
        _ => scratch(confdir)?,
    };
    let (out, encrypting, checking) = tee(true);
    let encrypting = thread::spawn(move || encrypt(recipients, encrypting, file));
    let key = confdir.join(INSTANCE_KEY);
    let key = (header.contents == Contents::Keyserver && args.cleartext).then_some(key);
    let restorer = match args.no_drill {
        true => None,
        false => Some(restorer(&scratch.path().join("home"))?.with_key(key)),
    };
    let checking: JoinHandle<Result<(Verified, Option<Restored>), Failure>> =
        thread::spawn(move || {
            let mut plain =
                checking.ok_or_else(|| Failure::new(code::FAILED, "nothing to read"))?;
            match restorer {
                None => Ok((read(&mut plain, &mut Past)?, None)),
                Some(restorer) => {
                    let (verified, restorer) = take(&mut plain, restorer)?;
                    let restored = restorer.finish(&verified)?;
                    Ok((verified, Some(restored)))
                }
            }
        });
    let runtime = Handle::current();
    let (with_key, folder) = (!args.cleartext, confdir.to_owned());
    let shown = bar.clone();
    let produced = blocking(move || {
        let out = BufWriter::with_capacity(1 << 16, out);
        let produced = produce(&kept, &folder, &header, with_key, out, &runtime, &shown);
        if let Kept::Keyserver(source) = kept {
            runtime.block_on(source.close());
        }
        produced
    })
    .await;
    let encrypted = blocking(move || join(encrypting)).await;
    let checked = blocking(move || join(checking)).await;
    bar.0.finish_and_clear();
    // The one that failed first made the others fail.
    let (sha256, size) = match (produced, encrypted) {
        (Ok(()), encrypted) => encrypted?,
        (Err(_), Err(failure)) => return Err(failure),
        (Err(failure), Ok(_)) => return Err(failure),
    };
    let (verified, restored) = checked.map_err(|failure| {
        Failure::new(
            code::NOT_PROVEN,
            format!("the archive cannot be restored, and is not kept: {failure}"),
        )
    })?;
    let proof = match &restored {
        None => Err(Failure::new(code::NOT_PROVEN, "not asked for")),
        Some(restored) => prove(&verified, restored, scratch.path()).await,
    };
    let closed = scratch.close();
    closed.map_err(Failure::file(confdir))?;
    Ok(Made {
        voucher: verified.voucher,
        sha256,
        size,
        recipients: described,
        proof,
    })
}

/// Reads an archive for what was signed alone.
struct Past;

impl Visitor for Past {
    type Error = RestoreError;

    fn header(&mut self, _: &Header, _: Voucher) -> Result<(), RestoreError> {
        Ok(())
    }

    fn file(&mut self, _: &str, _: u32, _: &mut dyn Read) -> Result<(), RestoreError> {
        Ok(())
    }

    fn rows(&mut self, _: Rows) -> Result<(), RestoreError> {
        Ok(())
    }
}

fn join<T>(thread: JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    let ended = thread.join();
    ended.unwrap_or_else(|_| Err(Failure::new(code::FAILED, "a part of the program failed")))
}

/// Encrypts what comes from the tap to the archive's file.
fn encrypt(
    recipients: Option<Recipients>,
    mut plain: Tap,
    file: File,
) -> Result<(Digest, u64), Failure> {
    let failed =
        |error: io::Error| Failure::new(code::DISK, format!("cannot write the archive: {error}"));
    let mut out = BufWriter::with_capacity(1 << 18, Hashed::new(file));
    match recipients {
        Some(recipients) => recipients.encrypt(&mut plain, &mut out)?,
        None => io::copy(&mut plain, &mut out).map(drop).map_err(failed)?,
    }
    // A part that was not read is one that could not be encrypted.
    let rest = plain.read(&mut [0]).map_err(failed)?;
    if rest != 0 {
        return Err(Failure::new(
            code::FAILED,
            "the archive was not encrypted to its end",
        ));
    }
    let out = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    out.get_ref().sync_all().map_err(failed)?;
    Ok((out.digest(), out.length()))
}
