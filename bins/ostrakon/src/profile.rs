mod create;
mod export_card;
mod keyserver_onboard;
mod recovery;
pub(crate) mod show;
mod threshold;

use crate::{cli::ProfileCommand, context::Context, error::Failure};

pub(crate) async fn run(context: Context, command: ProfileCommand) -> Result<(), Failure> {
    match command {
        ProfileCommand::Create { name } => create::run(context, name.as_deref()),
        ProfileCommand::Show => show::run(context).await,
        ProfileCommand::Threshold { needed, wait } => threshold::run(context, needed, &wait).await,
        ProfileCommand::ExportCard { output } => export_card::run(context, output.as_deref()).await,
        ProfileCommand::Recovery { command } => recovery::run(context, command).await,
        ProfileCommand::KeyserverOnboard {
            keyserver_id,
            keyserver_url,
        } => keyserver_onboard::run(context, keyserver_id, &keyserver_url).await,
    }
}
