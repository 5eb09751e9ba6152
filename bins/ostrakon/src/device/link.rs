use ostrakon_client::people::HostOptions;
use ostrakon_types::DeviceId;

use super::{add, list};
use crate::{context::Context, error::Failure, person::Terminal};

pub(crate) async fn run(
    context: Context,
    id: DeviceId,
    options: &HostOptions,
) -> Result<(), Failure> {
    if context.recovers() {
        return add::recover(context, Some(id), options).await;
    }
    let mut context = context.with_profile().await?;
    let mut person = Terminal::new(context.format);
    let workstation = &mut context.workstation;
    let card = workstation.link_device(id, options, &mut person).await?;
    list::one(&context, &card);
    Ok(())
}
