//! Administrators far from the server, honest ones and others.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use ostrakon_server::{
    Clock,
    authority::{ClientKey, IdentityFile},
    certificates::{NewAdministrator, create_stopped},
};
use ostrakon_storage::{CertificateRow, ProtectorKey, Store};
use ostrakon_testkit::{Keyserver, Ran, TestHome, command::binary, keyserver_command, now, run};
use ostrakon_types::{CertificateId, Digest};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// Key and certificates of an administrator, in a file.
pub(crate) struct Identity {
    pub(crate) path: PathBuf,
    pub(crate) id: String,
    _folder: tempfile::TempDir,
}

impl Identity {
    /// One that the server in the home issues by the command.
    pub(crate) fn create(home: &TestHome, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.pem");
        let args = ["administrator", "create", "--name", name, "-o"];
        let mut command = keyserver_command(home.path());
        let ran = run(command.args(args).arg(&path).args(["--format", "json"]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let made: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        Self {
            path,
            id: made["id"].as_str().unwrap().to_owned(),
            _folder: folder,
        }
    }

    /// One that the stopped server in the home issued so many days ago, for a day.
    pub(crate) fn issued_before(home: &TestHome, days: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.pem");
        let key = ClientKey::generate().unwrap();
        let new = NewAdministrator {
            name: "late".parse().unwrap(),
            days: 1,
            public_key: key.public(),
        };
        let at = now().plus(-days * 24 * 60 * 60 * 1000);
        let issued = block_on(create_stopped(
            &home.home(),
            new,
            &Clock::from_fn(move || at),
        ));
        let issued = issued.unwrap();
        let file = IdentityFile::reserve(&path).unwrap();
        file.write(&key, &issued.certificate, &issued.authority)
            .unwrap();
        Self {
            path,
            id: issued.administrator.id.to_string(),
            _folder: folder,
        }
    }

    pub(crate) fn authority(&self) -> CertificateDer<'static> {
        self.certificates().remove(1)
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let all = CertificateDer::pem_file_iter(&self.path).unwrap();
        all.map(Result::unwrap).collect()
    }

    pub(crate) fn shown(&self) -> Shown {
        let key = PrivateKeyDer::from_pem_file(&self.path).unwrap();
        Shown(self.certificates().remove(0), key)
    }

    /// A command of this administrator, on a machine that has no server.
    pub(crate) fn command(&self, server: &Keyserver, args: &[&str]) -> Command {
        let nowhere = self.path.parent().unwrap();
        let mut command = Command::new(binary("keyserver"));
        command
            .env_clear()
            .env("HOME", nowhere)
            .env("OSTRAKON_HOME", nowhere.join("home"))
            .env("OSTRAKON_SERVER", url(server))
            .env("OSTRAKON_IDENTITY", &self.path)
            .stdin(Stdio::null())
            .args(args);
        command
    }

    pub(crate) fn run(&self, server: &Keyserver, args: &[&str]) -> Ran {
        run(&mut self.command(server, args))
    }
}

pub(crate) fn url(server: &Keyserver) -> String {
    format!("https://{}", server.administration.unwrap())
}

/// A certificate and its key, as a client shows them.
pub(crate) struct Shown(CertificateDer<'static>, PrivateKeyDer<'static>);

impl Shown {
    /// What an authority issues for a use.
    fn issued(issuer: &Issuer<'_, impl rcgen::SigningKey>, usage: ExtendedKeyUsagePurpose) -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, issuer).unwrap();
        Self(certificate.der().clone(), key.into())
    }

    /// One of somebody else's authority.
    pub(crate) fn foreign() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let issuer = Issuer::new(params, key);
        Self::issued(&issuer, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// One that the server's own authority issued, whose key the test takes from the database: for servers,
    /// for clients but not on record, and on record for a purpose that this release does not know.
    pub(crate) fn others(home: &TestHome, server: &Keyserver) -> [Self; 3] {
        block_on(async {
            let protector = ProtectorKey::load(&home.home().instance_key()).unwrap();
            let store = Store::open(home.home().place().unwrap(), &protector).await;
            let store = store.unwrap();
            let kept = store.authority().await.unwrap().unwrap();
            let mut kept = minicbor::Decoder::new(&kept);
            assert_eq!(kept.array().unwrap(), Some(2));
            let der = PrivatePkcs8KeyDer::from(kept.bytes().unwrap().to_vec());
            let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256);
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            let name = server.identity.kss_id().to_string();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            let issuer = Issuer::new(params, key.unwrap());
            let issue = |usage| Self::issued(&issuer, usage);
            let for_clients = || issue(ExtendedKeyUsagePurpose::ClientAuth);
            let other = for_clients();
            let mut record = minicbor::Encoder::new(Vec::new());
            let far = now().plus(1_000_000).0;
            let record = record.array(4).unwrap().str("partition").unwrap();
            let record = record.u8(1).unwrap().i64(0).unwrap().i64(far).unwrap();
            let row = CertificateRow {
                id: CertificateId::from_bytes([1; 16]),
                fingerprint: Digest::from_bytes(Sha256::digest(&other.0).into()),
                record: record.writer().clone(),
            };
            let mut tx = store.begin().await.unwrap();
            tx.put_certificate(&row).await.unwrap();
            tx.commit().await.unwrap();
            store.close().await;
            [
                issue(ExtendedKeyUsagePurpose::ServerAuth),
                for_clients(),
                other,
            ]
        })
    }
}

/// A connection to where administrators are heard.
pub(crate) struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    /// Trusts `authority`, and shows a certificate, or none.
    pub(crate) fn open(
        address: SocketAddr,
        authority: &CertificateDer<'static>,
        shown: Option<&Shown>,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            Some(Shown(certificate, key)) => config
                .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
                .unwrap(),
            None => config.with_no_client_auth(),
        };
        let name = address.ip().into();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(LIMIT)).unwrap();
        Self(StreamOwned::new(tls, tcp))
    }

    /// The status of the answer to a request; an error where there is none.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<u16> {
        let length = body.len();
        write!(
            self.0,
            "{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )?;
        self.0.flush()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body)?;
        Ok(head[9..12].parse().unwrap())
    }
}

/// Every path that the administration has, read where it is routed.
pub(crate) fn routes() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let source = fs::read_to_string(root.join("crates/ostrakon-server/src/admin.rs")).unwrap();
    let routed = source.split(".route(").skip(1);
    let paths = routed.filter_map(|rest| rest.split('"').nth(1));
    paths.map(str::to_owned).collect()
}
