//! Policies that every engine is given, each as its users write it, and the requests.

/// What each rule set of a policy asks for.
pub struct Shape {
    pub name: &'static str,
    pub profile: bool,
    pub path: PathRule,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PathRule {
    None,
    Folder,
    Regex,
}

pub const SHAPES: [Shape; 4] = [
    Shape {
        name: "path rules: a folder each",
        profile: false,
        path: PathRule::Folder,
    },
    Shape {
        name: "regex rules: a regular expression each",
        profile: false,
        path: PathRule::Regex,
    },
    Shape {
        name: "profile rules: a profile each",
        profile: true,
        path: PathRule::None,
    },
    Shape {
        name: "both: a profile and a folder each",
        profile: true,
        path: PathRule::Folder,
    },
];

/// A request, as far as it matters.
#[derive(Clone, Debug)]
pub struct Case {
    pub profile: usize,
    pub folder: usize,
    pub file: &'static str,
}

impl Shape {
    /// Whether a policy of so many rule sets approves.
    pub fn approves(&self, size: usize, case: &Case) -> bool {
        let profile = !self.profile || case.profile < size;
        let path = match self.path {
            PathRule::None => true,
            PathRule::Folder => case.folder < size,
            PathRule::Regex => case.folder < size && case.file.ends_with(".xlsx"),
        };
        let same = !self.profile || self.path == PathRule::None || case.profile == case.folder;
        profile && path && same
    }
}

/// Requests that rule sets from the first to the last approve, and one that none does.
pub fn timed(size: usize) -> Vec<Case> {
    let numbers = (0..32).map(|step| step * (size - 1) / 31).chain([size]);
    let case = |number| Case {
        profile: number,
        folder: number,
        file: "may.xlsx",
    };
    numbers.map(case).collect()
}

/// Those, and some more that are denied: all engines must say the same of each.
pub fn compared(size: usize) -> Vec<Case> {
    let odd = timed(size).into_iter().flat_map(|case| {
        let other = (case.folder + 1) % size;
        [
            Case {
                file: "may.pdf",
                ..case
            },
            Case {
                folder: other,
                ..case
            },
            Case {
                profile: size + 7,
                ..case
            },
        ]
    });
    timed(size).into_iter().chain(odd).collect()
}

pub fn profile(number: usize) -> String {
    format!("{number:032x}")
}

/// The folder of a rule set, without a slash at either end.
pub fn folder(number: usize) -> String {
    format!("departments/d{number}/reports")
}

/// What the path of a file in the folder matches, behind an optional slash.
pub fn regex(number: usize) -> String {
    format!("departments/[a-z]+{number}/reports/.*\\.xlsx$")
}

pub fn path(case: &Case) -> String {
    format!("{}/2026/{}", folder(case.folder), case.file)
}
