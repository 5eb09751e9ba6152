//! A profile of a workstation and a key shard server.

use std::{fs, path::PathBuf, time::Duration};

use ostrakon_client::{
    AskError, BaseUrl, Config, CreateFolderError, DecryptError, DecryptOptions, EncryptOptions,
    OnboardError, Suite, Summary, Workstation,
};
use ostrakon_types::{Denial, Digest, KssId, UnixMillis};

use crate::{
    fixture::{Place, names, slow_environment, told, told_of_one},
    stand_in::{Mode, StandIn, Way},
};

const QUOTA: Denial = Denial::Quota {
    resets_at: UnixMillis(1_795_003_600_000),
};

fn config(urls: &[&BaseUrl]) -> Config {
    Config {
        keyserver_urls: urls.iter().copied().cloned().collect(),
        request_timeout: Duration::from_secs(1),
        ..Config::default()
    }
}

/// A workstation that is onboarded and has the folder `vault`.
async fn workstation(place: &Place, server: &StandIn) -> Workstation {
    let mut workstation = place.open_with(config(&[&server.url]));
    workstation.onboard(server.kss_id(), &[]).await.unwrap();
    let vault = place.path("vault");
    workstation
        .create_folder(&vault, Some("Vault"), Suite::X25519)
        .await
        .unwrap();
    workstation
}

/// Encrypts the files and removes the originals.
fn lock_up(workstation: &Workstation, paths: &[PathBuf]) {
    let options = EncryptOptions {
        remove: true,
        ..EncryptOptions::default()
    };
    let summary = workstation
        .encrypt(paths, &options, &mut Vec::new())
        .unwrap();
    assert_eq!(summary.done, u64::try_from(paths.len()).unwrap());
}

#[tokio::test]
async fn onboarding_makes_a_profile_of_two_devices() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let workstation = workstation(&place, &server).await;
    let view = workstation.profile().unwrap();
    assert_eq!(view.profile.version().name.as_str(), "zoe@pallas");
    assert_eq!(view.profile.threshold().needed(), 2);
    assert_eq!(view.profile.version().devices.len(), 2);
    assert_eq!(view.keyserver, Some(server.kss_id()));
    assert_eq!(view.groups.len(), 1);
    assert!(view.signed_head.is_some());
    // Not an administrator: no default folders.
    assert_eq!(workstation.folders().len(), 1);
}

#[tokio::test]
async fn an_administrator_gets_the_default_folders_on_first_use() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let config = Config {
        keyserver_id: Some(server.kss_id()),
        administrator: true,
        default_folders: vec![place.path("Personal"), place.path("Shared")],
        ..config(&[&server.url])
    };
    let mut workstation = place.open_with(config.clone());
    assert!(workstation.onboard_if_configured().await.unwrap());
    let names: Vec<_> = workstation
        .folders()
        .iter()
        .map(|folder| folder.name().as_str())
        .collect();
    assert_eq!(names, ["Personal", "Shared"]);
    assert!(
        !place
            .open_with(config)
            .onboard_if_configured()
            .await
            .unwrap()
    );
    assert_eq!(server.profiles(), 1);
}

#[tokio::test]
async fn an_interrupted_onboarding_goes_on_with_the_same_request() {
    let (place, server) = (Place::new(), StandIn::new().await);
    server.set(Mode::Lose);
    let mut workstation = place.open_with(config(&[&server.url]));
    workstation.onboard(server.kss_id(), &[]).await.unwrap_err();
    assert!(workstation.profile().is_none());
    drop(workstation);
    server.set(Mode::Good);
    let mut workstation = place.open_with(config(&[&server.url]));
    workstation.onboard(server.kss_id(), &[]).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0], requests[1]);
    assert_eq!(server.profiles(), 1);
    // Once more renews what is known, and makes nothing.
    workstation.onboard(server.kss_id(), &[]).await.unwrap();
    assert_eq!(server.profiles(), 1);
}

#[tokio::test]
async fn a_server_whose_card_does_not_match_the_id_is_refused() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let mut workstation = place.open_with(config(&[&server.url]));
    let other = KssId::from_digest(Digest::from_bytes([9; 32]));
    let error = workstation.onboard(other, &[]).await.unwrap_err();
    assert!(matches!(error, OnboardError::Card(_)), "{error:?}");
    assert!(server.requests().is_empty());
    assert!(workstation.profile().is_none());
}

