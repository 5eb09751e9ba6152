use ostrakon_client::people::Profile;
use serde_json::json;

use super::show;
use crate::{
    cli::{Format, RecoveryCommand},
    context::Context,
    error::Failure,
    person::Terminal,
    show::{aside, line},
};

/// As many words as people compare.
const WORDS: usize = 8;

pub(crate) async fn run(mut context: Context, command: RecoveryCommand) -> Result<(), Failure> {
    match command {
        RecoveryCommand::LoadProfiles { device } => {
            for profile in context.workstation.load_profiles(device)? {
                one(&context, &profile);
            }
        }
        RecoveryCommand::ListProfiles => {
            for profile in context.workstation.loaded_profiles()? {
                one(&context, &profile);
            }
        }
        RecoveryCommand::SelectProfile { profile } => {
            let profile = context.workstation.select_profile(profile)?;
            one(&context, &profile);
        }
        RecoveryCommand::StageNewDevice { device, replaces } => {
            context.workstation.stage_new_device(device, &replaces)?;
            match context.format {
                Format::Json => line(&json!({ "staged": true })),
                Format::Human => {
                    aside("staged: `ostrakon profile recovery finalize` has it approved")
                }
            }
        }
        RecoveryCommand::Finalize { threshold, wait } => {
            let mut person = Terminal::new(context.format);
            let options = wait.change(threshold);
            let workstation = &mut context.workstation;
            workstation.finalize_recovery(&options, &mut person).await?;
            show::print(&context)?;
        }
    }
    Ok(())
}

fn one(context: &Context, profile: &Profile) {
    let version = profile.version();
    let threshold = profile.threshold();
    match context.format {
        Format::Json => line(&json!({
            "id": profile.id(),
            "name": version.name,
            "words": profile.words(),
            "version": version.number,
            "threshold": threshold.needed(),
            "devices": version.devices.iter().map(|card| {
                json!({ "id": card.id(), "kind": card.kind, "name": card.name })
            }).collect::<Vec<_>>(),
        })),
        Format::Human => {
            line(&format!("profile    {}", version.name));
            line(&format!("id         {}", profile.id()));
            line(&format!("words      {}", profile.words().first(WORDS)));
            line(&format!("version    {}", version.number));
            line(&format!(
                "threshold  {} of {}",
                threshold.needed(),
                threshold.shares()
            ));
            for card in &version.devices {
                line(&format!(
                    "device     {} {} {}",
                    card.id(),
                    show::kind(card.kind),
                    card.name
                ));
            }
        }
    }
}
