use ostrakon_client::people::ChangeOptions;
use ostrakon_types::DeviceId;

use crate::{context::Context, error::Failure, person::Terminal, profile::show, show::aside};

pub(crate) async fn run(
    context: Context,
    id: DeviceId,
    options: &ChangeOptions,
) -> Result<(), Failure> {
    let mut context = context.with_profile().await?;
    let mut person = Terminal::new(context.format);
    let workstation = &mut context.workstation;
    workstation.remove_device(id, options, &mut person).await?;
    show::print(&context)?;
    // Which servers those are, nobody here need know; and one that is in the profile goes by its register.
    let view = context.workstation.profile();
    if view.is_some_and(|view| view.keyserver.is_none()) {
        aside(
            "a key shard server whose backup key these devices hold still goes by the devices of when that was made, \
             the removed one too: make a new one there, `keyserver save-backup-key PATH --profile CARD`, with the \
             card that `ostrakon profile export-card` writes now. It takes five devices at least: add a replacement \
             first, or go on with `--ignore-security-checks`",
        );
    }
    Ok(())
}
