use std::{fs, path::PathBuf};

use ostrakon_shards::suite::Suite;
use ostrakon_types::{Denial, UnixMillis};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    envelope::{
        Authentic, Contact, OpenResponseError, PendingResponse, Received, Stranger, wire::Version,
    },
    fixture::{Device, NOW, Server, location, release, request},
    message::{Answer, Item, ItemAnswer, RequestBody, ResponseBody},
};

fn answer(body: &RequestBody) -> ResponseBody {
    let items = body.items().iter();
    let denied = items.map(|_| ItemAnswer::Denied(Denial::Policy));
    ResponseBody {
        request_id: Some(body.request_id()),
        server_time: NOW,
        answer: Answer::Items(denied.collect()),
        generation: None,
    }
}

/// Asks for a session and has it granted.
fn begin(server: &Server, device: &Device, suite: Suite) -> (ClientSession, ServerSession) {
    let body = request(vec![location()]);
    let (bytes, pending) = device.seal_as(Contact::Lasting, suite, server, &body);
    let authentic = server.accept(device, &bytes).ok().unwrap();
    assert_eq!(authentic.parse(NOW).unwrap(), body);
    let (sealed, session) = authentic.grant(&answer(&body), NOW).unwrap();
    let Received {
        response,
        session: own,
    } = pending.receive(&sealed).ok().unwrap();
    assert!(matches!(response.answer, Answer::Items(_)));
    (own.unwrap(), session.unwrap())
}

fn fixed() -> (ClientSession, ServerSession) {
    begin(&Server::fixed(), &Device::fixed(), Suite::X25519)
}

fn open(session: &ServerSession, bytes: &[u8]) -> Result<Authentic, Stranger> {
    session.open(&SessionMessage::parse(bytes).unwrap(), NOW)
}

#[test]
fn requests_and_answers_go_through_a_session_in_both_suites() {
    let (server, device) = (Server::new(), Device::new());
    for suite in Suite::ALL {
        let (client, session) = begin(&server, &device, suite);
        assert_eq!(
            (client.suite(), session.device()),
            (suite, device.card.id())
        );
        for path in ["a", "b/c"] {
            let (item, shard) = release(&server, path);
            let body = request(vec![item]);
            let (bytes, pending) = client.seal(&body).unwrap();
            let message = SessionMessage::parse(&bytes).unwrap();
            assert_eq!(message.session(), session.id());
            let authentic = session.open(&message, NOW).ok().unwrap();
            assert_eq!(authentic.device(), device.card.id());
            assert_eq!(authentic.parse(NOW).unwrap(), body);
            assert!(authentic.asked_session().is_none());

            let values = shard.values().to_vec();
            let mut response = answer(&body);
            response.answer = Answer::Items(vec![ItemAnswer::Released(shard)]);
            let sealed = authentic.reply().seal(&response).unwrap();
            let Answer::Items(items) = pending.open(&sealed).ok().unwrap().answer else {
                panic!("refused");
            };
            assert!(matches!(&items[0], ItemAnswer::Released(shard) if shard.values() == values));
        }
    }
}

#[test]
fn only_a_request_that_asks_gets_a_session_and_only_with_the_answer() {
    let (server, device) = (Server::new(), Device::new());
    let body = request(vec![location()]);
    let (bytes, pending) = device.seal(&server, &body);
    let authentic = server.accept(&device, &bytes).ok().unwrap();
    assert!(authentic.asked_session().is_none());
    let (sealed, session) = authentic.grant(&answer(&body), NOW).unwrap();
    assert!(session.is_none());
    assert!(pending.receive(&sealed).ok().unwrap().session.is_none());

    let (bytes, pending) = device.seal_as(Contact::Lasting, Suite::X25519, &server, &body);
    let authentic = server.accept(&device, &bytes).ok().unwrap();
    let declined = authentic.reply().seal(&answer(&body)).unwrap();
    assert!(pending.receive(&declined).ok().unwrap().session.is_none());
    // Whether it was granted cannot be altered on the way.
    let granted = authentic.grant(&answer(&body), NOW).unwrap().0;
    for mut bytes in [declined, granted] {
        bytes[0] ^= Version::Single.as_byte() ^ Version::Opening.as_byte();
        let error = pending.receive(&bytes).err();
        assert!(matches!(error, Some(OpenResponseError::Sealed)));
    }
    // Nor whether it was asked for.
    for contact in [Contact::Known, Contact::Lasting] {
        let (mut bytes, _) = device.seal_as(contact, Suite::X25519, &server, &body);
        bytes[0] ^= Version::Single.as_byte() ^ Version::Opening.as_byte();
        assert_eq!(server.open(&bytes).err(), Some(Stranger::Sealed));
    }
}

