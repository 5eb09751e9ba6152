//! Keyrings of gpg for tests, made once.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use ostrakon_types::UnixMillis;

use crate::gpg::Gpg;

/// When the keys are made, for gpg.
const MADE: &str = "20200101T000000";
/// Some months later.
pub(crate) const NOW: UnixMillis = UnixMillis(1_590_000_000_000);

/// A keyring with keys of all kinds. See [`Keyring::make`] for who is in it.
pub(crate) struct Keyring {
    home: PathBuf,
    /// Ends the agent and removes the files when this, or the process, is gone, however that came to be.
    _janitor: Child,
}

/// The one keyring of this process.
pub(crate) fn keyring() -> &'static Keyring {
    static KEYRING: OnceLock<Keyring> = OnceLock::new();
    KEYRING.get_or_init(Keyring::make)
}

impl Keyring {
    pub(crate) fn empty() -> Self {
        // The path is short, since the agent's socket lies in it.
        let home = tempfile::Builder::new()
            .prefix("k")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .unwrap()
            .keep();
        fs::write(home.join("gpg-agent.conf"), "pinentry-program /bin/false\n").unwrap();
        let janitor = Command::new("sh")
            .args([
                "-c",
                "cat; gpgconf --homedir \"$0\" --kill all; rm -rf -- \"$0\"",
            ])
            .arg(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            home,
            _janitor: janitor,
        }
    }

    fn make() -> Self {
        let keyring = Self::empty();
        keyring.generate(
            MADE,
            "Key-Type: RSA\nKey-Length: 3072\nKey-Usage: sign\nSubkey-Type: RSA\nSubkey-Length: 3072\n\
             Name-Real: John Doe\nName-Comment: Key Trustee Backup\nName-Email: rsa@example.com\n",
        );
        keyring.generate(
            MADE,
            "Key-Type: ECDSA\nKey-Curve: nistp256\nSubkey-Type: ECDH\nSubkey-Curve: nistp256\n\
             Name-Real: Nist\nName-Email: nist@example.com\n",
        );
        keyring.generate(
            MADE,
            "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign,encrypt\n\
             Name-Real: Whole\nName-Email: whole@example.com\n",
        );
        keyring.curve(MADE, "Curve <curve@example.com>", "never");
        keyring.curve(MADE, "-Dash <dash@example.com>", "never");
        keyring.curve(MADE, "Twin <first@example.com>", "never");
        keyring.curve(MADE, "Twin <second@example.com>", "never");
        // What `--quick-gen-key` makes of an algorithm by name: it could encrypt, and may not.
        let signer = ["Signer <signer@example.com>", "rsa2048", "default", "never"];
        keyring.quick(MADE, &signer);
        keyring.generate(
            MADE,
            "Key-Type: EDDSA\nKey-Curve: ed25519\nSubkey-Type: ECDH\nSubkey-Curve: brainpoolP256r1\n\
             Name-Real: Exotic\nName-Email: exotic@example.com\n",
        );
        keyring.curve("20180101T000000", "Past <past@example.com>", "1y");
        // Whoever lost one key and has another.
        keyring.curve("20180101T000000", "Again <again@example.com>", "1y");
        keyring.curve(MADE, "Again <again@example.com>", "never");

        keyring.curve(MADE, "Revoked <revoked@example.com>", "never");
        keyring.revoke(&keyring.fingerprint("revoked@example.com"));
        keyring.weakly_signed();
        keyring.revoked_by_another();
        keyring.revoked_user_id();
        keyring.several_subkeys();
        keyring
    }

    pub(crate) fn gpg(&self) -> Gpg {
        Gpg::at(&self.home)
    }

    /// What gpg prints when it is run with these arguments, as if it were `time`.
    pub(crate) fn run(&self, time: &str, arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
        self.run_with("", time, arguments, stdin)
    }

    fn run_with(&self, passphrase: &str, time: &str, arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command
            .arg("--homedir")
            .arg(&self.home)
            .args([
                "--batch",
                "--yes",
                "--quiet",
                "--no-tty",
                "--faked-system-time",
            ])
            .arg(format!("{time}!"))
            .args(["--pinentry-mode", "loopback", "--passphrase", passphrase])
            .args(["--trust-model", "always"])
            .args(arguments);
        run(command, stdin)
    }

    /// Makes a key whose passphrase nobody knows any more.
    pub(crate) fn locked(&self, user: &str) {
        let arguments = [
            "--quick-gen-key",
            user,
            "future-default",
            "default",
            "never",
        ];
        self.run_with("forgotten", MADE, &arguments, b"");
        let mut agent = Command::new("gpgconf");
        agent.arg("--homedir").arg(&self.home);
        agent.args(["--kill", "gpg-agent"]);
        run(agent, b"");
    }