#[tokio::test]
async fn onboarding_answers_that_are_not_the_servers_are_refused() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let mut workstation = place.open_with(config(&[&server.url]));
    for mode in [
        Mode::Garbage,
        Mode::Earlier,
        Mode::ForeignHead,
        Mode::Unavailable,
        Mode::Deny("", Denial::Policy),
    ] {
        server.set(mode);
        workstation.onboard(server.kss_id(), &[]).await.unwrap_err();
        assert!(workstation.profile().is_none(), "{mode:?}");
        assert!(place.open().profile().is_none(), "{mode:?}");
    }
    server.set(Mode::Good);
    workstation.onboard(server.kss_id(), &[]).await.unwrap();
}

#[tokio::test]
async fn files_are_decrypted_in_one_request_and_denied_one_by_one() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let workstation = workstation(&place, &server).await;
    let paths = ["a.txt", "b.secret", "sub/c.txt"].map(|name| place.write(name, name.as_bytes()));
    lock_up(&workstation, &paths);
    server.set(Mode::Deny(".secret", QUOTA));
    let before = server.requests().len();
    let mut reports = Vec::new();
    let vault = [place.path("vault")];
    let options = DecryptOptions::default();
    let summary = workstation
        .decrypt(&vault, &options, &mut reports)
        .await
        .unwrap();
    assert_eq!(
        summary,
        Summary {
            done: 2,
            denied: 1,
            ..Summary::default()
        }
    );
    assert_eq!(
        server.requests()[before..]
            .iter()
            .map(|sent| sent.1)
            .collect::<Vec<_>>(),
        [3]
    );
    assert!(told(&reports).contains(&("b.secret.age".into(), format!("denied {QUOTA:?}"))));
    assert_eq!(fs::read(&paths[2]).unwrap(), b"sub/c.txt");
    assert!(!paths[1].exists());
}

#[tokio::test]
async fn many_files_are_asked_for_in_batches() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let workstation = workstation(&place, &server).await;
    let paths: Vec<_> = (0..130)
        .map(|n| place.write(&format!("{n:03}"), b"x"))
        .collect();
    lock_up(&workstation, &paths);
    let before = server.requests().len();
    let mut reports = Vec::new();
    let options = DecryptOptions::default();
    workstation
        .decrypt(&[place.path("vault")], &options, &mut reports)
        .await
        .unwrap();
    assert_eq!(
        server.requests()[before..]
            .iter()
            .map(|sent| sent.1)
            .collect::<Vec<_>>(),
        [64, 64, 2]
    );
    let order: Vec<_> = told(&reports).into_iter().map(|(name, _)| name).collect();
    assert!(order.is_sorted());
}

#[tokio::test]
async fn many_files_are_asked_for_in_one_session_and_fall_back_without_a_word() {
    use Way::{Asking, Envelope, Session};
    let (place, server) = (Place::new(), StandIn::new().await);
    let workstation = workstation(&place, &server).await;
    let paths: Vec<_> = (0..400)
        .map(|n| place.write(&format!("{n:03}"), b"x"))
        .collect();
    lock_up(&workstation, &paths);
    let vault = place.path("vault");
    let decrypt = async |few: usize| {
        let before = (server.ways().len(), server.requests().len());
        let options = DecryptOptions {
            overwrite: true,
            ..DecryptOptions::default()
        };
        let encrypted: Vec<_> = paths[..few]
            .iter()
            .map(|path| path.with_added_extension("age"))
            .collect();
        let mut reports = Vec::new();
        let summary = workstation
            .decrypt(&encrypted, &options, &mut reports)
            .await
            .unwrap();
        assert_eq!(summary.done, few as u64);
        // However a request came, it was asked and answered once.
        let requests = server.requests().split_off(before.1);
        assert_eq!(requests.iter().map(|sent| sent.1).sum::<usize>(), few);
        server.ways().split_off(before.0)
    };
    assert_eq!(decrypt(3).await, [Envelope]);
    let [first, rest @ ..] = &*decrypt(400).await else {
        panic!("no request");
    };
    assert_eq!((first, rest), (&Asking, &[Session; 6][..]));
    assert!(vault.exists());

    // Behind a balancer, it gives up after a few.
    server.set(Mode::NoSessions);
    assert_eq!(
        decrypt(400).await,
        [
            Asking, Asking, Asking, Envelope, Envelope, Envelope, Envelope
        ]
    );
    server.set(Mode::Good);
    server.forget_sessions();
    assert_eq!(decrypt(65).await, [Asking, Session]);
}

