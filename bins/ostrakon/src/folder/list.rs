use super::show;
use crate::{cli::Format, context::Context, show as output};

pub(crate) fn run(context: &Context) {
    for folder in context.workstation.folders() {
        match context.format {
            Format::Json => show::print(folder, context.format),
            Format::Human => {
                let path = output::path(folder.path());
                output::line(&format!("{}  {path}", folder.name()));
            }
        }
    }
}
