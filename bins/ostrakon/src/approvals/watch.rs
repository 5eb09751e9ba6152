use std::collections::BTreeSet;

use ostrakon_client::{BaseUrl, Workstation};
use tokio::time::sleep;

use super::list;
use crate::{
    context::Context,
    error::{Failure, away_said},
    show::aside,
};

pub(crate) async fn run(mut context: Context, relays: &[BaseUrl]) -> Result<(), Failure> {
    let mut shown = BTreeSet::new();
    loop {
        let found = context.workstation.approvals(relays).await?;
        for why in found.refused {
            if shown.insert(why.clone()) {
                aside(&format!("warning: this device does not answer {why}"));
            }
        }
        for away in found.away {
            let said = format!("warning: {}", away_said(&away));
            if shown.insert(said.clone()) {
                aside(&said);
            }
        }
        for waiting in found.pending {
            if shown.insert(waiting.id().to_string()) {
                list::one(&waiting, context.format);
            }
        }
        sleep(Workstation::WATCH_EVERY).await;
    }
}
