//! Where a shared database is, and how to get in.

use std::{fmt, path::Path, path::PathBuf, str::FromStr};

use zeroize::Zeroizing;

/// Where a shared database is: `mysql:host=…,port=…,user=…,password=…,database=…`, or a URL as
/// `postgresql://user:password@host:5432/database?tls=verify-full&ca=/etc/ca.pem`.
///
/// Keys: `host`, `port`, `user`, `password`, `password_file`, `database`, `socket` (a MySQL socket or the
/// folder of a PostgreSQL one, instead of a host), `tls` (`off`, `preferred`, `required`, `verify-ca`,
/// `verify-full`) and `ca` (a PEM file). Without `tls` it is `preferred` for this machine, and
/// `verify-full` with a `ca` or `required` without one for any other.
///
/// It may hold a password, so it has no `Display`: [`DatabaseUri::shown`] leaves that out.
#[derive(Clone)]
pub struct DatabaseUri {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
    user: String,
    password: Option<Zeroizing<String>>,
    password_file: Option<PathBuf>,
    database: String,
    socket: Option<PathBuf>,
    tls: Option<Tls>,
    ca: Option<PathBuf>,
}

/// Which protocol the database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    MySql,
    Postgres,
}

/// How far the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Off,
    Preferred,
    Required,
    VerifyCa,
    VerifyFull,
}

impl Tls {
    const ALL: [(&'static str, Self); 5] = [
        ("off", Self::Off),
        ("preferred", Self::Preferred),
        ("required", Self::Required),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, tls)| *tls == self);
        named.map_or("", |(name, _)| name)
    }
}

/// Why a text does not say where a database is. It repeats no value: one may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseUriError {
    /// It does not begin as any of them.
    #[error("a database URI begins with `mysql:`, `mysql://`, `postgresql:` or `postgresql://`")]
    Scheme,
    /// There is no such key.
    #[error("unknown key in a database URI; known are {}", KEYS.join(", "))]
    Key,
    /// A part is no `key=value`.
    #[error("part {0} of the database URI is no `key=value`")]
    Part(usize),
    /// A key stands there twice.
    #[error("`{0}` stands twice in the database URI")]
    Twice(&'static str),
    /// A value cannot be.
    #[error("bad value of `{0}` in the database URI")]
    Value(&'static str),
    /// Something that must be there is not.
    #[error("the database URI has no `{0}`")]
    Missing(&'static str),
    /// Both a password and a file with it.
    #[error("the database URI has both `password` and `password_file`")]
    TwoPasswords,
}

/// A key with its value, or why there is none.
type Pair = Result<(&'static str, String), ParseUriError>;

const KEYS: [&str; 9] = [
    "host",
    "port",
    "user",
    "password",
    "password_file",
    "database",
    "socket",
    "tls",
    "ca",
];

impl DatabaseUri {
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The same database server at another port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|password| password.as_str())
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    pub(crate) fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    pub(crate) fn tls(&self) -> Tls {
        self.tls.unwrap_or_else(|| {
            let here = ["localhost", "127.0.0.1", "::1"].contains(&self.host.as_str());
            if self.ca.is_some() {
                Tls::VerifyFull
            } else if here || self.socket.is_some() {
                Tls::Preferred
            } else {
                Tls::Required
            }
        })
    }

    /// What an operator calls the kind of database: `mysql` or `postgresql`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.scheme {
            Scheme::MySql => "mysql",
            Scheme::Postgres => "postgresql",
        }
    }

    /// Whether a password stands in it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The file that holds the password, if a file does.
    #[must_use]
    pub fn password_file(&self) -> Option<&Path> {
        self.password_file.as_deref()
    }

    /// The same with a password, which is what the file at [`DatabaseUri::password_file`] holds.
    #[must_use]
    pub fn with_password(mut self, password: Zeroizing<String>) -> Self {
        self.password = Some(password);
        self
    }

    /// The password, taken out.
    pub fn take_password(&mut self) -> Option<Zeroizing<String>> {
        self.password.take()
    }

    /// The same with the name of a file that holds the password.
    #[must_use]
    pub fn with_password_file(mut self, file: PathBuf) -> Self {
        self.password_file = Some(file);
        self
    }

    /// The same, with each file that it names by a relative path in `folder`.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        let files = [&mut self.password_file, &mut self.ca, &mut self.socket];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
        self
    }

    /// Everything but the password, so that parsing it gives the same again.
    #[must_use]
    pub fn shown(&self) -> String {
        let scheme = self.kind();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let parts = [
            ("host", Some(self.host.clone())),
            ("port", self.port.map(|port| port.to_string())),
            ("user", Some(self.user.clone())),
            ("password_file", path(&self.password_file)),
            ("database", Some(self.database.clone())),
            ("socket", path(&self.socket)),
            ("tls", self.tls.map(|tls| tls.name().to_owned())),
            ("ca", path(&self.ca)),
        ];
        let parts = parts
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", escape(&value?))));
        format!("{scheme}:{}", parts.collect::<Vec<_>>().join(","))
    }

    fn from_pairs(
        scheme: Scheme,
        pairs: impl Iterator<Item = Pair>,
    ) -> Result<Self, ParseUriError> {
        let mut values: [Option<String>; KEYS.len()] = Default::default();
        for pair in pairs {
            let (key, value) = pair?;
            let place = KEYS.iter().position(|known| *known == key);
            let place = place.and_then(|place| values.get_mut(place));
            if place.ok_or(ParseUriError::Key)?.replace(value).is_some() {
                return Err(ParseUriError::Twice(key));
            }
        }
        let [
            host,
            port,
            user,
            password,
            password_file,
            database,
            socket,
            tls,
            ca,
        ] = values;
        let port = port.map(|port| port.parse().map_err(|_| ParseUriError::Value("port")));
        let tls = tls.map(|tls| {
            let known = Tls::ALL.iter().find(|(name, _)| *name == tls);
            known
                .map(|(_, tls)| *tls)
                .ok_or(ParseUriError::Value("tls"))
        });
        if password.is_some() && password_file.is_some() {
            return Err(ParseUriError::TwoPasswords);
        }
        let missing = |key| {
            move |value: Option<String>| {
                value
                    .filter(|value| !value.is_empty())
                    .ok_or(ParseUriError::Missing(key))
            }
        };
        Ok(Self {
            scheme,
            host: match (host, &socket) {
                (None, Some(_)) => "localhost".to_owned(),
                (host, _) => missing("host")(host)?,
            },
            port: port.transpose()?,
            user: missing("user")(user)?,
            password: password.map(Zeroizing::new),
            password_file: password_file.map(PathBuf::from),
            database: missing("database")(database)?,
            socket: socket.map(PathBuf::from),
            tls: tls.transpose()?,
            ca: ca.map(PathBuf::from),
        })
    }
}

