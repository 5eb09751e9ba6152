//! Decrypting files and folders, many files to one request.
//!
//! Files are taken in batches. Of each file of a batch the header is read, this device's share opened
//! and the output begun, so that nobody is charged for what cannot be read or written anyway; then the
//! server is asked for all of them at once; then those that it releases are decrypted. The files stay
//! open from the first step to the last, so what is decrypted is what was asked for.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ostrakon_shards::random::{self, RandomError};
use ostrakon_transport::message::{Item, ItemAnswer, ReleaseKind, RequestBody};

use crate::{
    ask::{AskError, Expect, Link},
    background,
    claims::Claims,
    encrypt::make_parent,
    file::{self, EXTENSION, FileError, Locked, Output, Unlock},
    report::{Event, Outcome, Progress, Summary},
    walk::{self, Found, Source, walk},
    workstation::{Member, Workstation},
};

/// Files in one request. Each takes two open files while the request is under way.
const BATCH: usize = 64;

/// How to decrypt.
#[derive(Clone, Default)]
pub struct DecryptOptions {
    /// Where to write; beside the encrypted files when there is none.
    pub output: Option<PathBuf>,
    /// Whether what exists is replaced.
    pub overwrite: bool,
}

/// Why decrypting stopped before all files were tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// There is no profile.
    #[error("there is no profile")]
    NoProfile,
    /// The key shard server could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Workstation {
    /// Decrypts what is at and below `paths`, and tells `progress`.
    ///
    /// A file that is denied, or cannot be decrypted, does not stop the rest.
    ///
    /// # Errors
    /// When there is no profile, or the server cannot be asked. What was reported until then stays.
    pub async fn decrypt<P: AsRef<Path>>(
        &self,
        paths: &[P],
        options: &DecryptOptions,
        progress: &mut dyn Progress,
    ) -> Result<Summary, DecryptError> {
        let member = self.member().ok_or(DecryptError::NoProfile)?;
        let link = match &member.keyserver {
            Some(keyserver) => {
                let urls = self.config.urls_or(&member.urls);
                Some(Link::new(&self.config, urls, keyserver.clone())?.keeping(&member.kept))
            }
            None => None,
        };
        let job = Arc::new(Job {
            member: member.clone(),
            options: options.clone(),
            claims: Mutex::default(),
        });
        let mut summary = Summary::default();
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.as_ref().to_owned()).collect();
        let mut found: FoundFiles = Box::new(paths.into_iter().flat_map(|path| walk(&path)));
        loop {
            let worker = Arc::clone(&job);
            let work = move |tell: &mut dyn FnMut(Event)| worker.prepare(found, tell);
            let (rest, batch) = background::run_telling(&mut summary, progress, work).await;
            found = rest;
            if batch.is_empty() {
                return Ok(summary);
            }
            let link = link.as_ref().ok_or(AskError::NoUrl)?;
            let answers = self.ask_for(link, member, &batch).await?;
            let worker = Arc::clone(&job);
            let work = move |tell: &mut dyn FnMut(Event)| worker.finish(batch, answers, tell);
            background::run_telling(&mut summary, progress, work).await;
        }
    }

    async fn ask_for(
        &self,
        link: &Link,
        member: &Member,
        batch: &[Waiting],
    ) -> Result<Vec<ItemAnswer>, DecryptError> {
        let items = batch.iter().map(|waiting| waiting.item.clone()).collect();
        let now = self.environment.now();
        let id = random::request_id(now)?;
        let body = RequestBody::new(id, now, member.profile.id(), items).map_err(AskError::from)?;
        let expect = if batch.len() < BATCH {
            Expect::Nothing
        } else {
            Expect::More
        };
        let (keys, card) = (&member.keys, &member.device);
        let asked = link.ask(keys, card, body, expect, &self.environment);
        Ok(asked.await?)
    }
}

type FoundFiles = Box<dyn Iterator<Item = Found> + Send>;

/// What all files of a run have in common.
struct Job {
    member: Member,
    options: DecryptOptions,
    claims: Mutex<Claims>,
}

