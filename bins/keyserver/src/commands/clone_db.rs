use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};
use ostrakon_server::{
    Clock, Place,
    clone_db::{Cloned, Outcome, Progress, Step, clone_db},
};
use serde_json::json;

use super::{Context, database};
use crate::{cli::Format, error::Failure};

/// Moves a server that does not run to another database.
pub(crate) async fn run(context: &Context, new: &str) -> Result<(), Failure> {
    let home = &context.home;
    let to = match new.strip_prefix("sqlite:") {
        Some(path) if path.is_empty() || home.database() == std::path::Path::new(path) => {
            Place::File(home.database())
        }
        Some(_) => {
            return Err(
                Failure::new("a server's own file is `keyserver.db` in its home")
                    .code(2)
                    .hint("name it as `sqlite:`"),
            );
        }
        None => Place::from(&database::named(new)?),
    };
    let before = home.place().map(|place| matches!(place, Place::File(_)));
    let bar = Bar::new();
    let clock = Clock::system();
    let mut show = |progress| bar.show(progress);
    let cloned = clone_db(home, &to, &clock, &mut show).await;
    bar.0.finish_and_clear();
    tell(context, &cloned?, before.unwrap_or(false));
    Ok(())
}

fn tell(context: &Context, cloned: &Cloned, was_file: bool) {
    let Cloned {
        kss_id,
        database,
        outcome,
        ..
    } = cloned;
    let rows = match outcome {
        Outcome::Moved { rows } => Some(rows),
        _ => None,
    };
    match context.format {
        Format::Human => println!("{kss_id}"),
        Format::Json | Format::Cef => {
            println!(
                "{}",
                json!({ "kss_id": kss_id, "database": database, "rows": rows })
            );
        }
    }
    match rows {
        Some(rows) => eprintln!("{rows} rows were copied and compared. The server is in"),
        None => eprintln!("The server is in"),
    }
    eprintln!("    {database}");
    if rows.is_some() {
        if was_file {
            let file = context.home.database();
            eprintln!(
                "The old state stays in `{}`, and nobody serves from it any more.",
                file.display()
            );
        } else {
            eprintln!("The old state stays where it was, and nobody serves from it any more.");
            eprintln!("On each other machine of the server, run this command, too.");
        }
        eprintln!("Once this server runs, that state may be destroyed, as befits a backup.");
    }
}

/// Shows on a terminal how far it has come.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} rows {eta}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, progress: Progress) {
        self.0.set_message(match progress.step {
            Step::Copy => "copying",
            Step::Compare => "comparing",
        });
        self.0.set_length(progress.of.max(progress.rows));
        self.0.set_position(progress.rows);
    }
}
