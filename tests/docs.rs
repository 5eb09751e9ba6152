//! The documents: links lead somewhere, commands and flags exist and are all named, sample policies
//! load, and the tests that are cited are there.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ostrakon_testkit::{command::binary, run};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> Outcome<String> {
    Ok(fs::read_to_string(root().join(path))?)
}

/// All files of the repository that end with `end`, but what is built.
fn files(end: &str) -> Vec<PathBuf> {
    fn visit(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                visit(&path, end, found);
            } else if name.ends_with(end) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    visit(root(), end, &mut found);
    found.sort();
    found
}

/// The text without its code blocks, and the code blocks, each with its language.
fn parts(text: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut blocks, mut open) = (String::new(), Vec::new(), None);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, block))) => *block += &format!("{line}\n"),
            (None, None) => prose += &format!("{line}\n"),
        }
    }
    (prose, blocks)
}

/// What stands between backticks.
fn spans(prose: &str) -> impl Iterator<Item = &str> {
    prose
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The targets of all links, inline and by reference.
fn links(prose: &str) -> Vec<&str> {
    let inline = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let referenced = prose.lines().filter_map(|line| {
        let (name, target) = line.split_once("]: ")?;
        name.starts_with('[').then_some(target)
    });
    inline.chain(referenced).collect()
}

/// The anchors of a document's headings.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| -> String {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The links of a document that lead nowhere.
fn broken(document: &Path, text: &str) -> Vec<String> {
    let prose = parts(text).0;
    let leads = |target: &str| {
        if target.contains("://") || target.starts_with("mailto:") {
            return true;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let linked = document.parent().unwrap().join(path);
        let found = |text: &str| anchors(&parts(text).0).contains(anchor);
        match (path, anchor) {
            ("", _) => found(text),
            (_, "") => linked.exists(),
            _ => fs::read_to_string(linked).is_ok_and(|text| found(&text)),
        }
    };
    let targets = links(&prose).into_iter().filter(|target| !leads(target));
    targets.map(str::to_owned).collect()
}

/// The help of one command, or what it says instead.
fn help(program: &str, path: &[&str]) -> Result<String, String> {
    let ran = run(Command::new(binary(program)).args(path).arg("--help"));
    if ran.code == Some(0) {
        Ok(ran.stdout)
    } else {
        Err(ran.stderr)
    }
}

/// The names in a section of a help text: the commands, or the long flags.
fn listed<'h>(help: &'h str, section: &str) -> BTreeSet<&'h str> {
    let lines = help.lines().skip_while(|line| *line != section).skip(1);
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
    let words = lines.filter_map(|line| match section {
        // Names of commands are indented by two; what goes on below is by more.
        "Commands:" => line
            .strip_prefix("  ")
            .filter(|line| !line.starts_with(' ')),
        _ => line
            .find("--")
            .filter(|at| line[..*at].trim().len() <= 3)
            .map(|at| &line[at..]),
    });
    words
        .filter_map(|line| line.split([' ', '=']).next())
        .filter(|word| *word != "help")
        .collect()
}

/// All commands that a program's help leads to, each with its help.
fn commands(program: &str) -> BTreeMap<Vec<String>, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![Vec::<String>::new()];
    while let Some(path) = left.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let text = help(program, &words).unwrap();
        for name in listed(&text, "Commands:") {
            left.push(path.iter().cloned().chain([name.to_owned()]).collect());
        }
        found.insert(path, text);
    }
    found
}

/// What is wrong with a command line in a document: a command or a flag that does not exist.
fn unknown(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let program = words.next()?;
    let mut path: Vec<&str> = Vec::new();
    let mut text = match help(program, &path) {
        Ok(text) => text,
        Err(error) => return Some(error),
    };
    let mut is_value = false;
    for word in words {
        let word = word.trim_matches(['[', ']', '(', ')', '…', ',']);
        // Capitals are places for what one puts there.
        let is_place = word.contains(char::is_uppercase);
        if std::mem::take(&mut is_value) || word.is_empty() || is_place {
            continue;
        }
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split('=').next().unwrap_or(flag);
            let named = text.lines().map(str::trim_start).find(|line| {
                let names = line.split(' ').map(|name| name.trim_end_matches(','));
                line.starts_with('-') && names.take(2).any(|name| name == format!("--{flag}"))
            });
            let Some(named) = named else {
                return Some(format!("`{line}`: there is no `--{flag}`"));
            };
            is_value = named.contains('<') && !named.contains("[<") && !word.contains('=');
        } else if word.starts_with('-') {
            if !text.contains(&format!("  {word},")) {
                return Some(format!("`{line}`: there is no `{word}`"));
            }
        } else if text.contains("\nCommands:") {
            path.push(word);
            text = match help(program, &path) {
                Ok(text) => text,
                Err(_) => return Some(format!("`{line}`: there is no command `{word}`")),
            };
        }
    }
    None
}

/// The command lines in a document: in code blocks behind `$`, and between backticks.
fn command_lines(text: &str) -> Vec<String> {
    let (prose, blocks) = parts(text);
    let typed = blocks.iter().flat_map(|(_, block)| block.lines());
    let typed = typed.filter_map(|line| line.strip_prefix("$ "));
    let typed = typed.map(|line| line.split(" #").next().unwrap_or(line));
    let lines = spans(&prose).chain(typed);
    let ours = lines.filter(|line| {
        let program = line.split(' ').next().unwrap_or_default();
        ["keyserver", "ostrakon", "keybackup"].contains(&program)
    });
    let ours: BTreeSet<String> = ours.map(str::to_owned).collect();
    ours.into_iter().collect()
}

