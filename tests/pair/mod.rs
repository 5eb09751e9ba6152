//! The two machines of docs/ha.md, on which its commands are run.
//!
//! A machine is a PostgreSQL server with its user's shell, and a home of `keyserver`. What docs/ha.md leaves to
//! a machine is done here: `systemctl` starts and stops the two, `ip` moves a proxy, and names, paths and
//! passwords of the document stand for those of the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ostrakon_shards::identity::VerifiedKeyserver;
use ostrakon_testdb::{Authority, Server};
use ostrakon_testkit::{Keyserver, Ran, Serve, http, run};

use crate::{
    cluster_of::{Cluster, eventually},
    proxy::{Proxy, Way},
    runbook::{Step, sections, steps},
};

const DOCUMENT: &str = "docs/ha.md";
const SECRET: &str = "of-this-test-alone";

/// How long a machine may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// One machine.
pub(crate) struct Machine {
    name: &'static str,
    pub(crate) database: Server,
    runs: Mutex<bool>,
    keyserver: Mutex<Option<Keyserver>>,
    /// What `systemctl set-environment` has set.
    environment: Mutex<BTreeMap<String, String>>,
    /// By which the other machine reaches its database.
    pub(crate) way: Proxy,
}

/// Both.
pub(crate) struct Pair {
    pub(crate) machines: [Machine; 2],
    /// Where instances reach the active.
    address: Proxy,
    active: AtomicUsize,
    authority: Authority,
    pub(crate) cluster: Option<Cluster>,
    /// Where instances have answered.
    pub(crate) addresses: Mutex<Vec<SocketAddr>>,
    sections: BTreeMap<String, String>,
    ran: Mutex<BTreeSet<String>>,
}

impl Machine {
    fn new(name: &'static str, authority: &Authority) -> Self {
        let database = Server::place(authority);
        Self {
            name,
            runs: Mutex::new(false),
            keyserver: Mutex::new(None),
            environment: Mutex::default(),
            way: Proxy::to(database.port()),
            database,
        }
    }

    /// A line for PostgreSQL's user, which must succeed.
    fn shell(&self, line: &str) -> String {
        let ran = run(&mut self.database.shell(line));
        assert_eq!(ran.code, Some(0), "{}$ {line}: {ran:?}", self.name);
        ran.stdout
    }

    fn switch_database(&self, on: bool) {
        let mut runs = self.runs.lock().unwrap();
        match (*runs, on) {
            (false, true) => self.database.restart(),
            (true, false) => self.database.stop(),
            _ => {}
        }
        *runs = on;
    }

    pub(crate) fn kill_database(&self) {
        self.database.kill();
        *self.runs.lock().unwrap() = false;
    }

    /// Loses its power.
    pub(crate) fn fail(&self) {
        if let Some(server) = self.keyserver.lock().unwrap().take() {
            server.kill();
        }
        self.kill_database();
    }

    /// Where its instance answers, while that runs.
    pub(crate) fn instance(&self) -> Option<SocketAddr> {
        let server = self.keyserver.lock().unwrap();
        server.as_ref().map(|server| server.address)
    }

    /// Why its instance is not ready.
    pub(crate) fn unready(&self) -> String {
        let answer = http::get(self.instance().unwrap(), "/readyz").unwrap();
        String::from_utf8(answer.body).unwrap()
    }

    /// What its programs wrote.
    pub(crate) fn wrote(&self) -> String {
        let server = self.keyserver.lock().unwrap();
        let log = server.as_ref().map(Keyserver::log).unwrap_or_default();
        format!("{}:\n{log}\n{}", self.name, self.database.wrote())
    }
}

