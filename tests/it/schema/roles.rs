//! The roles that the program works as, and the functions that lend them the owner's rights.

use sqlx::ConnectOptions;

use super::{OURS, catalogue, nothing, superuser, texts};
use crate::harness::cluster;

/// Every function of the schema `app`, and who may call it besides the owner.
const FUNCTIONS: &[(&str, &str)] = &[
    ("app.acts_as", ""),
    ("app.change_member", "kijko_tenant"),
    ("app.claim_execution", "kijko_tenant"),
    ("app.copy_person_to_member", ""),
    ("app.copy_person_to_members", ""),
    ("app.count_executions", ""),
    ("app.count_usage", "kijko_tenant"),
    ("app.cover_execution", "kijko_tenant"),
    ("app.current_org", "kijko_tenant"),
    ("app.current_user_id", "kijko_tenant"),
    ("app.delete_executions", "kijko_tenant"),
    ("app.delete_provider_key", "kijko_tenant"),
    ("app.edit_skill", ""),
    ("app.end_execution", "kijko_tenant"),
    ("app.end_member_sessions", "kijko_tenant"),
    ("app.enqueue_execution", "kijko_tenant"),
    ("app.enqueue_mail", "kijko_tenant"),
    ("app.enqueue_mail_job", "kijko_system"),
    ("app.enqueue_transient_run", "kijko_tenant"),
    ("app.execution_job_key", "kijko_system"),
    ("app.hold_execution_costs", ""),
    ("app.hold_spending", ""),
    ("app.month_of", ""),
    ("app.reached_percent", ""),
    ("app.record_usage", "kijko_tenant"),
    ("app.refuse_change", ""),
    ("app.renew_execution", "kijko_tenant"),
    ("app.reserve_cost", "kijko_tenant"),
    ("app.set_budget", "kijko_tenant"),
    ("app.settle_cost", "kijko_tenant"),
    ("app.settle_execution", ""),
    ("app.star_skill", "kijko_tenant"),
    ("app.store_provider_key", "kijko_tenant"),
    ("app.transfer_ownership", "kijko_tenant"),
    ("app.transient_run_job_key", "kijko_system"),
];

#[tokio::test]
async fn the_roles_are_as_weak_as_designed() {
    let found = catalogue(
        "SELECT format('%s login=%s inherit=%s super=%s bypass=%s createrole=%s createdb=%s replication=%s', rolname,
                       rolcanlogin, rolinherit, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication)
           FROM pg_roles WHERE rolname IN ('kijko_app', 'kijko_system', 'kijko_tenant') ORDER BY rolname",
    )
    .await;
    let rest = "super=f bypass=f createrole=f createdb=f replication=f";
    let expected = [
        format!("kijko_app login=t inherit=f {rest}"),
        format!("kijko_system login=f inherit=t {rest}"),
        format!("kijko_tenant login=f inherit=t {rest}"),
    ];
    assert_eq!(found, expected, "migrations/0001_foundation.sql makes the roles; nobody may widen them");
}

#[tokio::test]
async fn the_login_role_may_become_tenant_or_system_and_nobody_else() {
    // Since PostgreSQL 16 every membership says for itself whether it is inherited; before, the role does.
    let memberships = catalogue(
        "SELECT format('%s in %s admin=%s inherited=%s', m.member::regrole, m.roleid::regrole, m.admin_option,
                       coalesce(to_jsonb(m) ->> 'inherit_option', r.rolinherit::text))
           FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
          WHERE m.member IN ('kijko_app'::regrole, 'kijko_tenant'::regrole, 'kijko_system'::regrole)
             OR (m.roleid IN ('kijko_tenant'::regrole, 'kijko_system'::regrole) AND NOT m.admin_option)
          ORDER BY 1",
    )
    .await;
    let expected =
        ["kijko_app in kijko_system admin=f inherited=false", "kijko_app in kijko_tenant admin=f inherited=false"];
    assert_eq!(memberships, expected, "a statement outside a transaction of ours must be able to do nothing");
}

