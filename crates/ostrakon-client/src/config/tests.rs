use super::*;

fn load(enterprise: Option<&str>, user: Option<&str>) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: Option<&str>| {
        let path = folder.path().join(name);
        match text {
            Some(text) => {
                fs::write(&path, text).unwrap();
                ConfigFile::Named(path)
            }
            None => ConfigFile::Default(path),
        }
    };
    Config::load(&file("enterprise", enterprise), &file("user", user)).map_err(|error| {
        let mut chain = String::new();
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = next {
            chain = format!("{chain}{error}: ");
            next = error.source();
        }
        chain
    })
}

#[test]
fn the_example_states_the_defaults() {
    let example = include_str!("../../ostrakon.example.toml");
    assert_eq!(load(Some(example), None).unwrap(), Config::default());
    let id = KssId::from_digest(ostrakon_types::Digest::from_bytes([7; 32]));
    let all = example
        .replace("\n#k", "\nk")
        .replace("\n#c", "\nc")
        .replace("\n#l", "\nl")
        .replace("kss1...", &id.to_string());
    let config = load(Some(&all), None).unwrap();
    assert_eq!(config.keyserver_id, Some(id));
    assert_eq!(config.keyserver_urls.len(), 2);
    assert!(config.ca_file.is_some());
}

#[test]
fn the_user_says_last_unless_a_key_is_locked() {
    let enterprise =
        "administrator = true\nrequest_timeout_seconds = 9\nlocked = [\"administrator\"]";
    let config = load(Some(enterprise), Some("request_timeout_seconds = 5")).unwrap();
    assert!(config.administrator);
    assert_eq!(config.request_timeout, Duration::from_secs(5));
    let error = load(Some(enterprise), Some("\nadministrator = false")).unwrap_err();
    assert!(
        error.contains("user`, line 2: `administrator` is locked"),
        "{error}"
    );
    let error = load(None, Some("locked = []")).unwrap_err();
    assert!(
        error.contains("enterprise's configuration alone"),
        "{error}"
    );
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (text, expected) in [
        (
            "\nadminstrator = true",
            "line 2: unknown key `adminstrator`",
        ),
        ("locked = [\"ca_fil\"]", "line 1: unknown key `ca_fil`"),
        (
            "administrator = \"yes\"",
            "line 1: `administrator` must be `true` or `false`",
        ),
        ("keyserver_urls = \"http://x\"", "must be a list of texts"),
        (
            "keyserver_urls = [\"ftp://x\"]",
            "`keyserver_urls`: `ftp://x` is not the address",
        ),
        (
            "keyserver_id = \"kss1\"",
            "`keyserver_id`: not a key shard server id",
        ),
        (
            "request_timeout_seconds = 0",
            "must be a number of seconds from 1 to 3600",
        ),
        ("[keyserver]\nid = 1", "unknown key `keyserver`"),
        ("a =", "line 1: "),
        ("administrator = true\nadministrator = true", "line 2: "),
    ] {
        let error = load(Some(text), None).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let error = Layer::parse("adminstrator = true").err().unwrap();
    let error = error.of(Path::new("x"));
    assert!(matches!(
        error,
        LoadConfigError::Invalid {
            cause: ConfigProblem::UnknownKey {
                nearest: "administrator",
                ..
            },
            ..
        }
    ));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let missing = ConfigFile::Named("/nowhere/ostrakon.toml".into());
    let error = Config::load(&ConfigFile::None, &missing).unwrap_err();
    assert!(matches!(error, LoadConfigError::Read { .. }));
    let missing = ConfigFile::Default("/nowhere/ostrakon.toml".into());
    assert_eq!(
        Config::load(&missing, &ConfigFile::None).unwrap(),
        Config::default()
    );
}

#[test]
fn the_tilde_is_the_users_home() {
    let folders = Config::default().expanded_folders(Path::new("/home/zoe"));
    assert_eq!(
        folders.first(),
        Some(&PathBuf::from("/home/zoe/Vault/Personal"))
    );
}
