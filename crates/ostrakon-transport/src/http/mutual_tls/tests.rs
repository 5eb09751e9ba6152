use std::{net::SocketAddr, sync::Mutex};

use axum::{Extension, Json, Router, routing::get};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    pki_types::PrivatePkcs8KeyDer,
    sign::{CertifiedKey, SingleCertAndKey},
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, task::JoinHandle};

use super::super::listener::PROVING;
use super::*;
use crate::http::{
    Drained, JsonClient, JsonError, ListenerLimits, serve,
    testing::{PATIENCE, SHORT, within},
};

struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn identity(&self) -> (ClientIdentity, Vec<u8>) {
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ClientAuth);
        let parts = [
            key.serialize_pem(),
            certificate.pem(),
            self.certificate.pem(),
        ];
        let identity = ClientIdentity::from_pem(parts.concat().as_bytes());
        (identity.unwrap(), certificate.der().to_vec())
    }
}

struct Heard {
    address: SocketAddr,
    failed: Arc<Mutex<Vec<HandshakeFailure>>>,
    _task: JoinHandle<Drained>,
}

async fn start(authority: &Authority, limits: ListenerLimits) -> Heard {
    let (certificate, key) = authority.issue(ExtendedKeyUsagePurpose::ServerAuth);
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = any_ecdsa_type(&key).unwrap();
    let own = CertifiedKey::new(vec![certificate.der().clone()], key);
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let failed = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&failed);
    let listener = TlsListener::new(
        tcp,
        authority.certificate.der(),
        Arc::new(SingleCertAndKey::from(own)),
        || UnixMillis(1_800_000_000_000),
        move |failure| told.lock().unwrap().push(failure),
    );
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    let who = async |Extension(shown): Extension<PeerCertificate>| Json(json!(shown.0.to_vec()));
    let router = Router::new().route("/who", get(who));
    let served = serve(listener, router, limits, std::future::pending());
    Heard {
        address,
        failed,
        _task: tokio::spawn(served),
    }
}

fn client(address: SocketAddr, identity: ClientIdentity) -> JsonClient {
    let url = format!("https://{address}").parse().unwrap();
    let client = JsonClient::mutual_tls(&url, identity, PATIENCE);
    client.unwrap().unwrap()
}

#[tokio::test]
async fn both_sides_prove_who_they_are() {
    let authority = Authority::new();
    let heard = start(&authority, ListenerLimits::default()).await;
    let (identity, certificate) = authority.identity();
    let answer: Value = client(heard.address, identity).get("/who").await.unwrap();
    assert_eq!(answer, json!(certificate));

    // Who is of another authority takes this server for a stranger, as it takes them.
    let (identity, _) = Authority::new().identity();
    let refused = client(heard.address, identity).get::<Value>("/who").await;
    assert!(
        matches!(refused, Err(JsonError::Handshake(..))),
        "{refused:?}"
    );
    let plain = "http://127.0.0.1:1".parse().unwrap();
    let (identity, _) = authority.identity();
    let plain = JsonClient::mutual_tls(&plain, identity, PATIENCE);
    assert!(plain.unwrap().is_none());
    for text in [
        "",
        "-----BEGIN CERTIFICATE-----\n",
        &authority.certificate.pem(),
    ] {
        assert!(ClientIdentity::from_pem(text.as_bytes()).is_err(), "{text}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_cut_off() {
    let authority = Authority::new();
    let limits = ListenerLimits {
        connections: 1,
        head_timeout: SHORT,
        ..ListenerLimits::default()
    };
    let heard = start(&authority, limits).await;
    let mut silent = TcpStream::connect(heard.address).await.unwrap();
    let read = within(silent.read(&mut [0; 1])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(*heard.failed.lock().unwrap(), [HandshakeFailure::Other]);
    // Its place is free again.
    let (identity, _) = authority.identity();
    let answer = client(heard.address, identity).get::<Value>("/who").await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out() {
    let authority = Authority::new();
    let limits = ListenerLimits {
        connections: 2,
        ..ListenerLimits::default()
    };
    let heard = start(&authority, limits).await;
    let mut silent = Vec::new();
    for _ in 0..PROVING + 40 {
        silent.push(TcpStream::connect(heard.address).await.unwrap());
    }
    let (identity, _) = authority.identity();
    let answer = client(heard.address, identity).get::<Value>("/who").await;
    assert!(answer.is_ok(), "{answer:?}");
    // The oldest have given way.
    let mut oldest = silent.swap_remove(0);
    let read = within(oldest.read(&mut [0; 1])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}