#[tokio::test]
async fn the_roles_own_nothing_and_create_nothing() {
    nothing(
        "SELECT format('%s owns %s', refobjid::regrole, pg_describe_object(classid, objid, objsubid)) FROM pg_shdepend
          WHERE deptype = 'o' AND refclassid = 'pg_authid'::regclass
            AND refobjid IN ('kijko_app'::regrole, 'kijko_tenant'::regrole, 'kijko_system'::regrole)",
        "an owner may switch row security off: let the migrations make and own it",
    )
    .await;
    nothing(
        "SELECT format('%s in %s', r, n) FROM unnest(ARRAY['kijko_app', 'kijko_tenant', 'kijko_system', 'public']) r,
                unnest(ARRAY['public', 'app', 'graphile_worker']) n WHERE has_schema_privilege(r, n, 'CREATE')",
        "only the owner may create objects: REVOKE CREATE ON SCHEMA",
    )
    .await;
    nothing(
        "SELECT nspname FROM pg_namespace WHERE has_schema_privilege('kijko_tenant', oid, 'USAGE')
            AND nspname NOT IN ('public', 'app', 'pg_catalog', 'information_schema') AND nspname !~ '^pg_temp|^pg_toast'",
        "a tenant needs the schemas public and app, and never that of the job engine",
    )
    .await;
}

/// As it logs in, without a role: exactly what a forgotten `SET LOCAL ROLE` would run as.
#[tokio::test]
async fn the_login_role_alone_may_do_nothing() {
    let database = cluster::fresh_database().await;
    let mut conn = cluster::options("kijko_app", &database).connect().await.unwrap();
    let tables = texts(
        &mut superuser(&database).await,
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname IN ('public', 'graphile_worker') AND c.relkind IN ('r', 'p', 'v', 'S') ORDER BY 1",
    )
    .await;
    assert!(tables.len() > 15, "the query finds too little: {tables:?}");
    let calls = FUNCTIONS.iter().map(|(name, _)| format!("SELECT {name}()"));
    for sql in tables.iter().map(|table| format!("SELECT 1 FROM {table}")).chain(calls) {
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&mut conn).await;
        let code = refused.err().and_then(|e| e.as_database_error()?.code().map(|code| code.into_owned()));
        // A function of a schema that one may not use is not even looked for.
        assert_eq!(code.as_deref(), Some("42501"), "the login role may do this without choosing a role: {sql}");
    }
}

#[tokio::test]
async fn functions_are_called_by_whom_they_are_for() {
    let found = catalogue(
        "SELECT format('%s: %s', p.oid::regproc, string_agg(CASE grantee WHEN 0 THEN 'PUBLIC'
                       ELSE grantee::regrole::text END, ' ' ORDER BY grantee::regrole::text)
                       FILTER (WHERE grantee <> proowner))
           FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner)))
          WHERE pronamespace IN ('app'::regnamespace, 'public'::regnamespace)
          GROUP BY p.oid ORDER BY 1",
    )
    .await;
    let expected: Vec<String> = FUNCTIONS.iter().map(|(name, roles)| format!("{name}: {roles}")).collect();
    assert_eq!(
        found, expected,
        "name the function and its one caller in FUNCTIONS, and GRANT EXECUTE to that role alone"
    );
    nothing(
        "SELECT p.oid::regprocedure::text FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner)))
          WHERE pronamespace = 'graphile_worker'::regnamespace AND grantee NOT IN (proowner, 'kijko_system'::regrole)",
        "the job engine's functions are for kijko_system: REVOKE ALL … FROM PUBLIC",
    )
    .await;
    nothing(
        "SELECT 'PUBLIC may execute functions made by ' || r::regrole
           FROM (SELECT relowner AS r FROM pg_class WHERE oid = 'skills'::regclass) owner
          WHERE NOT EXISTS (SELECT FROM pg_default_acl d WHERE d.defaclrole = owner.r AND d.defaclobjtype = 'f'
                               AND d.defaclnamespace = 0
                               AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) a WHERE a.grantee = 0))",
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    )
    .await;
}

