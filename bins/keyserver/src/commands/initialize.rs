use ostrakon_server::{
    Clock,
    ceremony::{Joining, Stand},
};
use serde_json::json;

use super::{Context, backup_key, ceremony, database, recovery::machine};
use crate::{
    cli::{AskArgs, Format},
    error::Failure,
};

/// Lets this machine serve as an instance of the server in a shared database.
pub(crate) async fn run(context: &Context, uri: &str, ask: &AskArgs) -> Result<(), Failure> {
    let database = database::named(uri)?;
    let file = Joining::backup_in(&database).await?;
    let versions = backup_key::versions(&file, ask)?;
    let mut joining = Joining::open(
        &context.home,
        &database,
        file,
        &versions,
        machine()?,
        ask.wait.wait_ms(),
        &Clock::system(),
    )?;
    match ceremony::hold(&mut joining, ask, context.format).await? {
        Stand::Approved => {}
        stand => return Err(ceremony::not_approved(stand)),
    }
    let kss_id = joining.finish().await?;
    match context.format {
        Format::Human => println!("keyserver initialized"),
        Format::Json | Format::Cef => println!("{}", json!({ "kss_id": kss_id })),
    }
    let home = context.home.folder().display();
    eprintln!("This machine is an instance of {kss_id} now. To let it serve:");
    eprintln!("    keyserver --home {home} serve");
    Ok(())
}
