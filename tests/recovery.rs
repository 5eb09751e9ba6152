//! A server that is lost, and made again from its backup file and its administrators' devices.
//!
//! Planted bug that these were seen to catch: a recovery that begins no new epoch, so that clients refuse
//! the new server for the old one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{fs, process::Command};

use ostrakon_server::{BuildError, Clock, StoreError, setup};
use ostrakon_shards::{
    backup::{BackupFile, RecoverError, Recovered},
    card::{Card, DeviceKind},
    device::DeviceKeys,
    name::Name,
    profile::{ProfileVersion, SignedVersion},
};
use ostrakon_testkit::{Keyserver, Ran, Serve, TestHome, command::binary, run};
use tempfile::TempDir;

const POLICY: &str = "\
decrypt: [[{rule: approve-rule}]]
change_profile: [[{rule: approve-rule}]]
";

/// The devices of a profile of administrators, any three of which suffice.
struct Administrators {
    devices: Vec<(DeviceKeys, Card)>,
    versions: Vec<SignedVersion>,
}

impl Administrators {
    fn new() -> Self {
        let kinds = [
            DeviceKind::Workstation,
            DeviceKind::Mobile,
            DeviceKind::Mobile,
            DeviceKind::Recovery,
            DeviceKind::Recovery,
        ];
        let devices: Vec<_> = kinds
            .into_iter()
            .map(|kind| {
                let keys = DeviceKeys::generate().unwrap();
                let card = keys.card(kind, Name::new("device").unwrap());
                (keys, card)
            })
            .collect();
        let cards = devices.iter().map(|(_, card)| card.clone()).collect();
        let version = ProfileVersion::first(Name::new("admins").unwrap(), 3, cards).unwrap();
        let signatures: Vec<_> = devices
            .iter()
            .map(|(keys, card)| (card.id(), version.sign(&keys.signing)))
            .collect();
        Self {
            versions: vec![SignedVersion::new(version, signatures)],
            devices,
        }
    }

    fn recover(&self, file: &BackupFile, devices: usize) -> Result<Recovered, RecoverError> {
        let devices = self.devices.iter().take(devices);
        let shares: Vec<_> = devices
            .map(|(keys, card)| file.open_share(keys, card.id()).unwrap())
            .collect();
        file.recover(&shares)
    }
}

struct User {
    folder: TempDir,
}

impl User {
    fn new(server: &Keyserver) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "keyserver_id = \"{}\"\nkeyserver_urls = [\"http://{}\"]\n",
            server.identity.kss_id(),
            server.address
        );
        fs::write(folder.path().join("enterprise.toml"), config).unwrap();
        fs::create_dir(folder.path().join("Files")).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(folder.path().join("Files").join(name), name).unwrap();
        }
        let user = Self { folder };
        for args in [
            &["folder", "create", "Files"][..],
            &["encrypt", "--remove", "Files"],
        ] {
            let ran = user.run(args);
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        user
    }

    fn run(&self, args: &[&str]) -> Ran {
        let folder = self.folder.path();
        let mut command = Command::new(binary("ostrakon"));
        command
            .env_clear()
            .env("HOME", folder)
            .env("USER", "alice")
            .env("OSTRAKON_HOME", folder.join("home"))
            .env("OSTRAKON_ENTERPRISE_CONFIG", folder.join("enterprise.toml"))
            .current_dir(folder)
            .args(args);
        run(&mut command)
    }

    fn decrypt(&self, file: &str) -> Ran {
        self.run(&["decrypt", &format!("Files/{file}.age")])
    }
}

#[tokio::test]
async fn a_recovered_server_has_its_id_and_its_users_do_nothing() {
    let lost = TestHome::create(POLICY);
    let server = Keyserver::start(&lost);
    let (address, id) = (server.address, server.identity.kss_id());
    let alice = User::new(&server);
    server.stop();
    let administrators = Administrators::new();
    let clock = Clock::system();
    let versions = &administrators.versions;
    let old = setup::back_up_stopped(&lost.home(), versions, &clock)
        .await
        .unwrap();
    let file = setup::back_up_stopped(&lost.home(), versions, &clock)
        .await
        .unwrap();
    assert!(file.generation() > old.generation());
    assert_eq!(file.kss_id(), id);
    // It goes on after its backup was made, with nothing lost.
    let server = Serve::on(&lost).at(address).start();
    assert_eq!(alice.decrypt("a").code, Some(0));
    let ran = alice.run(&["profile", "threshold", "2"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    server.stop();

    assert!(administrators.recover(&file, 2).is_err());
    let recovered = administrators.recover(&file, 3).unwrap();
    let new = TestHome::empty();
    let keyserver = setup::recover(&new.home(), &file, &recovered, &clock)
        .await
        .unwrap();
    assert_eq!(keyserver.kss_id(), id);
    new.write_policy(POLICY);
    let server = Serve::on(&new).at(address).start();
    let ran = alice.decrypt("b");
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", server.log());
    // It may lack what its predecessor let in, so it lets in no change of a profile.
    let ran = alice.run(&["profile", "threshold", "2"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("server changes no profiles"), "{ran:?}");
    server.stop();

    // Should the lost server come back, it stops at the first client that has met the new one.
    let server = Serve::on(&lost).at(address).start();
    let ran = alice.decrypt("c");
    assert_ne!(ran.code, Some(0), "{ran:?}");
    server.wait_for_log("another state");
    server.stop();
    let _server = Serve::on(&new).at(address).start();
    assert_eq!(alice.decrypt("c").code, Some(0));
}

#[tokio::test]
async fn nothing_is_recovered_onto_a_home_that_has_a_server() {
    let home = TestHome::create(POLICY);
    let other = TestHome::create(POLICY);
    let administrators = Administrators::new();
    let clock = Clock::system();
    let versions = &administrators.versions;
    let file = setup::back_up_stopped(&home.home(), versions, &clock)
        .await
        .unwrap();
    let recovered = administrators.recover(&file, 3).unwrap();
    for home in [&home, &other] {
        let before = fs::read(home.home().database()).unwrap();
        let refused = setup::recover(&home.home(), &file, &recovered, &clock).await;
        assert!(matches!(
            refused,
            Err(BuildError::Store(StoreError::Exists))
        ));
        assert_eq!(fs::read(home.home().database()).unwrap(), before);
    }
    // What was recovered from one file is not another server's.
    let foreign = setup::back_up_stopped(&other.home(), versions, &clock)
        .await
        .unwrap();
    let empty = TestHome::empty();
    let refused = setup::recover(&empty.home(), &foreign, &recovered, &clock).await;
    assert!(matches!(refused, Err(BuildError::Identity(_))));
    assert!(!empty.home().database().exists());
}
