//! How the cells of the policy matrix are filled: everybody tries everything, and what it did is looked at from above.
//!
//! The statements that change rows name no row, so that the policy of the command alone decides which they reach: with
//! a WHERE, the SELECT policy would help. "All granted" is a role that somebody granted every command on every column,
//! so that the policies alone stand in the way.

use std::collections::BTreeMap;
use std::fmt;

use sqlx::postgres::PgConnection;

use super::fixtures::{OWNERS, TABLES, Table, Whose, become_ada};
use super::{attempt, superuser, texts};

#[derive(Clone, Copy, PartialEq)]
enum Context {
    /// No transaction of this connection ever had one.
    Never,
    /// An earlier transaction of this connection had one.
    Ended,
    Ada,
}

#[derive(Clone, Copy, PartialEq)]
struct Actor {
    name: &'static str,
    role: &'static str,
    context: Context,
    all_granted: bool,
}

const fn actor(name: &'static str, role: &'static str, context: Context, all_granted: bool) -> Actor {
    Actor { name, role, context, all_granted }
}

const ACTORS: [Actor; 9] = [
    actor("tenant", "kijko_tenant", Context::Ada, false),
    actor("tenant, never a context", "kijko_tenant", Context::Never, false),
    actor("tenant, context ended", "kijko_tenant", Context::Ended, false),
    actor("tenant, all granted", "kijko_tenant", Context::Ada, true),
    actor("system", "kijko_system", Context::Ended, false),
    actor("system, all granted", "kijko_system", Context::Ended, true),
    actor("login", "kijko_app", Context::Ada, false),
    actor("owner", "kijko_owner", Context::Ada, false),
    actor("owner, context ended", "kijko_owner", Context::Ended, false),
];

/// The state machine and what triggers do, called on the execution of each owner that is in the right state.
/// (name, state, call)
pub const CALLS: &[(&str, &str, &str)] = &[
    ("app.claim_execution", "pending", "app.claim_execution({id}, 1, now(), now())"),
    ("app.renew_execution", "running", "app.renew_execution({id}, now() + interval '1 minute')"),
    (
        "app.end_execution, completed",
        "running",
        "app.end_execution({id}, '{running}', NULL, 'completed', now(), '', 1, 1, 1, 1, 'p', 'm', 'r', 'own',
                           1::smallint, NULL, NULL)",
    ),
    (
        "app.end_execution, cancelled",
        "pending",
        "app.end_execution({id}, '{pending}', NULL, 'cancelled', now(), NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                           NULL, NULL, 0::smallint, 'CANCELLED', '')",
    ),
    ("app.record_usage", "cancelled", "app.record_usage({id}, 1, 1, 1, 1, 'p', 'm', 'r', 'own', 1::smallint)"),
    ("app.count_executions", "", "app.count_executions() IS NULL"),
    ("app.delete_executions", "", "(app.delete_executions(now() + interval '1 day', 1)).deleted > 0"),
    ("app.enqueue_execution", "pending", "app.enqueue_execution({id}, NULL)"),
    ("app.enqueue_transient_run", "pending", "app.enqueue_transient_run({test}, NULL)"),
    // Only a change of a skill may call it.
    ("app.edit_skill", "", "app.edit_skill()"),
    (
        "app.edit_skill, by a change",
        "pending",
        "UPDATE skills SET model = 'changed' WHERE id = (SELECT skill_id FROM skill_executions WHERE id = {id})
             RETURNING true",
    ),
    ("app.star_skill, on", "", "coalesce(app.star_skill({skill}, true, now()) = 1, false)"),
    ("app.star_skill, off", "first", "coalesce(app.star_skill({skill}, false, now()) = 0, false)"),
    // The id is that of a new mail, which nobody owns.
    ("app.enqueue_mail", "pending", "app.enqueue_mail({id}, '', now())"),
    ("app.enqueue_mail_job", "pending", "app.enqueue_mail_job({id})"),
    // The same for everybody: whose it counts, the context decides.
    ("app.count_usage", "", "(app.count_usage('api_calls', '2026-01-01', 1, 1)).admitted"),
    // The organisation's as well.
    ("app.store_provider_key", "", "app.store_provider_key('google', 'sealed', '1234', NULL, NULL, now())"),
    ("app.delete_provider_key", "", "app.delete_provider_key('google')"),
    ("app.reserve_cost", "", "(app.reserve_cost(NULL, '2026-01-06', 0.01)).admitted"),
    ("app.settle_cost", "", "app.settle_cost(NULL, '2026-01-06', 0, 0.01)"),
    ("app.set_budget", "", "app.set_budget(NULL, 1, '2026-01-06', now())"),
    ("app.cover_execution", "pending", "app.cover_execution({id}, 0.01)"),
    // Ada is an owner, and so is Bob.
    ("app.change_member, demoted", "", "app.change_member('{user}', 'viewer', 'active')"),
    ("app.change_member, shut out", "", "app.change_member('{user}', 'owner', 'inactive')"),
    ("app.transfer_ownership", "", "app.transfer_ownership('{user}')"),
    // Nobody loses a session here, because everybody is an active member.
    ("app.end_member_sessions", "", "EXISTS (SELECT FROM app.end_member_sessions('{user}', now()))"),
];

