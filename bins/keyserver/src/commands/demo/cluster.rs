//! Two instances of one server on a private database server, where MariaDB's programs are installed.

use std::{
    env, fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use ostrakon_server::{
    Clock, DatabaseUri, Home, Name,
    ceremony::{BackupFile, Creation, Joining, NewBackupFile},
    instances,
};
use tokio::time::sleep;

use super::{
    METERED, act, check, count,
    files::Files,
    is_denied, is_done,
    people::{Administrator, WAIT_MS},
    stage::{Stage, User, failed},
};
use crate::{commands::recovery::machine, error::Failure};

/// Plays it, if it can be.
pub(super) async fn play(
    people: &mut Administrator,
    files: &Files,
    folder: &Path,
    policy: &str,
) -> Result<(), Failure> {
    let Some(programs) = Programs::find() else {
        act("Where MariaDB's server is installed, a cluster is shown here");
        return Ok(());
    };
    act("A second server is made in a database that its instances share: MariaDB, on a socket");
    let database = programs.start(&folder.join("database")).await?;
    let first = Home::new(folder.join("instance-1"));
    create(&first, &database, people, &folder.join("cluster-key.txt")).await?;
    let second = Home::new(folder.join("instance-2"));
    join(&second, &database, people).await?;
    println!(
        "  another machine is let in by three of the devices: what is in the database lets nobody in"
    );

    act("Both answer as one server. One is stopped in the middle, and nobody notices");
    let mut stages = Vec::new();
    for home in [first, second] {
        fs::write(home.policy(), policy).map_err(Failure::file(&home.policy()))?;
        stages.push(Stage::at(folder, home).await?);
    }
    let mut user = User::onboard_at(&stages, "clustered").await?;
    let metered = user.add_folder("Metered", files).await?;
    user.encrypt(&[&metered])?;
    let one = files.first_encrypted(&metered);
    let mut approved = 0;
    for number in 0..METERED {
        if number == METERED / 2
            && let Some(mut last) = stages.pop()
        {
            let listed = instances::list(last.home()).await?;
            check(
                listed.iter().filter(|instance| instance.online).count() == 2,
                "two instances are online",
            )?;
            last.stop().await?;
        }
        let output = folder.join(format!("clustered-{number}"));
        let reports = user.decrypt(&[&one], &output).await?;
        approved += count(&reports, is_done);
    }
    check(
        approved == METERED,
        "all that the quota allows are approved",
    )?;
    let reports = user.decrypt(&[&one], &folder.join("one-more")).await?;
    check(count(&reports, is_denied) == 1, "and no more")?;
    println!("  a quota of {METERED}, asked for at both: {METERED} approved, the next one denied");
    for mut stage in stages {
        stage.stop().await?;
    }
    drop(database);
    Ok(())
}

async fn create(
    home: &Home,
    database: &Database,
    people: &mut Administrator,
    backup: &Path,
) -> Result<(), Failure> {
    let name = Name::new("cluster").map_err(failed)?;
    let file = NewBackupFile::reserve(backup)?;
    let (versions, clock) = (people.profile(), Clock::system());
    let uri = Some(&database.uri);
    let mut creation = Creation::open(home, name, uri, &versions, false, WAIT_MS, &clock)?;
    people.approve_all(&mut creation).await?;
    let keep = |made: &BackupFile| file.write(made).map_err(Failure::from);
    creation.finish(keep).await?;
    Ok(())
}

async fn join(home: &Home, database: &Database, people: &mut Administrator) -> Result<(), Failure> {
    let file = Joining::backup_in(&database.uri).await?;
    let versions = people.profile();
    let (uri, clock) = (&database.uri, Clock::system());
    let mut joining = Joining::open(home, uri, file, &versions, machine()?, WAIT_MS, &clock)?;
    people.approve_all(&mut joining).await?;
    joining.finish().await?;
    Ok(())
}

/// Where MariaDB's programs are.
struct Programs {
    install: PathBuf,
    serve: PathBuf,
}

/// A private database server, ended when dropped.
struct Database {
    child: Child,
    uri: DatabaseUri,
}

impl Programs {
    fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders: Vec<_> = env::split_paths(&path)
            .chain(["/usr/sbin".into()])
            .collect();
        let find = |name: &str| {
            let mut all = folders.iter().map(|folder| folder.join(name));
            all.find(|program| program.exists())
        };
        Some(Self {
            install: find("mariadb-install-db")?,
            serve: find("mariadbd")?,
        })
    }

    /// Makes a data folder and starts a server in it, with an empty database.
    async fn start(&self, folder: &Path) -> Result<Database, Failure> {
        fs::create_dir_all(folder).map_err(Failure::file(folder))?;
        let data = folder.join("data");
        let datadir = format!("--datadir={}", data.display());
        // One of its own: a server that starts removes what it takes for leftovers.
        let temporary = folder.join("tmp");
        fs::create_dir(&temporary).map_err(Failure::file(&temporary))?;
        let tmpdir = format!("--tmpdir={}", temporary.display());
        let user = rustix::process::geteuid()
            .is_root()
            .then_some("--user=root");
        let installed = Command::new(&self.install)
            .args([
                "--no-defaults",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ])
            .args([&datadir, &tmpdir])
            .args(user)
            .stdin(Stdio::null())
            .output()
            .map_err(failed)?;
        check(installed.status.success(), "MariaDB makes a data folder")?;
        let statements = folder.join("init.sql");
        fs::write(&statements, "CREATE DATABASE kss;\n").map_err(Failure::file(&statements))?;
        let socket = folder.join("socket");
        let child = Command::new(&self.serve)
            .args(["--no-defaults", "--skip-networking"])
            .args([&datadir, &tmpdir])
            .args(user)
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--init-file={}", statements.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let uri = format!("mysql:socket={},user=root,database=kss", socket.display());
        let mut database = Database {
            child,
            uri: uri.parse().map_err(failed)?,
        };
        // It listens once it has run the statements.
        while UnixStream::connect(&socket).is_err() {
            let ended = database.child.try_wait().map_err(failed)?;
            check(ended.is_none(), "MariaDB's server runs")?;
            sleep(Duration::from_millis(50)).await;
        }
        Ok(database)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
