use super::show;
use crate::{context::Context, error::Failure};

pub(crate) fn run(mut context: Context, name: Option<&str>) -> Result<(), Failure> {
    context.workstation.create_profile(name)?;
    show::print(&context)
}