/// What the calls may change, beside which nothing of ours is in their reach.
const CALLED_ON: &[&str] = &[
    "provider_keys",
    "budgets",
    "spending",
    "usage_counters",
    "skill_executions",
    "execution_statistics",
    "skills",
    "skill_versions",
    "skill_stars",
    "mail_outbox",
    "organization_members",
    "user_sessions",
    "graphile_worker._private_jobs",
];

/// One attempt, and what came of it for the rows of each owner.
#[derive(Clone, PartialEq)]
pub struct Line {
    pub subject: &'static str,
    pub command: &'static str,
    pub actor: &'static str,
    /// Whose rows, and the outcome.
    pub cells: Vec<(&'static str, String)>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<40} {:<19} {:<24} ", self.subject, self.command, self.actor)?;
        match &self.cells[..] {
            [(_, first), rest @ ..] if rest.iter().all(|(_, outcome)| outcome == first) => write!(f, "{first}"),
            cells => {
                let cells: Vec<String> = cells.iter().map(|(whose, outcome)| format!("{whose} {outcome}")).collect();
                write!(f, "{}", cells.join(", "))
            }
        }
    }
}

/// Each row by table and key, with its owner and its content.
type Content = BTreeMap<(String, String), (String, String)>;

/// A transaction in which everything is tried, and from which nothing is left.
struct Attempts {
    conn: PgConnection,
    before: Content,
}

/// What an attempt answered, and what it did to which rows.
struct Effect {
    answer: Vec<String>,
    /// Table and key of the rows that changed or went.
    changed: Vec<(String, String)>,
    /// Table and owner of the rows that came.
    added: Vec<(String, String)>,
}

