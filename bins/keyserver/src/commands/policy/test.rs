use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use ostrakon_server::policy_engine::{
    Diagnostic, Registry,
    suite::{self, LoadSuiteError, Suite, SuiteReport},
};
use ostrakon_server::read_text;
use serde_json::json;

use crate::{
    cli::Format,
    error::{FAILED, Failure},
};

/// What came of one file.
type Outcome = Result<SuiteReport, LoadSuiteError>;

pub(super) fn run(
    paths: &[PathBuf],
    junit: Option<&Path>,
    format: Format,
    registry: &Registry,
) -> Result<(), Failure> {
    let files = suites(paths)?;
    let outcomes = run_all(&files, registry)?;
    let (mut passed, mut failed) = (0, 0);
    for outcome in &outcomes {
        match outcome {
            Ok(report) => {
                passed += report.passed();
                failed += report.failed();
                if format == Format::Human && report.failed() > 0 {
                    println!("{report}");
                }
            }
            Err(error) => {
                eprintln!("{error}");
                failed += 1;
            }
        }
    }
    if let Some(path) = junit {
        fs::write(path, junit_xml(&files, &outcomes)).map_err(Failure::file(path))?;
    }
    match format {
        Format::Human => println!("{passed} passed, {failed} failed"),
        Format::Json | Format::Cef => {
            let reports: Vec<&SuiteReport> = outcomes.iter().flatten().collect();
            let unread: Vec<&[Diagnostic]> = outcomes
                .iter()
                .filter_map(|outcome| outcome.as_ref().err())
                .map(LoadSuiteError::diagnostics)
                .collect();
            println!(
                "{}",
                json!({ "passed": passed, "failed": failed, "suites": reports, "unread": unread.concat() })
            );
        }
    }
    if passed + failed == 0 {
        return Err(Failure::new("there are no suites"));
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::Printed { code: FAILED })
    }
}

/// Runs the suites on all processors; what came of them is in the order of the files.
fn run_all(files: &[PathBuf], registry: &Registry) -> Result<Vec<Outcome>, Failure> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            match files.get(index) {
                Some(file) => done.push((index, run_one(file, registry))),
                None => return done,
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(files.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let done = workers.into_iter().map(|worker| {
            let failed = |_| Failure::new("a suite could not be run to its end");
            worker.join().map_err(failed)
        });
        let done: Result<Vec<_>, Failure> = done.collect();
        done.map(|done| done.into_iter().flatten().collect::<Vec<_>>())
    })?;
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

fn run_one(file: &Path, registry: &Registry) -> Result<Outcome, Failure> {
    let text = read_text(file).map_err(Failure::file(file))?;
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    let suite = Suite::from_str(&file.display().to_string(), &text);
    Ok(suite.map(|suite| {
        suite::run_with(&suite, registry, |policy| {
            read_text(&folder.join(policy)).map_err(|error| error.to_string())
        })
    }))
}

/// The outcomes as the XML that build servers read.
fn junit_xml(files: &[PathBuf], outcomes: &[Outcome]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (file, outcome) in files.iter().zip(outcomes) {
        let file = file.display().to_string();
        let (name, cases) = match outcome {
            Ok(report) => {
                let cases = report.cases.iter();
                let cases = cases.map(|case| {
                    let failure = case.failure.as_ref().map(ToString::to_string);
                    (case.name.as_str(), failure)
                });
                (report.name.as_str(), cases.collect())
            }
            Err(error) => (
                file.as_str(),
                vec![("reading the suite", Some(error.to_string()))],
            ),
        };
        let failures = cases
            .iter()
            .filter(|(_, failure)| failure.is_some())
            .count();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" file=\"{}\" tests=\"{}\" failures=\"{failures}\">",
            escaped(name),
            escaped(&file),
            cases.len()
        );
        for (case, failure) in cases {
            let (case, class) = (escaped(case), escaped(name));
            let _ = write!(xml, "    <testcase name=\"{case}\" classname=\"{class}\"");
            let _ = match failure {
                None => writeln!(xml, "/>"),
                Some(text) => writeln!(
                    xml,
                    "><failure message=\"{}\">{}</failure></testcase>",
                    escaped(text.lines().next().unwrap_or_default()),
                    escaped(&text)
                ),
            };
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Text as it may stand in XML, which has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// The suites among the paths, in order: files as named, folders searched for `.json`, `.yml`, `.yaml`.
fn suites(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(Failure::file(path))? {
            inside.push(entry.map_err(Failure::file(path))?.path());
        }
        inside.sort();
        let (folders, files): (Vec<_>, Vec<_>) = inside.into_iter().partition(|path| path.is_dir());
        let is_suite = |path: &PathBuf| {
            path.extension()
                .is_some_and(|end| end == "json" || end == "yml" || end == "yaml")
        };
        found.extend(files.into_iter().filter(is_suite));
        found.extend(suites(&folders)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: &str = r#"
name: "a < b & \"c\""
timezone: UTC
policy: {decrypt: []}
cases:
  - at: 2022-03-09T17:00:00Z
    request: {type: decrypt, device_id: "64", cryptographic_id: "63", profile: {id: da585c21572cc938b99cd6ab4df19e3d}}
    expect: {decision: deny}
  - at: 2022-03-09T17:00:00Z
    request: {type: decrypt, device_id: "64", cryptographic_id: "63", profile: {id: da585c21572cc938b99cd6ab4df19e3d}}
    expect: {decision: approve}
"#;

    #[test]
    fn all_files_are_run_in_order_and_written_as_xml() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..9 {
            fs::write(folder.path().join(format!("{number}.yml")), SUITE).unwrap();
        }
        fs::write(folder.path().join("9.yml"), "name: no suite").unwrap();
        let files = suites(&[folder.path().to_owned()]).ok().unwrap();
        let Ok(outcomes) = run_all(&files, &Registry::bundled()) else {
            panic!("they can be read");
        };
        assert_eq!(outcomes.len(), 10);
        assert!(outcomes[..9].iter().all(Result::is_ok) && outcomes[9].is_err());
        let xml = junit_xml(&files, &outcomes);
        assert_eq!(xml.matches("<testcase ").count(), 19);
        assert_eq!(xml.matches("<failure ").count(), 10);
        assert!(
            xml.contains(r#"<testsuite name="a &lt; b &amp; &quot;c&quot;" file=""#),
            "{xml}"
        );
        assert!(xml.contains(r#"tests="2" failures="1">"#), "{xml}");
        assert_eq!(escaped("\u{1b}[31m"), "\u{fffd}[31m");
    }
}
