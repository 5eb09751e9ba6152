//! `cel-rule`: an expression in the Common Expression Language holds.
//!
//! What an expression may cost is bounded: its length and nesting when it loads, and so is that no macro
//! stands within another, so that it takes time in proportion to its length and the number of items,
//! which is bounded too. There are no regular expressions in it (`meta-rule` has them) and there is no
//! clock but `now`. Whatever goes wrong, a result that is no boolean included, counts as not holding.

use std::{collections::HashMap, sync::Arc};

use cel::{
    Context, Env, Program, Value,
    common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr},
};
use jiff::Zoned;
use ostrakon_types::ApprovalRequest;

use crate::{Arguments, Reason, Rule, RuleError, Verdict, nearest::nearest, path::CanonicalPath};

/// The longest expression, in bytes.
const MAX_BYTES: usize = 1024;
/// How deep brackets and conditions may be nested.
const MAX_DEPTH: usize = 24;
/// The most items, and bytes in their paths, that an expression is asked about.
const MAX_ITEMS: usize = 64;
const MAX_PATH_BYTES: usize = 1 << 16;

/// What an expression is about.
const VARIABLES: [&str; 4] = ["request", "profile", "meta", "now"];
/// What is a name in the language itself.
const TYPES: [&str; 11] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "dyn",
];

struct CelRule {
    text: String,
    program: Program,
    environment: Arc<Env>,
}

impl std::fmt::Debug for CelRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CelRule").field(&self.text).finish()
    }
}

pub(super) fn build(arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
    let expression = arguments.text("expression");
    arguments.require("expression");
    let expression = expression?;
    let environment = Arc::new(Env::stdlib());
    match compile(&environment, &expression.value) {
        Ok(program) => Some(Box::new(CelRule {
            text: expression.value,
            program,
            environment,
        })),
        Err(fault) => {
            let message = format!("the expression {fault}");
            arguments.error(expression.place, message);
            None
        }
    }
}

fn compile(environment: &Arc<Env>, text: &str) -> Result<Program, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    if depth(text) > MAX_DEPTH {
        return Err(format!("is nested deeper than {MAX_DEPTH}"));
    }
    let program = environment.compile(text).map_err(|errors| {
        let errors = errors.to_string();
        let first = errors.lines().next().unwrap_or_default();
        let first = first.trim_start_matches("ERROR: <input>:");
        format!("cannot be read: {first}")
    })?;
    Survey::default().visit(program.expression())?;
    Ok(program)
}

/// How deep brackets and conditions are nested at most; those in texts count too.
fn depth(text: &str) -> usize {
    let (mut open, mut deepest, mut conditions) = (0_usize, 0, 0);
    for letter in text.chars() {
        match letter {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            '?' => conditions += 1,
            _ => {}
        }
        deepest = deepest.max(open + conditions);
    }
    deepest
}

/// What is looked for in an expression before it is used.
#[derive(Default)]
struct Survey<'e> {
    /// The variables of the macros around.
    bound: Vec<&'e str>,
    in_macro: bool,
}

impl<'e> Survey<'e> {
    fn visit(&mut self, expression: &'e IdedExpr) -> Result<(), String> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.known(name),
            Expr::Select(select) => self.visit(&select.operand),
            Expr::Call(call) => {
                let target = call.target.as_deref();
                target
                    .into_iter()
                    .chain(&call.args)
                    .try_for_each(|part| self.visit(part))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|part| self.visit(part)),
            Expr::Map(map) => self.entries(&map.entries),
            Expr::Struct(_) => Err("makes a message, of which there are none".to_owned()),
            Expr::Comprehension(of) => {
                self.visit(&of.iter_range)?;
                if self.in_macro {
                    return Err("has a macro within a macro".to_owned());
                }
                self.in_macro = true;
                let before = self.bound.len();
                let variables = [
                    Some(&of.iter_var),
                    of.iter_var2.as_ref(),
                    Some(&of.accu_var),
                ];
                self.bound
                    .extend(variables.into_iter().flatten().map(String::as_str));
                for part in [&of.accu_init, &of.loop_cond, &of.loop_step, &of.result] {
                    self.visit(part)?;
                }
                self.bound.truncate(before);
                self.in_macro = false;
                Ok(())
            }
        }
    }

    fn entries(&mut self, entries: &'e [IdedEntryExpr]) -> Result<(), String> {
        entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key)?;
                self.visit(&entry.value)
            }
            EntryExpr::StructField(field) => self.visit(&field.value),
        })
    }

    fn known(&self, name: &str) -> Result<(), String> {
        if self.bound.contains(&name) || VARIABLES.contains(&name) || TYPES.contains(&name) {
            return Ok(());
        }
        let help = match nearest(name, VARIABLES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are `{}`", VARIABLES.join("`, `")),
        };
        Err(format!("names `{name}`: {help}"))
    }
}

