use ostrakon_server::ceremony::{Answered, Listed, ListedDevice};
use serde_json::json;

use super::local_time;
use crate::{cli::Format, error::Failure};

pub(super) fn run(listed: &Listed, format: Format) -> Result<(), Failure> {
    match format {
        Format::Human => human(listed),
        _ => json(listed),
    }
    Ok(())
}

fn human(listed: &Listed) {
    match &listed.about {
        Some(about) => {
            println!("asks to    {}", about.title);
            for (label, text) in &about.details {
                println!("{label:<10} {text}");
            }
        }
        None => println!("asks       what only its devices can read"),
    }
    println!("profile    {}", listed.profile);
    match &listed.about {
        Some(about) if about.by_machine => println!("asked by   a command on this machine"),
        Some(_) => println!("asked by   this key shard server"),
        None => println!("asked by   {}", listed.requester),
    }
    if let Some(about) = &listed.about {
        println!("needs      {} approvals", about.needed);
    }
    println!("opened     {}", local_time(listed.opened_at));
    println!("until      {}", local_time(listed.expires_at));
    println!("id         {}", listed.id);
    for device in &listed.devices {
        let name = device.name.as_deref().unwrap_or_default();
        println!("{:<10} {} {name}", answer(device), device.device);
    }
}

fn json(listed: &Listed) {
    let about = listed.about.as_ref();
    let devices = listed.devices.iter().map(|device| {
        json!({
            "device": device.device,
            "name": device.name,
            "answer": device.answer.map(|_| answer(device)),
        })
    });
    println!(
        "{}",
        json!({
            "id": listed.id,
            "kind": about.map(|about| &about.kind),
            "title": about.map(|about| &about.title),
            "details": about.map(|about| &about.details),
            "profile": listed.profile,
            "requester": listed.requester,
            "needed": about.map(|about| about.needed),
            "opened_at": listed.opened_at,
            "expires_at": listed.expires_at,
            "devices": devices.collect::<Vec<_>>(),
        })
    );
}

fn answer(device: &ListedDevice) -> &'static str {
    match device.answer {
        Some(Answered::Approved) => "approved",
        Some(Answered::Denied) => "denied",
        Some(Answered::Sealed) => "answered",
        None => "no answer",
    }
}
