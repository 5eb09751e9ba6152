use ostrakon_client::DecryptOptions;

use crate::{cli::DecryptArguments, context::Context, error::Failure, files::Files};

pub(crate) async fn run(context: Context, arguments: DecryptArguments) -> Result<(), Failure> {
    let context = context.with_profile().await?;
    let options = DecryptOptions {
        output: arguments.output,
        overwrite: arguments.force,
    };
    let mut files = Files::new(context.format);
    let decrypted = context
        .workstation
        .decrypt(&arguments.paths, &options, &mut files)
        .await;
    let hint = files.finish();
    Failure::of_files("decrypted", decrypted?, hint)
}
