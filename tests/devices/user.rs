use std::{fs, net::SocketAddr, path::PathBuf, process::Command};

use ostrakon_testkit::{Keyserver, Ran, command::binary, run};
use tempfile::TempDir;

/// A user of a server, with the real client and a few encrypted files.
pub(crate) struct User(TempDir);

impl User {
    pub(crate) fn new(server: &Keyserver) -> Self {
        Self::of(&server.identity.kss_id().to_string(), server.address)
    }

    /// A user of the server with this id, at this address.
    pub(crate) fn of(id: &str, address: SocketAddr) -> Self {
        let user = Self(tempfile::tempdir().unwrap());
        user.configure(id, address);
        fs::create_dir(user.0.path().join("Files")).unwrap();
        for name in ["a", "b", "c", "d", "e"] {
            fs::write(user.0.path().join("Files").join(name), name).unwrap();
        }
        user.done(&["folder", "create", "Files"]);
        user.done(&["encrypt", "--remove", "Files"]);
        user
    }

    /// Has the configuration name this server, as an administrator distributes it.
    fn configure(&self, id: &str, address: SocketAddr) {
        let config = format!("keyserver_id = \"{id}\"\nkeyserver_urls = [\"http://{address}\"]\n");
        fs::write(self.0.path().join("enterprise.toml"), config).unwrap();
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let folder = self.0.path();
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

    pub(crate) fn done(&self, args: &[&str]) {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    }

    /// Its home.
    pub(crate) fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    /// The id of its profile.
    pub(crate) fn profile_id(&self) -> String {
        let ran = self.run(&["--format", "json", "profile", "show"]);
        let shown: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        shown["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn decrypts(&self, file: &str) {
        self.done(&["decrypt", &format!("Files/{file}.age")]);
        let read = fs::read_to_string(self.0.path().join("Files").join(file));
        assert_eq!(read.unwrap(), file);
    }

    /// What the command says that does not decrypt it.
    pub(crate) fn refused(&self, file: &str) -> String {
        let ran = self.run(&["decrypt", &format!("Files/{file}.age")]);
        assert_ne!(ran.code, Some(0), "{ran:?}");
        assert!(!self.0.path().join("Files").join(file).exists());
        ran.stdout + &ran.stderr
    }
}
