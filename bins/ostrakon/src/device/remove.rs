use ostrakon_client::people::ChangeOptions;
use ostrakon_types::DeviceId;

use crate::{context::Context, error::Failure, person::Terminal, profile::show};

pub(crate) async fn run(
    context: Context,
    id: DeviceId,
    options: &ChangeOptions,
) -> Result<(), Failure> {
    let mut context = context.with_profile().await?;
    let mut person = Terminal::new(context.format);
    let workstation = &mut context.workstation;
    workstation.remove_device(id, options, &mut person).await?;
    show::print(&context)
}
