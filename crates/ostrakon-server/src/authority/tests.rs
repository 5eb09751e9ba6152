use std::sync::Arc;

use ostrakon_storage::{ProtectorKey, Store};
use rustls::{
    CertificateError, Error, RootCertStore, pki_types::UnixTime, server::WebPkiClientVerifier,
};

use super::*;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

struct Room {
    store: Store,
    authority: Authority,
    key: ClientKey,
    _folder: tempfile::TempDir,
}

fn kss_id() -> KssId {
    KssId::from_digest(Digest::from_bytes([7; 32]))
}

impl Room {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let protector = ProtectorKey::create(&folder.path().join("instance.key")).unwrap();
        let store = Store::create(&folder.path().join("keyserver.db"), &protector).await;
        let store = store.unwrap();
        let authority = Authority::of(&store, &kss_id(), NOW).await.unwrap();
        Self {
            store,
            authority,
            key: ClientKey::generate().unwrap(),
            _folder: folder,
        }
    }

    fn issue(&self, days: u16) -> (CertificateRow, CertificateRecord, CertificateDer<'static>) {
        let (name, purpose) = ("alice".parse().unwrap(), Purpose::Administrator);
        let issued = self
            .authority
            .issue(name, purpose, &self.key.public(), days, NOW);
        issued.unwrap()
    }

    async fn keep(&self, row: &CertificateRow) {
        let mut tx = self.store.begin().await.unwrap();
        tx.put_certificate(row).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn admit(&self, certificate: &[u8], now: UnixMillis) -> Result<CertificateId, String> {
        let purpose = Purpose::Administrator;
        let admitted = Authority::admit(&self.store, certificate, purpose, now).await;
        admitted.map_err(|error| format!("{error:?}"))
    }

    fn verify(&self, certificate: &CertificateDer<'_>, now: UnixMillis) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let since = Duration::from_millis(now.0.try_into().unwrap());
        let verifier = verifier.build().unwrap();
        let now = UnixTime::since_unix_epoch(since);
        verifier
            .verify_client_cert(certificate, &[], now)
            .map(|_| ())
    }
}

#[tokio::test]
async fn an_authority_is_made_once_and_issues_what_it_vouches_for() {
    let room = Room::new().await;
    let (_, _, certificate) = room.issue(1);
    let again = Authority::of(&room.store, &kss_id(), NOW.plus(DAY_MS)).await;
    let again = again.unwrap();
    assert_eq!(again.certificate(), room.authority.certificate());
    let (_, _, later) = Room {
        authority: again,
        ..Room::new().await
    }
    .issue(1);
    for certificate in [certificate, later] {
        assert_eq!(room.verify(&certificate, NOW), Ok(()));
    }
    // Another server's are foreign, whatever its id.
    let (_, _, foreign) = Room::new().await.issue(1);
    let refused = room.verify(&foreign, NOW);
    assert!(
        matches!(refused, Err(Error::InvalidCertificate(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_certificate_ends_with_its_time_and_is_for_clients_alone() {
    let room = Room::new().await;
    let (_, _, certificate) = room.issue(2);
    assert_eq!(
        room.verify(&certificate, NOW.plus(2 * DAY_MS - 1000)),
        Ok(())
    );
    let expired = room.verify(&certificate, NOW.plus(2 * DAY_MS + 1000));
    assert!(
        matches!(
            expired,
            Err(Error::InvalidCertificate(
                CertificateError::ExpiredContext { .. }
            ))
        ),
        "{expired:?}"
    );
    let names = ["keys.example.org".to_owned(), "192.0.2.1".to_owned()];
    let (_, server) = room.authority.for_listener(&names, 1, NOW).unwrap();
    let refused = room.verify(&server, NOW);
    assert!(
        matches!(
            refused,
            Err(Error::InvalidCertificate(
                CertificateError::InvalidPurposeContext { .. }
            ))
        ),
        "{refused:?}"
    );
    assert!(room.verify(room.authority.certificate(), NOW).is_err());
}

#[tokio::test]
async fn what_is_not_on_record_revoked_expired_or_for_something_else_is_not_admitted() {
    let room = Room::new().await;
    let (row, mut record, certificate) = room.issue(1);
    assert_eq!(room.admit(&certificate, NOW).await, Err("Unknown".into()));
    room.keep(&row).await;
    assert_eq!(room.admit(&certificate, NOW).await, Ok(row.id));
    let late = NOW.plus(DAY_MS);
    assert_eq!(room.admit(&certificate, late).await, Err("Expired".into()));
    // A purpose that this release does not know.
    let mut bytes = record.to_bytes();
    assert_eq!(&bytes[1..8], b"\x65alice\x00");
    bytes[7] = 1;
    let other = CertificateRow {
        record: bytes,
        ..row.clone()
    };
    room.keep(&other).await;
    assert_eq!(room.admit(&certificate, NOW).await, Err("Purpose".into()));
    record.revoked_at = Some(NOW);
    let revoked = CertificateRow {
        record: record.to_bytes(),
        ..row
    };
    room.keep(&revoked).await;
    assert_eq!(room.admit(&certificate, NOW).await, Err("Revoked".into()));
}

#[tokio::test]
async fn names_and_keys_that_fit_in_no_certificate_are_refused() {
    let room = Room::new().await;
    let issue = |name: &str, key: &[u8]| {
        let (name, purpose) = (name.parse().unwrap(), Purpose::Administrator);
        room.authority.issue(name, purpose, key, 1, NOW).map(|_| ())
    };
    let key = room.key.public();
    assert!(issue(&"a".repeat(64), &key).is_ok());
    let long = issue(&"a".repeat(65), &key);
    assert!(matches!(long, Err(AuthorityError::LongName)));
    for key in [&key[1..], &[], &[2; 65]] {
        assert!(matches!(issue("a", key), Err(AuthorityError::PublicKey)));
    }
}

#[tokio::test]
async fn a_bundle_holds_the_certificate() {
    let room = Room::new().await;
    let certificate = room.authority.certificate();
    let bundle = certificate_p7b(certificate);
    assert!(
        bundle
            .windows(certificate.len())
            .any(|part| part == certificate.as_ref())
    );
    // SEQUENCE of a long length; then the object identifier of signed data.
    assert_eq!(bundle[0], 0x30);
    let signed_data = [
        0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02,
    ];
    assert_eq!(bundle[4..15], signed_data);
    use rustls::pki_types::pem::PemObject as _;
    let pem = certificate_pem(certificate);
    let read = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    assert_eq!(&read, certificate);
}