/// A temporary type hides one of the same name unless `pg_temp` is named last: with an empty path, and a domain
/// `pg_temp.uuid` whose check calls a function of the tenant, that function would run as the owner.
#[tokio::test]
async fn functions_with_the_owners_rights_pin_their_path() {
    nothing(
        "SELECT p.oid::regprocedure || ' has ' || coalesce(array_to_string(proconfig, ', '), 'nothing') FROM pg_proc p
          WHERE pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
            AND prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)",
        "a SECURITY DEFINER function says SET search_path = pg_catalog, pg_temp",
    )
    .await;
    nothing(
        format!(
            "SELECT p.oid::regprocedure::text FROM pg_proc p
              WHERE prosecdef AND (pronamespace <> 'app'::regnamespace
                    OR proowner <> (SELECT relowner FROM pg_class c WHERE {OURS} AND relname = 'skills'))"
        ),
        "a SECURITY DEFINER function lives in the schema app and belongs to the owner of the tables",
    )
    .await;
    nothing(
        "SELECT p.oid::regprocedure::text FROM pg_proc p
          WHERE pronamespace = 'app'::regnamespace AND NOT prosecdef AND prosqlbody IS NULL
            AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=%')",
        "write the body in standard SQL (RETURN …), which is parsed once and for all, or pin the search path",
    )
    .await;
    nothing(
        "SELECT p.oid::regprocedure::text FROM pg_proc p
          WHERE pronamespace = 'app'::regnamespace AND proname LIKE 'current\\_%'
            AND (provolatile <> 's' OR prosqlbody IS NULL OR prosecdef)",
        "what the policies call is STABLE, in standard SQL, and runs as its caller",
    )
    .await;
}

#[tokio::test]
async fn a_type_made_by_a_tenant_never_runs_code_as_the_owner() {
    let database = cluster::fresh_database().await;
    let mut conn = superuser(&database).await;
    super::fixtures::seed(&mut conn).await;
    let execution = "md5('skill_executions own pending')::pg_catalog.uuid";
    let calls = [
        format!("app.claim_execution({execution}, 1, now(), now())"),
        format!("app.renew_execution({execution}, now())"),
        format!(
            "app.end_execution({execution}, '{{pending,running}}', NULL, 'completed', now(), '', 1, 1, 1, 1, 'p', 'm',
                               NULL, NULL, 1::smallint, NULL, NULL)"
        ),
        format!("app.record_usage({execution}, 1, 1, 1, 1, 'p', 'm', NULL, NULL, 1::smallint)"),
        format!("app.enqueue_execution({execution}, NULL)"),
        "app.enqueue_transient_run(md5('skill_transient_runs own pending')::pg_catalog.uuid, NULL)".to_owned(),
        "(SELECT deleted FROM app.delete_executions(now(), 1))".to_owned(),
        "app.reserve_cost(NULL, '2026-01-06', 0.01)".to_owned(),
        "app.settle_cost(NULL, '2026-01-06', 0, 0.01)".to_owned(),
        "app.set_budget(NULL, 1, '2026-01-06', now())".to_owned(),
        format!("app.cover_execution({execution}, 0.01)"),
        "app.count_usage('api_calls', '2026-01-01', 1, 1)".to_owned(),
        format!("app.enqueue_mail({execution}, '', now())"),
        "app.store_provider_key('google', 'sealed', '1234', NULL, NULL, now())".to_owned(),
        "app.delete_provider_key('google')".to_owned(),
        "app.star_skill(md5('skills own first')::pg_catalog.uuid, true, now())".to_owned(),
        "app.change_member(app.current_user_id(), 'viewer', 'active')".to_owned(),
        "app.transfer_ownership(app.current_user_id())".to_owned(),
        "(SELECT count(*) FROM app.end_member_sessions(app.current_user_id(), now()))".to_owned(),
    ];
    for call in calls {
        let mut trap = String::from("BEGIN; ") + &super::fixtures::become_ada("kijko_tenant");
        trap += "CREATE TEMP TABLE spied (who name); GRANT ALL ON spied TO PUBLIC;
                 CREATE FUNCTION pg_temp.spy() RETURNS boolean LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO pg_temp.spied VALUES (current_user); RETURN true; END $$;
                 GRANT EXECUTE ON FUNCTION pg_temp.spy TO PUBLIC;";
        for name in ["uuid", "text", "json", "jsonb", "timestamptz", "int8", "int2", "date", "bool", "numeric"] {
            trap += &format!("CREATE DOMAIN pg_temp.{name} AS pg_catalog.{name} CHECK (pg_temp.spy());");
        }
        texts(&mut conn, trap).await;
        texts(&mut conn, format!("SELECT coalesce(({call})::pg_catalog.text, '')")).await;
        let spies = texts(&mut conn, "SELECT DISTINCT who::pg_catalog.text FROM pg_temp.spied").await;
        texts(&mut conn, "ROLLBACK").await;
        assert!(spies.is_empty(), "{call} ran the tenant's code as {spies:?}: end its search_path with pg_temp");
    }
}
