//! Documents that say what to type: their sections, and the commands in them.

#![allow(dead_code, reason = "each test uses a part")]

use std::{collections::BTreeMap, fs, path::Path};

/// The sections of a document, by their headings.
pub(crate) fn sections(document: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join(document)).unwrap();
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let mut heading = String::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim().to_owned();
        }
        let section = sections.entry(heading.clone()).or_default();
        section.push_str(line);
        section.push('\n');
    }
    sections
}

/// A command, and the machine or device on which it is typed.
pub(crate) type Step = (String, String);

/// The commands of a section, block by block.
pub(crate) fn blocks(section: &str) -> Vec<Vec<Step>> {
    let mut blocks = Vec::new();
    let mut on = None;
    for line in section.lines() {
        if let Some(language) = line.strip_prefix("```") {
            on = language.strip_prefix("console ").map(str::to_owned);
            blocks.extend(on.is_some().then(Vec::new));
        } else if let (Some(machine), Some(command)) = (&on, line.strip_prefix("$ ")) {
            let block = blocks.last_mut().unwrap();
            block.push((machine.clone(), command.to_owned()));
        }
    }
    blocks
}

/// The commands of a section.
pub(crate) fn steps(section: &str) -> Vec<Step> {
    blocks(section).into_iter().flatten().collect()
}
