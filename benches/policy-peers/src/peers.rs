//! The same policy as the first row, a profile and a folder in each rule set, as the users of other engines
//! write it. What is made of a request before the engine is asked is not timed.

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use regorus::{Engine, Value};

use crate::timing::{Row, time};

pub fn rows() -> Vec<Row> {
    [
        Row::new("cedar-policy", cedar),
        Row::new("regorus", |size| rego(size, rules(size), "{}")),
        Row::new("regorus, indexed by hand", |size| {
            rego(size, vec![BY_HAND.to_owned()], &folders(size))
        }),
        Row::new("casbin", casbin),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn profile(n: usize) -> String {
    format!("{n:032x}")
}

fn folder(n: usize) -> String {
    format!("departments/d{n}/reports/")
}

fn path(n: usize) -> String {
    format!("departments/d{n}/reports/2026/may.xlsx")
}

/// As in our own rows: requests that rule sets from the first to the last approve, and one that none does.
fn numbers(size: usize) -> Vec<usize> {
    (0..32)
        .map(|step| step * (size - 1) / 31)
        .chain([size])
        .collect()
}

fn cedar(size: usize) -> f64 {
    let text: String = (0..size)
        .map(|n| {
            format!(
                "permit(principal == User::\"{}\", action == Action::\"decrypt\", resource)\n\
                 when {{ resource.path like \"{}*\" }};\n",
                profile(n),
                folder(n)
            )
        })
        .collect();
    let policies: PolicySet = text.parse().unwrap();
    let authorizer = Authorizer::new();
    let uid = |text: String| text.parse::<EntityUid>().unwrap();
    let requests: Vec<(Request, Entities, bool)> = numbers(size)
        .into_iter()
        .map(|n| {
            let file = uid("File::\"file\"".to_owned());
            let attributes = [("path".to_owned(), RestrictedExpression::new_string(path(n)))];
            let entity = Entity::new(file.clone(), attributes.into(), [].into()).unwrap();
            let principal = uid(format!("User::\"{}\"", profile(n)));
            let action = uid("Action::\"decrypt\"".to_owned());
            let request = Request::new(principal, action, file, Context::empty(), None).unwrap();
            (
                request,
                Entities::from_entities([entity], None).unwrap(),
                n < size,
            )
        })
        .collect();
    let decide = |(request, entities, _): &(Request, Entities, bool)| {
        authorizer
            .is_authorized(request, &policies, entities)
            .decision()
    };
    for request in &requests {
        assert_eq!(decide(request) == Decision::Allow, request.2);
    }
    time(&requests, decide)
}

/// The rules, in files of no more than the engine takes.
fn rules(size: usize) -> Vec<String> {
    let rule = |n: usize| {
        format!(
            "allow if {{\n  input.profile == \"{}\"\n  startswith(input.path, \"{}\")\n}}\n",
            profile(n),
            folder(n)
        )
    };
    let numbers: Vec<usize> = (0..size).collect();
    let files = numbers.chunks(2_000).map(|numbers| {
        let rules: String = numbers.iter().map(|n| rule(*n)).collect();
        format!("package p\nimport rego.v1\n{rules}")
    });
    let default = "package p\nimport rego.v1\ndefault allow := false\n".to_owned();
    files.chain([default]).collect()
}

const BY_HAND: &str = "package p
import rego.v1
default allow := false
allow if {
  some folder in data.folders[input.profile]
  startswith(input.path, folder)
}
";

fn folders(size: usize) -> String {
    let entry = |n: usize| (profile(n), serde_json::json!([folder(n)]));
    let folders: serde_json::Map<String, serde_json::Value> = (0..size).map(entry).collect();
    serde_json::json!({ "folders": folders }).to_string()
}

fn rego(size: usize, policies: Vec<String>, data: &str) -> f64 {
    let mut engine = Engine::new();
    for (number, policy) in policies.into_iter().enumerate() {
        engine.add_policy(format!("{number}.rego"), policy).unwrap();
    }
    engine
        .add_data(Value::from_json_str(data).unwrap())
        .unwrap();
    let compiled = engine
        .compile_with_entrypoint(&"data.p.allow".into())
        .unwrap();
    let requests: Vec<(Value, bool)> = numbers(size)
        .into_iter()
        .map(|n| {
            let input = serde_json::json!({ "profile": profile(n), "path": path(n) });
            (Value::from_json_str(&input.to_string()).unwrap(), n < size)
        })
        .collect();
    let decide = |(input, _): &(Value, bool)| compiled.eval_with_input(input.clone()).unwrap();
    for request in &requests {
        assert_eq!(decide(request), Value::from(request.1));
    }
    time(&requests, decide)
}

fn casbin(size: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let enforcer = runtime.block_on(async {
        let model = DefaultModel::from_str(
            "[request_definition]\nr = sub, obj\n[policy_definition]\np = sub, obj\n\
             [policy_effect]\ne = some(where (p.eft == allow))\n\
             [matchers]\nm = r.sub == p.sub && keyMatch(r.obj, p.obj)\n",
        );
        let mut enforcer = Enforcer::new(model.await.unwrap(), MemoryAdapter::default())
            .await
            .unwrap();
        let rules = (0..size)
            .map(|n| vec![profile(n), format!("{}*", folder(n))])
            .collect();
        enforcer.add_policies(rules).await.unwrap();
        enforcer
    });
    let requests: Vec<(String, String, bool)> = numbers(size)
        .into_iter()
        .map(|n| (profile(n), path(n), n < size))
        .collect();
    let decide = |(profile, path, _): &(String, String, bool)| {
        enforcer.enforce((profile.as_str(), path.as_str())).unwrap()
    };
    for request in &requests {
        assert_eq!(decide(request), request.2);
    }
    time(&requests, decide)
}