impl Pair {
    /// The machines, each with PostgreSQL installed; `a` has an empty server.
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let machines = ["a", "b"].map(|name| Machine::new(name, &authority));
        machines[0].shell("initdb --username=postgres --auth=trust --encoding=UTF8 --no-locale");
        // Nobody else comes in unless the document says so.
        machines[0].shell("echo 'host all postgres 127.0.0.1/32 trust' >\"$PGDATA/pg_hba.conf\"");
        machines[0].switch_database(true);
        let address = Proxy::to(machines[0].database.port());
        address.set(Way::Shut);
        Self {
            machines,
            address,
            active: AtomicUsize::new(0),
            authority,
            cluster: None,
            addresses: Mutex::default(),
            sections: sections(DOCUMENT),
            ran: Mutex::default(),
        }
    }

    /// How instances reach the database.
    pub(crate) fn uri(&self) -> String {
        let (port, ca) = (self.address.port(), self.authority.certificate());
        let ca = ca.display();
        format!(
            "postgresql:host=127.0.0.1,port={port},user=kss,password={SECRET},database=kss,ca={ca}"
        )
    }

    /// A section of the document.
    pub(crate) fn section(&self, heading: &str) -> &str {
        &self.sections[heading]
    }

    /// The machine whose database is written to.
    pub(crate) fn active(&self) -> &Machine {
        &self.machines[self.active.load(Ordering::Relaxed)]
    }

    fn machine(&self, name: &str) -> (usize, &Machine) {
        let mut all = self.machines.iter().enumerate();
        all.find(|(_, machine)| machine.name == name).unwrap()
    }

    /// Does what a block says.
    pub(crate) fn follow(&self, block: &[Step]) {
        for (machine, line) in block {
            self.step(machine, line);
        }
        let mut ran = self.ran.lock().unwrap();
        ran.extend(block.iter().map(|(_, line)| line.clone()));
    }

    /// Does what a block says, with the names of the machines the other way round.
    pub(crate) fn follow_swapped(&self, block: &[Step]) {
        for (machine, line) in block {
            assert!(!line.contains("host="), "{line}");
            self.step(if machine == "a" { "b" } else { "a" }, line);
        }
    }

    fn step(&self, name: &str, line: &str) {
        let (number, machine) = self.machine(name);
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["systemctl", ..] => self.systemctl(number, &words[1..]),
            ["ip", "address", "add", "192.0.2.9/24", "dev", "eth0"] => self.lead_to(number),
            ["ip", "address", "del", "192.0.2.9/24", "dev", "eth0"] => {
                self.address.set(Way::Shut);
                self.address.reset();
            }
            ["keyserver", ..] => {
                self.keyserver(number, &words[1..]);
            }
            _ => {
                let line = self.filled_in(line);
                // It takes a moment until the other one has what it lacked.
                eventually(&line, PATIENCE, || {
                    let said = machine.shell(&line);
                    !line.contains("sync_state") || said.contains("| sync")
                });
            }
        }
    }

    /// Has the address lead to a machine.
    pub(crate) fn lead_to(&self, number: usize) {
        self.active.store(number, Ordering::Relaxed);
        self.address.lead_to(self.machines[number].database.port());
        self.address.set(Way::Open);
    }

    fn filled_in(&self, line: &str) -> String {
        let mut line = line
            .replace("SECRET", SECRET)
            .replace("192.0.2.1/32", "127.0.0.1/32")
            .replace("192.0.2.2/32", "127.0.0.1/32")
            .replace(
                "/etc/db-ca.pem",
                self.authority.certificate().to_str().unwrap(),
            );
        for machine in &self.machines {
            let host = format!("host={}.example", machine.name);
            let way = format!("host=127.0.0.1 port={}", machine.way.port());
            line = line.replace(&host, &way);
        }
        line
    }

    fn systemctl(&self, number: usize, words: &[&str]) {
        let machine = &self.machines[number];
        match words {
            ["set-environment", variable] => {
                let (name, value) = variable.split_once('=').unwrap();
                let mut environment = machine.environment.lock().unwrap();
                environment.insert(name.to_owned(), value.to_owned());
            }
            ["unset-environment", name] => {
                machine.environment.lock().unwrap().remove(*name).unwrap();
            }
            ["restart", unit] => {
                self.switch(number, unit, false);
                self.switch(number, unit, true);
            }
            ["start", unit] | ["enable", "--now", unit] => self.switch(number, unit, true),
            ["stop", unit] | ["disable", "--now", unit] => self.switch(number, unit, false),
            _ => panic!("{words:?}"),
        }
    }

    fn switch(&self, number: usize, unit: &str, on: bool) {
        let machine = &self.machines[number];
        match unit {
            "postgresql" => machine.switch_database(on),
            "keyserver" if on => self.start(number),
            "keyserver" => {
                let server = machine.keyserver.lock().unwrap().take();
                server.map(Keyserver::stop);
            }
            _ => panic!("{unit}"),
        }
    }

    /// Starts an instance, again and again until it serves, as the unit does.
    fn start(&self, number: usize) {
        let machine = &self.machines[number];
        let home = &self.cluster.as_ref().unwrap().homes[number];
        if machine.instance().is_some() {
            return;
        }
        let at = self.addresses.lock().unwrap().get(number).copied();
        eventually("an instance serves", PATIENCE, || {
            let mut serve = Serve::on(home);
            for (name, value) in machine.environment.lock().unwrap().iter() {
                serve = serve.with(name, value);
            }
            if let Some(at) = at {
                serve = serve.at(at);
            }
            match serve.try_start() {
                Ok(server) => {
                    *machine.keyserver.lock().unwrap() = Some(server);
                    true
                }
                Err(wrote) => {
                    eprintln!("{}: {wrote}", machine.name);
                    false
                }
            }
        });
        if at.is_none() {
            let mut addresses = self.addresses.lock().unwrap();
            assert_eq!(addresses.len(), number);
            addresses.push(machine.instance().unwrap());
        }
    }

    /// A command of a machine's instance, which must succeed.
    pub(crate) fn keyserver(&self, number: usize, args: &[&str]) -> Ran {
        self.cluster.as_ref().unwrap().done(number, args)
    }

    /// The server that its clients know.
    pub(crate) fn identity(&self) -> VerifiedKeyserver {
        let server = self.machines[0].keyserver.lock().unwrap();
        server.as_ref().unwrap().identity.clone()
    }

    pub(crate) fn stop_instances(&self) {
        for number in 0..self.machines.len() {
            self.switch(number, "keyserver", false);
        }
    }

    /// Cuts the way between the machines, or opens it.
    pub(crate) fn cut(&self, cut: bool) {
        for machine in &self.machines {
            let way = if cut { Way::Swallows } else { Way::Open };
            machine.way.set(way);
            if !cut {
                machine.way.reset();
            }
        }
    }

    /// Nothing of the document was left out.
    pub(crate) fn all_was_run(&self) {
        let ran = self.ran.lock().unwrap();
        let all = self.sections.values().flat_map(|section| steps(section));
        let left: Vec<_> = all.filter(|(_, line)| !ran.contains(line)).collect();
        assert!(left.is_empty(), "{left:#?}");
        assert!(ran.len() > 30, "{}", ran.len());
    }
}
