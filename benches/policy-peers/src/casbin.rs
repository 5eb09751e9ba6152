use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};

use crate::{
    shape::{self, Case, PathRule, Shape},
    timing::Engine,
};

struct Casbin {
    enforcer: Enforcer,
    requests: Vec<[String; 3]>,
}

/// A line of the policy for each rule set, under the access control list of the documentation.
pub fn load(shape: &Shape, size: usize) -> Option<Box<dyn Engine>> {
    let (object, pattern): (_, fn(usize) -> String) = match shape.path {
        PathRule::None => ("true", |_| "*".to_owned()),
        PathRule::Folder => ("keyMatch(r.obj, p.obj)", |number| {
            format!("{}/*", shape::folder(number))
        }),
        PathRule::Regex => ("regexMatch(r.obj, p.obj)", |number| {
            format!("^{}", shape::regex(number))
        }),
    };
    let conditions = [
        shape.profile.then_some("r.sub == p.sub"),
        (shape.path != PathRule::None).then_some(object),
        Some("r.act == p.act"),
    ];
    let conditions: Vec<&str> = conditions.into_iter().flatten().collect();
    let model = format!(
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n\
         [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = {}\n",
        conditions.join(" && ")
    );
    let subject = |number| {
        if shape.profile {
            shape::profile(number)
        } else {
            "*".to_owned()
        }
    };
    let line = |number| vec![subject(number), pattern(number), "decrypt".to_owned()];
    let lines = (0..size).map(line).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let enforcer = runtime.block_on(async {
        let model = DefaultModel::from_str(&model).await.unwrap();
        let mut enforcer = Enforcer::new(model, MemoryAdapter::default())
            .await
            .unwrap();
        enforcer.add_policies(lines).await.unwrap();
        enforcer
    });
    let requests = Vec::new();
    Some(Box::new(Casbin { enforcer, requests }))
}

impl Engine for Casbin {
    fn prepare(&mut self, cases: &[Case]) {
        let request = |case: &Case| {
            [
                shape::profile(case.profile),
                shape::path(case),
                "decrypt".to_owned(),
            ]
        };
        self.requests = cases.iter().map(request).collect();
    }

    fn decide(&self, case: usize) -> bool {
        let [subject, object, action] = &self.requests[case];
        let request = (subject.as_str(), object.as_str(), action.as_str());
        self.enforcer.enforce(request).unwrap()
    }
}
