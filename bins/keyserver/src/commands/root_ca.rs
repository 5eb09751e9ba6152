use std::{fs, path::Path};

use ostrakon_server::{
    Clock,
    authority::{certificate_p7b, certificate_pem},
    certificates::authority_of,
};
use serde_json::json;

use super::Context;
use crate::{cli::Format, error::Failure};

pub(crate) async fn run(context: &Context, path: &Path) -> Result<(), Failure> {
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
    fs::write(path, encode(&certificate)).map_err(Failure::file(path))?;
    match context.format {
        Format::Human => println!(
            "the server's certificate authority is in `{}`",
            path.display()
        ),
        Format::Json | Format::Cef => println!("{}", json!({ "path": path })),
    }
    Ok(())
}
