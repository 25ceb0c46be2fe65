//! Tests of skills, stored or not: runs that leave nothing behind but their result, and that for an hour.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::check::Check;
use crate::domain::executions::{ExecutionStatus, Outcome, check_input};
use crate::domain::ids::SkillId;
use crate::domain::money::Usage;
use crate::domain::skills::{DEFAULT_MODEL, Parameters, Skill};
use crate::domain::templates::{MAX_PROMPT_BYTES, render};
use crate::error::{Error, Result};

/// For how long a result can be read.
pub const KEPT: TimeDelta = TimeDelta::hours(1);

/// `test-` and a UUID: no execution has such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TestRunId(pub Uuid);

impl fmt::Display for TestRunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test-{}", self.0)
    }
}

impl FromStr for TestRunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        // Without that beginning nothing is left, which is no UUID.
        text.strip_prefix("test-").unwrap_or_default().parse().map(Self)
    }
}

impl Serialize for TestRunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TestRunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a client sends to test a stored skill.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct TestRequest {
    /// Values of the template's variables; at most 1 MiB and 32 levels deep. Not held against the schema.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub input: Map<String, Value>,
}

impl TestRequest {
    /// What the model is asked. Refuses with `VALIDATION_ERROR`.
    pub fn question(self, skill: &Skill) -> Result<TestQuestion> {
        let mut check = Check::default();
        let input = check_input(&mut check, self.input);
        check.done()?;
        let schema = skill.input_schema.as_deref().unwrap_or_default();
        let prompt = render(&skill.prompt_template, schema, &input).ok_or_else(too_long)?;
        Ok(TestQuestion {
            model: (!skill.model_is_default).then(|| skill.model.clone()),
            fallback_model: skill.fallback_model.clone(),
            system: None,
            prompt,
            parameters: skill.parameters.clone(),
        })
    }
}

/// What a client sends to test a skill that is not stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DraftTest {
    /// 10 to 200 000 characters; variables are written `{{name}}`.
    #[serde(alias = "prompt_template")]
    pub prompt_template: String,
    /// At most 20 000 characters; the system instruction.
    #[serde(alias = "system_prompt")]
    pub system_prompt: Option<String>,
    /// 1 to 100 characters; the default model when absent.
    pub model: Option<String>,
    pub parameters: Option<Parameters>,
    /// Values of the template's variables; at most 1 MiB and 32 levels deep.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub input: Map<String, Value>,
}

impl DraftTest {
    /// What the model is asked. Refuses with `VALIDATION_ERROR`.
    pub fn question(self) -> Result<TestQuestion> {
        let mut check = Check::default();
        check.text("promptTemplate", &self.prompt_template, 10, 200_000);
        check.text("systemPrompt", self.system_prompt.as_deref().unwrap_or_default(), 0, 20_000);
        let model = self.model.unwrap_or_else(|| DEFAULT_MODEL.to_owned());
        check.text("model", &model, 1, 100);
        let parameters = self.parameters.unwrap_or_default();
        parameters.check(&mut check);
        let input = check_input(&mut check, self.input);
        check.done()?;
        let prompt = render(&self.prompt_template, &[], &input).ok_or_else(too_long)?;
        let system = self.system_prompt.filter(|text| !text.is_empty());
        Ok(TestQuestion { model: Some(model), fallback_model: None, system, prompt, parameters })
    }
}

fn too_long() -> Error {
    Error::invalid("input", "length", format!("The prompt would be longer than {} MiB", MAX_PROMPT_BYTES >> 20))
}

/// What a model is asked, with nothing left to fill in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestQuestion {
    /// As whoever tests wrote it; the plan's choice when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    pub prompt: String,
    pub parameters: Parameters,
}

/// A test that is about to be written and enqueued.
#[derive(Clone, Debug)]
pub struct NewTestRun {
    pub id: TestRunId,
    pub question: TestQuestion,
    /// The stored skill that is tested.
    pub skill_id: Option<SkillId>,
    /// What it may cost at most.
    pub reserved_usd: Decimal,
    pub created_at: DateTime<Utc>,
}

/// A test as its owner sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TestRun {
    /// `test-` and a UUID.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub execution_id: TestRunId,
    pub status: ExecutionStatus,
    #[serde(flatten)]
    pub result: TestResult,
}

/// What came of a test; nothing until it has ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// Present when completed; may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_used: Option<u64>,
    /// Milliseconds from the start of the run to its end, without the time in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// Why it failed, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
}

impl TestResult {
    pub fn new(outcome: &Outcome, usage: Option<Usage>, took: Option<TimeDelta>) -> Self {
        let (output, failure) = match outcome {
            Outcome::Completed { output } => (Some(output.clone()), None),
            Outcome::Failed(failure) | Outcome::Cancelled(failure) => (None, Some(failure)),
        };
        Self {
            output,
            tokens_used: usage.map(|usage| usage.prompt_tokens.saturating_add(usage.completion_tokens)),
            duration_ms: took.map(|took| took.num_milliseconds().max(0)),
            error: failure.map(|failure| failure.message.clone()),
            error_code: failure.map(|failure| failure.code.as_str().to_owned()),
        }
    }
}

impl TestRun {
    pub fn pending(id: TestRunId) -> Self {
        Self { execution_id: id, status: ExecutionStatus::Pending, result: TestResult::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_name_of_a_test_is_no_name_of_an_execution() {
        let id = TestRunId(Uuid::from_u128(7));
        assert_eq!(id.to_string(), "test-00000000-0000-0000-0000-000000000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(Uuid::from_u128(7).to_string().parse::<TestRunId>().is_err());
        assert_eq!(json!(id), "test-00000000-0000-0000-0000-000000000007");
    }

    #[test]
    fn a_draft_is_checked_as_a_whole() {
        let check = |body: Value| -> Vec<String> {
            let draft: DraftTest = serde_json::from_value(body).expect("the types are right");
            match draft.question() {
                Ok(_) => Vec::new(),
                Err(Error::Invalid { violations, .. }) => violations.into_iter().map(|v| v.field).collect(),
                Err(other) => panic!("a draft fails by validation only, not with {other:?}"),
            }
        };
        let prompt = "Ten chars!";
        assert_eq!(check(json!({ "promptTemplate": prompt })), Vec::<String>::new());
        assert_eq!(check(json!({ "promptTemplate": "x".repeat(200_000) })), Vec::<String>::new());
        assert_eq!(check(json!({ "promptTemplate": "x".repeat(200_001) })), ["promptTemplate"]);
        assert_eq!(check(json!({ "promptTemplate": prompt, "systemPrompt": "x".repeat(20_001) })), ["systemPrompt"]);
        assert_eq!(check(json!({ "promptTemplate": prompt, "model": "" })), ["model"]);
        let all = json!({ "promptTemplate": "short", "parameters": { "max_tokens": 9000 }, "input": { "a": "\u{0}" } });
        assert_eq!(check(all), ["promptTemplate", "parameters.max_tokens", "input"]);
    }

    #[test]
    fn defaults_are_those_of_a_run() {
        let draft = json!({ "promptTemplate": "Say {{a}} and {{b}}", "systemPrompt": "", "input": { "a": 1 } });
        let draft: DraftTest = serde_json::from_value(draft).expect("a draft");
        let question = draft.question().expect("a question");
        assert_eq!((question.model.as_deref(), question.system), (Some(DEFAULT_MODEL), None));
        assert_eq!(question.prompt, "Say 1 and {{b}}");
        assert_eq!(question.parameters, Parameters::default());
    }
}
