//! What two editors of one skill are kept apart by.

use crate::error::{Error, Result};

/// The revisions that a change may be based on; any, unless its author says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasedOn(Option<Vec<i64>>);

impl BasedOn {
    pub fn any() -> Self {
        Self(None)
    }

    /// No revision of any skill is among none.
    pub fn one_of(revisions: Vec<i64>) -> Self {
        Self(Some(revisions))
    }

    /// Refuses with `PRECONDITION_FAILED` when somebody else came first.
    pub fn check(&self, revision: i64) -> Result<()> {
        match &self.0 {
            Some(expected) if !expected.contains(&revision) => Err(Error::Outdated { revision }),
            _ => Ok(()),
        }
    }
}
