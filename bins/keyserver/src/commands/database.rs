use ostrakon_server::{DatabaseUri, with_password};

use crate::{error::Failure, secret_argument};

/// The database that somebody named, or has put into a descriptor. Nothing of it is repeated in an error: it may hold a password.
pub(crate) fn named(uri: &str) -> Result<DatabaseUri, Failure> {
    let uri = secret_argument::read(uri)?;
    let parsed = uri.parse::<DatabaseUri>().map_err(|error| {
        Failure::new(error.to_string()).code(2).hint(
            "as in mysql:host=db.example,port=3306,user=kss,password_file=/etc/kss.password,database=kss",
        )
    })?;
    with_password(parsed).map_err(|error| Failure::new(error.to_string()))
}
