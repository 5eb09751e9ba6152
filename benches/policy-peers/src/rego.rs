use regorus::{CompiledPolicy, Engine as Regorus, Value};

use crate::{
    shape::{self, Case, PathRule, Shape},
    timing::Engine,
};

struct Rego {
    policy: CompiledPolicy,
    requests: Vec<Value>,
}

/// How many rules there are in a file: the engine takes no longer ones.
const RULES: usize = 2_000;

/// A rule for each rule set.
pub fn as_rules(shape: &Shape, size: usize) -> Option<Box<dyn Engine>> {
    let numbers: Vec<usize> = (0..size).collect();
    let files = numbers.chunks(RULES).map(|numbers| {
        let rules: String = numbers.iter().map(|number| rule(shape, *number)).collect();
        format!("package p\nimport rego.v1\n{rules}")
    });
    let default = "package p\nimport rego.v1\ndefault allow := false\n".to_owned();
    Some(Box::new(load(files.chain([default]), "{}")))
}

fn rule(shape: &Shape, number: usize) -> String {
    let mut conditions = vec!["input.action == \"decrypt\"".to_owned()];
    if shape.profile {
        conditions.push(format!("input.profile == \"{}\"", shape::profile(number)));
    }
    match shape.path {
        PathRule::None => {}
        PathRule::Folder => {
            conditions.push(format!(
                "startswith(input.path, \"{}/\")",
                shape::folder(number)
            ));
        }
        PathRule::Regex => {
            conditions.push(format!(
                "regex.match(`^{}`, input.path)",
                shape::regex(number)
            ));
        }
    }
    format!("allow if {{\n  {}\n}}\n", conditions.join("\n  "))
}

const BY_HAND: &str = "package p
import rego.v1
default allow := false
allow if {
  input.action == \"decrypt\"
  some folder in data.folders[input.profile]
  startswith(input.path, folder)
}
";

/// One rule and a table of folders by profile, which takes a person who knows how the engine works.
pub fn by_hand(shape: &Shape, size: usize) -> Option<Box<dyn Engine>> {
    if !shape.profile || shape.path == PathRule::Regex {
        return None;
    }
    let folder = |number| match shape.path {
        PathRule::Folder => format!("{}/", shape::folder(number)),
        _ => String::new(),
    };
    let entry = |number| (shape::profile(number), serde_json::json!([folder(number)]));
    let folders: serde_json::Map<String, serde_json::Value> = (0..size).map(entry).collect();
    let data = serde_json::json!({ "folders": folders }).to_string();
    Some(Box::new(load([BY_HAND.to_owned()], &data)))
}

fn load(files: impl IntoIterator<Item = String>, data: &str) -> Rego {
    let mut engine = Regorus::new();
    for (number, text) in files.into_iter().enumerate() {
        engine.add_policy(format!("{number}.rego"), text).unwrap();
    }
    engine
        .add_data(Value::from_json_str(data).unwrap())
        .unwrap();
    Rego {
        policy: engine
            .compile_with_entrypoint(&"data.p.allow".into())
            .unwrap(),
        requests: Vec::new(),
    }
}

impl Engine for Rego {
    fn prepare(&mut self, cases: &[Case]) {
        let request = |case: &Case| {
            let profile = shape::profile(case.profile);
            let input = serde_json::json!({
                "action": "decrypt", "profile": profile, "path": shape::path(case),
            });
            Value::from_json_str(&input.to_string()).unwrap()
        };
        self.requests = cases.iter().map(request).collect();
    }

    fn decide(&self, case: usize) -> bool {
        let input = self.requests[case].clone();
        self.policy.eval_with_input(input).unwrap() == Value::from(true)
    }
}
