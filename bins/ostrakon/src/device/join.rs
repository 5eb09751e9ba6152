use std::{io, path::Path};

use ostrakon_client::people::{Code, DeviceKind, GuestOptions, Invitation};
use serde_json::json;

use crate::{
    cli::{Format, JoinKind},
    context::Context,
    error::Failure,
    person::{Terminal, read_line},
    qr,
    show::line,
};

pub(crate) async fn run(
    mut context: Context,
    invitation: Option<String>,
    image: Option<&Path>,
    kind: JoinKind,
    wait: u32,
) -> Result<(), Failure> {
    let text = match (image, invitation) {
        (Some(path), _) => qr::read(path)?,
        (None, Some(dash)) if dash == "-" => read_line().map_err(|error| Failure::input(&error))?,
        (None, Some(text)) => text,
        (None, None) => return Err(Failure::input(&io::ErrorKind::UnexpectedEof.into())),
    };
    let options = GuestOptions {
        kind: match kind {
            JoinKind::Mobile => DeviceKind::Mobile,
            JoinKind::Workstation => DeviceKind::Workstation,
        },
        wait_ms: i64::from(wait) * 1000,
    };
    let workstation = &mut context.workstation;
    let joined = if let Ok(invitation) = text.parse::<Invitation>() {
        workstation.join_by_invitation(&invitation, options).await?
    } else if let Ok(code) = text.parse::<Code>() {
        let mut person = Terminal::new(context.format);
        let address = code.address().into();
        workstation
            .join_by_code(address, options, &mut person)
            .await?
    } else {
        return Err(Failure::no_invitation());
    };
    match context.format {
        Format::Json => line(&json!({ "profile": joined.profile, "added": joined.added })),
        Format::Human => {
            let verb = if joined.added { "joined" } else { "linked to" };
            line(&format!("{verb} profile {}", joined.profile));
        }
    }
    Ok(())
}
