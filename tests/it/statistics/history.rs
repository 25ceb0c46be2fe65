//! Things that happened to somebody's skills: through the statements and functions that the product uses, at moments
//! and with results of the test's choice.

use chrono::{DateTime, NaiveTime, SubsecRound, TimeDelta, Utc};
use kijko_core::domain::time::Timestamp;
use sqlx::AssertSqlSafe;

use crate::harness::{Installation, Person};

/// Small numbers that look random and come again with the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 up to, and without, `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub fn signed(&mut self, end: u64) -> i64 {
        i64::try_from(self.below(end)).unwrap()
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    /// A moment of the last 100 days: any, or one where something begins or ends.
    pub fn moment(&mut self, now: Timestamp) -> Timestamp {
        let any = now - TimeDelta::microseconds(self.signed(100 * 86_400 * 1_000_000));
        let midnight = any.date_naive().and_time(NaiveTime::MIN).and_utc();
        match self.below(8) {
            0 => midnight,
            1 => midnight - TimeDelta::microseconds(1),
            2 => any.trunc_subsecs(0) - TimeDelta::seconds(any.timestamp().rem_euclid(3600)),
            3 => now - TimeDelta::microseconds(self.signed(86_400 * 1_000_000)),
            _ => any,
        }
    }
}

/// One execution, as far as it got.
pub struct Run {
    pub skill: String,
    pub kind: &'static str,
    pub status: &'static str,
    /// Now, if nothing is said.
    pub at: Option<Timestamp>,
    /// None for one that ended before it started.
    pub duration: Option<i64>,
    /// Prompt and completion tokens, cents.
    pub usage: Option<(i64, i64, i64)>,
    /// The usage became known after somebody else had ended the run.
    pub is_late: bool,
}

pub const TYPES: [&str; 4] = ["manual", "habit", "reflex", "api"];
pub const STATUSES: [&str; 5] = ["pending", "running", "completed", "failed", "cancelled"];

impl Run {
    pub fn completed(skill: &str) -> Self {
        Self {
            skill: skill.to_owned(),
            kind: "manual",
            status: "completed",
            at: None,
            duration: Some(1500),
            usage: Some((100, 20, 3)),
            is_late: false,
        }
    }

    pub fn random(dice: &mut Dice, skills: &[String], now: Timestamp) -> Self {
        let (status, is_late) = (*dice.pick(&STATUSES), dice.one_in(2));
        Self {
            skill: dice.pick(skills).clone(),
            kind: *dice.pick(&TYPES),
            status,
            at: Some(dice.moment(now)),
            duration: match dice.below(5) {
                0 => None,
                1 => Some(0),
                // Few different ones, so that many are equal.
                2 => Some(dice.signed(5) * 100),
                _ => Some(dice.signed(300_000)),
            },
            usage: (!dice.one_in(4)).then(|| (dice.signed(5000), dice.signed(500), dice.signed(40))),
            is_late: status == "cancelled" && is_late,
        }
    }

    /// Everything from the request to the end, as this person.
    pub async fn happen(self, app: &Installation, person: &Person) {
        let mut connection = app.superuser.acquire().await.unwrap();
        let sql = format!("BEGIN; {} {} COMMIT", become_tenant(person), self.sql());
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.expect("the functions take it");
    }

    pub fn sql(&self) -> String {
        let id = uuid::Uuid::new_v4();
        let at = self.at.unwrap_or_else(|| Utc::now().trunc_subsecs(6));
        let started = at + TimeDelta::milliseconds(20);
        let ended = started + TimeDelta::milliseconds(self.duration.unwrap_or(0));
        let mut sql = format!(
            "INSERT INTO skill_executions (id, skill_id, execution_type, input, executed_at)
                 VALUES ('{id}', '{}', '{}', '{{}}', '{at}');",
            self.skill, self.kind
        );
        if self.status == "running" || (self.status != "pending" && self.duration.is_some()) {
            sql += &format!("SELECT app.claim_execution('{id}', 1, '{started}', now() + interval '10 years');");
        }
        if ["pending", "running"].contains(&self.status) {
            return sql;
        }
        let usage = self.usage.map_or("NULL, NULL, NULL, NULL".to_owned(), |(prompt, completion, cents)| {
            format!("{prompt}, {completion}, {cents}, {cents}::numeric / 100")
        });
        let (with_the_end, attempts) = if self.is_late { ("NULL, NULL, NULL, NULL", 0) } else { (&*usage, 1) };
        let failure = if self.status == "completed" { "NULL, NULL" } else { "'CANCELLED', ''" };
        sql += &format!(
            "SELECT app.end_execution('{id}', '{{pending,running}}', NULL, '{}', '{ended}', '', {with_the_end}, 'p', 'm',
                                      NULL, NULL, {attempts}::smallint, {failure});",
            self.status
        );
        if self.is_late {
            sql += &format!("SELECT app.record_usage('{id}', {usage}, 'p', 'm', NULL, NULL, 1::smallint);");
        }
        sql
    }
}

pub fn become_tenant(person: &Person) -> String {
    format!(
        "SET LOCAL ROLE kijko_tenant; SET LOCAL app.current_org_id = '{}'; SET LOCAL app.current_user_id = '{}';",
        person.organization_id(),
        person.user_id()
    )
}

/// An execution as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Row {
    pub skill_id: Option<String>,
    pub execution_type: String,
    pub status: String,
    pub prompt_tokens: Option<i64>,
    pub completion_tokens: Option<i64>,
    pub duration_ms: Option<i64>,
    pub cost_cents: Option<i64>,
    pub executed_at: DateTime<Utc>,
}

/// A skill as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SkillRow {
    pub id: String,
    pub name: String,
    pub is_active: bool,
    pub execution_count: i32,
}

/// What there is of this person, past every policy.
pub async fn rows(app: &Installation, person: &Person) -> (Vec<Row>, Vec<SkillRow>) {
    let whose = format!("organization_id = '{}' AND user_id = '{}'", person.organization_id(), person.user_id());
    let executions = format!(
        "SELECT skill_id::text, execution_type, status, prompt_tokens, completion_tokens, duration_ms, cost_cents,
                executed_at FROM skill_executions WHERE {whose}"
    );
    let skills = format!("SELECT id::text, name, is_active, execution_count FROM skills WHERE {whose}");
    (
        sqlx::query_as(AssertSqlSafe(executions)).fetch_all(&app.superuser).await.unwrap(),
        sqlx::query_as(AssertSqlSafe(skills)).fetch_all(&app.superuser).await.unwrap(),
    )
}
