use ostrakon_client::people::{HostOptions, Name};

use super::list;
use crate::{context::Context, error::Failure, person::Terminal};

pub(crate) async fn run(
    context: Context,
    name: Name,
    options: &HostOptions,
) -> Result<(), Failure> {
    let mut context = context.with_profile().await?;
    let mut person = Terminal::new(context.format);
    let workstation = &mut context.workstation;
    let card = workstation.add_device(name, options, &mut person).await?;
    list::one(&context, &card);
    Ok(())
}
