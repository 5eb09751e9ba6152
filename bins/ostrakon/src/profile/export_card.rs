use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
};

use serde_json::json;

use crate::{context::Context, error::Failure, show::line};

/// Names the format, so that nobody takes another file for a card.
const FORMAT: &str = "ostrakon-profile-card";

pub(crate) async fn run(context: Context, output: Option<&Path>) -> Result<(), Failure> {
    let context = context.with_profile().await?;
    let view = context
        .workstation
        .profile()
        .ok_or_else(Failure::no_profile)?;
    // The versions are all that counts; the rest is for people to look at.
    let card = json!({
        "format": FORMAT,
        "format_version": 1,
        "profile": view.profile.id(),
        "name": view.profile.version().name,
        "words": view.profile.words(),
        "versions": view.versions,
    });
    match output {
        None => line(&card),
        Some(path) => {
            write(path, &format!("{card:#}\n")).map_err(|error| Failure::write(path, &error))?
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
