use super::*;
use crate::kem::KemSecret;

struct Server {
    root: SigningKey,
    shards: KemSecret,
    envelope: KemSecret,
}

impl Server {
    fn new() -> Self {
        Self {
            root: SigningKey::generate().unwrap(),
            shards: KemSecret::generate().unwrap(),
            envelope: KemSecret::generate().unwrap(),
        }
    }

    fn card(&self) -> PublicCard {
        let name = Name::new("keys.example").unwrap();
        let (shards, envelope) = (self.shards.public(), self.envelope.public());
        PublicCard::issue(&self.root, 1, name, shards, envelope)
    }
}

#[test]
fn a_card_is_verified_against_the_id_alone() {
    let server = Server::new();
    let card = server.card();
    let kss_id: KssId = card.claimed_id().to_string().parse().unwrap();
    let card = PublicCard::from_bytes(&card.to_bytes()).unwrap();
    let verified = card.verify(&kss_id).unwrap();
    assert_eq!(verified.kss_id(), kss_id);
    assert_eq!(verified.number(), 1);
    assert_eq!(verified.name().as_str(), "keys.example");
    assert_eq!(verified.device().kem, *server.shards.public());
    assert_eq!(verified.device_id(), verified.device().id());
    assert_eq!(verified.envelope_key(), server.envelope.public());
    assert_eq!(*verified.root_key(), server.root.verify_key());

    let json = serde_json::to_string(&card).unwrap();
    assert_eq!(serde_json::from_str::<PublicCard>(&json).unwrap(), card);
}

#[test]
fn a_card_of_another_server_is_refused() {
    let (server, other) = (Server::new(), Server::new());
    let found = other.card().claimed_id();
    let error = other.card().verify(&server.card().claimed_id());
    assert_eq!(error, Err(VerifyPublicCardError::OtherServer { found }));
}

#[test]
fn nothing_in_a_card_can_be_changed() {
    let (server, other) = (Server::new(), Server::new());
    let card = server.card();
    let kss_id = card.claimed_id();
    let changes: [fn(&mut PublicCard, &PublicCard); 5] = [
        |card, _| card.statement.number += 1,
        |card, _| card.statement.device.name = Name::new("keys.example.org").unwrap(),
        |card, other| card.statement.device.kem = other.statement.device.kem.clone(),
        |card, other| card.statement.envelope = other.statement.envelope.clone(),
        |card, other| card.signature = other.signature,
    ];
    for change in changes {
        let mut changed = card.clone();
        change(&mut changed, &other.card());
        let signature = Err(VerifyPublicCardError::Signature(SignatureError));
        assert_eq!(changed.verify(&kss_id), signature);
    }
}

#[test]
fn the_root_key_signs_for_its_own_device_alone() {
    let (server, other) = (Server::new(), Server::new());
    let changes: [fn(&mut Card, &Server); 2] = [
        |device, _| device.kind = DeviceKind::Workstation,
        |device, other| device.verify = other.root.verify_key(),
    ];
    for change in changes {
        let mut card = server.card();
        change(&mut card.statement.device, &other);
        let message = canonical::encode(&card.statement);
        card.signature = server.root.sign(STATEMENT, &message);
        let verified = card.verify(&card.claimed_id());
        assert_eq!(verified, Err(VerifyPublicCardError::Device));
    }
}
