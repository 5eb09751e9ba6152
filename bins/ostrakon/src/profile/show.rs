use ostrakon_client::ProfileView;
use serde_json::json;

use crate::{cli::Format, context::Context, error::Failure, show::line};

/// As many words as people compare.
const WORDS: usize = 8;

pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    print(&context.with_profile().await?)
}

pub(crate) fn print(context: &Context) -> Result<(), Failure> {
    let view = context
        .workstation
        .profile()
        .ok_or_else(Failure::no_profile)?;
    match context.format {
        Format::Human => human(&view),
        Format::Json => json(&view),
    }
    Ok(())
}

fn human(view: &ProfileView<'_>) {
    let version = view.profile.version();
    let threshold = view.profile.threshold();
    line(&format!("profile    {}", version.name));
    line(&format!("id         {}", view.profile.id()));
    line(&format!("words      {}", view.profile.words().first(WORDS)));
    line(&format!("version    {}", version.number));
    line(&format!(
        "threshold  {} of {}",
        threshold.needed(),
        threshold.shares()
    ));
    if let Some(kss_id) = view.keyserver {
        line(&format!("keyserver  {kss_id}"));
    }
    for card in &version.devices {
        let this = if card == view.device {
            " (this device)"
        } else {
            ""
        };
        line(&format!(
            "device     {} {} {}{this}",
            card.id(),
            kind(card.kind),
            card.name
        ));
    }
    for group in view.groups {
        line(&format!("group      {}", group.name));
    }
}

fn json(view: &ProfileView<'_>) {
    let version = view.profile.version();
    let devices = version.devices.iter().map(|card| {
        json!({ "id": card.id(), "kind": card.kind, "name": card.name, "this": card == view.device })
    });
    let groups = view
        .groups
        .iter()
        .map(|group| json!({ "name": group.name, "members": group.members }));
    line(&json!({
        "id": view.profile.id(),
        "name": version.name,
        "words": view.profile.words(),
        "version": version.number,
        "threshold": view.profile.threshold().needed(),
        "keyserver_id": view.keyserver,
        "devices": devices.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
    }));
}

/// The name of a kind of devices, as in JSON.
pub(crate) fn kind(kind: impl serde::Serialize) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "device".to_owned(),
    }
}