/// A file that waits for the server's share.
struct Waiting {
    ready: Ready,
    item: Item,
}

/// A file that can be decrypted once its key is there.
struct Ready {
    source: Source,
    /// The output, in the terms in which the user named the source.
    shown_target: PathBuf,
    locked: Locked,
    output: Output,
}

impl Job {
    /// Goes on through `found` until a batch waits for the server, or nothing is left.
    fn prepare(
        &self,
        mut found: FoundFiles,
        tell: &mut dyn FnMut(Event),
    ) -> (FoundFiles, Vec<Waiting>) {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some(next) = found.next() else { break };
            let source = match next {
                Found::File(source) if is_encrypted(&source) || source.named => source,
                // Below a folder, other files and links are none of this command's business.
                Found::File(_) | Found::Skipped(..) => continue,
                Found::Failed(path, error) => {
                    tell(Event::report(path, Outcome::Failed(error)));
                    continue;
                }
            };
            let shown = source.shown.clone();
            let outcome = match self.open(source) {
                Ok((ready, Unlock::Ask(context, sealed))) => {
                    let kind = ReleaseKind::Decrypt;
                    let item = Item::Release {
                        kind,
                        context,
                        sealed,
                    };
                    batch.push(Waiting { ready, item });
                    continue;
                }
                Ok((ready, Unlock::Own)) => ready.write(None, tell),
                Err(error) => Err(error),
            };
            tell(Event::report(
                shown,
                outcome.unwrap_or_else(Outcome::Failed),
            ));
        }
        (found, batch)
    }

    fn open(&self, source: Source) -> Result<(Ready, Unlock), FileError> {
        let stem = source.real.file_stem().unwrap_or_default();
        if !is_encrypted(&source) || stem == "." || stem == ".." {
            return Err(FileError::NoExtension);
        }
        let [target, shown_target] = match &self.options.output {
            Some(folder) => [folder.join(&source.within), folder.join(&source.within)],
            None => [source.real.clone(), source.shown.clone()],
        }
        .map(|encrypted| encrypted.with_extension(""));
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if !claims.claim(&target) {
            return Err(FileError::SameOutput);
        }
        drop(claims);
        let member = &self.member;
        let file = walk::open(&source.real)?;
        let locked = Locked::open(file, &member.profile, member.device.id(), &member.keys.kem)?;
        let unlock = locked.unlock()?;
        make_parent(&target, self.options.output.as_deref())?;
        let output = Output::create(&target, self.options.overwrite)?;
        let ready = Ready {
            source,
            shown_target,
            locked,
            output,
        };
        Ok((ready, unlock))
    }

    /// Decrypts what the server released.
    fn finish(&self, batch: Vec<Waiting>, answers: Vec<ItemAnswer>, tell: &mut dyn FnMut(Event)) {
        for (Waiting { ready, .. }, answer) in batch.into_iter().zip(answers) {
            let shown = ready.source.shown.clone();
            let outcome = match answer {
                ItemAnswer::Released(shard) => ready.write(Some(shard), tell),
                ItemAnswer::Denied(denial) => Ok(Outcome::Denied(denial)),
                ItemAnswer::Failed(_) => Err(FileError::ShardMismatch),
                _ => Err(FileError::BadAnswer),
            };
            tell(Event::report(
                shown,
                outcome.unwrap_or_else(Outcome::Failed),
            ));
        }
    }
}

impl Ready {
    fn write(
        self,
        from_server: Option<ostrakon_shards::share::Shard>,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Outcome, FileError> {
        let (file, key) = self.locked.key(from_server)?;
        tell(Event::Began(
            file.metadata().map_err(FileError::Read)?.len(),
        ));
        let mut advanced = |bytes| tell(Event::Advanced(bytes));
        let bytes = file::decrypt(&file, self.output.file(), &key, &mut advanced)?;
        self.output.keep()?;
        Ok(Outcome::Done {
            output: self.shown_target,
            bytes,
        })
    }
}

fn is_encrypted(source: &Source) -> bool {
    source
        .real
        .extension()
        .is_some_and(|extension| extension == EXTENSION)
}
