use std::sync::atomic::{AtomicBool, Ordering};

use crate::Home;

/// Disk space that is kept back: nothing that a stranger causes is written below it.
#[derive(Debug)]
pub(crate) struct Reserve {
    home: Home,
    bytes: u64,
    /// Whether it was begun when last looked at: each time is told once.
    begun: AtomicBool,
}

impl Reserve {
    pub(crate) fn new(home: Home, bytes: u64) -> Self {
        Self {
            home,
            bytes,
            begun: AtomicBool::new(false),
        }
    }

    /// Whether there is room beside it. Where the system does not say, there is.
    pub(crate) fn leaves_room(&self) -> bool {
        let room = self.home.free_bytes().is_none_or(|free| free >= self.bytes);
        let begun = self.begun.swap(!room, Ordering::Relaxed);
        match (room, begun) {
            (false, false) => tracing::error!(
                "the disk is almost full: devices that are not known are turned away"
            ),
            (true, true) => tracing::info!("there is room on the disk again"),
            _ => {}
        }
        room
    }
}
