//! Work that blocks, away from the threads that serve the network.

use std::future;

use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use crate::report::{Event, Progress, Summary};

/// Events on their way. More than that, and the work waits for who is told.
const EVENTS: usize = 64;

/// Runs `work` in the background.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(spawn_blocking(work)).await
}

/// Runs `work` in the background, and tells `progress` here how it goes.
pub(crate) async fn run_telling<T: Send + 'static>(
    summary: &mut Summary,
    progress: &mut dyn Progress,
    work: impl FnOnce(&mut dyn FnMut(Event)) -> T + Send + 'static,
) -> T {
    let (sender, mut events) = mpsc::channel(EVENTS);
    let work = spawn_blocking(move || {
        // Nobody listens any more when the caller was cancelled: what was begun is finished.
        work(&mut |event| drop(sender.blocking_send(event)))
    });
    while let Some(event) = events.recv().await {
        summary.tell(event, progress);
    }
    joined(work).await
}

async fn joined<T>(work: JoinHandle<T>) -> T {
    match work.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels blocking work, and it polls nobody again.
            Err(_) => future::pending().await,
        },
    }
}
