//! What becomes of files, told as it happens.

use ostrakon_client::{Outcome, Progress, Report};
use ostrakon_types::ErrorChain;
use serde_json::{Value, json};

use crate::{cli::Format, error, progress::Bar, show};

/// Reports on standard output (done) and standard error (all else); with `json`, all of them on
/// standard output.
pub(crate) struct Files {
    format: Format,
    bar: Bar,
    hint: Option<&'static str>,
}

impl Files {
    pub(crate) fn new(format: Format) -> Self {
        let bar = Bar::new();
        Self {
            format,
            bar,
            hint: None,
        }
    }

    /// Ends the report, and gives what can be done about the first file that failed.
    pub(crate) fn finish(self) -> Option<&'static str> {
        self.bar.finish();
        self.hint
    }
}

impl Progress for Files {
    fn reported(&mut self, report: Report) {
        self.bar.count();
        if let Outcome::Failed(cause) = &report.outcome {
            self.hint = self.hint.or_else(|| error::file_hint(cause));
        }
        let format = self.format;
        self.bar.aside(|| match format {
            Format::Human => tell(&report),
            Format::Json => show::line(&object(&report)),
        });
    }

    fn began(&mut self, bytes: u64) {
        self.bar.began(bytes);
    }

    fn advanced(&mut self, bytes: u64) {
        self.bar.advanced(bytes);
    }
}

fn tell(report: &Report) {
    let path = show::path(&report.path);
    match &report.outcome {
        Outcome::Done { output, .. } => show::line(&format!("{path} -> {}", show::path(output))),
        Outcome::Skipped(skip) => show::aside(&format!("skipped: {path}: {}", error::skip(*skip))),
        Outcome::Denied(denial) => {
            show::aside(&format!("denied: {path}: {}", error::denial(denial)))
        }
        Outcome::Failed(cause) => {
            show::aside(&format!("failed: {path}: {}", ErrorChain(cause)));
        }
        _ => {}
    }
}

fn object(report: &Report) -> Value {
    let path = report.path.to_string_lossy();
    match &report.outcome {
        Outcome::Done { output, bytes } => json!({
            "path": path,
            "outcome": "done",
            "output": output.to_string_lossy(),
            "bytes": bytes,
        }),
        Outcome::Skipped(skip) => json!({
            "path": path,
            "outcome": "skipped",
            "reason": error::skip(*skip),
        }),
        Outcome::Denied(denial) => json!({
            "path": path,
            "outcome": "denied",
            // Its own fields: `reason`, and where there is one, `resets_at` in Unix milliseconds.
            "denial": denial,
            "reason": error::denial(denial),
        }),
        Outcome::Failed(cause) => json!({
            "path": path,
            "outcome": "failed",
            "reason": ErrorChain(cause).to_string(),
        }),
        _ => json!({ "path": path, "outcome": "unknown" }),
    }
}
