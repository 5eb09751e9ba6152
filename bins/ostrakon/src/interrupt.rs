//! SIGINT and SIGTERM, for a command that has asked devices through a server: what it asked would wait there, and
//! take its place, after the command is gone.

use std::{
    process,
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
        let listens = signal(SignalKind::interrupt())
            .and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
        if let Ok((interrupt, terminate)) = listens {
            shared.waits.store(true, Ordering::Release);
            tokio::spawn(listen(Arc::clone(&shared), interrupt, terminate));
        }
        let waits = Waits(shared);
        async move { waits.0.told.notified().await }
    }
}

async fn listen(shared: Arc<Shared>, mut interrupt: Signal, mut terminate: Signal) {
    loop {
        // As a shell reports it: 128 and the signal's number.
        let code = tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
        };
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
