use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{Arguments, Rule, Schema, rules};

/// Makes a rule of its arguments.
///
/// `None` means that the arguments are at fault, which the builder has reported to them.
pub trait BuildRule: Send + Sync {
    /// Makes the rule.
    fn build(&self, arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>>;
}

impl<F> BuildRule for F
where
    F: Fn(&mut Arguments<'_>) -> Option<Box<dyn Rule>> + Send + Sync,
{
    fn build(&self, arguments: &mut Arguments<'_>) -> Option<Box<dyn Rule>> {
        self(arguments)
    }
}

/// The rules that a policy may name.
#[derive(Clone)]
pub struct Registry {
    builders: BTreeMap<String, Arc<dyn BuildRule>>,
}

/// Why a rule could not be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterRuleError {
    /// There is a rule of that name.
    #[error("there is a rule `{0}` already")]
    Taken(String),
    /// The name could not stand in a policy file as it is.
    #[error("`{0}` is no name for a rule: use lower-case letters, digits and `-`")]
    Unfit(String),
}

impl Registry {
    /// The rules of the bundled engine.
    #[must_use]
    pub fn bundled() -> Self {
        let mut registry = Self::empty();
        for (name, build) in rules::BUNDLED {
            registry
                .builders
                .insert((*name).to_owned(), Arc::new(*build));
        }
        registry
    }

    /// No rules at all.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            builders: BTreeMap::new(),
        }
    }

    /// Adds a rule under `name`.
    ///
    /// ```
    /// use ostrakon_policy::{Arguments, Registry, Rule, RuleError, Verdict};
    /// # use ostrakon_types::ApprovalRequest;
    /// # #[derive(Debug)]
    /// # struct AtMost(u64);
    /// # impl Rule for AtMost {
    /// #     fn judge(&self, _: &ApprovalRequest, _: &jiff::Zoned) -> Result<Verdict, RuleError> {
    /// #         Ok(Verdict::holds("always"))
    /// #     }
    /// # }
    /// let mut registry = Registry::bundled();
    /// registry.register("at-most-rule", |arguments: &mut Arguments<'_>| {
    ///     Some(Box::new(AtMost(arguments.count("items")?)) as Box<dyn Rule>)
    /// })?;
    /// # Ok::<(), ostrakon_policy::RegisterRuleError>(())
    /// ```
    ///
    /// # Errors
    /// When the name is taken or could not stand in a policy file.
    pub fn register(
        &mut self,
        name: &str,
        builder: impl BuildRule + 'static,
    ) -> Result<(), RegisterRuleError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(RegisterRuleError::Unfit(name.to_owned()));
        }
        if self.builders.contains_key(name) {
            return Err(RegisterRuleError::Taken(name.to_owned()));
        }
        self.builders.insert(name.to_owned(), Arc::new(builder));
        Ok(())
    }

    /// The names of all rules, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.builders.keys().map(String::as_str)
    }

    /// The JSON Schema of policy files with these rules, for editors that complete and check them.
    ///
    /// It is made of what the builders ask for when they are given no arguments. It admits every policy
    /// that loads, and some that do not: what arguments mean together only loading can tell.
    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema::of(
            self.builders
                .iter()
                .map(|(name, builder)| (name.as_str(), &**builder)),
        )
    }

    pub(crate) fn builder(&self, name: &str) -> Option<&dyn BuildRule> {
        self.builders.get(name).map(|builder| &**builder)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::bundled()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_once_and_must_be_plain() {
        let mut registry = Registry::bundled();
        let build = |_: &mut Arguments<'_>| None;
        assert_eq!(registry.register("vip-rule", build), Ok(()));
        for name in ["vip-rule", "meta-rule"] {
            let error = registry.register(name, build).unwrap_err();
            assert_eq!(error, RegisterRuleError::Taken(name.into()));
        }
        for name in ["", "VIP", "a b", "a_b"] {
            assert!(registry.register(name, build).is_err(), "{name}");
        }
        assert_eq!(registry.names().count(), rules::BUNDLED.len() + 1);
    }
}
