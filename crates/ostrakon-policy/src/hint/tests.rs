use super::*;

fn texts(hint: &ItemHint) -> Vec<Vec<&str>> {
    let mut all = Vec::new();
    for group in &hint.groups {
        all.push(group.iter().map(Literal::text).collect());
    }
    all
}

#[test]
fn literals_of_regular_expressions_are_found() {
    for (pattern, expected) in [
        (
            "^/Projects/p123/.*\\.xlsx$",
            vec![vec!["\0/projects/p123/"], vec![".xlsx/\0"]],
        ),
        ("^ab", vec![vec!["ab"]]),
        ("(^|x)/ab", vec![vec!["/ab"]]),
        ("x?^/ab", vec![vec!["\0/ab"]]),
        ("^[a-z]/ab", vec![vec!["/ab"]]),
        ("^x?/ab", vec![vec!["/ab"]]),
        ("^(?:xx|yy)/ab", vec![vec!["xx", "yy"], vec!["/ab"]]),
        ("(?m)^/ab$", vec![vec!["/ab"]]),
        ("/ab(\\.c$|/)", vec![vec!["/ab"]]),
        ("(ab|cd)+e", vec![vec!["ab", "cd"], vec!["e"]]),
        ("(abc)?d", vec![vec!["d"]]),
        ("(abc|d*)e", vec![vec!["e"]]),
        ("[a-z]+", vec![]),
        ("straße", vec![vec!["straße"]]),
        ("[Kk]elvin", vec![vec!["kelvin"]]),
        ("", vec![]),
    ] {
        let hint = ItemHint::regex(pattern, false).unwrap();
        assert_eq!(texts(&hint), expected, "{pattern}");
    }
    assert!(ItemHint::regex("(", false).is_err());
}

#[test]
fn literals_of_patterns_know_where_components_end() {
    for (pattern, expected) in [
        ("/Root/Sub", vec![vec!["\0/root/sub/"]]),
        ("/root/s*b/x", vec![vec!["\0/root/s"], vec!["b/x/"]]),
        ("sub/path", vec![vec!["/sub/path/"]]),
        ("sub/", vec![vec!["/sub/"]]),
        ("name.txt", vec![vec!["/name.txt/\0"]]),
        ("*.xlsx", vec![vec![".xlsx/\0"]]),
        ("*", vec![]),
        ("/", vec![]),
    ] {
        let hint = ItemHint::path(pattern, true).unwrap();
        assert_eq!(texts(&hint), expected, "{pattern}");
    }
    assert!(ItemHint::path("a//b", true).is_err());
}

#[test]
fn literals_of_regular_expressions_know_their_neighbours() {
    let long = format!("a{}", "x".repeat(99));
    let (behind_digit, in_front) = (format!("[0-9]{long}"), format!("{long}[0-9]"));
    for (pattern, path, stands) in [
        // Of a long one, the end alone is looked for.
        (behind_digit.as_str(), format!("1{long}").as_str(), true),
        (&in_front, &format!("{long}1"), true),
        (&in_front, &format!("{long}x"), false),
        ("[a-z]+12/", "a12/x", true),
        ("[A-Z]+12/", "a12/x", true),
        ("[a-z]+12/", "a112/x", false),
        ("([a-z]*[a-z])12/", "b/a112/x", false),
        ("[a-z]*12/", "112/x", true),
        ("[a-z]?12/", "112/x", true),
        // One of the places where it stands is enough.
        ("[a-z]12/", "112/a12/x", true),
        ("\\d12/", "12/x", false),
        ("\\d12/", "112/x", true),
        ("a1[^0-9]", "a12/x", false),
        ("a1[^0-9]", "a1/x", true),
        ("a1[0-9]*", "a1/x", true),
        ("[kx]1", "\u{212a}1", true),
        ("[\u{212a}x]1", "k1", true),
        ("[a-z]1", "ſ1", true),
        ("[а-я]1", "я1", true),
        ("(?-i:[A-Z])1", "a1", true),
        ("(?:[a-z]1|b2)", "21", false),
        ("(?:x[a-z]){2}1", "x1", true),
        ("[a-z]^1", "1", false),
    ] {
        let hint = ItemHint::regex(pattern, false).unwrap();
        let literals: Vec<&Literal> = hint.groups.iter().flatten().collect();
        let mut found = false;
        let literals = crate::index::Literals::new(&literals, 99).unwrap();
        literals.each_in(&Haystack::of(path), |_| found = true);
        assert_eq!(found, stands, "{pattern} {path}");
    }
}
