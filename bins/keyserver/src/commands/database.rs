use std::env;

use ostrakon_server::{BuildError, DatabaseUri, HomeError, with_password};
use ostrakon_types::ErrorChain;

use crate::{error::Failure, secret_argument};

/// The database that somebody named, or has put into a descriptor. Nothing of it is repeated in an error: it
/// may hold a password.
pub(crate) fn named(uri: &str) -> Result<DatabaseUri, Failure> {
    let uri = secret_argument::read(uri)?;
    let parsed = uri.parse::<DatabaseUri>().map_err(|error| {
        Failure::new(error.to_string()).code(2).hint(
            "as in mysql:host=db.example,port=3306,user=kss,password_file=/etc/kss.password,database=kss",
        )
    })?;
    // A home keeps it, and is used from other folders, too.
    let here = env::current_dir().map_err(|error| Failure::new(error.to_string()))?;
    let named = with_password(parsed.within(&here));
    named.map_err(|error| match &error {
        HomeError::OpenToOthers { .. } => Failure::from(BuildError::from(error)),
        _ => Failure::new(ErrorChain(&error).to_string()),
    })
}
