//! Recorded envelopes, named for what is wrong with them, that every later version must judge alike.
//!
//! `OSTRAKON_RECORD_VECTORS=1 cargo test -p ostrakon-transport vectors` records them anew. That is for
//! new kinds of them: a change of the old ones is a change of the protocol.

use std::{fs, path::PathBuf};

use ostrakon_shards::{device::DeviceKeys, kem::KemSecret, sign::SigningKey, suite::Suite};
use ostrakon_types::{Denial, RequestId, canonical};
use serde::{Deserialize, Serialize};

use super::{
    super::{wire::Version, *},
    answers,
    forge::Forgery,
};
use crate::{
    fixture::{Device, NOW, PROFILE, Server, location, release, request},
    message::{Answer, Item, ItemAnswer, MAX_ITEMS, RequestBody, ResponseBody},
};

#[derive(Serialize, Deserialize)]
struct Vectors {
    keys: Keys,
    cases: Vec<Vector>,
}

/// Secret keys, each as its `to_bytes` gives them.
#[derive(Serialize, Deserialize)]
struct Keys {
    #[serde(with = "hex")]
    root: [u8; 32],
    #[serde(with = "hex")]
    shards: Vec<u8>,
    #[serde(with = "hex")]
    envelope: Vec<u8>,
    #[serde(with = "hex")]
    device: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Vector {
    name: String,
    /// `opens`, or the name of the error.
    outcome: String,
    #[serde(with = "hex")]
    envelope: Vec<u8>,
    /// What is inside, where it opens, and an answer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exchange: Option<Exchange>,
}

#[derive(Serialize, Deserialize)]
struct Exchange {
    #[serde(with = "hex")]
    body: Vec<u8>,
    digest: ostrakon_types::Digest,
    #[serde(with = "hex")]
    response_body: Vec<u8>,
    #[serde(with = "hex")]
    response_nonce: [u8; 32],
    #[serde(with = "hex")]
    response: Vec<u8>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/envelope.json")
}

impl Keys {
    fn fixed() -> Self {
        let kem = |byte| [&[1], &[byte; 64][..]].concat();
        Self {
            root: [1; 32],
            shards: kem(2),
            envelope: kem(3),
            device: [&[1], &[4; 32][..], &kem(5)].concat(),
        }
    }

    fn server(&self) -> Server {
        let root = SigningKey::from_bytes(&self.root);
        let kem = |bytes| KemSecret::from_bytes(bytes).unwrap();
        Server::with(root, kem(&self.shards), kem(&self.envelope))
    }

