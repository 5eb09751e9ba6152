use ostrakon_server::{Clock, Name, setup};
use serde_json::json;

use super::Context;
use crate::{cli::Format, error::Failure};

pub(crate) async fn run(context: &Context, name: &str) -> Result<(), Failure> {
    let name = Name::new(name).map_err(|error| Failure::new(format!("bad name: {error}")))?;
    let keyserver = setup::create(&context.home, name, &Clock::system()).await?;
    match context.format {
        Format::Human => println!("{}", keyserver.kss_id()),
        Format::Json | Format::Cef => println!("{}", json!({ "kss_id": keyserver.kss_id() })),
    }
    eprintln!(
        "A new key shard server was made in `{}`.",
        context.home.folder().display()
    );
    eprintln!("It is a new key: users of another server must be onboarded again to use this one.");
    eprintln!(
        "Write its policy to `{}`, then run",
        context.home.policy().display()
    );
    eprintln!(
        "    keyserver --home {} serve",
        context.home.folder().display()
    );
    Ok(())
}