/// Names of tests in a document: three words or more with `_` between them.
fn cited(prose: &str) -> BTreeSet<&str> {
    let is_name = |span: &&str| {
        let fits = span
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        fits && span.split('_').filter(|word| !word.is_empty()).count() > 2
    };
    spans(prose).filter(is_name).collect()
}

#[test]
fn links_lead_somewhere() {
    let documents = files(".md");
    assert!(documents.len() > 8, "{documents:?}");
    let broken: Vec<_> = documents
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let targets = broken(path, &text).into_iter();
            targets.map(move |target| format!("{}: {target}", path.display()))
        })
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn planted_links_are_caught() {
    let readme = root().join("README.md");
    let text = "[a](docs/commands.md) [b](docs/nowhere.md) [c](docs/commands.md#nowhere) [d](#d)\n\
        # D\n```\n[e](nowhere)\n```\n[f]: nowhere.md\n";
    let broken = broken(&readme, text);
    assert_eq!(
        broken,
        ["docs/nowhere.md", "docs/commands.md#nowhere", "nowhere.md"]
    );
}

#[test]
fn commands_that_are_named_exist() -> Outcome {
    for document in [
        "README.md",
        "docs/backup.md",
        "docs/commands.md",
        "docs/devices.md",
        "docs/failover.md",
        "docs/ha.md",
        "docs/operations.md",
        "docs/recovery.md",
        "docs/policy.md",
    ] {
        let lines = command_lines(&read(document)?);
        assert!(!lines.is_empty(), "{document}");
        let unknown: Vec<_> = lines.iter().filter_map(|line| unknown(line)).collect();
        assert!(unknown.is_empty(), "{document}: {unknown:#?}");
    }
    Ok(())
}

#[test]
fn planted_commands_are_caught() {
    for line in [
        "keyserver frobnicate",
        "keyserver --home DIR policy chek FILE",
        "keyserver policy check --strikt FILE",
        "ostrakon decrypt -x DIR",
        "keybackup --role 3",
    ] {
        assert!(unknown(line).is_some(), "{line}");
    }
    for line in [
        "keyserver --home srv --format json policy check --strict keyserver.yml",
        "keyserver policy --dump [PATH]",
        "keyserver completions SHELL",
    ] {
        assert_eq!(unknown(line), None, "{line}");
    }
}

/// Each command has a span of its own in docs/commands.md, and each of its flags a row.
#[test]
fn commands_that_exist_are_named() -> Outcome {
    let text = read("docs/commands.md")?;
    let prose = parts(&text).0;
    let spans: Vec<&str> = spans(&prose).collect();
    let mut missing = Vec::new();
    for program in ["keyserver", "ostrakon", "keybackup"] {
        let commands = commands(program);
        assert!(commands.len() > 4, "{program}: {:?}", commands.keys());
        for (path, help) in &commands {
            let command = format!("{program} {}", path.join(" "));
            let is_leaf = !commands
                .keys()
                .any(|other| other.len() > path.len() && other.starts_with(path));
            if is_leaf
                && !spans
                    .iter()
                    .any(|span| span.starts_with(command.trim_end()))
            {
                missing.push(command.clone());
            }
            for flag in listed(help, "Options:") {
                let is_named = |span: &&str| span.split(' ').any(|word| word == flag);
                if !spans.iter().any(is_named) {
                    missing.push(format!("{command}: {flag}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in docs/commands.md: {missing:#?}");
    Ok(())
}

/// The samples of docs/policy.md: policies load, and the suite holds for the first.
#[test]
fn sample_policies_load() -> Outcome {
    let mut policies = 0;
    for document in ["README.md", "docs/policy.md"] {
        let folder = tempfile::tempdir()?;
        let blocks = parts(&read(document)?).1;
        let yaml = blocks.iter().filter(|(language, _)| language == "yaml");
        for (_, sample) in yaml {
            let is_suite = sample.starts_with("name:");
            let file = folder.path().join(if is_suite {
                "suite.yml"
            } else {
                "keyserver.policy"
            });
            fs::write(&file, sample)?;
            let mut command = Command::new(binary("keyserver"));
            command.arg("policy");
            match is_suite {
                true => command.arg("test"),
                false => command.arg("check"),
            };
            let ran = run(command.arg(&file));
            assert_eq!(
                ran.code,
                Some(0),
                "{document}: {}{}",
                ran.stdout,
                ran.stderr
            );
            policies += usize::from(!is_suite);
        }
    }
    assert_eq!(policies, 2);
    Ok(())
}

#[test]
fn policy_examples_hold() -> Outcome {
    let folder = root().join("docs/policy-examples");
    let ran = run(Command::new(binary("keyserver"))
        .args(["policy", "test"])
        .arg(folder));
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let passed = ran
        .stdout
        .split(' ')
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    assert!(passed > Some(100), "{}", ran.stdout);
    Ok(())
}

#[test]
fn cited_tests_exist() -> Outcome {
    let sources = files(".rs")
        .into_iter()
        .map(|path| fs::read_to_string(path).unwrap());
    let sources: Vec<String> = sources.collect();
    for document in ["docs/security.md", "docs/formats.md"] {
        let text = read(document)?;
        let prose = parts(&text).0;
        let cited = cited(&prose);
        assert!(cited.len() > 4, "{document}: {cited:?}");
        let absent = cited.iter().filter(|name| {
            !sources
                .iter()
                .any(|source| source.contains(&format!("fn {name}(")))
        });
        let absent: Vec<_> = absent.collect();
        assert!(absent.is_empty(), "{document}: {absent:#?}");
    }
    Ok(())
}

#[test]
fn a_planted_citation_is_seen() {
    assert_eq!(
        cited("a `test_that_is_not_there`, a `flag_x`, and `A_b_c`")
            .into_iter()
            .collect::<Vec<_>>(),
        ["test_that_is_not_there"]
    );
}
