//! The command line: what is said where, and with which exit code.

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

    use assert_cmd::cargo::cargo_bin;
    use tempfile::TempDir;

    struct Place(TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn command(&self, arguments: &[&str]) -> Command {
            let mut command = Command::new(cargo_bin("ostrakon"));
            command
                .args(arguments)
                .current_dir(self.0.path())
                .env_clear()
                .env("HOME", self.path("user"))
                .env("USER", "zoe")
                .env("OSTRAKON_ENTERPRISE_CONFIG", self.path("enterprise.toml"));
            command
        }

        fn run(&self, arguments: &[&str]) -> (i32, String, String) {
            let output = self.command(arguments).output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            let code = output.status.code().unwrap();
            (code, text(output.stdout), text(output.stderr))
        }

        /// With an empty enterprise configuration.
        fn ready() -> Self {
            let place = Self::new();
            fs::write(place.path("enterprise.toml"), "").unwrap();
            place
        }
    }

    #[test]
    fn a_vault_from_nothing_and_back() {
        let place = Place::ready();
        let (code, out, _) = place.run(&["profile", "create"]);
        assert_eq!(code, 0);
        assert!(out.starts_with("profile    zoe@"), "{out}");
        assert_eq!(place.run(&["folder", "create", "vault"]).0, 0);
        fs::write(place.path("vault/a.txt"), "hello").unwrap();
        let (code, out, err) = place.run(&["encrypt", "--remove", "vault"]);
        assert_eq!(
            (code, out.as_str(), err.as_str()),
            (0, "vault/a.txt -> vault/a.txt.age\n", "")
        );
        let (code, out, _) = place.run(&["decrypt", "vault", "--format", "json"]);
        assert_eq!(code, 0);
        let object: serde_json::Value = serde_json::from_str(&out).unwrap();
        let expected = serde_json::json!({
            "path": "vault/a.txt.age",
            "outcome": "done",
            "output": "vault/a.txt",
            "bytes": 5,
        });
        assert_eq!(object, expected);
        assert_eq!(fs::read(place.path("vault/a.txt")).unwrap(), b"hello");
        let home = place.path("user/.local/share/ostrakon");
        assert_eq!(home.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_command_that_nobody_reads_ends_quietly_as_by_sigpipe() {
        let place = Place::ready();
        assert_eq!(place.run(&["profile", "create"]).0, 0);
        assert_eq!(place.run(&["folder", "create", "vault"]).0, 0);
        fs::write(place.path("vault/a.txt"), "hello").unwrap();
        for arguments in [
            &["profile", "show"][..],
            &["profile", "export-card"],
            &["device", "list"],
            &["folder", "list"],
            &["encrypt", "--remove", "vault"],
            &["decrypt", "vault"],
            &["completions", "bash"],
        ] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let output = place.command(arguments).stdout(writer).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let code = output.status.code();
            assert_eq!((code, said.as_str()), (Some(128 + 13), ""), "{arguments:?}");
        }
        assert_eq!(fs::read(place.path("vault/a.txt")).unwrap(), b"hello");
    }

    #[test]
    fn errors_are_a_line_and_a_hint() {
        let place = Place::ready();
        let (code, out, err) = place.run(&["decrypt", "x.age"]);
        assert_eq!((code, out.as_str()), (1, ""));
        let [error, hint] = err.lines().collect::<Vec<_>>()[..] else {
            panic!("{err}")
        };
        assert_eq!(error, "error: this workstation has no profile");
        assert!(hint.starts_with("hint: make one with `ostrakon profile keyserver-onboard"));
        place.run(&["profile", "create"]);
        fs::write(place.path("x"), "x").unwrap();
        let (code, _, err) = place.run(&["encrypt", "x"]);
        let expected = "failed: x: it is not in a secure folder\n\
                        error: 1 of 1 files failed, 0 encrypted\n\
                        hint: `ostrakon folder create DIR` makes a folder secure\n";
        assert_eq!((code, err.as_str()), (1, expected));
    }

    #[test]
    fn usage_and_configuration_have_codes_of_their_own() {
        let place = Place::ready();
        assert_eq!(place.run(&["encrypt"]).0, 2);
        assert_eq!(place.run(&["frobnicate"]).0, 2);
        assert_eq!(
            place
                .run(&["profile", "keyserver-onboard", "--keyserver-id", "kss1x"])
                .0,
            2
        );
        fs::write(place.path("enterprise.toml"), "\nadministator = true").unwrap();
        let (code, _, err) = place.run(&["profile", "show"]);
        assert_eq!(code, 4);
        let expected = format!(
            "error: `{}`, line 2: unknown key `administator`\nhint: did you mean `administrator`?\n",
            place.path("enterprise.toml").display(),
        );
        assert_eq!(err, expected);
        // A configuration that was named must be there.
        fs::remove_file(place.path("enterprise.toml")).unwrap();
        assert_eq!(place.run(&["profile", "show"]).0, 4);
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_an_error_and_leaves_no_profile() {
        let place = Place::ready();
        let id = ostrakon_types::KssId::from_digest(ostrakon_types::Digest::from_bytes([7; 32]));
        let config = format!(
            "keyserver_id = \"{id}\"\nkeyserver_urls = [\"http://127.0.0.1:1\"]\nrequest_timeout_seconds = 1\n"
        );
        fs::write(place.path("enterprise.toml"), config).unwrap();
        let (code, _, err) = place.run(&["profile", "show"]);
        assert_eq!(code, 1);
        assert!(
            err.starts_with("error: cannot reach the key shard server: "),
            "{err}"
        );
        assert!(err.contains("\nhint: "), "{err}");
    }

    #[test]
    fn completions_and_man_pages_come_from_the_declarations() {
        let place = Place::ready();
        for shell in ["bash", "zsh", "fish"] {
            let (code, out, _) = place.run(&["completions", shell]);
            assert!(code == 0 && out.contains("keyserver-onboard"), "{shell}");
        }
        assert_eq!(place.run(&["man", "pages"]).0, 0);
        let page = fs::read_to_string(place.path("pages/ostrakon-decrypt.1")).unwrap();
        assert!(page.contains("policy"));
    }

    #[test]
    fn a_card_is_exported_once() {
        let place = Place::ready();
        place.run(&["profile", "create", "--name", "Zoe"]);
        assert_eq!(place.run(&["profile", "export-card", "-o", "card"]).0, 0);
        let card = fs::read_to_string(place.path("card")).unwrap();
        let card: serde_json::Value = serde_json::from_str(&card).unwrap();
        assert_eq!(card["format"], "ostrakon-profile-card");
        assert_eq!(card["versions"].as_array().unwrap().len(), 1);
        let (code, _, err) = place.run(&["profile", "export-card", "-o", "card"]);
        assert_eq!(code, 1);
        assert!(err.starts_with("error: cannot write `card`: "), "{err}");
    }
}
