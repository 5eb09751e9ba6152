//! SIGINT, SIGTERM and SIGHUP (a terminal that is closed, a connection that is lost), for a command that has asked
//! devices through a server: what it asked would wait there, and take its place, after the command is gone.

use std::{
    fs,
    future::pending,
    io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

/// Whether a command is told to end, and has something to withdraw before.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waits: AtomicBool,
    told: Notify,
}

impl Interrupt {
    /// Completes at the first signal while this is waited for. Any other ends the process, as it would have done
    /// without this.
    pub(crate) fn told(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.0);
        if let Ok(signals) = Signals::listen() {
            shared.waits.store(true, Ordering::Release);
            tokio::spawn(listen(Arc::clone(&shared), signals));
        }
        let waits = Waits(shared);
        async move { waits.0.told.notified().await }
    }
}

async fn listen(shared: Arc<Shared>, mut signals: Signals) {
    loop {
        let code = signals.next().await;
        if shared.waits.swap(false, Ordering::AcqRel) {
            shared.told.notify_one();
        } else {
            process::exit(code);
        }
    }
}

struct Waits(Arc<Shared>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waits.store(false, Ordering::Release);
    }
}

/// The signals that end a command.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under `nohup`, which is there so that the command goes on.
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let hangup = (!hangup_is_ignored()).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
        })
    }

    /// Waits for one, and gives the exit code as a shell reports it: 128 and the signal's number.
    async fn next(&mut self) -> i32 {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            _ = hangup => 129,
        }
    }
}

/// Whether whoever started this process has it ignore SIGHUP. Where the system does not tell, it does not.
fn hangup_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}
