use std::fmt::Write as _;

use super::*;

fn refusal(text: &str) -> Diagnostic {
    let mut diagnostics = read(&Source::new("f.yml", text)).expect_err("must be refused");
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    diagnostics.remove(0)
}

fn value(text: &str) -> Value {
    read(&Source::new("f.yml", text))
        .expect("is a document")
        .value
}

#[test]
fn nodes_stand_where_the_text_says() {
    let text = "decrypt:\n  - - rule: \"meta-rule\"\n      paths: &p [a, /bé/c]\n    - paths: *p\n";
    let document = read(&Source::new("f.yml", text)).unwrap();
    let (key, tree) = document.root.entry(0);
    assert_eq!((key.span.line, key.span.column, key.span.length), (1, 0, 7));
    let rule = tree.element(0).element(0);
    let (_, name) = rule.entry(0);
    assert_eq!(
        (name.span.line, name.span.column, name.span.length),
        (2, 12, 11)
    );
    let (_, paths) = rule.entry(1);
    assert_eq!(paths.element(1).span.column, 20);
    assert_eq!(paths.element(1).span.length, 5);
    let (_, alias) = tree.element(0).element(1).entry(0);
    assert!(Rc::ptr_eq(&alias, &paths));
}

#[test]
fn scalars_are_taken_as_written_or_not_at_all() {
    let of = |text: &str| {
        let document = read(&Source::new("f.yml", text)).unwrap();
        super::text(&document.value, &document.root)
    };
    for written in [
        "17:30",
        "2022-06-01",
        "55",
        "0x37",
        "0o17",
        "1e3",
        "1.50",
        "+7",
        "True",
        "yes",
        "08",
    ] {
        assert_eq!(of(written).as_deref(), Some(written));
        assert_eq!(of(&format!("'{written}'")).as_deref(), Some(written));
    }
    assert_eq!(
        of("12345678901234567890123456789e12").as_deref(),
        Some("12345678901234567890123456789e12")
    );
    for other in ["~", "null", "[a]", "{a: b}", "!x a", "!!int \"7\""] {
        assert_eq!(of(other), None, "{other}");
    }
    let refused = refusal("12345678901234567890123456789012");
    let help = refused.help.unwrap();
    assert!(help.ends_with("put it in quotes"), "{help}");
}

#[test]
fn aliases_are_counted_as_what_they_stand_for() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (from, to) in ('a'..='k').zip('b'..='l') {
        let aliases = vec![format!("*{from}"); 10].join(", ");
        writeln!(bomb, "{to}: &{to} [{aliases}]").unwrap();
    }
    assert!(refusal(&bomb).message.starts_with("document is too large"));
}

#[test]
fn depth_is_bounded_with_and_without_aliases() {
    // From some depth on, the parser gives up by itself.
    let too_deep = |text: &str| {
        let message = refusal(text).message;
        message.starts_with("nested too deeply") || message.contains("recursion limit")
    };
    for levels in [25, 1_000, 100_000] {
        assert!(too_deep(&format!(
            "{}{}",
            "[".repeat(levels),
            "]".repeat(levels)
        )));
        assert!(too_deep(&"[".repeat(levels)));
        assert!(too_deep(&"{a: ".repeat(levels)));
        assert!(too_deep(&"- ".repeat(levels)));
    }
    let mut ladder = String::from("- &a [x]\n");
    for (from, to) in ('a'..='x').zip('b'..='y') {
        writeln!(ladder, "- &{to} [*{from}]").unwrap();
    }
    assert!(too_deep(&ladder));
    let allowed = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(matches!(value(&allowed), Value::Sequence(_)));
}

#[test]
fn size_is_bounded() {
    let large = format!("a: {}", "x".repeat(MAX_BYTES));
    assert!(refusal(&large).message.starts_with("file is too large"));
    let many = "- a\n".repeat(MAX_NODES + 1);
    assert!(refusal(&many).message.starts_with("document is too large"));
}

#[test]
fn a_document_is_one_and_complete() {
    assert_eq!(refusal("").message, "file is empty");
    assert_eq!(refusal("# nothing\n").message, "file is empty");
    assert_eq!(
        refusal("a: 1\n---\nb: 2\n").message,
        "more than one YAML document"
    );
    assert_eq!(
        refusal("a: &a [*a]").message,
        "alias of something that is not complete"
    );
    let unknown = refusal("a: [*.txt]");
    assert_eq!((unknown.line, unknown.column), (1, 5));
    assert_eq!(
        unknown.help.as_deref(),
        Some("put text that begins with `*`, `!` or `&` in quotes")
    );
    assert_eq!(value("\u{feff}a: 1"), value("a: 1"));
    for broken in [
        "a: [b",
        "a: 'b",
        "a: b: c",
        "\ta: b",
        "a: \"\\q\"",
        "@",
        "a: b\n c: d",
        "\u{1}",
    ] {
        assert!(read(&Source::new("f.yml", broken)).is_err(), "{broken:?}");
    }
}

#[test]
fn each_duplicate_key_is_reported_where_it_is_repeated() {
    let text = "a: 1\nb: {c: 1, \"c\": 2}\na: 3\n";
    let diagnostics = read(&Source::new("f.yml", text)).unwrap_err();
    let places: Vec<(usize, usize)> = diagnostics.iter().map(|d| (d.line, d.column)).collect();
    assert_eq!(places, [(2, 11), (3, 1)]);
    assert_eq!(
        diagnostics[1].help.as_deref(),
        Some("it stands in line 1 already")
    );
    // A key that only an alias shows to be there twice is found by the other parser.
    assert!(
        refusal("? &k a\n: 1\n? *k\n: 2\n")
            .message
            .contains("duplicate")
    );
}
