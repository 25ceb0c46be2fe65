//! Thousands of units of work of two people on one connection, dropped, aborted and panicked beside at random, held
//! against a ledger of what may be true.

use std::collections::{BTreeMap, BTreeSet};

use kijko_core::domain::skills::{BasedOn, Skill, SkillPatch};
use kijko_core::{App, Code};

use super::*;

/// The same numbers every time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }
}

/// A unit of work: a use case on one skill, or what it is refused for.
#[derive(Clone, Debug)]
enum Unit {
    Create { name: String },
    CreateInvalid,
    Get { id: SkillId },
    List,
    Update { id: SkillId, description: String },
    Delete { id: SkillId },
    Execute { id: SkillId },
    ListRuns,
}

/// What a unit of work showed.
#[derive(Debug, Default)]
struct Seen {
    skills: Vec<Skill>,
    accepted: Option<ExecutionId>,
}

async fn perform(app: App, ctx: TenantContext, unit: Unit) -> Result<Seen> {
    let one = |skill| Seen { skills: vec![skill], accepted: None };
    match unit {
        Unit::Create { name } => skills::create(&app, &ctx, new_skill(&name), None).await.map(one),
        Unit::CreateInvalid => {
            let invalid = NewSkill { prompt_template: "too short".into(), ..new_skill("Invalid") };
            skills::create(&app, &ctx, invalid, None).await.map(one)
        }
        Unit::Get { id } => skills::get(&app, &ctx, id).await.map(one),
        Unit::List => {
            let listed = skills::list(&app, &ctx, &SkillFilter::default(), first_page()).await?;
            Ok(Seen { skills: listed.rows, accepted: None })
        }
        Unit::Update { id, description } => {
            let patch = SkillPatch { description: Some(Some(description)), ..SkillPatch::default() };
            skills::update(&app, &ctx, id, patch, &BasedOn::any()).await.map(one)
        }
        Unit::Delete { id } => skills::delete(&app, &ctx, id, &BasedOn::any()).await.map(|()| Seen::default()),
        Unit::Execute { id } => {
            let accepted = executions::execute(&app, &ctx, id, ExecuteRequest::default(), None).await?;
            Ok(Seen { skills: Vec::new(), accepted: Some(accepted.reply.execution_id) })
        }
        Unit::ListRuns => {
            let listed = history::list(&app, &ctx, &ExecutionFilter::default(), &Wanted::Page(first_page())).await?;
            Ok(Seen { skills: listed.rows.into_iter().filter_map(|row| row.skill).collect(), accepted: None })
        }
    }
}

/// Ends with the result of the unit, or without one because it was dropped, aborted or died with a panic beside it.
async fn suffer(
    fate: usize,
    dice: &mut Dice,
    work: impl Future<Output = Result<Seen>> + Send + 'static,
) -> Option<Result<Seen>> {
    let polls = dice.below(8);
    match fate {
        0 => poll_times(work, polls, Moment::Asked).await,
        1 => poll_times(work, polls, Moment::Answered).await,
        2 => {
            let (task, patience) = (tokio::spawn(work), Duration::from_micros(dice.below(2500) as u64));
            let started = Instant::now();
            while started.elapsed() < patience {
                tokio::task::yield_now().await;
            }
            task.abort();
            task.await.map_err(|error| assert!(error.is_cancelled(), "a unit of work panicked: {error}")).ok()
        }
        3 => {
            let task = tokio::spawn(async move {
                let mut polls_left = polls;
                let panicking = poll_fn(move |_| {
                    if polls_left == 0 {
                        // Not `panic!`, so that thousands of planned ones do not fill the log.
                        std::panic::resume_unwind(Box::new("planned"));
                    }
                    polls_left -= 1;
                    Poll::<std::convert::Infallible>::Pending
                });
                tokio::select! { biased; result = work => result, never = panicking => match never {} }
            });
            task.await.map_err(|error| assert!(error.is_panic(), "nobody aborted it: {error}")).ok()
        }
        _ => Some(work.await),
    }
}

