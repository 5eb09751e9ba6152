use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::tz::TimeZone;
use ostrakon_types::RequestKind;
use serde::{Serialize, Serializer};
use serde_yaml::{Mapping, Value};

use crate::{
    Arguments, BuildRule,
    arguments::{Asked, Bounds, Shape},
};

/// A JSON Schema of policy files. Serialize it as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema(Value);

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Schema {
    pub(crate) fn of<'r>(rules: impl Iterator<Item = (&'r str, &'r dyn BuildRule)>) -> Self {
        let reference = |name: &str| object([("$ref", format!("#/$defs/{name}").into())]);
        let mut kinds = Vec::new();
        let mut definitions = Vec::new();
        for (name, builder) in rules {
            kinds.push(reference(name));
            definitions.push((name.to_owned(), rule(name, &asked(builder))));
        }
        let set = list(reference("rule"), "Rules that must all hold.");
        let tree = list(set, "Rule sets: the first one that approves decides.");
        let rule = object([("anyOf", Value::Sequence(kinds))]);
        let shared = [("tree".to_owned(), tree), ("rule".to_owned(), rule)];
        let trees = RequestKind::ALL.map(|kind| (kind.as_str().to_owned(), reference("tree")));
        Self(object([
            (
                "$schema",
                "https://json-schema.org/draft/2020-12/schema".into(),
            ),
            ("title", "keyserver.yml".into()),
            (
                "description",
                "Which requests a key shard server approves.".into(),
            ),
            ("type", "object".into()),
            ("properties", mapping(trees)),
            ("additionalProperties", false.into()),
            ("$defs", mapping(shared.into_iter().chain(definitions))),
        ]))
    }
}

/// What the builder asks for. One that panics asks for nothing that is known.
fn asked(builder: &dyn BuildRule) -> Vec<Asked> {
    // Under `start_session` every rule can stand.
    let zone = TimeZone::UTC;
    let mut arguments = Arguments::survey(RequestKind::StartSession, &zone);
    let _ = catch_unwind(AssertUnwindSafe(|| builder.build(&mut arguments)));
    arguments.into_asked()
}

fn rule(name: &str, asked: &[Asked]) -> Value {
    let own = [
        ("rule".to_owned(), object([("const", name.into())])),
        ("rule_id".to_owned(), text()),
    ];
    let required = ["rule"].into_iter().chain(required(asked));
    closed(own.into_iter().chain(arguments(asked)), required)
}

fn required(asked: &[Asked]) -> impl Iterator<Item = &str> {
    let required = asked.iter().filter(|asked| asked.required);
    required.map(|asked| asked.name.as_str())
}

fn arguments(asked: &[Asked]) -> impl Iterator<Item = (String, Value)> {
    asked
        .iter()
        .map(|asked| (asked.name.clone(), argument(&asked.shape)))
}

fn argument(shape: &Shape) -> Value {
    let of_type = |name: &str| object([("type", name.into())]);
    let array = |items| object([("type", "array".into()), ("items", items)]);
    match shape {
        Shape::Any => object::<0>([]),
        Shape::Flag => of_type("boolean"),
        Shape::Count(bounds) => count(bounds),
        Shape::Counts(bounds) => array(count(bounds)),
        Shape::Text => text(),
        Shape::Texts => array(text()),
        Shape::TextOrTexts => object([("anyOf", Value::Sequence(vec![text(), array(text())]))]),
        Shape::Choice(choices) => {
            let choices = choices.iter().map(|choice| choice.as_str().into());
            object([("enum", Value::Sequence(choices.collect()))])
        }
        Shape::Groups(asked) => array(closed(arguments(asked), required(asked))),
    }
}

fn count(bounds: &Bounds) -> Value {
    let (least, most) = bounds.range.clone().into_inner();
    let described = bounds.meaning.iter();
    let described = described.map(|meaning| ("description".to_owned(), meaning.as_str().into()));
    let bounded = [
        ("type".to_owned(), "integer".into()),
        ("minimum".to_owned(), least.into()),
    ];
    let below = (most < u64::MAX).then(|| ("maximum".to_owned(), most.into()));
    mapping(described.chain(bounded).chain(below))
}

/// Text, for which a number or a boolean may stand that needs no quotes.
fn text() -> Value {
    let types = vec!["string".into(), "number".into(), "boolean".into()];
    object([("type", Value::Sequence(types))])
}

fn list(items: Value, description: &str) -> Value {
    object([
        ("description", description.into()),
        ("type", "array".into()),
        ("items", items),
    ])
}

fn closed<'n>(
    properties: impl Iterator<Item = (String, Value)>,
    required: impl Iterator<Item = &'n str>,
) -> Value {
    let required = required.map(Value::from).collect();
    object([
        ("type", "object".into()),
        ("properties", mapping(properties)),
        ("required", Value::Sequence(required)),
        ("additionalProperties", false.into()),
    ])
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    mapping(entries.map(|(key, value)| (key.to_owned(), value)))
}

fn mapping(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    let entries = entries.into_iter();
    let entries = entries.map(|(key, value)| (Value::String(key), value));
    Value::Mapping(entries.collect::<Mapping>())
}
