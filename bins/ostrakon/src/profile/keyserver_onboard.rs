use ostrakon_client::BaseUrl;
use ostrakon_types::KssId;

use super::show;
use crate::{context::Context, error::Failure};

pub(crate) async fn run(
    mut context: Context,
    keyserver_id: KssId,
    urls: &[BaseUrl],
) -> Result<(), Failure> {
    context.workstation.onboard(keyserver_id, urls).await?;
    show::print(&context)
}
