use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request,
    RestrictedExpression,
};

use crate::{
    shape::{self, Case, PathRule, Shape},
    timing::Engine,
};

struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    requests: Vec<(Request, Entities)>,
}

/// A policy for each rule set. It has no regular expressions.
pub fn load(shape: &Shape, size: usize) -> Option<Box<dyn Engine>> {
    if shape.path == PathRule::Regex {
        return None;
    }
    let text: String = (0..size).map(|number| policy(shape, number)).collect();
    Some(Box::new(Cedar {
        authorizer: Authorizer::new(),
        policies: text.parse().unwrap(),
        requests: Vec::new(),
    }))
}

fn policy(shape: &Shape, number: usize) -> String {
    let principal = if shape.profile {
        format!("principal == User::\"{}\"", shape::profile(number))
    } else {
        "principal".to_owned()
    };
    let when = if shape.path == PathRule::Folder {
        format!(
            " when {{ resource.path like \"{}/*\" }}",
            shape::folder(number)
        )
    } else {
        String::new()
    };
    format!("permit({principal}, action == Action::\"decrypt\", resource){when};\n")
}

impl Engine for Cedar {
    fn prepare(&mut self, cases: &[Case]) {
        self.requests = cases.iter().map(request).collect();
    }

    fn decide(&self, case: usize) -> bool {
        let (request, entities) = &self.requests[case];
        let answer = self
            .authorizer
            .is_authorized(request, &self.policies, entities);
        answer.decision() == Decision::Allow
    }
}

fn request(case: &Case) -> (Request, Entities) {
    let uid = |text: String| text.parse::<EntityUid>().unwrap();
    let file = uid("File::\"file\"".to_owned());
    let path = RestrictedExpression::new_string(shape::path(case));
    let entity = Entity::new(file.clone(), [("path".to_owned(), path)].into(), [].into()).unwrap();
    let principal = uid(format!("User::\"{}\"", shape::profile(case.profile)));
    let action = uid("Action::\"decrypt\"".to_owned());
    let request = Request::new(principal, action, file, Context::empty(), None).unwrap();
    (request, Entities::from_entities([entity], None).unwrap())
}
