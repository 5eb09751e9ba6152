use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::server::{as_user, folder_of};

pub(crate) const USER: &str = "mysql";

pub(crate) fn install(data: &Path) {
    folder_of(USER, data);
    let out = as_user(USER, Path::new("/usr/bin/mariadb-install-db"))
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--tmpdir={}", temporary(data).display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "mariadb-install-db: {}{}",
        String::from_utf8_lossy(&out.stderr),
        String::from_utf8_lossy(&out.stdout)
    );
}

/// Where it keeps what is temporary: a server that starts removes what it takes for leftovers there, another
/// server's, too.
fn temporary(data: &Path) -> PathBuf {
    let folder = data.with_file_name("tmp");
    if !folder.exists() {
        folder_of(USER, &folder);
    }
    folder
}

pub(crate) fn serve(data: &Path, port: u16, settings: &[String]) -> Command {
    let mut command = as_user(USER, Path::new("/usr/sbin/mariadbd"));
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", data.join("s").display()))
        .arg(format!("--port={port}"))
        .arg(format!("--tmpdir={}", temporary(data).display()))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        // Small, since several run beside each other.
        .args([
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=16M",
        ])
        .arg("--performance-schema=OFF")
        .args(settings.iter().map(|setting| format!("--{setting}")));
    command
}

pub(crate) fn client(port: u16, database: Option<&str>, sql: &str) -> Command {
    let mut command = Command::new("mariadb");
    command
        .args([
            "--no-defaults",
            "--host=127.0.0.1",
            "--user=root",
            "--batch",
        ])
        .args(["--skip-column-names", "--connect-timeout=5"])
        .arg(format!("--port={port}"))
        .arg(format!("--execute={sql}"))
        .args(database);
    command
}
