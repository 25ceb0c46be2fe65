//! The proof of the matrix: weaken the database in every way we can think of, one at a time, and some cell must notice.

use std::fmt::Write as _;

use regex::Regex;

use super::attempts::{Line, matrix};
use super::fixtures::TABLES;
use super::matrix::seeded_database;
use super::{attempt, superuser, texts};

/// One way to weaken the database.
struct Mutant {
    /// The table or function that it weakens.
    subject: String,
    name: String,
    /// The change, or why none could be noticed.
    change: Result<String, &'static str>,
}

fn mutant(subject: &str, name: impl Into<String>, change: impl Into<String>) -> Mutant {
    Mutant { subject: subject.to_owned(), name: name.into(), change: Ok(change.into()) }
}

#[tokio::test]
async fn policy_mutants_are_all_noticed_by_the_matrix() {
    let database = seeded_database().await;
    let sound = matrix(&database, "", |_| true, |_| false).await;
    let mut report = String::new();
    let (mut noticed, mut skipped, mut survivors) = (0, 0, Vec::new());
    for mutant in mutants(&database).await {
        let title = format!("{:<40} {:<75}", mutant.subject, mutant.name);
        let Ok(change) = mutant.change else {
            skipped += 1;
            writeln!(report, "{title} skipped: {}", mutant.change.unwrap_err()).unwrap();
            continue;
        };
        let wanted = |name: &str| reach(&mutant.subject, name);
        let differs = |line: &Line| !sound.contains(line);
        let weakened = matrix(&database, &change, wanted, differs).await;
        if let Some(line) = weakened.iter().find(|line| differs(line)) {
            noticed += 1;
            writeln!(report, "{title} noticed by {}: {}", line.actor, line.command).unwrap();
        } else {
            writeln!(report, "{title} SURVIVED").unwrap();
            survivors.push(title);
        }
    }
    writeln!(report, "{noticed} noticed, {} survived, {skipped} skipped", survivors.len()).unwrap();
    println!("{report}");
    assert!(noticed > 100, "only {noticed} mutants were tried: are the policies read rightly?");
    assert!(
        survivors.is_empty(),
        "nobody would notice these; add an attempt to matrix.rs or a row to fixtures.rs that does:\n{}",
        survivors.join("\n")
    );
}

/// Whether weakening `subject` can change attempts on `name`.
fn reach(subject: &str, name: &str) -> bool {
    let runs = ["skills", "skill_executions", "mail_outbox", "graphile_worker._private_jobs"];
    name == subject
        // It runs when a skill with a history is deleted.
        || (subject == "app.count_executions" && name == "skills")
        || (name.starts_with("app.") && (runs.contains(&subject) || name.split(',').next() == Some(subject)))
}

