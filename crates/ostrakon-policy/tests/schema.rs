//! The schema that is checked in is the one that the rules' builders make, and says no to no policy of
//! this crate that loads.
//!
//! `OSTRAKON_WRITE_SCHEMA=1 cargo test -p ostrakon-policy --test schema` writes it anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{env, fs, path::Path};

use jiff::tz::TimeZone;
use ostrakon_policy::{Policy, Registry};
use serde_json::Value;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    serde_json::to_string_pretty(&Registry::bundled().schema()).unwrap() + "\n"
}

#[test]
fn the_file_is_what_the_rules_ask_for() {
    let file = folder().join("keyserver.schema.json");
    if env::var_os("OSTRAKON_WRITE_SCHEMA").is_some() {
        fs::write(&file, generated()).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(there, generated(), "see the head of this test");
}

/// Checks what of JSON Schema the file uses; anything else fails.
fn objection(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    for (keyword, asked) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" => true,
            "$ref" => {
                let target = asked.as_str().unwrap().trim_start_matches('#');
                let target = root.pointer(target).unwrap();
                if let Some(objection) = objection(root, target, value) {
                    return Some(objection);
                }
                true
            }
            "type" => {
                let is = |name: &Value| match name.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    other => panic!("{other}"),
                };
                asked
                    .as_array()
                    .map_or_else(|| is(asked), |any| any.iter().any(is))
            }
            "const" => asked == value,
            "enum" => asked.as_array().unwrap().contains(value),
            "minimum" => value.as_i64() >= asked.as_i64(),
            "maximum" => value.as_u64() <= asked.as_u64(),
            "required" => {
                let names = asked.as_array().unwrap().iter();
                names
                    .map(|name| name.as_str().unwrap())
                    .all(|name| value.get(name).is_some())
            }
            "anyOf" => {
                let mut branches = asked.as_array().unwrap().iter();
                branches.any(|branch| objection(root, branch, value).is_none())
            }
            "items" => {
                let mut items = value.as_array().into_iter().flatten();
                items.all(|item| objection(root, asked, item).is_none())
            }
            "properties" => {
                let mut asked = asked.as_object().unwrap().iter();
                asked.all(|(name, asked)| {
                    value
                        .get(name)
                        .is_none_or(|value| objection(root, asked, value).is_none())
                })
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                let mut names = value.as_object().into_iter().flatten();
                names.all(|(name, _)| known.contains_key(name))
            }
            other => panic!("{other}"),
        };
        if !holds {
            return Some(format!("`{keyword}`: {value}"));
        }
    }
    None
}

fn objection_to(policy: &str) -> Option<String> {
    let schema: Value = serde_json::from_str(&generated()).unwrap();
    let policy: Value = serde_yaml::from_str(policy).unwrap();
    objection(&schema, &schema, &policy)
}

#[test]
fn it_admits_the_policies_of_this_crate() {
    let mut seen = 0;
    for entry in fs::read_dir(folder().join("suites")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let file: Value = serde_yaml::from_str(&text).unwrap();
        let policy = match (&file["name"], &file["policy"], &file["load"]) {
            (Value::Null, ..) => text,
            (_, policy, Value::Null) if !policy.is_null() => policy.to_string(),
            _ => continue,
        };
        assert_eq!(objection_to(&policy), None);
        seen += 1;
    }
    assert!(seen > 3, "{seen}");
}

#[test]
fn it_sees_what_is_misspelt() {
    let throttle = "rule: per-profile-throttle-rule, limits: [{count: 1, per: day, sliding: true}]";
    assert_eq!(objection_to(&format!("decrypt: [[{{{throttle}}}]]")), None);
    for (right, wrong) in [
        ("decrypt", "decrpyt"),
        ("throttle", "throtle"),
        ("limits", "limit"),
        ("count: 1", "count: -1"),
        ("day", "fortnight"),
        ("sliding: true", "slides: true"),
        ("count: 1, ", ""),
    ] {
        let policy = format!("decrypt: [[{{{throttle}}}]]").replace(right, wrong);
        assert!(objection_to(&policy).is_some(), "{policy}");
    }
    for wrong in [
        "rule: profile-id-rule",
        "rule: cel-rule",
        "rule: time-range-rule, days: [0, 7]",
        "rule: session-params-rule, max_time_seconds: 1",
        "rule: session-params-rule, max_time_seconds: 604800",
    ] {
        assert!(
            objection_to(&format!("start_session: [[{{{wrong}}}]]")).is_some(),
            "{wrong}"
        );
    }
}

/// Text that YAML takes for something else loads as it is written.
#[test]
fn it_admits_text_without_quotes() {
    for policy in [
        "decrypt: [[{rule: meta-rule, paths: [55, True, 1.5, 2026-03-09]}]]",
        "decrypt: [[{rule: reject-rule, rule_id: true}]]",
        "decrypt: [[{rule: time-range-rule, time_start: 8:00, time_end: 17:30, days: [0, 6]}]]",
    ] {
        let loaded = Policy::load("f", policy, &TimeZone::UTC, &Registry::bundled());
        assert!(loaded.is_ok(), "{loaded:?}");
        assert_eq!(objection_to(policy), None);
    }
}