#[test]
fn the_same_request_sent_again_names_the_session_but_makes_another() {
    let (server, device) = (Server::new(), Device::new());
    let body = request(vec![location()]);
    let (bytes, pending) = device.seal_as(Contact::Lasting, Suite::X25519, &server, &body);
    let grant = || {
        let authentic = server.accept(&device, &bytes).ok().unwrap();
        assert!(authentic.asked_session().is_some());
        let (sealed, session) = authentic.grant(&answer(&body), NOW).unwrap();
        assert_eq!(
            authentic.asked_session(),
            session.as_ref().map(ServerSession::id)
        );
        (sealed, session.unwrap())
    };
    let ((first, session), (_, again)) = (grant(), grant());
    assert_eq!(session.id(), again.id());
    let client = pending.receive(&first).ok().unwrap().session.unwrap();
    let (message, _) = client.seal(&body).unwrap();
    assert_eq!(open(&again, &message).err(), Some(Stranger::Sealed));
    assert!(open(&session, &message).is_ok());
}

#[test]
fn a_message_is_taken_once_in_whatever_order() {
    let (client, session) = fixed();
    let body = request(vec![location()]);
    let seal = || client.seal(&body).unwrap().0;
    let messages: Vec<_> = (0..100).map(|_| seal()).collect();
    for message in messages.iter().rev() {
        assert!(open(&session, message).is_ok());
    }
    for message in &messages {
        assert_eq!(open(&session, message).err(), Some(Stranger::Repeated));
    }
    let late = seal();
    (0..2000).for_each(|_| drop(open(&session, &seal()).ok().unwrap()));
    assert_eq!(open(&session, &late).err(), Some(Stranger::Repeated));
}

#[test]
fn altered_messages_and_answers_are_refused_and_use_no_number_up() {
    let (server, device) = (Server::new(), Device::new());
    for suite in Suite::ALL {
        let (client, session) = begin(&server, &device, suite);
        let body = request(vec![location()]);
        let (message, pending) = client.seal(&body).unwrap();
        let alter = |bytes: &[u8], at: usize, bit: u8| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= bit;
            bytes
        };
        for at in 0..message.len() {
            for bit in [0x01, 0x80] {
                let altered = alter(&message, at, bit);
                if let Some(parsed) = SessionMessage::parse(&altered) {
                    assert!(session.open(&parsed, NOW).is_err(), "byte {at}");
                }
            }
        }
        for cut in [
            &message[..message.len() - 1],
            &[&message[..], &[0]].concat(),
        ] {
            assert!(open(&session, cut).is_err());
        }
        let authentic = open(&session, &message).ok().unwrap();
        let sealed = authentic.reply().seal(&answer(&body)).unwrap();
        for at in 0..sealed.len() {
            for bit in [0x01, 0x80] {
                let error = pending.open(&alter(&sealed, at, bit)).err();
                assert!(matches!(error, Some(OpenResponseError::Sealed)));
            }
        }
        assert!(pending.open(&sealed).is_ok());
    }
}

#[test]
fn messages_belong_to_one_session_and_one_direction() {
    let (server, device) = (Server::new(), Device::new());
    let body = request(vec![location()]);
    let (client, session) = begin(&server, &device, Suite::X25519);
    let (other_client, other) = begin(&server, &device, Suite::X25519);
    let (message, pending) = client.seal(&body).unwrap();
    assert_eq!(open(&other, &message).err(), Some(Stranger::NoSession));
    // Under the other's name, it does not open there either.
    let mut renamed = message.clone();
    renamed[2..18].copy_from_slice(&other_client.seal(&body).unwrap().0[2..18]);
    assert_eq!(open(&other, &renamed).err(), Some(Stranger::Sealed));

    let (second, second_pending) = client.seal(&body).unwrap();
    let replies = [&message, &second].map(|bytes| {
        let authentic = open(&session, bytes).ok().unwrap();
        authentic.reply().seal(&answer(&body)).unwrap()
    });
    let crossed = [(&pending, &replies[1]), (&second_pending, &replies[0])];
    for (pending, reply) in crossed {
        assert!(matches!(
            pending.open(reply),
            Err(OpenResponseError::Sealed)
        ));
    }
    assert!(pending.open(&replies[0]).is_ok() && second_pending.open(&replies[1]).is_ok());
    // A request does not come back as its own answer.
    let back = [&message[..2], &message[22..]].concat();
    assert!(matches!(
        pending.open(&back),
        Err(OpenResponseError::Sealed)
    ));
    // And an answer is no request.
    let forth = [&second[..22], &replies[1][2..]].concat();
    let (_, fresh) = begin(&server, &device, Suite::X25519);
    assert!(open(&fresh, &forth).is_err());
    // Of no session, and no envelope either.
    assert_eq!(server.open(&message).err(), Some(Stranger::NotAnEnvelope));
}

