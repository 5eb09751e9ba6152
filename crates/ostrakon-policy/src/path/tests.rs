use proptest::prelude::*;

use super::*;

fn item(meta: &str, complete: bool) -> MetaItem {
    MetaItem {
        meta: meta.into(),
        complete,
    }
}

/// Whether the pattern matches the path, with `~/` in front of a partial one.
fn matches_as(pattern: &str, path: &str, exact_case: bool) -> bool {
    let (path, complete) = match path.strip_prefix("~/") {
        Some(path) => (path, false),
        None => (path, true),
    };
    let item = item(path, complete);
    let pattern = PathPattern::new(pattern, exact_case).unwrap();
    pattern.matches(&CanonicalPath::new(&item).unwrap())
}

fn matches(pattern: &str, path: &str) -> bool {
    matches_as(pattern, path, false)
}

#[test]
fn rooted_patterns_match_from_the_root_of_complete_paths() {
    for pattern in ["/root/sub", "/root/sub/"] {
        for path in [
            "root/sub",
            "root/sub/",
            "root/sub/x",
            "root/sub/x/y",
            "ROOT/Sub/x",
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for path in [
            "root",
            "root/subxx",
            "root/subxx/sub",
            "a/root/sub",
            "~/root/sub",
            "~/root/sub/x",
            "xroot/sub",
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
    assert!(matches("/", "anything/at/all") && !matches("/", "~/anything"));
    assert!(matches("/ro*/s*b", "root/sub/x") && !matches("/ro*b", "root/sub"));
}

#[test]
fn patterns_with_a_slash_match_whole_components_behind_a_boundary() {
    for path in [
        "root/sub/path",
        "root/sub/path/x",
        "sub/path",
        "sub/path/",
        "~/root/sub/path",
        "a/sub/sub/path",
    ] {
        assert!(matches("sub/path", path), "{path}");
    }
    for path in [
        "root/subxx/path",
        "root/sub/pathx",
        "xsub/path",
        "~/sub/path",
        "sub",
        "path",
        "sub/x/path",
    ] {
        assert!(!matches("sub/path", path), "{path}");
    }
    assert!(matches("s*/p*h", "x/sub/path/y") && !matches("s*h", "sub/path"));
}

#[test]
fn patterns_with_a_trailing_slash_match_what_lies_inside() {
    for (pattern, path) in [
        ("sub/", "root/sub/"),
        ("sub/", "root/sub/x"),
        ("sub/", "sub/x"),
        ("sub/", "~/a/sub/x"),
        ("a/sub/", "a/sub/x/y"),
    ] {
        assert!(matches(pattern, path), "{pattern} {path}");
    }
    for (pattern, path) in [
        ("sub/", "root/sub"),
        ("sub/", "~/sub/x"),
        ("sub/", "subx/y"),
        ("a/sub/", "a/sub"),
    ] {
        assert!(!matches(pattern, path), "{pattern} {path}");
    }
}

#[test]
fn patterns_without_a_slash_match_the_last_component_alone() {
    for (pattern, path) in [
        ("sub", "root/sub"),
        ("sub", "sub"),
        ("sub", "~/sub"),
        ("*.txt", "a/b.TXT"),
        ("a*c", "x/abc"),
        ("*", "a/b"),
        ("a**c", "ac"),
        ("*a*b*", "xxaybz"),
    ] {
        assert!(matches(pattern, path), "{pattern} {path}");
    }
    for (pattern, path) in [
        ("sub", "sub/root"),
        ("*.txt", "b.txt.gz"),
        ("*.txt", "x.txt/y"),
        ("a*c", "a/c"),
        ("a*c", "abcd"),
        ("sub", "subs"),
    ] {
        assert!(!matches(pattern, path), "{pattern} {path}");
    }
}

#[test]
fn stars_take_time_in_proportion_at_most() {
    let pattern = "*a".repeat(200);
    assert!(!matches(&pattern, &format!("{}b", "a".repeat(20_000))));
}

#[test]
fn case_counts_only_where_asked() {
    assert!(matches("Données", "DONNÉES") && matches("straße", "STRAẞE") && matches("ΣΑΣ", "σας"));
    assert!(
        !matches("straße", "STRASSE") && !matches("istanbul", "İstanbul") && !matches("i", "ı")
    );
    assert!(matches_as("Données", "Données", true) && !matches_as("Données", "données", true));
}

/// Threat 6: a path that has no canonical spelling is refused before it is compared.
#[test]
fn other_spellings_of_a_path_are_refused() {
    for path in [
        "",
        "/",
        "/root/x",
        "//root",
        "root//x",
        "root/./x",
        "./root",
        "root/.",
        "root/../x",
        "../x",
        "..",
        ".",
        "root/..",
        "root/x//",
        "root\\x",
        "\\\\server\\share",
        "\\\\?\\C:\\x",
        "C:\\x",
        "root/x\0.txt",
        "\0",
    ] {
        assert!(canonical(path).is_err(), "{path:?}");
    }
}

/// What is a name of its own stays one: it matches no pattern but its own.
#[test]
fn look_alikes_are_names_of_their_own() {
    for path in [
        "root\u{ff0f}secret",
        "root\u{2215}secret",
        "root%2fsecret",
        "secret/%2e%2e",
        "C:/secret ",
        "PROGRA~1/x",
        "secret.",
        "secret ",
        "secret::$DATA",
        "\u{2024}\u{2024}/x",
        "...",
    ] {
        assert!(canonical(path).is_ok(), "{path:?}");
        assert!(
            !matches("/root/secret", path) && !matches("secret", path),
            "{path:?}"
        );
    }
}

#[test]
fn composed_and_decomposed_letters_are_one() {
    let (composed, decomposed) = ("donn\u{e9}es", "donne\u{301}es");
    for (pattern, path) in [
        (composed, decomposed),
        (decomposed, composed),
        (decomposed, decomposed),
    ] {
        assert!(matches(pattern, path) && matches_as(pattern, path, true));
        assert!(matches(&format!("/{pattern}"), &format!("{path}/x")));
    }
    // The Kelvin and Ångström signs have no spelling but that of the letters.
    assert!(matches_as("K\u{c5}", "\u{212a}\u{212b}", true));
}

#[test]
fn patterns_that_no_path_can_match_are_refused() {
    for pattern in [
        "", "//", "a//b", "//a", "a//", "./a", "a/..", "..", ".", "a\\b", "a\0",
    ] {
        assert!(PathPattern::new(pattern, false).is_err(), "{pattern:?}");
    }
}

proptest! {
    #[test]
    fn canonical_is_idempotent(text in "([a-cé\u{301}A-C.\\\\]{0,3}/?){0,5}|\\PC{0,12}") {
        if let Ok(once) = canonical(&text) {
            let once = once.into_owned();
            prop_assert_eq!(canonical(&once).map(Cow::into_owned), Ok(once.clone()));
        }
    }

    /// A path that lies under a component is found by every pattern that names the component.
    #[test]
    fn patterns_find_their_own_components(path in prop::collection::vec("[a-zé ]{1,4}", 1..5), at in 0_usize..5) {
        let at = at % path.len();
        let whole = path.join("/");
        let rooted = format!("/{}", path[..=at].join("/"));
        let name = path.last().unwrap().clone();
        prop_assert!(matches(&rooted, &whole));
        prop_assert!(matches(&name, &whole));
        if at > 0 {
            prop_assert!(matches(&path[at - 1..=at].join("/"), &whole));
        }
        if at + 1 < path.len() {
            let directory = format!("{}/", path[at]);
            prop_assert!(matches(&directory, &whole));
        }
    }

    /// The matcher agrees with the regular expression of the same meaning.
    #[test]
    fn globs_agree_with_regular_expressions(pattern in "[ab*]{1,6}", name in "[abc]{0,8}") {
        let regex = format!("^{}$", pattern.replace('*', "[^/]*"));
        let expected = regex::Regex::new(&regex).unwrap().is_match(&name);
        prop_assume!(!name.is_empty());
        prop_assert_eq!(matches(&pattern, &name), expected);
    }
}
