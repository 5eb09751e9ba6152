use std::{path::Path, process::Command};

use crate::server::{as_user, folder_of, free_port};

pub(crate) const USER: &str = "mysql";

pub(crate) fn install(data: &Path) {
    folder_of(USER, data);
    let out = as_user(USER, Path::new("/usr/bin/mariadb-install-db"))
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "mariadb-install-db: {}",
        String::from_utf8_lossy(&out.stdout)
    );
}

pub(crate) fn serve(data: &Path, port: u16, settings: &[String]) -> Command {
    let mut command = as_user(USER, Path::new("/usr/sbin/mariadbd"));
    command
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", data.join("s").display()))
        .arg(format!("--port={port}"))
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

/// The ports at which a node of a Galera cluster speaks with the others.
pub(crate) struct Node {
    group: u16,
    increments: u16,
    transfer: u16,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self {
            group: free_port(),
            increments: free_port(),
            transfer: free_port(),
        }
    }

    /// How it is set as one of these.
    pub(crate) fn settings(&self, all: &[Self]) -> Vec<String> {
        let members = all.iter().map(|node| format!("127.0.0.1:{}", node.group));
        let members = members.collect::<Vec<_>>().join(",");
        vec![
            "binlog-format=ROW".to_owned(),
            "innodb-autoinc-lock-mode=2".to_owned(),
            "wsrep-on=ON".to_owned(),
            "wsrep-provider=/usr/lib/galera/libgalera_smm.so".to_owned(),
            format!("wsrep-cluster-name=test{}", std::process::id()),
            format!("wsrep-cluster-address=gcomm://{members}"),
            "wsrep-node-address=127.0.0.1".to_owned(),
            "wsrep-sst-method=mariabackup".to_owned(),
            "wsrep-sst-auth=root:".to_owned(),
            format!("wsrep-sst-receive-address=127.0.0.1:{}", self.transfer),
            format!(
                "wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{};\
                 ist.recv_addr=tcp://127.0.0.1:{};gcache.size=16M",
                self.group, self.increments
            ),
        ]
    }
}
