use super::show;
use crate::{cli::WaitArguments, context::Context, error::Failure, person::Terminal};

pub(crate) async fn run(context: Context, needed: u8, wait: &WaitArguments) -> Result<(), Failure> {
    let mut context = context.with_profile().await?;
    let mut person = Terminal::new(context.format);
    let options = wait.change(None);
    context
        .workstation
        .set_threshold(needed, &options, &mut person)
        .await?;
    show::print(&context)
}
