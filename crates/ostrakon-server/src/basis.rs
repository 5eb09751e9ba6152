use std::sync::{Mutex, PoisonError};

use ostrakon_storage::ChangeNumber;

/// How often something had changed in a shared database when this process last looked at it. What it
/// decides, it decides on that basis.
#[derive(Debug, Default)]
pub(crate) struct Basis(Mutex<ChangeNumber>);

impl Basis {
    /// What was looked at is this new.
    pub(crate) fn of(number: ChangeNumber) -> Self {
        Self(Mutex::new(number))
    }

    pub(crate) fn get(&self) -> ChangeNumber {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, number: ChangeNumber) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = number;
    }
}