#[tokio::test]
async fn wrong_answers_give_an_error_and_no_output() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let workstation = workstation(&place, &server).await;
    let paths = [place.write("a", b"a"), place.write("b", b"b")];
    lock_up(&workstation, &paths);
    let vault = place.path("vault");
    let options = DecryptOptions::default();
    for (mode, expected) in [
        (
            Mode::ForeignShards,
            "failed: the key shard server answered with a bad share",
        ),
        (
            Mode::Swapped,
            "failed: the key shard server answered with a bad share",
        ),
        (
            Mode::Mismatch,
            "failed: the key shard server cannot open its share",
        ),
    ] {
        server.set(mode);
        let mut reports = Vec::new();
        let summary = workstation
            .decrypt(&[&vault], &options, &mut reports)
            .await
            .unwrap();
        assert_eq!(summary.failed, 2, "{mode:?}");
        assert!(
            told(&reports)
                .iter()
                .all(|(_, told)| told.starts_with(expected)),
            "{:?}",
            told(&reports)
        );
        assert_eq!(names(&vault), ["a.age", "b.age"]);
    }
    for mode in [Mode::Garbage, Mode::Earlier, Mode::Unavailable, Mode::Lose] {
        server.set(mode);
        let result = workstation
            .decrypt(&[&vault], &options, &mut Vec::new())
            .await;
        assert!(matches!(result, Err(DecryptError::Ask(_))), "{mode:?}");
        assert_eq!(names(&vault), ["a.age", "b.age"]);
    }
}

#[tokio::test]
async fn clocks_that_differ_are_named_as_the_cause() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let workstation = workstation(&place, &server).await;
    let path = place.write("a", b"a");
    lock_up(&workstation, std::slice::from_ref(&path));
    for millis in [-300_000, 300_000] {
        server.set(Mode::Clock(millis));
        let options = DecryptOptions::default();
        let result = workstation
            .decrypt(&[place.path("vault")], &options, &mut Vec::new())
            .await;
        let Err(DecryptError::Ask(AskError::Clock { ahead_millis })) = result else {
            panic!("{result:?}");
        };
        assert_eq!(ahead_millis, -millis);
    }
}

#[tokio::test]
async fn addresses_are_tried_in_order_and_a_dead_one_is_passed_over() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let dead: BaseUrl = "http://127.0.0.1:1".parse().unwrap();
    let mut workstation = place.open_with(config(&[&dead, &server.url]));
    workstation.onboard(server.kss_id(), &[]).await.unwrap();
    let place = Place::new();
    let mut alone = place.open_with(config(&[&dead]));
    let error = alone.onboard(server.kss_id(), &[]).await.unwrap_err();
    assert!(
        matches!(error, OnboardError::Ask(AskError::Unreachable(_))),
        "{error:?}"
    );
    let mut nowhere = place.open_with(config(&[]));
    let error = nowhere.onboard(server.kss_id(), &[]).await.unwrap_err();
    assert!(matches!(error, OnboardError::NoUrl), "{error:?}");
}

#[tokio::test]
async fn a_folder_that_was_begun_is_finished_and_a_denied_one_forgotten() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let mut workstation = workstation(&place, &server).await;
    let other = place.path("other");
    server.set(Mode::Lose);
    workstation
        .create_folder(&other, None, Suite::X25519)
        .await
        .unwrap_err();
    let begun = workstation.folders()[1].location();
    fs::write(other.join("x"), b"x").unwrap();
    let mut reports = Vec::new();
    workstation
        .encrypt(&[&other], &EncryptOptions::default(), &mut reports)
        .unwrap();
    assert!(told_of_one(&reports).contains("not known to the key shard server yet"));
    server.set(Mode::Good);
    let finished = workstation
        .create_folder(&other, None, Suite::X25519)
        .await
        .unwrap();
    assert_eq!(finished.location(), begun);
    assert!(finished.is_registered());
    let requests = server.requests();
    let [.., lost, again] = requests.as_slice() else {
        panic!()
    };
    assert_eq!(lost, again);

    server.set(Mode::Deny("", Denial::Policy));
    let third = place.path("third");
    let denied = workstation.create_folder(&third, None, Suite::X25519).await;
    assert!(matches!(
        denied,
        Err(CreateFolderError::Denied(Denial::Policy))
    ));
    assert_eq!(workstation.folders().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_written_is_not_asked_for() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let workstation = workstation(&place, &server).await;
    let path = place.write("a", b"a");
    lock_up(&workstation, std::slice::from_ref(&path));
    fs::write(&path, b"mine").unwrap();
    let before = server.requests().len();
    let options = DecryptOptions::default();
    let mut reports = Vec::new();
    workstation
        .decrypt(&[place.path("vault")], &options, &mut reports)
        .await
        .unwrap();
    assert_eq!(told_of_one(&reports), "failed: the output exists already");
    let options = DecryptOptions {
        output: Some("/proc/nowhere".into()),
        ..options
    };
    let mut reports = Vec::new();
    workstation
        .decrypt(&[place.path("vault")], &options, &mut reports)
        .await
        .unwrap();
    assert!(told_of_one(&reports).starts_with("failed: cannot write the output"));
    assert_eq!(server.requests().len(), before);
}

