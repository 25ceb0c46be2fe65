//! Who may do what to whose rows: every table and every function of the state machine, tried by everybody, on the rows
//! of everybody. The outcomes are in `policy_matrix.txt`, one line per attempt; a changed line is a changed right.

use std::path::PathBuf;

use super::attempts::{CALLS, Line, matrix};
use super::fixtures::{TABLES, seed};
use super::{OURS, superuser, texts};
use crate::harness::cluster;

const LEGEND: &str = "\
# Who may do what to whose rows: table or function, command, actor, outcome. Made by tests/it/schema/matrix.rs.
#   own, colleague, elsewhere, stranger   whose rows: Ada's in A; Bob's in A; Ada's in B; Eve's in B. Ada works in A.
#                     one outcome without a name: the same for the rows of everybody
#   may               the commands and columns that were granted
#   give away         to make one's rows somebody else's
#   2/4               reached two of the four rows
#   42501 no grant    refused, because nobody granted it
#   42501 policy      refused by a policy
#   error 42704, 22P02   no context, never or no more: an error, and never all rows
#   all granted       the same role after GRANT ALL, so that the policies alone stand in the way
#   yes, no           what a function answered, and whose rows it changed
";

fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.collect::<Vec<_>>().join("', '")
}

pub async fn seeded_database() -> String {
    let database = cluster::fresh_database().await;
    let mut conn = superuser(&database).await;
    seed(&mut conn).await;
    let unknown = texts(
        &mut conn,
        format!(
            "SELECT p.oid::regproc::text FROM pg_proc p WHERE prosecdef AND pronamespace = 'app'::regnamespace
                AND p.oid::regproc::text <> ALL (ARRAY['{}'])
              UNION
             SELECT c.oid::regclass::text FROM pg_class c
              WHERE ({OURS} OR c.relnamespace = 'graphile_worker'::regnamespace AND c.relkind IN ('r', 'p'))
                AND c.oid::regclass::text <> ALL (ARRAY['{}'])",
            names(CALLS.iter().map(|(name, ..)| name.split(',').next().unwrap_or(name))),
            names(TABLES.iter().map(|table| table.name))
        ),
    )
    .await;
    assert!(
        unknown.is_empty(),
        "nobody tries {unknown:?}: describe a valid row of the table in TABLES of tests/it/schema/fixtures.rs, or a call \
         of the function in CALLS of attempts.rs; then run this test with UPDATE_SNAPSHOTS=1 and review every new line \
         of policy_matrix.txt"
    );
    database
}

fn rendered(lines: &[Line]) -> String {
    let mut text = LEGEND.to_owned();
    let mut subject = "";
    for line in lines {
        if line.subject != subject {
            text += "\n";
            subject = line.subject;
        }
        text += &format!("{line}\n");
    }
    text
}

/// Calls that are meant to reach colleagues: running a team.
const OF_COLLEAGUES: [&str; 2] = ["app.change_member", "app.transfer_ownership"];

/// Calls about the caller's organisation as a whole: they name no row, so whose turn it is changes nothing.
const OF_ORGANIZATION: [&str; 6] = [
    "app.count_usage",
    "app.store_provider_key",
    "app.delete_provider_key",
    "app.reserve_cost",
    "app.settle_cost",
    "app.set_budget",
];

/// Whether it lets somebody do what no design of ours could mean, whatever the expectation says.
fn leaks(line: &Line) -> bool {
    let calls = line.subject.starts_with("app.");
    let runs_team = OF_COLLEAGUES.iter().any(|name| line.subject.starts_with(name));
    // It names nobody: whoever calls it loses their own.
    let is_ones_own = line.subject == "app.delete_executions";
    let foreign = if is_ones_own {
        &["colleague's ", "elsewhere's ", "stranger's "][..]
    } else if runs_team {
        &["elsewhere's ", "stranger's "][..]
    } else {
        &["'s "]
    };
    let refused = |outcome: &str| {
        outcome == "no"
            || ["42501", "error", "0/", "0 row", "1 row of own"].iter().any(|start| outcome.starts_with(start))
    };
    let reached = |whose: &str| line.cells.iter().any(|(name, outcome)| *name == whose && !refused(outcome));
    let any = line.cells.iter().any(|(_, outcome)| !refused(outcome));
    match line.actor {
        _ if line.command == "may" => line.actor == "login",
        // What they add is nobody's, so that it only matters who calls.
        caller if line.subject == "app.enqueue_mail" => any && !["tenant", "owner"].contains(&caller),
        caller if line.subject == "app.enqueue_mail_job" => any && caller != "system" && !caller.starts_with("owner"),
        caller if OF_ORGANIZATION.contains(&line.subject) => {
            let elsewhere = |outcome: &str| ["elsewhere's ", "stranger's "].iter().any(|whose| outcome.contains(whose));
            any && !["tenant", "owner"].contains(&caller) || line.cells.iter().any(|(_, outcome)| elsewhere(outcome))
        }
        // A call for one that changed a row of another.
        _ if line.cells.iter().any(|(_, outcome)| foreign.iter().any(|whose| outcome.contains(whose))) => true,
        caller if is_ones_own => any && !["tenant", "owner"].contains(&caller),
        "tenant" | "tenant, all granted" | "owner" => {
            reached("elsewhere") || reached("stranger") || (calls && !runs_team && reached("colleague"))
        }
        // Spans the organisations, and is held by what it was granted; never by way of the tenants' functions.
        "system" | "system, all granted" => calls && any,
        _ => any,
    }
}

#[tokio::test]
async fn every_cell_of_the_policy_matrix_is_as_expected() {
    let lines = matrix(&seeded_database().await, "", |_| true, |_| false).await;
    let leaks: Vec<String> = lines.iter().filter(|line| leaks(line)).map(ToString::to_string).collect();
    assert!(leaks.is_empty(), "no expectation may allow this:\n{}", leaks.join("\n"));
    let current = rendered(&lines);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("it/schema/policy_matrix.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &current).expect("the folder is writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let only = |sign: &str, a: &str, b: &str| -> Vec<String> {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(|line| format!("{sign} {line}")).collect()
    };
    let changed = [only("-", &expected, &current), only("+", &current, &expected)].concat();
    assert!(
        current == expected,
        "somebody may do something else than before. If that is meant, run `UPDATE_SNAPSHOTS=1 cargo test -p kijko-tests \
         --test it policy_matrix` and review policy_matrix.txt:\n{}",
        changed.join("\n")
    );
    let cells: usize = lines.iter().map(|line| line.cells.len()).sum();
    assert!(cells > 1000, "only {cells} cells were tried: the matrix is not complete");
}
