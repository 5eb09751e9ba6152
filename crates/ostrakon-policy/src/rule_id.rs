//! Ids for rules that the file gives none.
//!
//! An id is derived from the rule's own content, so that it survives any reordering of the file. Where
//! two rules of a tree are equal, what else stands in their rule sets tells them apart; where even the
//! rule sets are equal, it does not matter which is which.

use ostrakon_types::RequestKind;
use serde_yaml::Value;
use sha2::{Digest as _, Sha256};

/// The digest of a rule's content.
pub(crate) type Content = [u8; 32];

/// The content of a rule: the tree it stands in, its name and its arguments, in no order.
pub(crate) fn content<'a>(
    kind: RequestKind,
    rule: &str,
    arguments: impl IntoIterator<Item = (&'a str, &'a Value)>,
) -> Content {
    let mut arguments: Vec<(&str, &Value)> = arguments.into_iter().collect();
    arguments.sort_by_key(|(name, _)| *name);
    let mut hash = Sha256::new();
    text(&mut hash, kind.as_str());
    text(&mut hash, rule);
    for (name, argument) in arguments {
        text(&mut hash, name);
        value(&mut hash, argument);
    }
    hash.finalize().into()
}

/// The ids of the rules of a tree, set by set.
pub(crate) fn derive(sets: &[Vec<Content>]) -> Vec<Vec<String>> {
    let mut places: Vec<(Content, Content, usize, usize)> = Vec::new();
    for (set_at, set) in sets.iter().enumerate() {
        let whole = set_content(set);
        for (rule_at, rule) in set.iter().enumerate() {
            places.push((*rule, whole, set_at, rule_at));
        }
    }
    places.sort_unstable();
    let mut ids: Vec<Vec<String>> = sets
        .iter()
        .map(|set| vec![String::new(); set.len()])
        .collect();
    let mut equals = 0;
    let mut last = None;
    for (rule, _, set_at, rule_at) in places {
        equals = if last == Some(rule) { equals + 1 } else { 1 };
        last = Some(rule);
        if let Some(id) = ids.get_mut(set_at).and_then(|set| set.get_mut(rule_at)) {
            *id = name(&rule, equals);
        }
    }
    ids
}

fn name(content: &Content, number: usize) -> String {
    let [a, b, c, d, e, f, g, h, ..] = *content;
    let digits = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    match number {
        1 => format!("auto-{digits:016x}"),
        _ => format!("auto-{digits:016x}-{number}"),
    }
}

fn set_content(rules: &[Content]) -> Content {
    let mut rules = rules.to_vec();
    rules.sort_unstable();
    Sha256::digest(rules.concat()).into()
}

fn text(hash: &mut Sha256, text: &str) {
    hash.update([b'"']);
    hash.update(text.len().to_be_bytes());
    hash.update(text);
}

/// Feeds a value so that no two values feed the same bytes.
fn value(hash: &mut Sha256, of: &Value) {
    match of {
        Value::Null => hash.update([b'n']),
        Value::Bool(flag) => hash.update([b'b', u8::from(*flag)]),
        Value::Number(number) => {
            hash.update([b'#']);
            text(hash, &number.to_string());
        }
        Value::String(string) => text(hash, string),
        Value::Sequence(values) => {
            hash.update([b'[']);
            hash.update(values.len().to_be_bytes());
            values.iter().for_each(|element| value(hash, element));
        }
        Value::Mapping(entries) => {
            // The order of keys means nothing: feed the entries by the order of their digests.
            let mut digests: Vec<Content> =
                entries.iter().map(|(key, of)| entry(key, of)).collect();
            digests.sort_unstable();
            hash.update([b'{']);
            hash.update(digests.len().to_be_bytes());
            hash.update(digests.concat());
        }
        Value::Tagged(tagged) => {
            hash.update([b'!']);
            text(hash, &tagged.tag.to_string());
            value(hash, &tagged.value);
        }
    }
}

fn entry(key: &Value, of: &Value) -> Content {
    let mut hash = Sha256::new();
    value(&mut hash, key);
    value(&mut hash, of);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(limit: u64) -> Content {
        let limit = Value::from(limit);
        content(
            RequestKind::Decrypt,
            "per-profile-throttle-rule",
            [("per_day", &limit)],
        )
    }

    #[test]
    fn ids_survive_reordering_and_equal_rules_differ() {
        let (one, two, three) = (rule(1), rule(2), rule(3));
        let ids = derive(&[vec![one, two], vec![one, three], vec![three]]);
        let turned = derive(&[vec![three], vec![three, one], vec![two, one]]);
        assert_eq!(ids[0], [turned[2][1].clone(), turned[2][0].clone()]);
        assert_eq!(ids[1], [turned[1][1].clone(), turned[1][0].clone()]);
        assert_eq!(ids[2], turned[0]);
        assert_ne!(ids[0][0], ids[1][0]);
        assert_ne!(ids[1][1], ids[2][0]);
        let same = derive(&[vec![one], vec![one], vec![one, one]]);
        let mut all: Vec<&String> = same.iter().flatten().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn arguments_count_in_any_order_and_trees_are_told_apart() {
        let (a, b) = (Value::from(1), Value::from("1"));
        let decrypt = |arguments| content(RequestKind::Decrypt, "r", arguments);
        assert_eq!(
            decrypt([("a", &a), ("b", &b)]),
            decrypt([("b", &b), ("a", &a)])
        );
        assert_ne!(
            decrypt([("a", &a), ("b", &b)]),
            decrypt([("a", &b), ("b", &a)])
        );
        assert_ne!(
            content(RequestKind::Search, "r", [("a", &a)]),
            content(RequestKind::Decrypt, "r", [("a", &a)])
        );
    }
}