#[tokio::test]
async fn an_expired_envelope_is_followed_by_a_fresh_one_of_the_same_request() {
    let (place, server) = (Place::new(), StandIn::new().await);
    lock_up(
        &workstation(&place, &server).await,
        &[place.write("a", b"a")],
    );
    let config = config(&[&server.url]);
    let slow = Workstation::open(&place.path("home"), config, slow_environment()).unwrap();
    server.set(Mode::ExpireOnce);
    let options = DecryptOptions::default();
    let vault = [place.path("vault")];
    let summary = slow
        .decrypt(&vault, &options, &mut Vec::new())
        .await
        .unwrap();
    assert_eq!(summary.done, 1);
    let requests = server.requests();
    let [.., first, second] = requests.as_slice() else {
        panic!()
    };
    assert_eq!(first, second);
}

#[tokio::test]
async fn altered_stanzas_of_the_server_are_found() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let workstation = workstation(&place, &server).await;
    let path = place.write("a", b"a");
    lock_up(&workstation, std::slice::from_ref(&path));
    let file = path.with_extension("age");
    let good = fs::read(&file).unwrap();
    let ours = b"\n-> ostrakon-share ";
    let stanza = good.windows(ours.len()).rposition(|at| at == ours).unwrap();
    let body = stanza
        + 1
        + good[stanza + 1..]
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap()
        + 1;
    let decrypt = async |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let mut reports = Vec::new();
        workstation
            .decrypt(&[&file], &DecryptOptions::default(), &mut reports)
            .await
            .unwrap();
        assert!(!path.exists());
        told_of_one(&reports)
    };
    let flip = |at: usize| {
        let mut bad = good.clone();
        bad[at] = if bad[at] == b'1' { b'2' } else { b'1' };
        bad
    };
    let mismatch = "failed: the key shard server cannot open its share";
    assert!(decrypt(&flip(body + 20)).await.starts_with(mismatch));
    // The set's id, which all stanzas share, and the index, which is bound into the shard.
    let set = stanza + ours.len() + "v1 ".len();
    assert_eq!(decrypt(&flip(set)).await, "failed: its header is damaged");
    // Without the server's stanza nobody is left to ask.
    let end = good
        .windows(4)
        .skip(body)
        .position(|at| at.starts_with(b"\n->") || at == b"\n---");
    let without = [&good[..stanza], &good[body + end.unwrap()..]].concat();
    let alone = "failed: it takes 2 devices to decrypt it, and only 1 can be asked";
    assert_eq!(decrypt(&without).await, alone);
}

#[tokio::test]
async fn what_the_server_did_and_forgot_is_recognised() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let mut workstation = place.open_with(config(&[&server.url]));
    server.set(Mode::Lose);
    workstation.onboard(server.kss_id(), &[]).await.unwrap_err();
    server.set(Mode::Forget);
    workstation.onboard(server.kss_id(), &[]).await.unwrap();
    assert_eq!(server.profiles(), 1);
    let vault = place.path("vault");
    server.set(Mode::Lose);
    workstation
        .create_folder(&vault, None, Suite::X25519)
        .await
        .unwrap_err();
    server.set(Mode::Forget);
    assert!(
        workstation
            .create_folder(&vault, None, Suite::X25519)
            .await
            .unwrap()
            .is_registered()
    );
    // What it never did stays denied.
    let other = workstation
        .create_folder(&place.path("other"), None, Suite::X25519)
        .await;
    assert!(matches!(
        other,
        Err(CreateFolderError::Denied(Denial::Conflict))
    ));
}

#[tokio::test]
async fn after_a_denial_the_next_try_is_another_request() {
    let (place, server) = (Place::new(), StandIn::new().await);
    let mut workstation = place.open_with(config(&[&server.url]));
    server.set(Mode::Deny("", Denial::Disabled));
    let denied = workstation.onboard(server.kss_id(), &[]).await;
    assert!(matches!(
        denied,
        Err(OnboardError::Denied(Denial::Disabled))
    ));
    server.set(Mode::Good);
    workstation.onboard(server.kss_id(), &[]).await.unwrap();
    let requests = server.requests();
    assert_ne!(requests[0], requests[1]);
    assert_eq!(server.profiles(), 1);
}
