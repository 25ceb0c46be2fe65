//! Executions: one run of a skill each, and the states it can be in.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::check::Check;
use crate::domain::ids::{ExecutionId, SkillId, UserId};
use crate::domain::input_schema::{MAX_DEPTH, contains_nul, depth};
use crate::domain::models::KeySource;
use crate::domain::money::{Cost, Usage};
use crate::domain::skills::Skill;
use crate::domain::time::{Timestamp, millis, millis_option};
use crate::domain::vocabulary::vocabulary;
use crate::error::{Error, Result};

vocabulary!(
    /// `pending` → `running` → `completed`, `failed` or `cancelled`; the last three never change.
    ExecutionStatus {
        Pending = "pending",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
    }
);

impl ExecutionStatus {
    /// Only what ended without a result may be tried again.
    pub fn may_be_retried(self) -> bool {
        matches!(self, ExecutionStatus::Failed | ExecutionStatus::Cancelled)
    }
}

vocabulary!(
    /// What started a run.
    ExecutionType { Manual = "manual", Habit = "habit", Reflex = "reflex", Api = "api" }
);

vocabulary!(
    /// Why a run failed or was cancelled.
    FailureCode {
        InvalidApiKey = "INVALID_API_KEY",
        RateLimited = "RATE_LIMITED",
        ServiceUnavailable = "SERVICE_UNAVAILABLE",
        BadRequest = "BAD_REQUEST",
        ApiError = "API_ERROR",
        UnknownError = "UNKNOWN_ERROR",
        ProviderUnreachable = "PROVIDER_UNREACHABLE",
        ExecutionTimeout = "EXECUTION_TIMEOUT",
        ContentBlocked = "CONTENT_BLOCKED",
        ModelNotSupported = "MODEL_NOT_SUPPORTED",
        ProviderNotConfigured = "PROVIDER_NOT_CONFIGURED",
        SkillNotFound = "SKILL_NOT_FOUND",
        SkillInactive = "SKILL_INACTIVE",
        SkillDeleted = "SKILL_DELETED",
        Cancelled = "CANCELLED",
        WorkerLost = "WORKER_LOST",
        BudgetExceeded = "BUDGET_EXCEEDED",
    }
);

/// Why a run ended without a result: a code, and a sentence for its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: FailureCode,
    pub message: String,
}

impl Failure {
    /// At most 2 000 characters, without the character that the database refuses.
    pub fn new(code: FailureCode, message: impl AsRef<str>) -> Self {
        let message = message.as_ref().chars().filter(|c| *c != '\0').take(2000).collect();
        Self { code, message }
    }
}

/// How a run ended, and what it used.
#[derive(Clone, Debug)]
pub struct Ending {
    pub outcome: Outcome,
    pub call: Option<ModelCall>,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    Completed { output: String },
    Failed(Failure),
    Cancelled(Failure),
}

impl Outcome {
    pub fn status(&self) -> ExecutionStatus {
        match self {
            Outcome::Completed { .. } => ExecutionStatus::Completed,
            Outcome::Failed(_) => ExecutionStatus::Failed,
            Outcome::Cancelled(_) => ExecutionStatus::Cancelled,
        }
    }
}

/// What calling the model took, over all attempts.
#[derive(Clone, Debug)]
pub struct ModelCall {
    pub provider: &'static str,
    /// The provider's own id of the model that was called.
    pub model: String,
    /// The model that was asked for, where that is another.
    pub requested_model: Option<String>,
    pub key_source: KeySource,
    pub attempts: i16,
    /// Absent when the provider never reported any.
    pub usage: Option<(Usage, Cost)>,
}