impl CelRule {
    fn context(&self, request: &ApprovalRequest, meta: Vec<Value>, now: &Zoned) -> Context<'_, '_> {
        let text = |text: &dyn ToString| Value::from(text.to_string());
        let number = |number: i64| Value::Int(number);
        let words: Vec<Value> = request.profile.words.iter().map(Value::from).collect();
        let variables = [
            ("meta", Value::List(Arc::new(meta))),
            (
                "request",
                map([
                    ("type", text(&request.kind)),
                    ("device_id", text(&request.device_id)),
                    ("cryptographic_id", text(&request.cryptographic_id)),
                ]),
            ),
            (
                "profile",
                map([
                    ("id", text(&request.profile.id)),
                    ("words", Value::List(Arc::new(words))),
                ]),
            ),
            (
                "now",
                map([
                    ("year", number(now.year().into())),
                    ("month", number(now.month().into())),
                    ("day", number(now.day().into())),
                    ("hour", number(now.hour().into())),
                    ("minute", number(now.minute().into())),
                    ("second", number(now.second().into())),
                    (
                        "weekday",
                        number(now.weekday().to_monday_zero_offset().into()),
                    ),
                    ("unix", number(now.timestamp().as_second())),
                ]),
            ),
        ];
        let mut context = Context::with_env(Arc::clone(&self.environment));
        for (name, value) in variables {
            context.add_variable_from_value(name, value);
        }
        context
    }
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.map(|(name, value)| (name.to_owned(), value));
    Value::from(HashMap::from(entries))
}

impl Rule for CelRule {
    fn judge(&self, request: &ApprovalRequest, now: &Zoned) -> Result<Verdict, RuleError> {
        let bytes: usize = request.meta.iter().map(|item| item.meta.len()).sum();
        if request.meta.len() > MAX_ITEMS || bytes > MAX_PATH_BYTES {
            return Err(RuleError::new(
                "the request names too many items for an expression",
            ));
        }
        let mut meta = Vec::with_capacity(request.meta.len());
        for (item, of) in request.meta.iter().enumerate() {
            // As in `meta-rule`, no other spelling of a path passes for it.
            match CanonicalPath::new(of) {
                Ok(path) => meta.push(map([
                    ("path", Value::from(path.as_str())),
                    ("complete", Value::Bool(of.complete)),
                ])),
                Err(fault) => return Ok(Verdict::fails(Reason::NotCanonical { item, fault })),
            }
        }
        match self.program.execute(&self.context(request, meta, now)) {
            Ok(Value::Bool(true)) => Ok(Verdict::holds("the expression is true")),
            Ok(Value::Bool(false)) => Ok(Verdict::fails("the expression is false")),
            Ok(_) => Err(RuleError::new("the expression is neither true nor false")),
            // The message could quote values of the request, which are user data.
            Err(_) => Err(RuleError::new("the expression cannot be evaluated")),
        }
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_types::RequestKind;

    use crate::{
        Policy, Registry,
        fixture::{at, policy, request},
    };

    fn text_of(expression: &str) -> String {
        format!(
            "decrypt: [[{{rule: cel-rule, expression: '{}'}}]]",
            expression.replace('\'', "''")
        )
    }

    fn holds(expression: &str, items: &[&str]) -> Option<bool> {
        let policy = policy(&text_of(expression));
        let evaluation = policy.evaluate(
            &request(RequestKind::Decrypt, items),
            at("2022-03-09T17:30:00Z"),
        );
        match evaluation.failures() {
            [] => Some(!evaluation.proposal().candidates.is_empty()),
            _ => None,
        }
    }

    #[test]
    fn expressions_see_the_request_and_the_time() {
        for (expression, expected) in [
            ("true", Some(true)),
            (
                r#"request.type == "decrypt" && profile.words[0] == "river""#,
                Some(true),
            ),
            (
                r#"profile.id == "07070707070707070707070707070707""#,
                Some(true),
            ),
            (
                r#"meta.all(m, m.complete && m.path.startsWith("in/"))"#,
                Some(true),
            ),
            (r#"meta.exists(m, m.path.endsWith(".xlsx"))"#, Some(false)),
            (
                "now.weekday == 2 && now.hour == 17 && now.minute >= 30",
                Some(true),
            ),
            ("size(meta) > 5", Some(false)),
            ("size(meta)", None),
            ("meta[7].complete", None),
            ("1 / 0 == 1", None),
            ("meta[0].size > 3", None),
        ] {
            assert_eq!(
                holds(expression, &["in/a", "in/b"]),
                expected,
                "{expression}"
            );
        }
        assert_eq!(holds("true", &["in/../a"]), Some(false), "not canonical");
        assert_eq!(holds("true", &["a"; 65]), None, "too many");
    }

    #[test]
    fn what_could_cost_much_does_not_load() {
        let brackets = format!("{}1{} == 1", "(".repeat(200), ")".repeat(200));
        let conditions = format!("{}true", "true ? true : ".repeat(60));
        for (expression, expected) in [
            (brackets.as_str(), "is nested deeper than 24"),
            (conditions.as_str(), "is nested deeper than 24"),
            (&"true && ".repeat(200), "is longer than 1024 bytes"),
            (
                "meta.all(m, meta.all(n, m == n))",
                "has a macro within a macro",
            ),
            ("meat.all(m, true)", "names `meat`: did you mean `meta`?"),
            (
                "user == 1",
                "names `user`: there are `request`, `profile`, `meta`, `now`",
            ),
            ("true &&", "cannot be read: "),
            ("", "cannot be read: "),
        ] {
            let registry = Registry::bundled();
            let loaded = Policy::load(
                "f",
                &text_of(expression),
                &jiff::tz::TimeZone::UTC,
                &registry,
            );
            let said = loaded.unwrap_err().to_string();
            assert!(
                said.contains(&format!("the expression {expected}")),
                "{expression}: {said}"
            );
        }
        // As much as may be written, nested by operators alone.
        assert_ne!(
            holds(&format!("{}true", "!".repeat(1000)), &[]),
            Some(false)
        );
    }
}