#[test]
fn a_session_has_its_time_and_its_number_of_messages() {
    let (client, session) = fixed();
    let at = |time: UnixMillis| request(vec![location()]).reissued(time);
    let end = NOW.plus(SESSION_MILLIS);
    let (message, _) = client.seal(&at(NOW)).unwrap();
    let message = SessionMessage::parse(&message).unwrap();
    for wrong in [end, end.plus(1), NOW.plus(-1), UnixMillis(i64::MIN)] {
        assert!(session.is_over(wrong) && client.is_over(wrong));
        let error = session.open(&message, wrong).err();
        assert_eq!(error, Some(Stranger::NoSession));
        let sealed = client.seal(&at(wrong));
        assert!(matches!(sealed, Err(SealInSessionError::Over)));
    }
    let last = end.plus(-1);
    assert!(client.seal(&at(last)).is_ok() && session.open(&message, last).is_ok());

    for _ in 2..SESSION_MESSAGES {
        assert!(!client.is_over(NOW));
        client.skip();
    }
    assert!(client.is_over(NOW));
    assert!(matches!(
        client.seal(&at(NOW)),
        Err(SealInSessionError::Over)
    ));
}

#[test]
fn a_request_in_a_session_has_its_own_validity() {
    use crate::message::RefusalCode;
    let (client, session) = fixed();
    let (message, _) = client.seal(&request(vec![location()])).unwrap();
    let late = NOW.plus(120_000);
    let message = SessionMessage::parse(&message).unwrap();
    let authentic = session.open(&message, late).ok().unwrap();
    assert_eq!(authentic.parse(late), Err(RefusalCode::Expired));
}

