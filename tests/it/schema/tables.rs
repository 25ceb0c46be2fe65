//! Every table: forced row security, an organisation, policies that fit the grants, and a decision about personal data.

use regex::Regex;

use super::{OURS, catalogue, exactly, nothing};

/// Tables that belong to no single organisation.
const WITHOUT_ORGANIZATION: [(&str, &str); 11] = [
    ("organizations", "is the organisation; its id is what others call organization_id"),
    ("users", "a person may belong to several organisations; organization_members says to which"),
    ("refresh_tokens", "is looked up by its hash before an organisation is known; its session has one"),
    ("realm_sessions", "is looked up before an organisation is known, and outlives one's place in it"),
    ("signing_keys", "belongs to the installation"),
    ("offered_models", "belong to the installation, like its catalogue"),
    ("mail_outbox", "a sign-up is mailed about before anybody is in an organisation; what tenants add names theirs"),
    ("auth_tickets", "are looked up by their hash before an organisation is known"),
    ("user_identities", "are looked up before an organisation is known, and belong to a person"),
    ("login_locks", "locks an address whether or not it has an account, so it belongs to nobody"),
    ("login_history", "an attempt at an address without an account belongs to no organisation; the others have one"),
];

enum Erasure {
    /// The rows go when their owner asks.
    Erase,
    /// The rows stay, and no longer say whose they were.
    Anonymise,
    /// The rows stay as they are.
    Retain,
}

/// What the archive of a person and the erasure of a person do with each table. (exported, on erasure, why)
const PERSONAL_DATA: &[(&str, bool, Erasure, &str)] = &[
    ("organizations", false, Erasure::Retain, "names no person; goes with its last member, as the contract says"),
    ("users", true, Erasure::Erase, "the profile, exported without the password hash"),
    ("organization_members", true, Erasure::Erase, "one's own memberships"),
    (
        "team_invitations",
        false,
        Erasure::Erase,
        "what was sent to one's address; what one sent stays, as an audit entry without the name of the actor",
    ),
    ("user_sessions", true, Erasure::Erase, "one's own sign-ins, with the browser's name"),
    ("refresh_tokens", false, Erasure::Erase, "secrets; they go with their session"),
    ("realm_sessions", false, Erasure::Erase, "secrets of a sign-in; they go with its session"),
    ("signing_keys", false, Erasure::Retain, "no personal data: keys of the installation"),
    ("offered_models", false, Erasure::Retain, "no personal data: what the installation's programs serve"),
    ("mail_outbox", false, Erasure::Retain, "sealed, and gone within hours: sent or given up"),
    (
        "auth_tickets",
        true,
        Erasure::Erase,
        "which links one was sent and when, without their secrets; gone within days",
    ),
    ("user_identities", true, Erasure::Erase, "with which accounts elsewhere one signs in"),
    ("audit_logs", true, Erasure::Anonymise, "evidence for others: entries stay, the name of the actor goes"),
    ("api_keys", true, Erasure::Erase, "one's own keys, exported without their hashes"),
    (
        "idempotency_keys",
        true,
        Erasure::Erase,
        "one's own requests of the last day, exported without the sealed replies",
    ),
    ("login_locks", false, Erasure::Retain, "a keyed hash of an address, forgotten within a day"),
    ("login_history", true, Erasure::Erase, "where one signed in from, with the browser's name"),
    ("skills", true, Erasure::Erase, "one's own writing"),
    ("skill_stars", true, Erasure::Erase, "which skills one marked"),
    ("skill_versions", true, Erasure::Erase, "what one's own writing was before; it goes with the skill"),
    ("skill_executions", true, Erasure::Erase, "one's own input and output"),
    ("skill_transient_runs", true, Erasure::Erase, "one's own tests of the last hour"),
    ("execution_statistics", true, Erasure::Erase, "what one's own executions add up to; follows them by itself"),
    (
        "provider_keys",
        false,
        Erasure::Retain,
        "the organisation's secrets; the name of who stored one goes with their membership",
    ),
    ("budgets", false, Erasure::Retain, "limits of an organisation and its skills; those of a skill go with it"),
    ("spending", false, Erasure::Retain, "sums of an organisation and its skills; those of a skill go with it"),
    ("usage_counters", false, Erasure::Retain, "sums of an organisation, which name no person"),
];

#[tokio::test]
async fn row_security_is_enabled_and_forced_on_every_table() {
    nothing(
        format!("SELECT relname FROM pg_class c WHERE {OURS} AND NOT (relrowsecurity AND relforcerowsecurity)"),
        "ALTER TABLE … ENABLE ROW LEVEL SECURITY and … FORCE ROW LEVEL SECURITY in the migration that makes the table",
    )
    .await;
    nothing(
        "SELECT relname FROM pg_class WHERE relnamespace = 'graphile_worker'::regnamespace AND relkind IN ('r', 'p')
            AND NOT (relrowsecurity AND NOT relforcerowsecurity)",
        "the job engine's tables are enabled and not forced (app.enqueue_execution works as their owner): \
         extend the list in migrations/0006_jobs.sql",
    )
    .await;
}