impl FromStr for DatabaseUri {
    type Err = ParseUriError;

    fn from_str(text: &str) -> Result<Self, ParseUriError> {
        let (scheme, rest) = text.split_once(':').ok_or(ParseUriError::Scheme)?;
        let scheme = match scheme {
            "mysql" | "mariadb" => Scheme::MySql,
            "postgresql" | "postgres" => Scheme::Postgres,
            _ => return Err(ParseUriError::Scheme),
        };
        match rest.strip_prefix("//") {
            Some(url) => Self::from_pairs(scheme, url_pairs(url)?.into_iter()),
            None => {
                let parts = split(rest).into_iter().enumerate();
                let pairs = parts.map(|(number, part)| {
                    let (key, value) = part
                        .split_once('=')
                        .ok_or(ParseUriError::Part(number + 1))?;
                    Ok((known(key.trim())?, unescape(value)))
                });
                Self::from_pairs(scheme, pairs)
            }
        }
    }
}

/// What a URL says behind its `//`.
fn url_pairs(url: &str) -> Result<Vec<Pair>, ParseUriError> {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let (authority, database) = url.split_once('/').unwrap_or((url, ""));
    // The last one: a password may have one of its own.
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = match user.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (user, None),
    };
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match host.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        },
    };
    let decoded = |key: &'static str, value: &str| {
        percent_decode(value)
            .map(|value| (key, value))
            .ok_or(ParseUriError::Value(key))
    };
    let mut pairs = Vec::new();
    let parts = [
        ("host", (!host.is_empty()).then_some(host)),
        ("port", port),
        ("user", (!user.is_empty()).then_some(user)),
        ("password", password),
        ("database", (!database.is_empty()).then_some(database)),
    ];
    for (key, value) in parts {
        pairs.extend(value.map(|value| decoded(key, value)));
    }
    for (number, part) in query.split('&').filter(|part| !part.is_empty()).enumerate() {
        let (key, value) = part
            .split_once('=')
            .ok_or(ParseUriError::Part(number + 1))?;
        pairs.push(known(key).and_then(|key| decoded(key, value)));
    }
    Ok(pairs)
}

