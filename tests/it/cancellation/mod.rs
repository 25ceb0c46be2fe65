//! Work that is dropped half-way (a client hangs up, a time-out, an abort, a panic) leaves no open transaction, shows
//! nobody's rows to anybody else, loses no write that was acknowledged, and keeps the others whole or not at all.
//!
//! With sqlx 0.9.0 a `BEGIN` that is dropped in flight returns to the pool with its transaction, and the tenant in it,
//! still open; `driver` shows that. So everything here shares one connection: what one leaves, the next finds.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use kijko_core::domain::accounts::Credentials;
use kijko_core::domain::executions::{ExecuteRequest, ExecutionFilter};
use kijko_core::domain::history::Wanted;
use kijko_core::domain::ids::{ExecutionId, SkillId};
use kijko_core::domain::page::Page;
use kijko_core::domain::sessions::TokenResponse;
use kijko_core::domain::skills::{NewSkill, SkillFilter};
use kijko_core::services::sessions::Origin;
use kijko_core::services::{executions, history, identity, sessions, skills};
use kijko_core::{Result, TenantContext};
use secrecy::SecretString;
use serde_json::json;

use crate::harness::{Installation, PASSWORD, Person};

mod clients;
mod driver;
mod units;
mod use_cases;

const ONE_CONNECTION: [(&str, &str); 2] = [("DB_MAX_CONNECTIONS", "1"), ("MAX_ACTIVE_EXECUTIONS", "1000000")];

/// Somebody at the door of the services, the only one in their organisation.
struct Tenant {
    ctx: TenantContext,
    person: Person,
}

async fn tenant(app: &Installation) -> Tenant {
    let person = app.owner().await;
    let identity = identity::authenticate(&app.app, Some(person.access_token())).await.expect("they just signed up");
    Tenant { ctx: identity.context(origin()).expect("they have an organisation"), person }
}

/// Whether a skill is whole can be seen: every text in it says its name.
fn new_skill(name: &str) -> NewSkill {
    let body = json!({ "name": name, "description": name, "promptTemplate": template(name) });
    serde_json::from_value(body).expect("a valid skill")
}

fn template(name: &str) -> String {
    format!("Summarise for {name}: {{{{text}}}}")
}

fn first_page() -> Page {
    Page::numbered(None, Some(25)).expect("a valid page")
}

