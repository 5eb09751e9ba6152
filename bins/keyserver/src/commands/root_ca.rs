use std::{fs::OpenOptions, io, io::Write as _, path::Path};

use ostrakon_server::{
    Clock,
    authority::{certificate_p7b, certificate_pem},
    certificates::authority_of,
};
use serde_json::json;

use super::Context;
use crate::{cli::Format, error::Failure};

/// Writes it to a new file; over another one with `force` alone: that may hold a private key.
pub(crate) async fn run(context: &Context, path: &Path, force: bool) -> Result<(), Failure> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let encode = match extension {
        Some("pem") => |certificate: &[u8]| certificate_pem(certificate).into_bytes(),
        Some("p7b") => certificate_p7b,
        _ => {
            let said = "a certificate authority is written in a file `.pem` or `.p7b`";
            return Err(Failure::new(said).hint("name such a file"));
        }
    };
    let certificate = authority_of(&context.home, &Clock::system()).await?;
    let mut options = OpenOptions::new();
    options.write(true);
    let options = match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(format!("`{}` exists already", path.display()))
                .hint("nothing was changed; `--force` replaces it")
        }
        _ => Failure::file(path)(error),
    })?;
    let written = file.write_all(&encode(&certificate));
    written.map_err(Failure::file(path))?;
    match context.format {
        Format::Human => println!(
            "the server's certificate authority is in `{}`",
            path.display()
        ),
        Format::Json | Format::Cef => println!("{}", json!({ "path": path })),
    }
    Ok(())
}