/// Tries everything on the wanted tables and functions, after `mutation`, or until a line is enough. Leaves nothing
/// behind.
pub async fn matrix(
    database: &str,
    mutation: &str,
    wanted: impl Fn(&str) -> bool,
    enough: impl Fn(&Line) -> bool,
) -> Vec<Line> {
    let mut conn = superuser(database).await;
    texts(&mut conn, format!("BEGIN; {mutation}")).await;
    let looked_at = TABLES.iter().filter(|table| wanted(table.name) || CALLED_ON.contains(&table.name));
    let looks: Vec<String> = looked_at.map(Table::content).collect();
    let rows = attempt(&mut conn, looks.join("; ")).await.expect("the superuser reads every table");
    texts(&mut conn, "SAVEPOINT attempt").await;
    let mut attempts = Attempts { conn, before: content(rows) };
    let mut lines = Vec::new();
    for table in TABLES.iter().filter(|table| wanted(table.name)) {
        lines.extend(attempts.grants(table).await);
    }
    // Whoever never had a context comes first, before anybody brings one into this connection.
    for never in [true, false] {
        let actors = || ACTORS.iter().filter(|actor| (actor.context == Context::Never) == never);
        for table in TABLES.iter().filter(|table| wanted(table.name)) {
            // Tenants have nothing to look for in the job engine's tables, and its owner is held by no policy there.
            let engines = ["tenant", "tenant, all granted", "system", "login"];
            for actor in actors().filter(|actor| !table.is_engine() || engines.contains(&actor.name)) {
                if lines.iter().any(&enough) {
                    return lines;
                }
                attempts.on_table(table, actor, &mut lines).await;
            }
        }
        for (name, state, call) in CALLS.iter().filter(|(name, ..)| wanted(name)) {
            for actor in actors().filter(|actor| !actor.all_granted) {
                lines.push(attempts.call(name, state, call, actor).await);
            }
        }
    }
    let subjects: Vec<&str> = TABLES.iter().map(|t| t.name).chain(CALLS.iter().map(|(name, ..)| *name)).collect();
    let commands = ["may", "select", "insert", "insert by default", "update", "give away", "delete", "call"];
    let actors = ACTORS.map(|actor| actor.name);
    let position = |list: &[&str], name: &str| list.iter().position(|entry| *entry == name);
    lines.sort_by_key(|line| {
        (position(&subjects, line.subject), position(&commands, line.command), position(&actors, line.actor))
    });
    lines
}

fn content(rows: Vec<Vec<String>>) -> Content {
    let entry = |row: Vec<String>| <[String; 4]>::try_from(row).expect("table, key, owner and content");
    rows.into_iter().map(entry).map(|[table, key, whose, text]| ((table, key), (whose, text))).collect()
}