/// A run as its owner sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    pub id: ExecutionId,
    /// Absent after the skill was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill_id: Option<SkillId>,
    /// The version of the skill that ran; absent until a worker takes the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill_version: Option<i32>,
    pub user_id: UserId,
    pub execution_type: ExecutionType,
    /// The habit or reflex that started the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_id: Option<uuid::Uuid>,
    /// What the caller supplied, before defaults are filled in.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub input: Map<String, Value>,
    /// Present when completed; may be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// `promptTokens` + `completionTokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_used: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<i64>,
    /// Milliseconds from the start of the run to its end, without the time in the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// US cents, rounded half up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_cents: Option<i64>,
    /// Who answered: `anthropic`, `google`, `openai` or `offline`. Absent until the run has ended, as are the next three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The provider's own id of the model that really answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model that was asked for, where another answered: the skill's `fallbackModel`, or the one of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_model: Option<String>,
    /// Whose key was used; what `own` cost is a statistic, and billed by the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_source: Option<KeySource>,
    pub status: ExecutionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// When the run was asked for.
    #[serde(serialize_with = "millis")]
    pub executed_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millis_option")]
    pub completed_at: Option<DateTime<Utc>>,
}

/// A run together with the skill that it ran, as long as that exists.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecutionWithSkill {
    #[serde(flatten)]
    pub execution: Execution,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skill: Option<Skill>,
}

/// What a client sends to run a skill.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct ExecuteRequest {
    /// If sent, the id in the path.
    #[serde(alias = "skill_id")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub skill_id: Option<String>,
    /// Values of the template's variables; at most 1 MiB and 32 levels deep.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub input: Map<String, Value>,
    /// `manual` or `api`; when absent, `api` for a caller with an API key and `manual` for everybody else.
    #[serde(alias = "execution_type")]
    pub execution_type: Option<ExecutionType>,
}

const MAX_INPUT_BYTES: usize = 1 << 20;

impl ExecuteRequest {
    /// The run that this asks for. Refuses with `VALIDATION_ERROR`.
    pub fn into_execution(
        self,
        id: ExecutionId,
        skill_id: SkillId,
        default_type: ExecutionType,
        now: Timestamp,
    ) -> Result<NewExecution> {
        let mut check = Check::default();
        if let Some(sent) = &self.skill_id {
            check.that(sent.parse() == Ok(skill_id), "skillId", "format", || {
                "skillId must be the id in the path".into()
            });
        }
        let kind = self.execution_type.unwrap_or(default_type);
        check.that(matches!(kind, ExecutionType::Manual | ExecutionType::Api), "executionType", "format", || {
            "executionType must be manual or api".into()
        });
        let input = check_input(&mut check, self.input);
        check.done()?;
        Ok(NewExecution {
            id,
            skill_id,
            execution_type: kind,
            reference_id: None,
            retry_of: None,
            input,
            executed_at: now,
        })
    }
}

/// The bounds of every input, whatever it is for.
pub(crate) fn check_input(check: &mut Check, input: Map<String, Value>) -> Map<String, Value> {
    let input = Value::Object(input);
    check.that(depth(&input) <= MAX_DEPTH, "input", "range", || {
        format!("input must not be nested deeper than {MAX_DEPTH} levels")
    });
    check.that(input.to_string().len() <= MAX_INPUT_BYTES, "input", "length", || {
        format!("input must have at most {MAX_INPUT_BYTES} bytes")
    });
    check.that(!contains_nul(&input), "input", "format", || "input must not contain the character U+0000".into());
    let Value::Object(input) = input else { unreachable!("made of an object above") };
    input
}

/// A run that is about to be written and enqueued.
#[derive(Clone, Debug)]
pub struct NewExecution {
    pub id: ExecutionId,
    pub skill_id: SkillId,
    pub execution_type: ExecutionType,
    /// The habit or reflex that it is for.
    pub reference_id: Option<uuid::Uuid>,
    pub retry_of: Option<ExecutionId>,
    pub input: Map<String, Value>,
    pub executed_at: DateTime<Utc>,
}

