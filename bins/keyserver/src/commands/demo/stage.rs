use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};
use ostrakon_client::{
    Config, ConfigFile, DecryptOptions, EncryptOptions, Environment, Report, Suite, Workstation,
};
use ostrakon_server::{Clock, Config as ServerConfig, Home, Name, Server, setup};
use ostrakon_types::{Denial, ErrorChain, KssId, UnixMillis};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

use super::files::Files;
use crate::error::Failure;

/// The name of a user's configuration.
const ENTERPRISE: &str = "ostrakon.toml";

/// A server on a loopback port, with all that it keeps in a folder.
pub(super) struct Stage {
    folder: PathBuf,
    home: Home,
    policy: String,
    kss_id: KssId,
    address: SocketAddr,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Stage {
    pub(super) async fn set(folder: &Path, policy: &str) -> Result<Self, Failure> {
        let home = Home::new(folder.join("keyserver"));
        let name = Name::new("demo").map_err(|error| Failure::new(error.to_string()))?;
        let keyserver = setup::create(&home, name, None, &Clock::system()).await?;
        fs::write(home.policy(), policy).map_err(Failure::file(&home.policy()))?;
        let mut stage = Self {
            folder: folder.to_owned(),
            home,
            policy: policy.to_owned(),
            kss_id: keyserver.kss_id(),
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            running: None,
        };
        stage.start().await?;
        Ok(stage)
    }

    /// A server that is in a home already, on a port of its own.
    pub(super) async fn at(folder: &Path, home: Home) -> Result<Self, Failure> {
        let policy = fs::read_to_string(home.policy()).map_err(Failure::file(&home.policy()))?;
        let kss_id = setup::stopped_status(&home).await?.kss_id;
        let mut stage = Self {
            folder: folder.to_owned(),
            home,
            policy,
            kss_id,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            running: None,
        };
        stage.start().await?;
        Ok(stage)
    }

    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        let mut config = ServerConfig::default();
        config.listen = self.address;
        let server = Server::build(self.home.clone(), &config, Clock::system()).await?;
        self.address = server
            .address()
            .map_err(|error| Failure::new(error.to_string()))?;
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            server.run(async { _ = stopped.await }).await;
        });
        self.running = Some((stop, running));
        Ok(())
    }

    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        if let Some((stop, running)) = self.running.take() {
            let _ = stop.send(());
            running
                .await
                .map_err(|error| Failure::new(error.to_string()))?;
        }
        Ok(())
    }

    /// Goes on with another home, at the same address and with the same policy.
    pub(super) async fn move_to(&mut self, home: Home) -> Result<(), Failure> {
        fs::write(home.policy(), &self.policy).map_err(Failure::file(&home.policy()))?;
        self.home = home;
        self.start().await
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn kss_id(&self) -> KssId {
        self.kss_id
    }
}

/// Somebody with a workstation of their own.
pub(super) struct User {
    folder: PathBuf,
    name: &'static str,
    workstation: Workstation,
}

impl User {
    /// Opens a fresh workstation whose configuration names the server: that is all it takes.
    pub(super) async fn onboard(
        stage: &Stage,
        name: &'static str,
        administrator: bool,
    ) -> Result<Self, Failure> {
        Self::configured(&[stage], name, administrator).await
    }

    /// The same with several addresses of one server.
    pub(super) async fn onboard_at(stages: &[Stage], name: &'static str) -> Result<Self, Failure> {
        Self::configured(&stages.iter().collect::<Vec<_>>(), name, false).await
    }

    async fn configured(
        stages: &[&Stage],
        name: &'static str,
        administrator: bool,
    ) -> Result<Self, Failure> {
        let [stage, ..] = stages else {
            return Err(Failure::new("there is no server"));
        };
        let folder = stage.folder.join(name);
        let urls = stages
            .iter()
            .map(|stage| format!("\"http://{}\"", stage.address));
        let text = format!(
            "keyserver_id = \"{}\"\nkeyserver_urls = [{}]\nadministrator = {administrator}\n",
            stage.kss_id,
            urls.collect::<Vec<_>>().join(", ")
        );
        fs::create_dir_all(&folder).map_err(Failure::file(&folder))?;
        let enterprise = folder.join(ENTERPRISE);
        fs::write(&enterprise, text).map_err(Failure::file(&enterprise))?;
        let mut workstation = open(&folder, name)?;
        workstation.onboard_if_configured().await.map_err(failed)?;
        Ok(Self {
            folder,
            name,
            workstation,
        })
    }