/// Waits until the application holds no transaction open, and fails if that does not happen. Look before anybody
/// uses the connection again: the next unit of work ends what was left open, and nobody would ever know.
async fn settle(app: &Installation) {
    let started = Instant::now();
    // Twice, because what was asked for in the last moment may be on its way to the database.
    let mut clean_looks = 0;
    while clean_looks < 2 {
        let open: Vec<String> = sqlx::query_scalar(
            "SELECT concat_ws(': ', state, query) FROM pg_stat_activity
              WHERE datname = current_database() AND usename = 'kijko_app' AND xact_start IS NOT NULL",
        )
        .fetch_all(&app.superuser)
        .await
        .expect("the superuser sees every session");
        if open.is_empty() {
            clean_looks += 1;
            tokio::task::yield_now().await;
            continue;
        }
        clean_looks = 0;
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "a transaction stayed open after its work was dropped; `begin` and `commit` in adapters/postgres/tx.rs must \
             not be cancellable: {open:?}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// When a future is dropped.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It asked for something and the answer is under way.
    Asked,
    /// It was woken because the answer is there, and does not come to look at it.
    Answered,
}

/// Polls this many times, each time because it was woken, then drops. Gives the value if it came before that.
async fn poll_times<F: Future>(future: F, times: usize, moment: Moment) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut polls = 0;
    poll_fn(move |context| {
        if polls == times {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if polls == times && matches!(moment, Moment::Asked) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// So often must a use case get to its end in a row before we believe that no await is left.
const SUCCESSES: usize = 4;

/// Somebody whose work is dropped, and a neighbour in another organisation who works on the same connection.
struct Scene {
    app: Installation,
    ada: Tenant,
    neighbour: Tenant,
    neighbours_skill: SkillId,
    numbers: AtomicU32,
}

impl Scene {
    async fn on(mut app: Installation) -> Self {
        app.leave_jobs();
        let (ada, neighbour) = (tenant(&app).await, tenant(&app).await);
        let skill = skills::create(&app.app, &neighbour.ctx, new_skill("Neighbour"), None).await.expect("a new skill");
        executions::execute(&app.app, &neighbour.ctx, skill.id, ExecuteRequest::default(), None)
            .await
            .expect("a new run");
        Self { app, ada, neighbour, neighbours_skill: skill.id, numbers: AtomicU32::new(0) }
    }

    fn name(&self) -> String {
        format!("Ada {}", self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    async fn skill(&self) -> SkillId {
        skills::create(&self.app.app, &self.ada.ctx, new_skill(&self.name()), None).await.expect("a new skill").id
    }

    async fn run(&self) -> (SkillId, ExecutionId) {
        let skill = self.skill().await;
        let run = executions::execute(&self.app.app, &self.ada.ctx, skill, ExecuteRequest::default(), None).await;
        (skill, run.expect("a new run").reply.execution_id)
    }

    async fn sign_in(&self) -> TokenResponse {
        sessions::sign_in(&self.app.app, self.credentials(), &origin()).await.expect("the right password")
    }

    fn credentials(&self) -> Credentials {
        let email = self.ada.person.claims()["email"].as_str().expect("an address").to_owned();
        Credentials { email, password: PASSWORD.to_owned().into() }
    }

    /// How many of these rows are in the table; fails unless it is none or one, and one after the work was done.
    async fn none_or_one(&self, rows: &str, done: bool) -> i64 {
        let count = self.app.count(rows).await;
        assert!(count == 1 || (count == 0 && !done), "{count} of {rows} (done: {done}): write it whole, once, or not");
        count
    }

    async fn jobs_of(&self, execution: ExecutionId) -> i64 {
        self.app.count(&format!("graphile_worker._private_jobs WHERE key LIKE '%:execution:{execution}'")).await
    }

    async fn neighbour_sees_only_their_own(&self, after: &str) {
        let (app, ctx) = (&self.app.app, &self.neighbour.ctx);
        let seen = skills::list(app, ctx, &SkillFilter::default(), first_page()).await;
        let seen: Vec<SkillId> = seen.unwrap_or_else(|e| panic!("{after}: {e:?}")).rows.iter().map(|s| s.id).collect();
        assert_eq!(seen, [self.neighbours_skill], "{after}: the neighbour works in the transaction of somebody else");
        let runs = history::list(app, ctx, &ExecutionFilter::default(), &Wanted::Page(first_page())).await;
        let runs = runs.unwrap_or_else(|e| panic!("{after}: {e:?}")).rows;
        assert!(
            runs.len() == 1 && runs[0].execution.skill_id == Some(self.neighbours_skill),
            "{after}: the neighbour works in the transaction of somebody else: {runs:?}"
        );
    }

    /// Drops the work at its first await, then at its second, and so on until it gets to its end. After each time the
    /// neighbour and the database must be as if nothing had happened, and `check` is told whether it was done.
    async fn drop_at_every_await<S, T>(
        &self,
        name: &str,
        prepare: impl AsyncFn() -> S,
        work: impl AsyncFn(&S) -> Result<T>,
        check: impl AsyncFn(&S, bool),
    ) {
        let mut awaits = 0;
        for moment in [Moment::Asked, Moment::Answered] {
            // An answer that is quick needs no await, so one success says little.
            let mut successes = 0;
            for polls in 0.. {
                let subject = prepare().await;
                let done = poll_times(work(&subject), polls, moment).await;
                let after = format!("{name}, dropped at poll {polls} when {moment:?}");
                settle(&self.app).await;
                self.neighbour_sees_only_their_own(&after).await;
                check(&subject, done.is_some()).await;
                if let Some(result) = done {
                    result.unwrap_or_else(|error| panic!("{after}, but it had ended: {error:?}"));
                    successes += 1;
                } else {
                    (successes, awaits) = (0, awaits.max(polls));
                }
                if successes == SUCCESSES {
                    break;
                }
                assert!(polls < 500, "{after}: it never ends; is it woken without progress?");
            }
        }
        // How many there are depends on how fast the answers come; none at all means that nothing was dropped.
        assert!(awaits > 0, "{name} was never dropped half-way: is it still the whole use case?");
        eprintln!("  {name}: {awaits} awaits");
    }
}

fn origin() -> Origin {
    Origin { request_id: "cancellation".into(), user_agent: None, address: [192, 0, 2, 1].into() }
}

/// One statement per question, so that each looks at one moment.
async fn check_runs(app: &Installation) {
    let jobs = "(SELECT count(*) FROM graphile_worker._private_jobs j
                  WHERE j.key = app.execution_job_key(e.organization_id, e.id))";
    let without = format!("skill_executions e WHERE {jobs} <> 1");
    assert_eq!(app.count(&without).await, 0, "a run and its job must be written together");
    let orphans = "graphile_worker._private_jobs j WHERE j.payload ->> 'kind' = 'run_execution' AND NOT EXISTS (
                       SELECT FROM skill_executions e WHERE j.key = app.execution_job_key(e.organization_id, e.id))";
    assert_eq!(app.count(orphans).await, 0, "a job without its run");
    let foreign = "skill_executions e JOIN skills s ON s.id = e.skill_id
                    WHERE (s.organization_id, s.user_id) <> (e.organization_id, e.user_id)";
    assert_eq!(app.count(foreign).await, 0, "a run of somebody else's skill");
    let forgotten = "skill_executions WHERE skill_id IS NULL AND status = 'pending'";
    assert_eq!(app.count(forgotten).await, 0, "a skill and its runs must end together");
}
