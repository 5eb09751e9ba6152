use ostrakon_backup::catalogue::Catalogue;

use crate::{
    aside,
    cli::{Format, ListArgs},
    context,
    error::{Failure, code},
    print,
};

/// Lists the archives of a folder.
pub(crate) fn run(args: &ListArgs) -> Result<(), Failure> {
    let folder = match &args.output {
        Some(folder) => folder.clone(),
        None => context::output(None, &context::confdir(None)?),
    };
    if !folder.is_dir() {
        let said = format!("there is no folder `{}`", folder.display());
        return Err(Failure::new(code::USAGE, said).hint("`--output` says where archives are"));
    }
    let catalogue = Catalogue::read(&folder, &context::host())?;
    let entries = catalogue.entries();
    let proven = entries.iter().rfind(|entry| entry.proven_at.is_some());
    match args.format {
        Format::Json => {
            let listed = serde_json::json!({
                "archives": entries,
                "last_proven": proven.map(|entry| &entry.file),
                "others": catalogue.strangers()?,
            });
            print(&listed.to_string())?;
        }
        Format::Human => {
            for entry in &entries {
                let proof = match entry.proven_at {
                    Some(at) => format!("proven {}", context::shown(at)),
                    None => "not proven".to_owned(),
                };
                print(&format!(
                    "{}  {:>10}  {}",
                    entry.file,
                    context::size(entry.size),
                    proof
                ))?;
            }
            match proven {
                Some(entry) => aside(&format!("the last one proven to restore: {}", entry.file)),
                None => {
                    aside("none of them is proven to restore: `keybackup drill ARCHIVE` tries one")
                }
            }
            for stranger in catalogue.strangers()? {
                aside(&format!(
                    "{stranger} was not made here, and is never removed"
                ));
            }
        }
    }
    Ok(())
}