/// What may be true of a skill after what was, and was not, acknowledged.
#[derive(Debug)]
struct Possible {
    owner: usize,
    /// Known when its creation was acknowledged.
    id: Option<SkillId>,
    /// No description: no skill.
    descriptions: BTreeSet<Option<String>>,
}

#[derive(Default)]
struct Ledger {
    skills: BTreeMap<String, Possible>,
    accepted: Vec<ExecutionId>,
    unacknowledged: usize,
    refused: usize,
}

impl Ledger {
    fn by_id(&mut self, wanted: SkillId) -> &mut Possible {
        self.skills.values_mut().find(|skill| skill.id == Some(wanted)).expect("units name known skills")
    }

    /// Writes down how a unit ended, and fails if it showed or refused something that cannot be.
    fn note(&mut self, owner: usize, unit: &Unit, ended: Option<Result<Seen>>) {
        let Some(result) = ended else {
            self.unacknowledged += 1;
            match unit {
                Unit::Create { name } => {
                    let gone = || Possible { owner, id: None, descriptions: [None].into() };
                    let skill = self.skills.entry(name.clone()).or_insert_with(gone);
                    // Only where there may be none, there may be a new one.
                    if skill.descriptions.contains(&None) {
                        skill.id = None;
                        skill.descriptions.insert(Some(name.clone()));
                    }
                }
                Unit::Update { id, description } => {
                    let skill = self.by_id(*id);
                    if skill.owner == owner && skill.descriptions.iter().any(Option::is_some) {
                        skill.descriptions.insert(Some(description.clone()));
                    }
                }
                Unit::Delete { id } => {
                    let skill = self.by_id(*id);
                    if skill.owner == owner {
                        skill.descriptions.insert(None);
                    }
                }
                _ => {}
            }
            return;
        };
        match result {
            Ok(seen) => {
                if let (Unit::Create { name }, [skill]) = (unit, &seen.skills[..]) {
                    let created = Possible { owner, id: Some(skill.id), descriptions: BTreeSet::new() };
                    let before = self.skills.insert(name.clone(), created);
                    let free = before.is_none_or(|before| before.descriptions.contains(&None));
                    assert!(free, "a name was given twice: {name}");
                }
                for skill in &seen.skills {
                    let possible = self.skills.get(&skill.name);
                    assert_eq!(possible.map(|p| p.owner), Some(owner), "{unit:?} shows a foreign row: {skill:?}");
                }
                if let Unit::Delete { id } = unit {
                    let gone = std::mem::replace(&mut self.by_id(*id).descriptions, [None].into());
                    assert!(gone.iter().any(Option::is_some), "a skill was deleted twice");
                }
                self.accepted.extend(seen.accepted);
                for skill in seen.skills {
                    self.learn(unit, &skill.name, skill.description);
                }
            }
            Err(error) => {
                self.refused += 1;
                match (unit, error.code()) {
                    (Unit::CreateInvalid, Code::ValidationError) => {}
                    (Unit::Create { name }, Code::SkillNameExists) => {
                        let descriptions =
                            &mut self.skills.get_mut(name).expect("only known names are taken").descriptions;
                        descriptions.remove(&None);
                        assert!(!descriptions.is_empty(), "the name of a skill that is gone is taken: {name}");
                    }
                    (
                        Unit::Get { id } | Unit::Update { id, .. } | Unit::Delete { id } | Unit::Execute { id },
                        Code::SkillNotFound,
                    ) => {
                        let skill = self.by_id(*id);
                        if skill.owner == owner {
                            let lost = !skill.descriptions.contains(&None);
                            assert!(!lost, "an acknowledged skill is lost: {unit:?} does not find {skill:?}");
                            skill.descriptions = [None].into();
                        }
                    }
                    _ => panic!("{unit:?} is refused for no reason: {error:?}"),
                }
            }
        }
    }

    /// From now on only what was seen is true; it must have been possible.
    fn learn(&mut self, unit: &Unit, name: &str, description: Option<String>) {
        let skill = self.skills.get_mut(name).expect("known by now");
        let writes = matches!(unit, Unit::Create { .. } | Unit::Update { .. });
        let possible = writes || skill.descriptions.contains(&description);
        assert!(possible, "an acknowledged change is lost: {unit:?} shows {description:?}, possible was {skill:?}");
        skill.descriptions = [description].into();
    }
}