impl Attempts {
    /// Runs the statement as the actor, and looks at the tables afterwards; all in one round trip.
    async fn run(&mut self, actor: &Actor, statement: &str, looked_at: &[&Table]) -> Result<Effect, String> {
        let mut sql = String::from("ROLLBACK TO SAVEPOINT attempt;");
        for table in looked_at.iter().filter(|_| actor.all_granted) {
            sql += &format!("GRANT ALL ON {} TO {};", table.name, actor.role);
            if table.is_engine() {
                sql += &format!("GRANT USAGE ON SCHEMA graphile_worker TO {};", actor.role);
            }
        }
        sql += &match actor.context {
            Context::Ada => become_ada(actor.role),
            Context::Ended | Context::Never => format!("SET LOCAL ROLE {};", actor.role),
        };
        let looks: Vec<String> = looked_at.iter().map(|table| table.content()).collect();
        sql += &format!("{statement}; RESET ROLE; {}", looks.join("; "));
        let rows = attempt(&mut self.conn, sql).await.map_err(|error| refusal(&error))?;
        // What the statement answers has one column; what is looked at has four.
        let (answer, after): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.len() == 1);
        let after = content(after);
        let looked_at = |name: &str| looked_at.iter().any(|table| table.name == name);
        let before = self.before.iter().filter(|((table, _), _)| looked_at(table));
        let changed = before.filter(|(key, row)| after.get(*key).is_none_or(|now| now.1 != row.1));
        let changed = changed.map(|(key, _)| key.clone()).collect();
        let added = after.iter().filter(|(key, _)| !self.before.contains_key(*key));
        let added = added.map(|((table, _), (whose, _))| (table.clone(), whose.clone())).collect();
        Ok(Effect { answer: answer.into_iter().flatten().collect(), changed, added })
    }

    async fn on_table(&mut self, table: &Table, actor: &Actor, lines: &mut Vec<Line>) {
        let mut add = |command, cells: Vec<_>| {
            if !cells.is_empty() {
                lines.push(Line { subject: table.name, command, actor: actor.name, cells });
            }
        };
        let select = format!("SELECT {}::text FROM {}", table.key, table.path());
        let seen = self.run(actor, &select, &[table]).await.map(|effect| effect.answer);
        add("select", self.out_of_all(table, seen));
        for (command, statement) in [
            ("update", format!("UPDATE {} SET {}", table.path(), table.change)),
            ("delete", format!("DELETE FROM {}", table.path())),
        ] {
            let touched = self.run(actor, &statement, &[table]).await;
            let keys = touched.map(|effect| effect.changed.into_iter().map(|(_, key)| key).collect());
            add(command, self.out_of_all(table, keys));
        }
        let (mut inserted, mut by_default, mut given_away) = (Vec::new(), Vec::new(), Vec::new());
        let left_out = self.defaults(table, actor).await;
        for owner in table.owners() {
            let whose = if table.is_owned() || table.whose == Whose::Shared { owner.name } else { "new" };
            inserted.push((whose, self.insert(table, actor, &table.insert(owner, "new", &[]), whose).await));
            if !left_out.is_empty() {
                by_default
                    .push((whose, self.insert(table, actor, &table.insert(owner, "new", &left_out), whose).await));
            }
            let is_somebodys = matches!(table.whose, Whose::Columns | Whose::Inviter | Whose::Shared) && whose != "own";
            if is_somebodys || table.whose == Whose::Organization {
                let effect = self.run(actor, &table.give_away(owner), &[table]).await;
                given_away
                    .push((whose, effect.map_or_else(|refusal| refusal, |e| format!("{} rows", e.changed.len()))));
            }
        }
        add("insert", inserted);
        add("insert by default", by_default);
        add("give away", given_away);
    }

    /// Whose the row became that was inserted for `whose`.
    async fn insert(&mut self, table: &Table, actor: &Actor, statement: &str, whose: &str) -> String {
        let effect = self.run(actor, statement, &[table]).await;
        let added = effect.map(|effect| effect.added.into_iter().map(|(_, whose)| whose).collect::<Vec<_>>());
        match added.as_deref() {
            Ok([one]) if one == whose || whose == "new" => "1 row".to_owned(),
            Ok(rows) => format!("{} row of {}", rows.len(), rows.join(" ")),
            Err(refusal) => refusal.clone(),
        }
    }

    async fn call(&mut self, subject: &'static str, state: &str, call: &str, actor: &Actor) -> Line {
        let looked_at: Vec<&Table> = TABLES.iter().filter(|table| CALLED_ON.contains(&table.name)).collect();
        let mut cells = Vec::new();
        for owner in &OWNERS {
            let id = format!("md5('skill_executions {} {state}')::uuid", owner.name);
            let test = format!("md5('skill_transient_runs {} {state}')::uuid", owner.name);
            // One with a star, and one without.
            let skill =
                format!("md5('skills {} {}')::uuid", owner.name, if state.is_empty() { "second" } else { "first" });
            let call = call
                .replace("{skill}", &skill)
                .replace("{id}", &id)
                .replace("{test}", &test)
                .replace("{user}", owner.user);
            let statement = if call.starts_with("UPDATE") { call } else { format!("SELECT {call}") };
            let outcome = match self.run(actor, &statement, &looked_at).await {
                Err(refusal) => refusal,
                Ok(effect) => {
                    let answer = match effect.answer.first().map(String::as_str) {
                        Some("t") => "yes",
                        Some("f") | None => "no",
                        _ => "done",
                    };
                    let changed = effect.changed.iter().map(|key| (&key.0, &self.before[key].0, ""));
                    let added = effect.added.iter().map(|(table, whose)| (table, whose, "new in "));
                    let rows = changed.chain(added).map(|(table, whose, new)| match whose == owner.name {
                        true => format!(" + {new}{table}"),
                        false => format!(" + {whose}'s {new}{table}"),
                    });
                    answer.to_owned() + &rows.collect::<String>()
                }
            };
            cells.push((owner.name, outcome));
        }
        Line { subject, command: "call", actor: actor.name, cells }
    }

    /// How many of the rows of each owner are among these.
    fn out_of_all(&self, table: &Table, keys: Result<Vec<String>, String>) -> Vec<(&'static str, String)> {
        let names = ["own", "colleague", "elsewhere", "stranger", "all"];
        let cells = names.iter().filter_map(|whose| {
            let rows = self.before.iter().filter(|((name, _), row)| *name == table.name && row.0 == *whose);
            let theirs: Vec<&String> = rows.map(|((_, key), _)| key).collect();
            let cell = match &keys {
                Ok(keys) => format!("{}/{}", theirs.iter().filter(|key| keys.contains(key)).count(), theirs.len()),
                Err(refusal) => refusal.clone(),
            };
            (!theirs.is_empty()).then_some((*whose, cell))
        });
        let cells: Vec<_> = cells.collect();
        assert!(!cells.is_empty(), "{} has no rows: give it some in tests/it/schema/fixtures.rs", table.name);
        assert!(!table.is_owned() || cells.len() == 4, "{} needs rows of every owner", table.name);
        cells
    }

    /// The columns that say whose a row is, which this role may not name and which have a default.
    async fn defaults(&mut self, table: &Table, actor: &Actor) -> Vec<String> {
        if actor.role != "kijko_tenant" || actor.all_granted {
            return Vec::new();
        }
        let sql = format!(
            "ROLLBACK TO SAVEPOINT attempt;
             SELECT attname FROM pg_attribute WHERE attrelid = '{}'::regclass AND atthasdef
                AND attname IN ('organization_id', 'user_id', 'invited_by')
                AND NOT has_column_privilege('{}', attrelid, attnum, 'INSERT')",
            table.name, actor.role
        );
        texts(&mut self.conn, sql).await
    }

    /// The columns that each role was granted, where it was granted any.
    async fn grants(&mut self, table: &Table) -> Vec<Line> {
        let mut lines = Vec::new();
        for actor in ACTORS.iter().filter(|actor| ["tenant", "system", "login"].contains(&actor.name)) {
            let sql = format!(
                "ROLLBACK TO SAVEPOINT attempt;
                 SELECT priv || ' ' || CASE WHEN bool_and(may) THEN 'every column'
                                       ELSE 'of ' || string_agg(attname, ' ' ORDER BY attnum) FILTER (WHERE may) END
                   FROM pg_attribute, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) WITH ORDINALITY p(priv, i),
                        has_column_privilege('{role}', attrelid, attnum, priv) may
                  WHERE attrelid = '{name}'::regclass AND attnum > 0 AND NOT attisdropped
                  GROUP BY priv, i HAVING bool_or(may)
                  UNION ALL
                 SELECT priv FROM unnest(ARRAY['DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) priv
                  WHERE has_table_privilege('{role}', '{name}', priv)",
                role = actor.role,
                name = table.name
            );
            let may = texts(&mut self.conn, sql).await.join("; ");
            if !may.is_empty() {
                lines.push(Line { subject: table.name, command: "may", actor: actor.name, cells: vec![("", may)] });
            }
        }
        lines
    }
}

/// What stood in the way. The code is the same for all three keepers, so the message has to tell.
fn refusal(error: &sqlx::Error) -> String {
    let error = error.as_database_error().unwrap_or_else(|| panic!("the connection must hold: {error}"));
    let code = error.code().unwrap_or_default();
    match (&*code, error.message()) {
        ("42501", message) if message.contains("row-level security") => "42501 policy".to_owned(),
        ("42501", message) if message.contains("append-only") => "42501 append-only".to_owned(),
        ("42501", message) if message.contains("permission denied") => "42501 no grant".to_owned(),
        _ => format!("error {code}"),
    }
}
