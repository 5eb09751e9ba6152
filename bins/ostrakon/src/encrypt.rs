use ostrakon_client::EncryptOptions;

use crate::{cli::EncryptArguments, context::Context, error::Failure, files::Files};

pub(crate) async fn run(context: Context, arguments: EncryptArguments) -> Result<(), Failure> {
    let context = context.with_profile().await?;
    let options = EncryptOptions {
        output: arguments.output,
        overwrite: arguments.force,
        remove: arguments.remove,
    };
    let mut files = Files::new(context.format);
    let summary = context
        .workstation
        .encrypt(&arguments.paths, &options, &mut files)?;
    Failure::of_files("encrypted", summary, files.finish())
}
