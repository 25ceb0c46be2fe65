//! What an execution and a test of a skill have in common: somebody must carry it from the queue to its end.

use std::fmt;

use crate::domain::ids::ExecutionId;
use crate::domain::test_runs::TestRunId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunId {
    Execution(ExecutionId),
    Test(TestRunId),
}

/// As clients know it.
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunId::Execution(id) => id.fmt(f),
            RunId::Test(id) => id.fmt(f),
        }
    }
}