/// A unit that makes sense now: mostly on the person's own skills, sometimes on those of the other.
fn choose(dice: &mut Dice, ledger: &Ledger, number: usize, owner: usize) -> Unit {
    let own = dice.below(10) > 0;
    let known: Vec<(&String, SkillId)> = ledger
        .skills
        .iter()
        .filter(|(_, skill)| (skill.owner == owner) == own)
        .filter_map(|(name, skill)| Some((name, skill.id?)))
        .collect();
    let create = Unit::Create { name: format!("Skill {owner} {number}") };
    if known.is_empty() {
        return create;
    }
    let (name, id) = known[dice.below(known.len())];
    match dice.below(16) {
        0..2 => create,
        2..4 if own => Unit::Create { name: name.clone() },
        4 => Unit::CreateInvalid,
        5..8 => Unit::Get { id },
        8..10 => Unit::List,
        10..12 => Unit::Update { id, description: format!("Changed {number}") },
        12..14 => Unit::Delete { id },
        14 => Unit::ListRuns,
        _ => Unit::Execute { id },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_units_on_one_connection_lose_nothing_and_show_nothing_foreign() {
    const UNITS: usize = 10_000;
    let started = Instant::now();
    let mut app = Installation::with(&ONE_CONNECTION).await;
    app.leave_jobs();
    let tenants = [tenant(&app).await, tenant(&app).await];
    let (mut ledger, mut dice) = (Ledger::default(), Dice(0x6b69_6a6b_6f00_0001));
    for number in 0..UNITS {
        let owner = number % 2;
        let unit = choose(&mut dice, &ledger, number, owner);
        let work = perform(app.app.clone(), tenants[owner].ctx.clone(), unit.clone());
        let fate = dice.below(9);
        let ended = suffer(fate, &mut dice, work).await;
        if ended.is_none() && dice.below(10) == 0 {
            settle(&app).await;
        }
        ledger.note(owner, &unit, ended);
    }
    settle(&app).await;
    perform(app.app.clone(), tenants[0].ctx.clone(), Unit::List).await.expect("the connection is free");
    eprintln!(
        "{UNITS} units: {} unacknowledged, {} refused, {} skills named, {} runs accepted, {:?}",
        ledger.unacknowledged,
        ledger.refused,
        ledger.skills.len(),
        ledger.accepted.len(),
        started.elapsed()
    );
    assert!(ledger.unacknowledged > UNITS / 10, "hardly anything was dropped: adjust the fates");
    assert!(ledger.refused > UNITS / 20, "hardly anything was refused: adjust the choice of units");
    check_against(&app, &tenants, ledger).await;
}

async fn check_against(app: &Installation, tenants: &[Tenant; 2], mut ledger: Ledger) {
    let rows: Vec<(uuid::Uuid, uuid::Uuid, String, Option<String>, String)> =
        sqlx::query_as("SELECT organization_id, user_id, name, description, prompt_template FROM skills")
            .fetch_all(&app.superuser)
            .await
            .expect("the superuser sees all");
    for (organization, user, name, description, prompt) in rows {
        let skill = ledger.skills.remove(&name).expect("every skill was asked for, and its name is there once");
        let ctx = &tenants[skill.owner].ctx;
        assert_eq!((organization, user), (ctx.organization_id().0, ctx.user_id().0), "{name} was written for another");
        assert_eq!(prompt, template(&name), "half a skill was written");
        assert!(skill.descriptions.contains(&description), "a change is lost: {description:?} instead of {skill:?}");
    }
    for (name, skill) in &ledger.skills {
        assert!(skill.descriptions.contains(&None), "an acknowledged skill is lost: {name}, {skill:?}");
    }
    for run in &ledger.accepted {
        assert_eq!(app.count(&format!("skill_executions WHERE id = '{run}'")).await, 1, "an accepted run is lost");
    }
    check_runs(app).await;
}
