use std::{fs, path::Path, process::Command, thread};

use crate::{Engine, Server, server::free_port};

/// Three MariaDB servers, its nodes, that hold one database by Galera's replication.
///
/// No node is ever sent the whole of another's data, which takes programs that not every machine has: all begin
/// with one copy, and what a node has missed it gets from what the others keep of late writes.
pub struct Galera {
    nodes: Vec<Server>,
}

const NODES: usize = 3;

/// Where the provider is on Debian.
const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";

/// A node that says nothing for so long is taken for gone by the others.
const SILENCE: &str = "evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.5S;\
     evs.suspect_timeout=PT2S;evs.inactive_timeout=PT6S";

/// What makes the first node of a cluster that has none.
const FIRST: &str = "wsrep-new-cluster";

impl Galera {
    /// Starts the nodes, with further settings for each as `name=value`.
    #[must_use]
    pub fn start(settings: &[&str]) -> Self {
        let groups: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let all: Vec<String> = groups.iter().map(|at| format!("127.0.0.1:{at}")).collect();
        let cluster = format!("wsrep-cluster-address=gcomm://{}", all.join(","));
        let nodes: Vec<Server> = groups
            .iter()
            .map(|group| {
                let own = of_node(*group);
                let own = own.iter().map(String::as_str);
                let settings: Vec<&str> = own
                    .chain([cluster.as_str()])
                    .chain(settings.iter().copied())
                    .collect();
                Server::new(Engine::MariaDb, &settings)
            })
            .collect();
        let galera = Self { nodes };
        galera.begin();
        galera
    }

    /// Makes the data of the first node, gives the others a copy, and starts all.
    fn begin(&self) {
        let [first, others @ ..] = self.nodes.as_slice() else {
            return;
        };
        first.install();
        // It notes whose data that is, and how new.
        first.with_setting(FIRST, Server::restart);
        first.stop();
        for other in others {
            copy(&first.data(), &other.data());
        }
        first.with_setting(FIRST, Server::restart);
        all_at_once(others, Server::restart);
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// Starts nodes, which must not be running, at the same time: where most are gone, none serves before the
    /// others are back.
    pub fn restart(nodes: &[Server]) {
        all_at_once(nodes, Server::restart);
    }
}

/// The settings that differ from node to node.
fn of_node(group: u16) -> Vec<String> {
    let (whole, late) = (free_port(), free_port());
    vec![
        "wsrep-on=ON".to_owned(),
        format!("wsrep-provider={PROVIDER}"),
        "binlog-format=ROW".to_owned(),
        "innodb-autoinc-lock-mode=2".to_owned(),
        format!("wsrep-node-address=127.0.0.1:{group}"),
        "wsrep-sst-method=rsync".to_owned(),
        format!("wsrep-sst-receive-address=127.0.0.1:{whole}"),
        format!(
            "wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{group};\
             ist.recv_addr=127.0.0.1:{late};gcache.size=64M;{SILENCE}"
        ),
    ]
}

/// Copies a node's data, but for what says which node it was.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("--archive")
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success());
    for own in ["galera.cache", "gvwstate.dat"] {
        let _ = fs::remove_file(to.join(own));
    }
}

fn all_at_once(nodes: &[Server], act: impl Fn(&Server) + Sync) {
    thread::scope(|scope| {
        for node in nodes {
            scope.spawn(|| act(node));
        }
    });
}
