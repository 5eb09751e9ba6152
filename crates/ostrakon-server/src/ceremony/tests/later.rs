//! What was approved, and is asked for later than at once.
//!
//! Bugs planted to see these tests fail: the time of the approval not looked at
//! (`an_approval_is_good_for_two_minutes`); a `disable` that ends nothing, an `enable` that does not spend its
//! ceremony (`what_would_enable_ends_when_the_server_is_disabled`); the generation not compared
//! (`a_rollback_is_accepted_for_the_state_that_was_shown`).

use std::sync::Arc;

use ostrakon_custody::Change;
use ostrakon_types::CertificateId;

use super::*;
use crate::{admin::Caller, administrators::Administrators, lineage::Lineage, offline::Offline};

const MINUTE: i64 = 60_000;
const ALICE: Caller = Caller::Administrator(CertificateId::from_bytes([1; 16]));

/// A server of a team's, with what its ceremonies need.
struct Place {
    team: Team,
    home: Home,
    offline: Offline,
    lineage: Lineage,
    pending: Pending,
    _folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let team = Team::new();
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        let versions = team.file.versions();
        let mut creation =
            Creation::open(&home, machine(), None, versions, true, WAIT_MS, &clock()).unwrap();
        team.all_approve(&mut creation).await;
        let keep = |_: &BackupFile| Ok::<_, ConveneError>(());
        creation.finish(keep).await.unwrap();
        let offline = Offline::start(&home, &clock()).await.unwrap();
        let root = *offline.keyserver.root_key();
        let lineage = Lineage::start(&home, &offline.store, &offline.signer, root, NOW);
        let administrators = Administrators::load(&offline.store, &offline.signer).await;
        let place = Self {
            lineage: lineage.await.unwrap(),
            pending: Pending::new(Arc::new(administrators)),
            team,
            home,
            offline,
            _folder: folder,
        };
        place.set_enabled(false).await;
        place
    }

    async fn set_enabled(&self, enabled: bool) {
        let change = Change::SetEnabled {
            enabled,
            by: None,
            spends: None,
        };
        self.offline.ledger.administer(change, NOW).await.unwrap();
    }

    fn room(&self, now: UnixMillis) -> Room<'_> {
        Room {
            home: &self.home,
            node: None,
            store: &self.offline.store,
            ledger: &self.offline.ledger,
            signer: &self.offline.signer,
            keyserver: &self.offline.keyserver,
            lineage: &self.lineage,
            instance: self.offline.instance,
            now,
        }
    }

    async fn open(&self, operation: Operation, by: Caller) -> Result<Convened, ConveneError> {
        let ask = Ask {
            operation,
            profile: Vec::new(),
            wait_ms: 23 * 60 * MINUTE,
        };
        self.pending.open(&self.room(NOW), ask, by).await
    }

    /// Opens it, and has all approve.
    async fn approved(&self, operation: Operation, by: Caller) -> Convened {
        let convened = self.open(operation, by).await.unwrap();
        let answers = self.answers(&convened);
        assert_eq!(
            self.look(&convened, by, answers, NOW).await.unwrap(),
            Stand::Approved
        );
        convened
    }

    /// That of every device, each an approval.
    fn answers(&self, convened: &Convened) -> Vec<Sealed> {
        let answers = (0..self.team.devices.len()).map(|device| {
            let (question, keys, _) = self.team.question(convened, device);
            question.approve(keys, None).unwrap()
        });
        answers.collect()
    }

    async fn look(
        &self,
        of: &Convened,
        by: Caller,
        answers: Vec<Sealed>,
        now: UnixMillis,
    ) -> Result<Stand, ConveneError> {
        let room = self.room(now);
        let taken = self.pending.take(&room, of.id, by, answers);
        taken.await.map(|progress| progress.stand)
    }

    async fn fulfil(
        &self,
        of: &Convened,
        by: Caller,
        now: UnixMillis,
    ) -> Result<Fulfilled, String> {
        let done = self.pending.fulfil(&self.room(now), of.id, by).await;
        done.map_err(|error| error.to_string())
    }
}

fn enable() -> Operation {
    Operation::Administer(Administer::Enable)
}

fn clear() -> Operation {
    Operation::Administer(Administer::ClearQuota {
        profiles: Vec::new(),
    })
}

