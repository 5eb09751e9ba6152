use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// An authority that makes certificates, by the command `openssl`.
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// Makes one.
    #[expect(
        clippy::new_without_default,
        reason = "it makes files, which nobody expects of a default"
    )]
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), mode).unwrap();
        let authority = Self { folder };
        let subject = ["-x509", "-days", "2", "-subj", "/CN=authority of a test"];
        request("ca", authority.folder.path(), &subject);
        authority
    }

    /// The authority's own certificate, which its users trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for 127.0.0.1, and its key, which `user` alone may read where this process is root.
    pub(crate) fn certify(&self, user: &str) -> (PathBuf, PathBuf) {
        let name = format!("server-{user}");
        let signed = [
            "-x509",
            "-days",
            "2",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-subj",
            "/CN=server",
        ];
        let names = ["-addext", "subjectAltName=IP:127.0.0.1"];
        let ends = ["-addext", "basicConstraints=critical,CA:FALSE"];
        request(
            &name,
            self.folder.path(),
            &[&signed[..], &names, &ends].concat(),
        );
        let file = |end| self.folder.path().join(format!("{name}.{end}"));
        let (certificate, key) = (file("pem"), file("key"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&key, mode).unwrap();
        if rustix::process::geteuid().is_root() {
            let owned = Command::new("chown").arg(user).arg(&key).status().unwrap();
            assert!(owned.success());
        }
        (certificate, key)
    }
}

/// Makes a key and a certificate of it.
fn request(name: &str, folder: &Path, args: &[&str]) {
    let out = Command::new("openssl")
        .args(["req", "-nodes", "-newkey", "ec", "-pkeyopt"])
        .arg("ec_paramgen_curve:prime256v1")
        .args([
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}