    fn device(&self) -> Device {
        Device::with(DeviceKeys::from_bytes(&self.device).unwrap())
    }
}

/// Opens, verifies and parses.
fn judge(
    server: &Server,
    device: &Device,
    envelope: &[u8],
) -> Result<(RequestBody, Authentic), String> {
    let name = |stranger: Stranger| format!("{stranger:?}");
    let opened = server.open(envelope).map_err(name)?;
    let authentic = if opened.card().is_some() {
        opened
            .verify_first_contact()
            .map(|(authentic, _)| authentic)
    } else {
        opened.verify(&device.card)
    };
    let authentic = authentic.map_err(name)?;
    let body = authentic.parse(NOW).map_err(|code| format!("{code:?}"))?;
    Ok((body, authentic))
}

#[test]
fn vectors_are_judged_as_recorded() {
    if std::env::var_os("OSTRAKON_RECORD_VECTORS").is_some() {
        fs::write(
            path(),
            serde_json::to_string_pretty(&record()).unwrap() + "\n",
        )
        .unwrap();
    }
    let Vectors { keys, cases } = serde_json::from_slice(&fs::read(path()).unwrap()).unwrap();
    let (server, device) = (keys.server(), keys.device());
    assert!(cases.len() >= 29);
    for vector in cases {
        let name = &vector.name;
        let judged = judge(&server, &device, &vector.envelope);
        let (body, authentic) = match (judged, vector.outcome.as_str()) {
            (Ok(judged), "opens") => judged,
            (Err(error), outcome) if error == outcome => continue,
            (judged, _) => panic!("{name}: {:?}", judged.err()),
        };
        let exchange = vector.exchange.unwrap();
        assert_eq!(body.to_bytes(), exchange.body, "{name}");
        assert_eq!(body.digest(), exchange.digest, "{name}");
        let response = ResponseBody::from_bytes(&exchange.response_body)
            .ok()
            .unwrap();
        let reply = authentic.into_reply();
        let sealed = reply
            .seal_impl(Version::Single, &response, &exchange.response_nonce)
            .unwrap();
        assert_eq!(sealed, exchange.response, "{name}");
    }
}

fn record() -> Vectors {
    let keys = Keys::fixed();
    let (server, device, other) = (keys.server(), keys.device(), Device::new());
    let (item, _) = release(&server, "payroll/2026.xlsx");
    let body = request(vec![
        item,
        location(),
        Item::ListLocations,
        Item::ProfileHead,
    ]);
    let bytes = body.to_bytes();
    let forgery = Forgery::new(&server, &device);
    let sealed = |contact, suite| device.seal_as(contact, suite, &server, &body).0;
    let good = || sealed(Contact::Known, Suite::X25519);
    let altered = |at: usize| {
        let mut bytes = good();
        bytes[at] ^= 1;
        bytes
    };
    let issued = |at| device.seal(&server, &body.clone().reissued(at)).0;
    let with_items = |items: Vec<Item>| {
        let id = RequestId::from_bytes([0; 16]);
        forgery
            .signed(&canonical::encode(&(1, id, NOW, PROFILE, items)))
            .0
    };
    let profile = ostrakon_types::ProfileId::from_bytes([8; 16]);
    let Item::Release {
        kind,
        mut context,
        sealed: shard,
    } = body.items()[0].clone()
    else {
        panic!("not a release");
    };
    context.public.profile = profile;
    let foreign = Item::Release {
        kind,
        context,
        sealed: shard,
    };
    let last = good().len() - 1;
    let cases = [
        ("x25519", good()),
        ("x_wing", sealed(Contact::Known, Suite::XWing)),
        (
            "x25519_first_contact",
            sealed(Contact::First, Suite::X25519),
        ),
        ("x_wing_first_contact", sealed(Contact::First, Suite::XWing)),
        ("empty", vec![]),
        ("version_bad", altered(0)),
        ("suite_unknown", [&[1, 3], &good()[2..]].concat()),
        ("cut_off", good()[..60].to_vec()),
        ("device_altered", altered(2)),
        ("encapsulated_altered", altered(18)),
        ("ciphertext_altered", altered(50)),
        ("tag_altered", altered(last)),
        ("tail", [&good()[..], &[0]].concat()),
        ("other_server", device.seal(&Server::new(), &body).0),
        ("content_garbage", forgery.content(b"garbage")),
        (
            "content_not_canonical",
            forgery.in_another_spelling(&bytes[bytes.len() - 200..]),
        ),
        ("card_of_another", forgery.with_card(&other.card, &bytes)),
        ("signed_by_another", forgery.signed_by(&other, &bytes).0),
        (
            "signed_for_another_server",
            forgery.signed_for(&Server::new().verified.kss_id(), &bytes),
        ),
        (
            "signed_in_another_envelope",
            forgery.signed_in_another_envelope(&bytes),
        ),
        (
            "signed_as_another_suite",
            forgery.signed_as_another_suite(&bytes),
        ),
        (
            "signed_as_another_purpose",
            forgery.signed_as_another_purpose(&bytes),
        ),
        ("body_garbage", forgery.signed(b"garbage").0),
        (
            "body_with_tail",
            forgery.signed(&[&bytes[..], &[0]].concat()).0,
        ),
        ("no_items", with_items(vec![])),
        (
            "too_many_items",
            with_items(vec![Item::ListLocations; MAX_ITEMS + 1]),
        ),
        ("item_of_another_profile", with_items(vec![foreign])),
        ("expired", issued(NOW.plus(-90_001))),
        ("dated_in_the_future", issued(NOW.plus(30_001))),
    ]
    .into_iter()
    .map(|(name, envelope)| {
        let (outcome, exchange) = match judge(&server, &device, &envelope) {
            Ok((body, authentic)) => ("opens".to_owned(), Some(exchange(&body, &authentic))),
            Err(error) => (error, None),
        };
        Vector {
            name: name.to_owned(),
            outcome,
            envelope,
            exchange,
        }
    })
    .collect();
    Vectors { keys, cases }
}

fn exchange(body: &RequestBody, authentic: &Authentic) -> Exchange {
    let denied = body
        .items()
        .iter()
        .map(|_| ItemAnswer::Denied(Denial::Policy));
    let response = answers(body, denied.collect());
    assert!(matches!(response.answer, Answer::Items(_)));
    let response_nonce = [0x5a; 32];
    let sealed = authentic
        .reply()
        .seal_impl(Version::Single, &response, &response_nonce);
    Exchange {
        body: body.to_bytes(),
        digest: body.digest(),
        response_body: response.to_bytes().to_vec(),
        response_nonce,
        response: sealed.unwrap(),
    }
}