impl NewExecution {
    /// The same once more.
    pub fn again(old: &Execution, skill_id: SkillId, id: ExecutionId, now: Timestamp) -> Self {
        Self {
            id,
            skill_id,
            execution_type: old.execution_type,
            reference_id: old.reference_id,
            retry_of: Some(old.id),
            input: old.input.clone(),
            executed_at: now,
        }
    }
}

/// Reply to a wish to try again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RetryAccepted {
    pub new_execution_id: ExecutionId,
    pub status: ExecutionStatus,
}

/// Reply to an execution request: where to look for the result.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExecutionAccepted {
    pub execution_id: ExecutionId,
    pub status: ExecutionStatus,
}

/// Which runs a list shows; newest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecutionFilter {
    pub skill_id: Option<SkillId>,
    pub status: Option<ExecutionStatus>,
    pub execution_type: Option<ExecutionType>,
    /// Asked for at or after this moment.
    pub from: Option<Timestamp>,
    /// Asked for at or before this moment.
    pub to: Option<Timestamp>,
}

impl ExecutionFilter {
    /// From two moments or days. Refuses with `VALIDATION_ERROR`.
    pub fn between(start: Option<&str>, end: Option<&str>) -> Result<Self> {
        let from = start.map(|text| moment("startDate", text, NaiveTime::MIN)).transpose()?;
        let last = NaiveTime::from_hms_milli_opt(23, 59, 59, 999).unwrap_or(NaiveTime::MIN);
        let to = end.map(|text| moment("endDate", text, last)).transpose()?;
        let mut check = Check::default();
        check.that(from.zip(to).is_none_or(|(from, to)| from <= to), "startDate", "range", || {
            "startDate must not be after endDate".into()
        });
        check.done()?;
        Ok(Self { from, to, ..Self::default() })
    }
}

/// A moment as it is; a bare day at the given time, UTC.
fn moment(field: &str, text: &str, time: NaiveTime) -> Result<Timestamp> {
    let moment = DateTime::parse_from_rfc3339(text).map(|moment| moment.to_utc());
    let day = || text.parse::<NaiveDate>().map(|day| day.and_time(time).and_utc());
    // The database knows fewer years than the parser.
    let known = moment.or_else(|_| day()).ok().filter(|moment| (1..=9999).contains(&moment.year()));
    known.ok_or_else(|| {
        Error::invalid(field, "format", format!("{field} must be a day such as 2026-01-31 or an ISO 8601 moment"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: Value) -> Vec<String> {
        let request: ExecuteRequest = serde_json::from_value(body).expect("the types are right");
        let id = uuid::Uuid::from_u128(7);
        match request.into_execution(ExecutionId(id), SkillId(id), ExecutionType::Manual, Timestamp::UNIX_EPOCH) {
            Ok(_) => Vec::new(),
            Err(Error::Invalid { violations, .. }) => violations.into_iter().map(|v| v.field).collect(),
            Err(other) => panic!("a request fails by validation only, not with {other:?}"),
        }
    }

    #[test]
    fn requests_are_bounded() {
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
        assert_eq!(check(json!({})), Vec::<String>::new());
        assert_eq!(check(json!({ "input": nested(32) })), Vec::<String>::new());
        assert_eq!(check(json!({ "input": nested(33) })), ["input"]);
        assert_eq!(check(json!({ "input": { "a": "x".repeat(1 << 20) } })), ["input"]);
        assert_eq!(check(json!({ "input": { "a": "\u{0}" } })), ["input"]);
        assert_eq!(check(json!({ "executionType": "habit" })), ["executionType"]);
        assert_eq!(check(json!({ "executionType": "api" })), Vec::<String>::new());
        assert_eq!(check(json!({ "skillId": "00000000-0000-0000-0000-000000000007" })), Vec::<String>::new());
        assert_eq!(check(json!({ "skillId": "00000000-0000-0000-0000-000000000008" })), ["skillId"]);
        assert_eq!(check(json!({ "skillId": "seven" })), ["skillId"]);
    }
}
