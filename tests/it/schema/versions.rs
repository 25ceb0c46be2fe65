//! Which database a program works with: the one that its own migrations make, and no other.

use kijko_core::app::operations::{self, SchemaStatus};
use kijko_core::testing::{self, FixedClock};

use super::{superuser, texts};
use crate::harness::{cluster, config};

async fn changed(statement: &str) -> String {
    let database = cluster::fresh_database().await;
    texts(&mut superuser(&database).await, statement).await;
    database
}

/// Whatever changes when a schema does.
async fn fingerprint(database: &str) -> Vec<String> {
    let sql = "SELECT format('class %s %s %s', oid, xmin, relacl) FROM pg_class WHERE relnamespace NOT IN (
                      'pg_catalog'::regnamespace, 'pg_toast'::regnamespace, 'information_schema'::regnamespace)
               UNION ALL SELECT format('column %s %s %s', attrelid, attname, xmin) FROM pg_attribute WHERE attrelid >= 16384
               UNION ALL SELECT format('policy %s %s', oid, xmin) FROM pg_policy
               UNION ALL SELECT format('function %s %s', oid, xmin) FROM pg_proc WHERE oid >= 16384
               UNION ALL SELECT format('constraint %s %s', oid, xmin) FROM pg_constraint
               UNION ALL SELECT format('migration %s', m) FROM _sqlx_migrations m
               UNION ALL SELECT format('engine %s', m) FROM graphile_worker.migrations m ORDER BY 1";
    texts(&mut superuser(database).await, sql).await
}

#[tokio::test]
async fn the_engine_brings_as_many_migrations_as_the_program_expects() {
    let database = cluster::clone_of("template0").await;
    let config = config(&database, &[]);
    let before = operations::migrate(&config).await.unwrap();
    assert!(matches!(before, SchemaStatus::Behind { .. }), "an empty database lacks everything, not {before:?}");
    let engine = texts(&mut superuser(&database).await, "SELECT max(id) FROM graphile_worker.migrations").await;
    let source = include_str!("../../../crates/kijko-core/src/adapters/postgres/migrations.rs");
    assert!(
        source.contains(&format!("const ENGINE_MIGRATIONS: i32 = {};", engine[0])),
        "the job engine now brings {} migrations: set ENGINE_MIGRATIONS, and look in migrations/0006_jobs.sql whether its \
         new tables need grants and policies",
        engine[0]
    );
    let status = operations::schema_status(&config).await.unwrap();
    assert!(matches!(status, SchemaStatus::Current), "a database just migrated is {status:?}");
}

#[tokio::test]
async fn migrating_twice_changes_nothing() {
    let database = cluster::fresh_database().await;
    let before = fingerprint(&database).await;
    assert!(before.len() > 200, "the fingerprint is too small to notice anything");
    let status = operations::migrate(&config(&database, &[])).await.unwrap();
    assert!(matches!(status, SchemaStatus::Current), "the template is migrated, not {status:?}");
    assert_eq!(fingerprint(&database).await, before, "migrating a second time changed the schema");
}

#[tokio::test]
async fn a_database_of_another_schema_is_refused_with_what_to_do() {
    let table = [
        (
            "DELETE FROM _sqlx_migrations WHERE version = 6",
            "behind this program, which needs: 0006 jobs; run `kijko migrate up`",
        ),
        (
            "UPDATE _sqlx_migrations SET success = false WHERE version = 6",
            "behind this program, which needs: 0006 jobs",
        ),
        (
            "DELETE FROM graphile_worker.migrations WHERE id = 22",
            "behind this program, which needs: job engine 21 of 22",
        ),
        ("DROP TABLE _sqlx_migrations", "behind this program, which needs: 0001 foundation, 0002 identity"),
        (
            "INSERT INTO _sqlx_migrations SELECT 9999, 'future', now(), true, '', 0",
            "migrated by a newer Kijko (it has [9999]); start that version",
        ),
        ("INSERT INTO graphile_worker.migrations VALUES (9999)", "job engine in the database is newer"),
        (
            "UPDATE _sqlx_migrations SET checksum = '' WHERE version = 2",
            "migration 2 in the database is not the one of this program",
        ),
    ];
    for (statement, expected) in table {
        let database = changed(statement).await;
        let refusal =
            match testing::connect(config(&database, &[]), FixedClock::starting_now(), std::sync::Arc::default()).await
            {
                Err(refusal) => refusal.to_string(),
                Ok(app) => {
                    app.close().await;
                    panic!("a server starts on a database after: {statement}")
                }
            };
        assert!(refusal.contains(expected), "after {statement}\n  expected: … {expected} …\n  refused with: {refusal}");
    }
}

/// The owner's hands are needed there, and nobody should find out by half a migration.
#[tokio::test]
async fn a_database_of_a_newer_or_another_program_is_not_migrated() {
    for statement in [
        "INSERT INTO _sqlx_migrations SELECT 9999, 'future', now(), true, '', 0",
        "UPDATE _sqlx_migrations SET checksum = '' WHERE version = 2",
    ] {
        let database = changed(&format!("{statement}; DELETE FROM _sqlx_migrations WHERE version = 6")).await;
        let before = fingerprint(&database).await;
        let status = operations::migrate(&config(&database, &[])).await.unwrap();
        assert!(
            matches!(status, SchemaStatus::Ahead { .. } | SchemaStatus::Changed { .. }),
            "after {statement} the database is {status:?}"
        );
        assert_eq!(fingerprint(&database).await, before, "it was migrated after {statement}");
    }
}
