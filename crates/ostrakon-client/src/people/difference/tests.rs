use proptest::prelude::*;

use super::*;

fn shown(old: &str, new: &str) -> (Vec<String>, usize) {
    let texts = PolicyTexts {
        in_force: old.to_owned(),
        asked: new.to_owned(),
    };
    match between(&texts) {
        PolicyChange::Shown { lines, left_out } => (lines, left_out),
        PolicyChange::TooLong => panic!("too long"),
    }
}

#[test]
fn a_change_is_shown_with_what_is_around_it() {
    let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";
    let new = "a\nb\nc\nd\nE\nf\ng\nh\ni\nj\nk\nl\nm\n";
    let expected = [
        "@@ -2 +2 @@",
        " b",
        " c",
        " d",
        "-e",
        "+E",
        " f",
        " g",
        " h",
        "@@ -10 +10 @@",
        " j",
        " k",
        " l",
        "+m",
        " ",
    ];
    assert_eq!(shown(old, new), (expected.map(str::to_owned).to_vec(), 0));
    assert_eq!(shown(old, old), (Vec::new(), 0));
    // That a last line has no end is a change, too.
    assert_eq!(shown("a\n", "a").0, ["@@ -1 +1 @@", " a", "-"]);
}

#[test]
fn no_sign_moves_the_cursor_or_passes_for_another() {
    let (lines, _) = shown("", "a: \u{1b}[2K\r\u{202e}b\t\\u{1b} \"ä\"\u{200b}");
    let escaped = "+a: \\u{1b}[2K\\r\\u{202e}b\\t\\\\u{1b} \"ä\"\\u{200b}";
    assert_eq!(lines, ["@@ -1 +1 @@", "-", escaped]);
}

#[test]
fn what_is_not_shown_is_counted() {
    let many: String = (0..1000).map(|number| format!("{number}\n")).collect();
    let (lines, left_out) = shown("", &many);
    assert_eq!((lines.len(), left_out), (MAX_LINES, 1002 - MAX_LINES));
    let long = format!("{}\nb", "\u{1}".repeat(MAX_BYTES / 4));
    let (lines, left_out) = shown("", &long);
    assert_eq!(
        (lines, left_out),
        (vec!["@@ -1 +1 @@".to_owned(), "-".to_owned()], 2)
    );
}

#[test]
fn long_texts_are_compared_in_little_memory() {
    let [old, new] = ["a", "b"].map(|sign| format!("{sign}\n").repeat(8000));
    let (lines, left_out) = shown(&old, &new);
    assert_eq!(lines.len() + left_out, 16_002);
}

proptest! {
    /// Whatever the texts: what is kept and removed is the old one, what is kept and added the new one.
    #[test]
    fn the_steps_lead_from_one_to_the_other(
        old in prop::collection::vec("[abc]", 0..20),
        new in prop::collection::vec("[abc]", 0..20),
    ) {
        let old: Vec<_> = old.iter().map(String::as_str).collect();
        let new: Vec<_> = new.iter().map(String::as_str).collect();
        let (mut from, mut to) = (old.iter(), new.iter());
        for step in steps(&old, &new) {
            let removed = (step != Step::Add).then(|| from.next().unwrap());
            let added = (step != Step::Remove).then(|| to.next().unwrap());
            prop_assert!(step != Step::Keep || removed == added);
        }
        prop_assert!(from.next().is_none() && to.next().is_none());
    }
}
