use ostrakon_server::ceremony::Listed;
use serde_json::json;

use super::local_time;
use crate::{cli::Format, error::Failure};

/// One line for each.
pub(super) fn run(all: &[Listed], format: Format) -> Result<(), Failure> {
    for listed in all {
        let about = listed.about.as_ref();
        match format {
            Format::Human => {
                let title = about.map_or("between devices of a profile", |about| &about.title);
                let until = local_time(listed.expires_at);
                println!("{}  {title}  (until {until})", listed.id);
            }
            _ => println!(
                "{}",
                json!({
                    "id": listed.id,
                    "kind": about.map(|about| &about.kind),
                    "title": about.map(|about| &about.title),
                    "profile": listed.profile,
                    "opened_at": listed.opened_at,
                    "expires_at": listed.expires_at,
                })
            ),
        }
    }
    if all.is_empty() && format == Format::Human {
        eprintln!("Nothing waits.");
    }
    Ok(())
}