    /// Prints the profile.
    pub(super) fn show(&self) {
        if let Some(view) = self.workstation.profile() {
            let version = view.profile.version();
            println!(
                "  {:<12} {} devices, threshold {}, words: {} …",
                version.name.as_str(),
                version.devices.len(),
                version.threshold,
                view.profile.words().first(4)
            );
        }
    }

    pub(super) fn folders(&self) -> usize {
        self.workstation.folders().len()
    }

    /// Makes a secure folder with a copy of the files in it.
    pub(super) async fn add_folder(
        &mut self,
        name: &str,
        files: &Files,
    ) -> Result<PathBuf, Failure> {
        let folder = self.folder.join(name);
        files.copy_to(&folder).map_err(Failure::file(&folder))?;
        let made = self
            .workstation
            .create_folder(&folder, None, Suite::X25519)
            .await;
        made.map_err(failed)?;
        Ok(folder)
    }

    /// Encrypts everything below the folders, and removes what was in clear.
    pub(super) fn encrypt(&self, folders: &[&Path]) -> Result<Vec<Report>, Failure> {
        let options = EncryptOptions {
            remove: true,
            ..EncryptOptions::default()
        };
        let mut reports = Vec::new();
        self.workstation
            .encrypt(folders, &options, &mut reports)
            .map_err(failed)?;
        Ok(reports)
    }

    /// Decrypts one file as often as there are outputs, all at once, each in a program of its own.
    pub(super) async fn decrypt_at_once(
        &self,
        file: &Path,
        outputs: Vec<PathBuf>,
    ) -> Result<Vec<Report>, Failure> {
        let mut programs = JoinSet::new();
        for output in outputs {
            let workstation = open(&self.folder, self.name)?;
            let file = file.to_owned();
            programs.spawn(async move {
                let options = DecryptOptions {
                    output: Some(output),
                    ..DecryptOptions::default()
                };
                let mut reports = Vec::new();
                let decrypted = workstation.decrypt(&[file], &options, &mut reports).await;
                decrypted.map(|_| reports).map_err(failed)
            });
        }
        let mut all = Vec::new();
        while let Some(ended) = programs.join_next().await {
            all.extend(ended.map_err(failed)??);
        }
        Ok(all)
    }

    /// Decrypts what the server allows, into another folder.
    pub(super) async fn decrypt<P: AsRef<Path>>(
        &mut self,
        paths: &[P],
        output: &Path,
    ) -> Result<Vec<Report>, Failure> {
        let options = DecryptOptions {
            output: Some(output.to_owned()),
            ..DecryptOptions::default()
        };
        let mut reports = Vec::new();
        let decrypted = self
            .workstation
            .decrypt(paths, &options, &mut reports)
            .await;
        decrypted.map_err(|error| {
            Failure::new(format!(
                "{} cannot decrypt: {}",
                self.name,
                ErrorChain(&error)
            ))
        })?;
        Ok(reports)
    }
}

/// Opens the workstation of a user.
fn open(folder: &Path, name: &str) -> Result<Workstation, Failure> {
    let enterprise = ConfigFile::Named(folder.join(ENTERPRISE));
    let config = Config::load(&enterprise, &ConfigFile::None).map_err(failed)?;
    let environment = Environment {
        clock: now,
        user: name.to_owned(),
        host: "demo".to_owned(),
        user_home: folder.to_owned(),
    };
    Workstation::open(&folder.join("home"), config, environment).map_err(failed)
}

/// Why a file was denied, in words.
pub(super) fn reason(denial: &Denial) -> String {
    match denial {
        Denial::Policy => "the policy does not allow it".to_owned(),
        Denial::Quota { resets_at } => match Timestamp::from_millisecond(resets_at.0) {
            Ok(at) => {
                let at = at.to_zoned(TimeZone::system());
                format!(
                    "the quota is used up until {}",
                    at.strftime("%Y-%m-%d %H:%M")
                )
            }
            Err(_) => "the quota is used up".to_owned(),
        },
        _ => "the server does not allow it now".to_owned(),
    }
}

pub(super) fn now() -> UnixMillis {
    Clock::system().now()
}

pub(super) fn failed(error: impl std::error::Error) -> Failure {
    Failure::new(ErrorChain(&error).to_string())
}
