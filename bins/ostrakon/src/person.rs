//! The person at the terminal.

use std::{
    io::{self, BufRead as _, Read as _},
    pin::Pin,
};

use ostrakon_client::people::{Card, Digits, News, Person, Standing};
use serde_json::json;

use crate::{
    cli::Format,
    error::local_time,
    interrupt::Interrupt,
    qr,
    show::{aside, line},
};

/// Longer than any line that is asked for.
const MAX_LINE: u64 = 64 << 10;

/// Tells and asks on the terminal: people on standard error, programs on standard output.
pub(crate) struct Terminal {
    format: Format,
    interrupt: Interrupt,
}

impl Terminal {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            interrupt: Interrupt::default(),
        }
    }
}

impl Person for Terminal {
    fn hear(&mut self, news: &News<'_>) {
        match self.format {
            Format::Human => human(news),
            Format::Json => json(news),
        }
    }

    fn gives_up(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.interrupt.told())
    }

    fn compare(&mut self, digits: Digits, other: &Card) -> Box<dyn FnOnce() -> bool + Send> {
        let name = other.name.clone();
        let format = self.format;
        Box::new(move || {
            match format {
                Format::Human => {
                    aside(&format!("`{name}` must show these digits, too:  {digits}"));
                    aside("does it? [y/N]");
                }
                Format::Json => line(&json!({ "event": "compare", "digits": digits.to_string() })),
            }
            let answer = read_line().unwrap_or_default();
            matches!(answer.trim(), "y" | "Y" | "yes")
        })
    }
}

fn human(news: &News<'_>) {
    match news {
        News::Invitation(uri) => {
            match qr::draw(uri) {
                Some(drawn) => aside(&drawn),
                None => aside("note: the QR code does not fit; use its text"),
            }
            aside("scan this with the other device, or give it the text (it is a secret):");
            aside(&format!("ostrakon device join '{uri}'"));
        }
        News::Code(code) => {
            aside("type this on the other device:");
            aside(&format!("ostrakon device join {code}"));
        }
        News::Met(card) => aside(&format!("`{}` came ({})", card.name, card.id())),
        News::Opened {
            id,
            description,
            standing,
            expires_at,
            here,
            words,
        } => {
            aside(&format!("waiting for approvals: {}", description.title));
            for (label, text) in &description.details {
                aside(&format!("  {label:<10} {text}"));
            }
            if let Standing::Open { approved, needed } = standing {
                aside(&format!("  {:<10} {approved} of {needed}", "approved"));
            }
            aside(&format!("  {:<10} {}", "until", local_time(*expires_at)));
            let relay = here.map_or_else(String::new, |at| format!(" --relay http://{at}"));
            let words = words.as_ref().map_or_else(String::new, |words| {
                aside("nobody can know who asks: each person must give these words, as shown here");
                format!(" --words '{words}'")
            });
            aside(&format!(
                "on each device: ostrakon approvals approve {id}{relay}{words}"
            ));
        }
        News::Answered(device) => aside(&format!("answered: {device}")),
        _ => {}
    }
}

fn json(news: &News<'_>) {
    match news {
        News::Invitation(uri) => line(&json!({ "event": "invitation", "uri": uri })),
        News::Code(code) => line(&json!({ "event": "code", "code": code })),
        News::Met(card) => line(&json!({ "event": "met", "device": card.id(), "name": card.name })),
        News::Opened {
            id,
            description,
            expires_at,
            here,
            words,
            ..
        } => line(&json!({
            "event": "opened",
            "ceremony": id,
            "title": description.title,
            "expires_at": expires_at,
            "words": words.as_ref().map(ToString::to_string),
            "relay": here.map(|at| format!("http://{at}")),
        })),
        News::Answered(device) => line(&json!({ "event": "answered", "device": device })),
        _ => {}
    }
}

/// A line of standard input, of bounded length.
pub(crate) fn read_line() -> io::Result<String> {
    let mut text = String::new();
    let mut input = io::stdin().lock().take(MAX_LINE);
    if input.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim().to_owned())
}
