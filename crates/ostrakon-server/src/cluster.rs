//! One of several instances: it follows what others change, says that it is there, and does what one does
//! for all while it holds the lease.

use std::{sync::Arc, time::Duration};

use ostrakon_storage::Presence;
use ostrakon_types::ErrorChain;
use tokio::time::{MissedTickBehavior, interval};

use crate::{node::Node, pipeline::Pipeline};

/// How often an instance looks whether another has changed something. A decision never waits for that: the
/// ledger finds out what has changed since.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// How often it says that it is there.
const PRESENT_EVERY: Duration = Duration::from_secs(2);

/// The lease on what one instance does for all: checkpoints, and forgetting.
const UPKEEP: &str = "upkeep";

/// How long it lasts, in milliseconds; who holds it renews it well before.
const UPKEEP_LASTS: i64 = 90_000;

/// Follows what other instances change, until it is dropped.
pub(crate) async fn follow(node: Arc<Node>) {
    if !node.pipeline.store.is_shared() {
        return;
    }
    let mut tick = interval(FOLLOW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tick.tick().await;
        match node.pipeline.refresh().await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(error = %ErrorChain(&error), "cannot follow other instances");
            }
            Err(_) => {}
        }
    }
}

/// Says that this instance is there, until it is dropped.
pub(crate) async fn be_present(node: Arc<Node>) {
    let store = &node.pipeline.store;
    if !store.is_shared() {
        return;
    }
    let mut tick = interval(PRESENT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut entered = false;
    loop {
        tick.tick().await;
        compare_clocks(&node).await;
        let presence = node.presence();
        let told = if entered {
            store.touch(&presence, false).await
        } else {
            store.enter(&presence).await
        };
        match told {
            Ok(()) => entered = true,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "cannot tell that this instance is there");
            }
        }
    }
}

/// Notes how far the clock of this machine is from the database's, as far as the way there tells.
async fn compare_clocks(node: &Node) {
    let Pipeline {
        store,
        clock,
        watch,
        ..
    } = &node.pipeline;
    let before = clock.now().0;
    let Ok(Some(there)) = store.database_time().await else {
        return;
    };
    let after = clock.now().0;
    // What the way takes is no difference.
    let ahead = match there.0 {
        there if there < before => before - there,
        there if there > after => after - there,
        _ => 0,
    };
    watch.note_ahead(ahead);
}

impl Node {
    /// What this instance says of itself.
    pub(crate) fn presence(&self) -> Presence {
        Presence {
            instance: self.instance,
            name: machine(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_version: self.pipeline.policy.current().version,
        }
    }

    /// Says that this instance stops.
    pub(crate) async fn take_leave(&self) {
        let Pipeline { store, .. } = &self.pipeline;
        if store.is_shared()
            && let Err(error) = store.touch(&self.presence(), true).await
        {
            tracing::warn!(error = %ErrorChain(&error), "cannot tell that this instance stops");
        }
    }

    /// Whether this instance is the one that does what one does for all.
    pub(crate) async fn has_upkeep(&self) -> bool {
        let store = &self.pipeline.store;
        let lease = store.lease(UPKEEP, self.instance, UPKEEP_LASTS).await;
        lease.unwrap_or_else(|error| {
            tracing::warn!(error = %ErrorChain(&error), "cannot take the lease on upkeep");
            false
        })
    }
}

/// The name of this machine.
fn machine() -> String {
    let name = rustix::system::uname();
    name.nodename()
        .to_string_lossy()
        .chars()
        .take(255)
        .collect()
}
