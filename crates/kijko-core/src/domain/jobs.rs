//! Work that happens outside a request. Payloads are ids: a job reads the state again and may find nothing to do.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::ids::{ExecutionId, MailId, OrganizationId, UserId};
use crate::domain::test_runs::TestRunId;

/// Where a run can be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workplace {
    Anywhere,
    /// In a program that serves this model.
    Beside(String),
}

impl Workplace {
    /// What the job is marked with.
    pub fn model(&self) -> Option<&str> {
        match self {
            Workplace::Anywhere => None,
            Workplace::Beside(model) => Some(model),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Job {
    /// Run a pending execution. Organisation and user are stamped by the database, from the context of the
    /// transaction that enqueued it.
    RunExecution { organization_id: OrganizationId, user_id: UserId, execution_id: ExecutionId },
    /// Run a test; the same.
    RunTest { organization_id: OrganizationId, user_id: UserId, test_run_id: TestRunId },
    /// Tell that a share of a budget was reached. The subject is the organisation, or one of its skills.
    AnnounceBudget { organization_id: OrganizationId, subject_id: Uuid, month: NaiveDate },
    /// Send a mail that is in the outbox.
    SendMail { mail_id: MailId },
}
