//! Sees that a restored server opens a shard: a new user onboards with it, encrypts a file and decrypts it.

use std::{fs, path::Path};

use ostrakon_client::{
    Config, ConfigFile, DecryptOptions, EncryptOptions, Environment, Outcome, Report, Suite,
    Workstation,
};
use ostrakon_server::{Clock, Home, backup};
use ostrakon_types::{ErrorChain, KssId, UnixMillis};
use tokio::sync::oneshot;

use crate::error::{Failure, code};

/// What the file says.
const CANARY: &[u8] = b"a key shard server that was restored opens this\n";

/// Starts the server that was restored to `folder`, which nobody else uses, and opens a shard with it. `scratch`
/// is for the user's files.
pub(crate) async fn sing(folder: &Path, scratch: &Path, kss_id: KssId) -> Result<(), Failure> {
    let server = backup::throw_away(&Home::new(folder), &Clock::system()).await;
    let (server, path) = server.map_err(|error| failed(&error))?;
    let address = server.address().map_err(|error| failed(&error))?;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    let opened = open_one(scratch, kss_id, &format!("http://{address}{path}")).await;
    drop(stop);
    let ended = running.await;
    opened?;
    ended.map_err(|error| failed(&error)).map(drop)
}

async fn open_one(scratch: &Path, kss_id: KssId, url: &str) -> Result<(), Failure> {
    let config = scratch.join("ostrakon.toml");
    let text = format!("keyserver_id = \"{kss_id}\"\nkeyserver_urls = [\"{url}\"]\n");
    let (vault, out) = (scratch.join("vault"), scratch.join("out"));
    let file = vault.join("canary");
    fs::write(&config, text)
        .and_then(|()| fs::create_dir(&vault))
        .and_then(|()| fs::write(&file, CANARY))
        .map_err(Failure::file(scratch))?;
    let config = Config::load(&ConfigFile::Named(config), &ConfigFile::None);
    let environment = Environment {
        clock: now,
        user: "canary".to_owned(),
        host: "drill".to_owned(),
        user_home: scratch.to_owned(),
    };
    let config = config.map_err(|error| failed(&error))?;
    let user = Workstation::open(&scratch.join("user"), config, environment);
    let mut user = user.map_err(|error| failed(&error))?;
    let onboarded = user.onboard_if_configured().await;
    onboarded.map_err(|error| failed(&error))?;
    let made = user.create_folder(&vault, None, Suite::X25519).await;
    made.map_err(|error| failed(&error))?;
    let options = EncryptOptions {
        remove: true,
        ..EncryptOptions::default()
    };
    let mut reports = Vec::new();
    let encrypted = user.encrypt(&[&vault], &options, &mut reports);
    encrypted.map_err(|error| failed(&error))?;
    let options = DecryptOptions {
        output: Some(out.clone()),
        ..DecryptOptions::default()
    };
    let mut reports: Vec<Report> = Vec::new();
    let decrypted = user.decrypt(&[&vault], &options, &mut reports).await;
    decrypted.map_err(|error| failed(&error))?;
    for report in &reports {
        match &report.outcome {
            Outcome::Done { .. } => {}
            Outcome::Failed(error) => return Err(failed(error)),
            _ => return Err(not_proven("it does not open a shard")),
        }
    }
    let mut read = None;
    for entry in walkdir::WalkDir::new(&out)
        .into_iter()
        .filter_map(Result::ok)
    {
        if entry.file_type().is_file() {
            read = fs::read(entry.path()).ok();
        }
    }
    if read.as_deref() == Some(CANARY) {
        Ok(())
    } else {
        Err(not_proven(
            "what the server opened is not what was encrypted",
        ))
    }
}

fn now() -> UnixMillis {
    Clock::system().now()
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    not_proven(&ErrorChain(error).to_string())
}

fn not_proven(why: &str) -> Failure {
    Failure::new(
        code::NOT_PROVEN,
        format!("the restored server does not work: {why}"),
    )
}