/// A view reads as its owner, and a materialised one knows no policies at all.
#[tokio::test]
async fn nothing_but_tables_can_be_read() {
    nothing(
        "SELECT c.oid::regclass::text FROM pg_class c
          WHERE relnamespace IN ('public'::regnamespace, 'app'::regnamespace, 'graphile_worker'::regnamespace)
            AND relkind IN ('v', 'm', 'f')
            AND (relkind <> 'v' OR NOT coalesce('security_invoker=true' = ANY (reloptions), false))
            AND EXISTS (SELECT FROM aclexplode(relacl) a WHERE a.grantee <> relowner)",
        "a view that others may read needs WITH (security_invoker = true); materialised views know no policies",
    )
    .await;
}

#[tokio::test]
async fn every_table_has_an_organization_or_a_reason() {
    exactly(
        format!(
            "SELECT relname FROM pg_class c WHERE {OURS} AND NOT EXISTS (
                SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organization_id'
                   AND a.atttypid = 'uuid'::regtype AND a.attnotnull)"
        ),
        &WITHOUT_ORGANIZATION,
        "WITHOUT_ORGANIZATION",
        "give the table `organization_id uuid NOT NULL`",
    )
    .await;
}

/// Every privilege on a table, also those on single columns: (table, role, command). The owner's go without saying.
const GRANTED: &str = "
    SELECT c.oid AS tab, a.grantee AS role, a.privilege_type AS command FROM pg_class c, aclexplode(c.relacl) a
     WHERE a.grantee <> c.relowner
    UNION
    SELECT c.oid, a.grantee, a.privilege_type
      FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
     WHERE a.grantee <> c.relowner";

/// Every command that a policy is for: (table, role, command).
const ALLOWED: &str = "
    SELECT p.polrelid AS tab, r AS role, CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT'
           WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command
      FROM pg_policy p, unnest(p.polroles) r";

#[tokio::test]
async fn every_grant_has_its_policy() {
    nothing(
        format!(
            "SELECT format('GRANT %s ON %s TO %s', g.command, c.oid::regclass, g.role::regrole)
               FROM ({GRANTED}) g JOIN pg_class c ON c.oid = g.tab
              WHERE c.relname <> '_sqlx_migrations'
                AND c.relnamespace IN ('public'::regnamespace, 'graphile_worker'::regnamespace)
                AND NOT EXISTS (SELECT FROM ({ALLOWED}) a WHERE (a.tab, a.role) = (g.tab, g.role)
                                   AND a.command IN (g.command, 'ALL'))"
        ),
        "a granted command without a policy finds no rows and looks like an empty table: \
         CREATE POLICY … FOR that command TO that role, or take the grant back",
    )
    .await;
}

#[tokio::test]
async fn every_policy_has_its_grant() {
    nothing(
        format!(
            "SELECT format('%s for %s on %s', a.role::regrole, a.command, c.oid::regclass)
               FROM ({ALLOWED}) a JOIN pg_class c ON c.oid = a.tab
              WHERE {OURS} AND a.role <> c.relowner
                AND NOT EXISTS (SELECT FROM ({GRANTED}) g WHERE (g.tab, g.role, g.command) = (a.tab, a.role, a.command))"
        ),
        "a policy for a command that is not granted waits for a grant that nobody reviews: GRANT it or drop the policy \
         (one policy per command; none FOR ALL)",
    )
    .await;
}

#[tokio::test]
async fn only_our_two_roles_are_granted_anything_and_only_rows() {
    nothing(
        format!(
            "SELECT format('%s on %s to %s', g.command, c.oid::regclass,
                           CASE g.role WHEN 0 THEN 'PUBLIC' ELSE g.role::regrole::text END)
               FROM ({GRANTED}) g JOIN pg_class c ON c.oid = g.tab
              WHERE c.relnamespace IN ('public'::regnamespace, 'app'::regnamespace, 'graphile_worker'::regnamespace)
                AND (g.role NOT IN (SELECT oid FROM pg_roles WHERE rolname IN ('kijko_tenant', 'kijko_system'))
                     OR g.command NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))"
        ),
        "grant SELECT, INSERT, UPDATE or DELETE to kijko_tenant or kijko_system, and nothing else: \
         TRUNCATE and REFERENCES go past the policies",
    )
    .await;
}

