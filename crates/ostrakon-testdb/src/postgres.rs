use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::server::{as_user, folder_of};

pub(crate) const USER: &str = "postgres";

pub(crate) fn install(data: &Path) {
    folder_of(USER, data);
    let out = as_user(USER, &program("initdb"))
        .arg("--pgdata")
        .arg(data)
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
        .args(["--no-locale", "--no-sync"])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "initdb: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Copies the data of a primary, for a standby of it.
pub(crate) fn copy(data: &Path, primary: u16) {
    folder_of(USER, data);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(data, mode).unwrap();
    let from = format!("host=127.0.0.1 port={primary} user=postgres application_name=standby");
    let out = as_user(USER, &program("pg_basebackup"))
        .arg("--pgdata")
        .arg(data)
        .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
        .arg(format!("--dbname={from}"))
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "pg_basebackup: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

pub(crate) fn serve(data: &Path, port: u16, settings: &[String]) -> Command {
    let mut command = as_user(USER, &program("postgres"));
    command.arg("-D").arg(data);
    let port = format!("port={port}");
    let fixed = [
        port.as_str(),
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "shared_buffers=32MB",
        "max_connections=200",
    ];
    for setting in fixed.into_iter().chain(settings.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    command
}

/// A line of the shell of the server's user.
pub(crate) fn shell(data: &Path, port: u16, line: &str) -> Command {
    let mut command = as_user(USER, Path::new("sh"));
    command.args(["-e", "-c", line]);
    if let Some(programs) = program("postgres").parent() {
        command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    }
    command
        .env("PGDATA", data)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port.to_string())
        .env("PGUSER", USER);
    command
}

pub(crate) fn client(port: u16, database: Option<&str>, sql: &str) -> Command {
    let mut command = Command::new(program("psql"));
    command
        .args(["--no-psqlrc", "--host=127.0.0.1", "--username=postgres"])
        .args(["--tuples-only", "--no-align", "--quiet"])
        .arg(format!("--port={port}"))
        .arg(format!("--dbname={}", database.unwrap_or("postgres")))
        .arg(format!("--command={sql}"))
        .env("PGCONNECT_TIMEOUT", "5");
    command
}

/// A program of the newest PostgreSQL that is installed, as Debian lays it out, or of the search path.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.filter_map(|version| version.ok());
    let newest = versions.max_by_key(|version| {
        let name = version.file_name();
        name.to_str().and_then(|name| name.parse::<u32>().ok())
    });
    let found = newest.map(|version| version.path().join("bin").join(name));
    found
        .filter(|path| path.exists())
        .unwrap_or_else(|| name.into())
}