#[tokio::test]
async fn an_approval_is_good_for_two_minutes() {
    let place = Place::new().await;
    let after = |minutes: i64| NOW.plus(minutes * MINUTE + 1);
    for (operation, by) in [
        (enable(), ALICE),
        (clear(), ALICE),
        (enable(), Caller::Operator),
        (Operation::AcceptRollback, Caller::Operator),
    ] {
        let convened = place.approved(operation.clone(), by).await;
        assert_eq!(
            place
                .look(&convened, by, Vec::new(), after(1))
                .await
                .unwrap(),
            Stand::Approved
        );
        let late = place.fulfil(&convened, by, after(2)).await;
        assert_eq!(
            late.unwrap_err(),
            "the approval has grown old",
            "{operation:?}"
        );
        // It is over, on record, and does not come back with the clock.
        assert!(place.fulfil(&convened, by, NOW).await.is_err());
        assert!(
            place
                .pending
                .list(&place.room(NOW))
                .await
                .unwrap()
                .is_empty()
        );
        let convened = place.approved(operation, by).await;
        place.fulfil(&convened, by, after(1)).await.unwrap();
        place.set_enabled(false).await;
    }

    // From afar, nobody lets answers lie uncounted either, nor waits for long.
    let convened = place.open(enable(), ALICE).await.unwrap();
    assert_eq!(convened.expires_at, NOW.plus(60 * MINUTE));
    let looked = place.look(&convened, ALICE, Vec::new(), after(1)).await;
    assert!(matches!(looked, Ok(Stand::Open { .. })), "{looked:?}");
    let looked = place.look(&convened, ALICE, Vec::new(), after(4)).await;
    assert!(matches!(looked, Err(ConveneError::Old)), "{looked:?}");
    let convened = place.open(clear(), Caller::Operator).await.unwrap();
    assert_eq!(convened.expires_at, NOW.plus(23 * 60 * MINUTE));
    let looked = place
        .look(&convened, Caller::Operator, Vec::new(), after(4))
        .await;
    assert!(matches!(looked, Ok(Stand::Open { .. })), "{looked:?}");
    place.offline.finish().await;
}

#[tokio::test]
async fn what_would_enable_ends_when_the_server_is_disabled() {
    let place = Place::new().await;
    let (enables_it, clears) = (
        place.approved(enable(), ALICE).await,
        place.approved(clear(), ALICE).await,
    );
    place
        .pending
        .end_all(&place.room(NOW), enables)
        .await
        .unwrap();
    let refused = place.fulfil(&enables_it, ALICE, NOW).await;
    assert_eq!(refused.unwrap_err(), "it was cancelled");
    let stand = place
        .look(&enables_it, ALICE, Vec::new(), NOW)
        .await
        .unwrap();
    assert_eq!(stand, Stand::Cancelled);
    place.fulfil(&clears, ALICE, NOW).await.unwrap();

    // The same when another instance, or a stopped one, is told.
    let enables_it = place.approved(enable(), ALICE).await;
    let (store, ledger) = (&place.offline.store, &place.offline.ledger);
    let by = place.offline.keyserver.device_id();
    end_all(store, ledger, by, NOW, enables).await.unwrap();
    let refused = place.fulfil(&enables_it, ALICE, NOW).await;
    assert_eq!(refused.unwrap_err(), "it was cancelled");

    // And when that happens after it was looked at, and before it is done.
    let room = place.room(NOW);
    let ask = Ask {
        operation: enable(),
        profile: Vec::new(),
        wait_ms: 10 * MINUTE,
    };
    let (mut held, convened) = room.open(ask, ALICE).await.unwrap();
    let answers = place.answers(&convened);
    assert_eq!(
        held.take(&room, answers).await.unwrap().stand,
        Stand::Approved
    );
    end_all(store, ledger, by, NOW, enables).await.unwrap();
    let refused = room.perform(held).await.map(|_| ());
    assert_eq!(refused.unwrap_err().to_string(), "it was cancelled");
    assert!(!store.server().await.unwrap().unwrap().enabled);

    // And none is opened in advance.
    place.set_enabled(true).await;
    let early = place.open(enable(), ALICE).await;
    assert!(matches!(early, Err(ConveneError::Enabled)));
    place.offline.finish().await;
}

#[tokio::test]
async fn a_rollback_is_accepted_for_the_state_that_was_shown() {
    let place = Place::new().await;
    let by = Caller::Operator;
    let convened = place.approved(Operation::AcceptRollback, by).await;
    let room = place.room(NOW);
    let raised = place.lineage.raise(room.store, room.signer, NOW).await;
    let raised = raised.unwrap().generation();
    let refused = place.fulfil(&convened, by, NOW).await.unwrap_err();
    assert!(refused.contains("state went on since"), "{refused}");
    assert_eq!(place.lineage.newest().generation(), raised);
    assert!(place.pending.list(&room).await.unwrap().is_empty());
    let convened = place.approved(Operation::AcceptRollback, by).await;
    place.fulfil(&convened, by, NOW).await.unwrap();
    place.offline.finish().await;
}