#[tokio::test]
async fn tenants_never_name_the_owner_of_a_row() {
    nothing(
        format!(
            "SELECT format('%s (%s) on %s', privilege, attname, relname)
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, unnest(ARRAY['INSERT', 'UPDATE']) privilege
              WHERE {OURS} AND attname IN ('organization_id', 'user_id')
                AND has_column_privilege('kijko_tenant', c.oid, a.attnum, privilege)"
        ),
        "whose a row is comes from the context: DEFAULT app.current_org() and app.current_user_id(), not granted",
    )
    .await;
}

#[tokio::test]
async fn policies_name_their_roles_and_one_command_each() {
    nothing(
        format!(
            "SELECT polname || ' on ' || relname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
              WHERE 0 = ANY (polroles) OR ({OURS} AND (polcmd = '*' OR cardinality(polroles) <> 1))"
        ),
        "say TO a role, never PUBLIC, and FOR one command",
    )
    .await;
    nothing(
        format!(
            "SELECT polname || ' on ' || relname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
              WHERE {OURS} AND polname <> format('%s_%s_%s', relname,
                    CASE polroles[1] WHEN relowner THEN 'owner' ELSE replace(polroles[1]::regrole::text, 'kijko_', '') END,
                    CASE polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update' ELSE 'delete' END)"
        ),
        "a policy is called <table>_<tenant|system|owner>_<command>",
    )
    .await;
    nothing(
        format!(
            "SELECT polname || ' on ' || relname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
              WHERE {OURS} AND ((polcmd IN ('r', 'w', 'd')) <> (polqual IS NOT NULL)
                                OR (polcmd IN ('a', 'w')) <> (polwithcheck IS NOT NULL))"
        ),
        "USING says which rows may be touched and WITH CHECK what they may become: an UPDATE needs both, written out",
    )
    .await;
}

/// Look-ups between policies recurse and fail, and make every row pay for them.
#[tokio::test]
async fn policies_read_the_row_and_the_context_and_nothing_else() {
    nothing(
        "SELECT format('%s on %s looks at %s', p.polname, p.polrelid::regclass, d.refobjid::regclass)
           FROM pg_policy p JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid
          WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> p.polrelid",
        "no policy queries another table: use a SECURITY DEFINER helper that returns the caller's ids",
    )
    .await;
    let context = Regex::new(r"\( SELECT app\.current_(org|user_id)\(\) AS current_(org|user_id)\)").expect("valid");
    let foreign = Regex::new(r"(?i)\bselect\b|\bfrom\b|app\.|current_|setting|\w\(").expect("valid");
    let expressions = catalogue(
        "SELECT format('%s: %s', p.polname, e) FROM pg_policy p,
                unnest(ARRAY[pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)]) e
          WHERE e IS NOT NULL",
    )
    .await;
    assert!(expressions.len() > 20, "the query finds no policies: was the catalogue read rightly?");
    for expression in expressions {
        let (_, rest) = expression.split_once(": ").expect("written so above");
        let rest = context.replace_all(rest, "context");
        assert!(
            !foreign.is_match(&rest),
            "{expression}: read the context as (SELECT app.current_org()), which runs once per statement, and nothing else"
        );
    }
}

#[tokio::test]
async fn every_policy_that_serves_tenants_holds_them_to_their_organization() {
    nothing(
        format!(
            "SELECT format('%s: %s', polname, e) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid,
                    unnest(ARRAY[pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)]) e
              WHERE {OURS} AND e IS NOT NULL AND polroles[1] <> 'kijko_system'::regrole
                -- What every organisation sees, and nobody without one.
                AND (relname <> 'offered_models' OR e <> '(( SELECT app.current_org() AS current_org) IS NOT NULL)')
                AND relname <> 'users' AND (e LIKE '% OR %' OR e NOT LIKE format('%%%s = ( SELECT app.current_org() %%',
                        CASE relname WHEN 'organizations' THEN '(id' ELSE '(organization_id' END))"
        ),
        "begin with organization_id = (SELECT app.current_org()), and narrow it with AND",
    )
    .await;
}

#[tokio::test]
async fn every_table_has_a_decision_about_personal_data() {
    let decided: Vec<(&str, &str)> = PERSONAL_DATA.iter().map(|(table, _, _, why)| (*table, *why)).collect();
    exactly(
        format!("SELECT relname FROM pg_class c WHERE {OURS}"),
        &decided,
        "PERSONAL_DATA",
        "decide what the archive and the erasure of a person do with the table",
    )
    .await;
    // What is a person's own goes with them; what must not is a decision for the list above.
    let owned = catalogue(format!(
        "SELECT relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE {OURS} AND attname = 'user_id'"
    ))
    .await;
    for (table, exported, erasure, why) in PERSONAL_DATA {
        let personal = owned.iter().any(|name| name == table);
        assert!(
            !personal || (*exported && !matches!(erasure, Erasure::Retain)),
            "{table} says whose each row is, so it is exported, and erased or anonymised: {why}"
        );
    }
}