#[test]
fn what_is_too_long_is_refused() {
    let (client, _) = fixed();
    let server = Server::fixed();
    let (item, _) = release(&server, &"x".repeat(crate::message::MAX_PATH_LEN));
    let largest = request(vec![item; crate::message::MAX_ITEMS]);
    let (bytes, _) = client.seal(&largest).unwrap();
    assert!(SessionMessage::parse(&bytes).is_some());
    let longer = [&bytes[..], &vec![0; crate::envelope::MAX_ENVELOPE_LEN]].concat();
    assert!(SessionMessage::parse(&longer).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any deliveries of any messages, in any order, some altered: each is taken once at most, those
    /// within the window exactly once, and altered ones never.
    #[test]
    fn deliveries_in_any_order_are_taken_once(
        deliveries in prop::collection::vec((0..48_usize, prop::option::weighted(0.2, 0..4000_usize)), 1..200),
    ) {
        let (client, session) = fixed();
        let body = request(vec![location()]);
        let messages: Vec<_> = (0..48).map(|_| client.seal(&body).unwrap().0).collect();
        let mut taken = [false; 48];
        for (which, altered) in deliveries {
            let mut bytes = messages[which].clone();
            if let Some(at) = altered {
                let at = at % bytes.len();
                bytes[at] ^= 0x10;
            }
            let opened = SessionMessage::parse(&bytes)
                .is_some_and(|message| session.open(&message, NOW).is_ok());
            prop_assert_eq!(opened, altered.is_none() && !taken[which]);
            taken[which] |= opened;
        }
    }

    #[test]
    fn arbitrary_messages_never_panic(bytes: Vec<u8>, suite in 1..=2_u8) {
        let (client, session) = fixed();
        let headed = [&[3, suite], &*bytes].concat();
        for bytes in [bytes, headed] {
            if let Some(message) = SessionMessage::parse(&bytes) {
                prop_assert!(session.open(&message, NOW).is_err());
            }
            let (_, pending) = client.seal(&request(vec![location()])).unwrap();
            prop_assert!(pending.open(&bytes).is_err());
        }
    }
}

/// A recorded session: the request that begins it, its answer, and messages with their answers. Keys
/// are those of `envelope.json`.
#[derive(Serialize, Deserialize)]
struct Recorded {
    name: String,
    #[serde(with = "hex")]
    request: Vec<u8>,
    #[serde(with = "hex")]
    nonce: [u8; 32],
    #[serde(with = "hex")]
    answer: Vec<u8>,
    #[serde(with = "hex")]
    session: [u8; 16],
    messages: Vec<RecordedMessage>,
}

#[derive(Serialize, Deserialize)]
struct RecordedMessage {
    name: String,
    /// `opens`, or the name of the error.
    outcome: String,
    #[serde(with = "hex")]
    message: Vec<u8>,
    #[serde(with = "hex")]
    random: [u8; 32],
    #[serde(with = "hex")]
    answer: Vec<u8>,
}

/// Judges the messages of a session that a recorded request began, and answers what opens.
fn replay(recorded: &Recorded) -> Recorded {
    let (server, device) = (Server::fixed(), Device::fixed());
    let authentic = server.accept(&device, &recorded.request).ok().unwrap();
    let body = authentic.parse(NOW).unwrap();
    let granted = authentic.grant_impl(&answer(&body), NOW, &recorded.nonce);
    let (sealed, session) = granted.unwrap();
    let session = session.unwrap();
    let judge = |recorded: &RecordedMessage| {
        let opened = SessionMessage::parse(&recorded.message)
            .ok_or(Stranger::NotAnEnvelope)
            .and_then(|message| session.open(&message, NOW));
        let (outcome, answer) = match opened {
            Ok(authentic) => {
                let response = answer(&authentic.parse(NOW).unwrap());
                let reply = authentic.into_reply();
                let sealed = reply.seal_impl(Version::Single, &response, &recorded.random);
                ("opens".to_owned(), sealed.unwrap())
            }
            Err(stranger) => (format!("{stranger:?}"), Vec::new()),
        };
        RecordedMessage {
            outcome,
            answer,
            name: recorded.name.clone(),
            message: recorded.message.clone(),
            random: recorded.random,
        }
    };
    Recorded {
        name: recorded.name.clone(),
        request: recorded.request.clone(),
        nonce: recorded.nonce,
        answer: sealed,
        session: session.id().0,
        messages: recorded.messages.iter().map(judge).collect(),
    }
}

fn record(suite: Suite) -> Recorded {
    let (server, device) = (Server::fixed(), Device::fixed());
    let body = request(vec![location()]);
    let (bytes, pending): (_, PendingResponse) =
        device.seal_as(Contact::Lasting, suite, &server, &body);
    let authentic = server.accept(&device, &bytes).ok().unwrap();
    let nonce = [0x5a; 32];
    let (sealed, _) = authentic.grant_impl(&answer(&body), NOW, &nonce).unwrap();
    let client = pending.receive(&sealed).ok().unwrap().session.unwrap();
    let other = begin(&server, &device, suite).0;
    let (item, _) = release(&server, "payroll/2026.xlsx");
    let next = || request(vec![item.clone(), Item::ListLocations]);
    let seal = |random: u8| client.seal_impl(&next(), &[random; 32]).unwrap().0;
    let good = seal(1);
    let mut altered = seal(2);
    altered[20] ^= 1;
    let messages = [
        ("first", good.clone()),
        ("repeated", good),
        ("later", seal(3)),
        ("number_altered", altered),
        ("of_another_session", other.seal(&next()).unwrap().0),
        ("cut_off", seal(4)[..60].to_vec()),
    ];
    let messages = messages.map(|(name, message)| RecordedMessage {
        name: name.to_owned(),
        outcome: String::new(),
        message,
        random: [0xa5; 32],
        answer: Vec::new(),
    });
    replay(&Recorded {
        name: suite.to_string(),
        request: bytes,
        nonce,
        answer: sealed,
        session: [0; 16],
        messages: messages.into(),
    })
}

/// Recorded anew like those of `envelope.json`.
#[test]
fn sessions_are_judged_as_recorded() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/session.json");
    let print = |recorded: &[Recorded]| serde_json::to_string_pretty(recorded).unwrap() + "\n";
    if std::env::var_os("OSTRAKON_RECORD_VECTORS").is_some() {
        fs::write(&path, print(&Suite::ALL.map(record))).unwrap();
    }
    let text = fs::read_to_string(path).unwrap();
    let recorded: Vec<Recorded> = serde_json::from_str(&text).unwrap();
    assert_eq!(recorded.len(), 2);
    let opening = recorded.iter().flat_map(|session| &session.messages);
    let opening = opening.filter(|message| message.outcome == "opens");
    assert_eq!(opening.count(), 4);
    let replayed: Vec<_> = recorded.iter().map(replay).collect();
    assert_eq!(print(&replayed), text);
}
