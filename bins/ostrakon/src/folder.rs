mod create;
mod list;
mod show;

use crate::{cli::FolderCommand, context::Context, error::Failure};

pub(crate) async fn run(context: Context, command: FolderCommand) -> Result<(), Failure> {
    let context = context.with_profile().await?;
    match command {
        FolderCommand::Create { path, name, suite } => {
            create::run(context, &path, name.as_deref(), suite).await
        }
        FolderCommand::List => {
            list::run(&context);
            Ok(())
        }
        FolderCommand::Show { folder } => show::run(&context, &folder),
    }
}