fn known(key: &str) -> Result<&'static str, ParseUriError> {
    let known = KEYS.into_iter().find(|known| *known == key);
    known.ok_or(ParseUriError::Key)
}

/// Splits at commas that no backslash stands before.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        if letter == ',' && !escaped {
            parts.extend(text.get(from..at));
            from = at + 1;
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.extend(text.get(from..));
    parts
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,")
}

fn unescape(value: &str) -> String {
    let mut unescaped = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        let letter = if letter == '\\' {
            letters.next()
        } else {
            Some(letter)
        };
        unescaped.extend(letter);
    }
    unescaped
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let mut decoded = [0];
            hex::decode_to_slice(digits, &mut decoded).ok()?;
            decoded[0]
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Debug for DatabaseUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUri({})", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> DatabaseUri {
        text.parse().unwrap()
    }

    #[test]
    fn both_spellings_say_the_same() {
        let one = parsed("mysql:host=db.example,port=3307,user=kss,password=p:w@d,database=cvfs");
        let other = parsed("mysql://kss:p%3Aw%40d@db.example:3307/cvfs");
        for uri in [&one, &other] {
            assert_eq!(uri.scheme(), Scheme::MySql);
            assert_eq!((uri.host(), uri.port()), ("db.example", Some(3307)));
            assert_eq!((uri.user(), uri.password()), ("kss", Some("p:w@d")));
            assert_eq!((uri.database(), uri.tls()), ("cvfs", Tls::Required));
        }
        assert_eq!(parsed("postgres://u@[::1]:1/d").host(), "::1");
        assert_eq!(parsed("postgresql://u:a@b@h/d").password(), Some("a@b"));
    }

    #[test]
    fn what_is_shown_has_no_password_and_says_all_else() {
        let text = "postgresql:user=a\\,b,password=s3cret,database=d\\\\e,socket=/run/pg,tls=verify-ca,ca=/c";
        let uri = parsed(text);
        assert_eq!(uri.user(), "a,b");
        for shown in [uri.shown(), format!("{uri:?}")] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let again = parsed(&uri.shown());
        assert_eq!(again.shown(), uri.shown());
        assert_eq!(again.tls(), Tls::VerifyCa);
        assert_eq!(again.socket(), Some(Path::new("/run/pg")));
    }

    #[test]
    fn files_are_in_the_folder_that_is_said() {
        let uri = parsed("mysql://u@h/d?password_file=p&ca=/etc/ca.pem").within(Path::new("/home"));
        assert_eq!(uri.password_file(), Some(Path::new("/home/p")));
        assert_eq!(uri.ca(), Some(Path::new("/etc/ca.pem")));
    }

    #[test]
    fn tls_is_required_where_others_can_listen() {
        let tls = |text: &str| parsed(text).tls();
        assert_eq!(tls("mysql://u@localhost/d"), Tls::Preferred);
        assert_eq!(tls("mysql://u@10.0.0.1/d"), Tls::Required);
        assert_eq!(tls("mysql://u@10.0.0.1/d?ca=/ca.pem"), Tls::VerifyFull);
        assert_eq!(tls("mysql://u@10.0.0.1/d?tls=off"), Tls::Off);
    }

    #[test]
    fn errors_name_the_key_and_repeat_no_value() {
        let error = |text: &str| text.parse::<DatabaseUri>().unwrap_err();
        assert_eq!(error("oracle:host=h"), ParseUriError::Scheme);
        assert_eq!(error("mysql"), ParseUriError::Scheme);
        assert_eq!(error("mysql:host=h,user=u,sekret"), ParseUriError::Part(3));
        assert_eq!(error("mysql:host=h,hots=u"), ParseUriError::Key);
        assert_eq!(error("mysql:host=h,host=u"), ParseUriError::Twice("host"));
        assert_eq!(
            error("mysql:host=h,user=u"),
            ParseUriError::Missing("database")
        );
        assert_eq!(
            error("mysql:user=u,database=d"),
            ParseUriError::Missing("host")
        );
        assert_eq!(error("mysql://u@h:port/d"), ParseUriError::Value("port"));
        assert_eq!(
            error("mysql://u@h/d?tls=maybe"),
            ParseUriError::Value("tls")
        );
        assert_eq!(error("mysql://u:%zz@h/d"), ParseUriError::Value("password"));
        let two = "mysql:host=h,user=u,password=x,password_file=/p,database=d";
        assert_eq!(error(two), ParseUriError::TwoPasswords);
    }
}
