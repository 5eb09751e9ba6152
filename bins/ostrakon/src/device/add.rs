use ostrakon_client::people::{HostOptions, Name};
use ostrakon_types::DeviceId;

use super::list;
use crate::{context::Context, error::Failure, person::Terminal};

pub(crate) async fn run(
    context: Context,
    name: Name,
    options: &HostOptions,
) -> Result<(), Failure> {
    if context.recovers() {
        return recover(context, None, options).await;
    }
    let mut context = context.with_profile().await?;
    let mut person = Terminal::new(context.format);
    let workstation = &mut context.workstation;
    let card = workstation.add_device(name, options, &mut person).await?;
    list::one(&context, &card);
    Ok(())
}

/// In a home without a profile: meets a device of the profile that is to be recovered.
pub(crate) async fn recover(
    mut context: Context,
    expected: Option<DeviceId>,
    options: &HostOptions,
) -> Result<(), Failure> {
    let mut person = Terminal::new(context.format);
    let workstation = &mut context.workstation;
    let met = workstation.meet_for_recovery(expected, options, &mut person);
    let card = met.await?;
    list::one(&context, &card);
    Ok(())
}
