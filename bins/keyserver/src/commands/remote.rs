//! Which running server is meant.

use ostrakon_server::{
    Clock,
    admin::{Client, IdentityError, RemoteError},
    authority::{ReadIdentityError, read_identity},
};
use ostrakon_types::ErrorChain;

use super::{Context, ceremony::local_time};
use crate::{cli::RemoteArgs, error::Failure};

/// The server at the URL that was given or, where none was, the one that runs on the home.
pub(crate) fn client(context: &Context, args: &RemoteArgs) -> Result<Client, Failure> {
    let Some(url) = &args.server else {
        return Ok(Client::new(&context.home));
    };
    let Some(path) = &args.identity else {
        return Err(Failure::new("it is not known who asks").hint(
            "name your identity with `--identity FILE`; `keyserver administrator create`, on the \
             server's machine, makes one",
        ));
    };
    let identity = read_identity(path).map_err(|error| match error {
        ReadIdentityError::Io(error) => Failure::file(path)(error),
        error => Failure::new(format!("`{}` {error}", path.display()))
            .hint("`chmod 600` the file, and ask who could read it until now"),
    })?;
    Client::remote(url, &identity, Clock::system().now()).map_err(|error| match error {
        RemoteError::Identity(IdentityError::Expired { not_after }) => Failure::new(format!(
            "the certificate in `{}` has expired on {}",
            path.display(),
            local_time(not_after)
        ))
        .hint(
            "`keyserver administrator create`, on the server's machine, makes another one; where it has not \
             expired, see to this machine's clock",
        ),
        error => Failure::new(ErrorChain(&error).to_string()),
    })
}
