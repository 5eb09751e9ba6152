//! Which running server is meant.

use std::fs;

use ostrakon_server::admin::Client;
use ostrakon_types::ErrorChain;

use super::Context;
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
    let identity = fs::read(path).map_err(Failure::file(path))?;
    Client::remote(url, &identity).map_err(|error| Failure::new(ErrorChain(&error).to_string()))
}