async fn mutants(database: &str) -> Vec<Mutant> {
    let mut conn = superuser(database).await;
    let mut found = Vec::new();
    let policies = "SELECT polrelid::regclass, polname, coalesce(pg_get_expr(polqual, polrelid), ''),
                           coalesce(pg_get_expr(polwithcheck, polrelid), '')
                      FROM pg_policy ORDER BY polrelid::regclass::text, polname";
    for policy in attempt(&mut conn, policies).await.expect("the catalogue can be read") {
        let [table, name, using, check] = &policy[..] else { panic!("four columns: {policy:?}") };
        weaken_policy(table, name, &[("USING", using), ("WITH CHECK", check)], &mut found);
    }
    for table in TABLES.iter().map(|table| table.name) {
        found.push(mutant(table, "row security disabled", format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")));
        if !table.starts_with("graphile_worker.") {
            found.push(mutant(table, "not forced", format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")));
        }
        for role in ["kijko_tenant", "kijko_system", "kijko_app"] {
            found.push(mutant(
                table,
                format!("everything granted to {role}"),
                format!("GRANT ALL ON {table} TO {role}"),
            ));
        }
    }
    let triggers = "SELECT tgrelid::regclass, tgname FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
                     WHERE NOT tgisinternal AND c.relnamespace = 'public'::regnamespace";
    for trigger in attempt(&mut conn, triggers).await.expect("the catalogue can be read") {
        let title = format!("trigger {} dropped", trigger[1]);
        found.push(match &*trigger[1] {
            "users_members" => {
                let change = Err("it keeps copies of names, and keeps nobody from anything");
                Mutant { subject: trigger[0].clone(), name: title, change }
            }
            "skill_executions_count_inserted" => {
                let change = Err("it counts what is loaded already ended, and keeps nobody from anything");
                Mutant { subject: trigger[0].clone(), name: title, change }
            }
            _ => mutant(&trigger[0], title, format!("DROP TRIGGER {} ON {}", trigger[1], trigger[0])),
        });
    }
    let functions = "SELECT p.oid::regproc, p.oid::regprocedure, pg_get_functiondef(p.oid) FROM pg_proc p
                      WHERE prosecdef AND pronamespace = 'app'::regnamespace ORDER BY 1";
    for function in attempt(&mut conn, functions).await.expect("the catalogue can be read") {
        let [name, signature, source] = &function[..] else { panic!("three columns: {function:?}") };
        weaken_function(name, signature, source, &mut found);
    }
    let kept = texts(&mut conn, "SELECT 1 FROM pg_policy WHERE polcmd = 'd'").await;
    assert!(!kept.is_empty(), "the catalogue was read before anything was changed");
    found
}

/// Drops it, opens each side of it, drops each condition of each side, and opens it to everybody.
fn weaken_policy(table: &str, name: &str, sides: &[(&str, &str)], found: &mut Vec<Mutant>) {
    let condition = Regex::new(r"\(\w+ = \( SELECT app\.\w+\(\) AS \w+\)\)").expect("valid");
    found.push(mutant(table, format!("{name} dropped"), format!("DROP POLICY {name} ON {table}")));
    let title = format!("{name} TO PUBLIC");
    found.push(match name {
        "organization_members_tenant_select"
        | "organization_members_owner_select"
        | "user_sessions_tenant_select"
        | "skill_transient_runs_tenant_select"
        | "budgets_tenant_select"
        | "budgets_owner_select"
        | "spending_tenant_select"
        | "spending_owner_select"
        | "usage_counters_tenant_select"
        | "usage_counters_owner_select" => {
            let change = Err("the other roles see these rows already, by policies of their own");
            Mutant { subject: table.to_owned(), name: title, change }
        }
        _ => mutant(table, title, format!("ALTER POLICY {name} ON {table} TO PUBLIC")),
    });
    for (side, expression) in sides.iter().filter(|(_, expression)| !expression.is_empty()) {
        let title = format!("{name} {side} (true)");
        if *expression == "true" {
            let change = Err("it is true already: this role spans organisations");
            found.push(Mutant { subject: table.to_owned(), name: title, change });
            continue;
        }
        found.push(mutant(table, title, format!("ALTER POLICY {name} ON {table} {side} (true)")));
        let conditions: Vec<_> = condition.find_iter(expression).collect();
        for one in conditions.iter().filter(|_| conditions.len() > 1) {
            let rest = [&expression[..one.start()], "true", &expression[one.end()..]].concat();
            let column = one.as_str().split_whitespace().next().unwrap_or_default().trim_start_matches('(');
            let change = format!("ALTER POLICY {name} ON {table} {side} ({rest})");
            found.push(mutant(table, format!("{name} {side} without {column}"), change));
        }
    }
}

/// Lends it to everybody, takes the owner's rights from it, and drops each of its own checks.
fn weaken_function(name: &str, signature: &str, source: &str, found: &mut Vec<Mutant>) {
    found.push(mutant(name, "EXECUTE to PUBLIC", format!("GRANT EXECUTE ON FUNCTION {signature} TO PUBLIC")));
    found.push(mutant(name, "SECURITY INVOKER", format!("ALTER FUNCTION {signature} SECURITY INVOKER")));
    for check in ["organization_id = app.current_org() AND ", "user_id = app.current_user_id() AND "] {
        if !source.contains(check) {
            continue;
        }
        let title = format!("without {}", check.trim_end_matches(" AND "));
        found.push(if check.starts_with("organization_id") {
            let change = Err("the owner's policies hold it to the organisation as well: two keepers");
            Mutant { subject: name.to_owned(), name: title, change }
        } else {
            mutant(name, title, source.replace(check, ""))
        });
    }
}