    pub(crate) fn export(&self, named: &str, arguments: &[&str]) -> Vec<u8> {
        let arguments = [arguments, &[named]].concat();
        self.run(MADE, &arguments, b"")
    }

    /// The fingerprints of all keys that answer to a name.
    pub(crate) fn fingerprints(&self, named: &str) -> Vec<String> {
        let listed = self.run(MADE, &["--with-colons", "--list-keys", "--", named], b"");
        let listed = String::from_utf8(listed).unwrap();
        let mut lines = listed.lines();
        let mut found = Vec::new();
        while lines.any(|line| line.starts_with("pub:")) {
            let line = lines.next().unwrap();
            found.push(line.split(':').nth(9).unwrap().to_owned());
        }
        found
    }

    pub(crate) fn fingerprint(&self, named: &str) -> String {
        let found = self.fingerprints(named);
        let [fingerprint] = found.as_slice() else {
            panic!("{named}: {found:?}");
        };
        fingerprint.clone()
    }

    /// Makes a key of Curve25519, which signs and encrypts.
    pub(crate) fn curve(&self, time: &str, user: &str, expires: &str) {
        self.quick(time, &[user, "future-default", "default", expires]);
    }

    /// Takes a key back, by the certificate that gpg makes with each.
    pub(crate) fn revoke(&self, fingerprint: &str) {
        let path = self
            .home
            .join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        // gpg puts a colon before the first dash, against mistakes.
        let certificate = fs::read_to_string(path).unwrap();
        let certificate = certificate.replace("\n:-----BEGIN", "\n-----BEGIN");
        self.run(MADE, &["--import"], certificate.as_bytes());
    }

    fn quick(&self, time: &str, arguments: &[&str]) {
        self.run(time, &[&["--quick-gen-key", "--"], arguments].concat(), b"");
    }

    fn generate(&self, time: &str, parameters: &str) {
        let parameters = format!("%no-protection\n{parameters}Expire-Date: 0\n%commit\n");
        self.run(time, &["--gen-key"], parameters.as_bytes());
    }

    /// A person who was called otherwise once.
    fn revoked_user_id(&self) {
        self.curve(MADE, "Before <before@example.com>", "never");
        let key = self.fingerprint("before@example.com");
        self.run(
            MADE,
            &["--quick-add-uid", &key, "After <after@example.com>"],
            b"",
        );
        self.run(
            MADE,
            &["--quick-revoke-uid", &key, "Before <before@example.com>"],
            b"",
        );
    }

    /// A key with a newer part to encrypt to, and two that are newer still: one expires soon, one was revoked.
    fn several_subkeys(&self) {
        self.curve(MADE, "Parts <parts@example.com>", "never");
        let key = self.fingerprint("parts@example.com");
        for (time, expires) in [
            ("20200201T000000", "never"),
            ("20200301T000000", "5d"),
            ("20200401T000000", "never"),
        ] {
            let add = ["--quick-add-key", &key, "cv25519", "encr", expires];
            self.run(time, &add, b"");
        }
        let edit = ["--command-fd", "0", "--edit-key", &key];
        let answers = b"key 4\nrevkey\ny\n0\n\ny\nsave\n";
        self.run("20200501T000000", &edit, answers);
    }

    /// A key that only MD5 vouches for.
    fn weakly_signed(&self) {
        let weak = ["--cert-digest-algo", "MD5"];
        let user = "Weak <weak@example.com>";
        let generate = ["--quick-gen-key", user, "rsa2048", "sign,encrypt", "never"];
        self.run(MADE, &[&weak[..], &generate].concat(), b"");
    }

    /// A key that its owner let somebody else take back.
    fn revoked_by_another(&self) {
        self.curve(MADE, "Chief <chief@example.com>", "never");
        let chief = self.fingerprint("chief@example.com");
        self.generate(
            MADE,
            &format!(
                "Key-Type: EDDSA\nKey-Curve: ed25519\nSubkey-Type: ECDH\nSubkey-Curve: cv25519\n\
                 Name-Real: Staff\nName-Email: staff@example.com\nRevoker: 22:{chief}\n"
            ),
        );
        let revoke = [
            "--no-batch",
            "--command-fd",
            "0",
            "--desig-revoke",
            "staff@example.com",
        ];
        let revocation = self.run(MADE, &revoke, b"y\n0\n\ny\n");
        self.run(MADE, &["--import"], &revocation);
    }
}

/// What a program prints when it reads `stdin`. It must succeed.
pub(crate) fn run(mut command: Command, stdin: &[u8]) -> Vec<u8> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(stdin));
        child.wait_with_output().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output.stdout
}

/// Something that no reader takes for anything else: bytes that do not repeat.
pub(crate) fn sample(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let bytes = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    });
    bytes.take(length).collect()
}
