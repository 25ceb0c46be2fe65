//! Keys, indexes, names and types: what keeps a reference inside its organisation, and a query inside an index.

use super::{OURS, exactly, nothing};

/// Foreign keys that do not begin with the organisation.
const PLAIN_KEYS: [(&str, &str); 4] = [
    ("organization_members_user_id_fkey", "a person belongs to no organisation; this table says to which they do"),
    ("refresh_tokens_session_id_fkey", "the token is looked up before an organisation is known"),
    ("auth_tickets_user_id_fkey", "a link is sent to a person, whatever organisations they belong to"),
    ("user_identities_user_id_fkey", "a provider vouches for a person, whatever organisations they belong to"),
];

/// Indexes of tenant tables that do not begin with the organisation.
const OTHER_INDEXES: [(&str, &str); 13] = [
    ("organization_members_user_id_idx", "signing in asks for the organisations of a person"),
    ("login_history_pkey", "an attempt at an address without an account has no organisation"),
    ("login_history_created_at_idx", "what is old goes, of all organisations at once"),
    ("team_invitations_token_hash_key", "a link names its invitation before an organisation is known"),
    ("user_sessions_id_key", "a token names its session before an organisation is known"),
    ("api_keys_key_hash_key", "a key is looked up before an organisation is known"),
    ("idempotency_keys_created_at_idx", "what is old goes, of all organisations at once"),
    ("user_sessions_user_id_idx", "a new password ends the sessions of a person in all organisations"),
    ("mail_outbox_pkey", "the job that sends a mail looks at all organisations; tenants never look"),
    ("execution_statistics_hour_idx", "retention asks whose executions are old, in all organisations"),
    ("skill_executions_sweep_idx", "the sweep looks at all organisations at once"),
    ("skill_transient_runs_sweep_idx", "the sweep looks at all organisations at once"),
    ("skill_transient_runs_expires_at_idx", "what expired goes, of all organisations at once"),
];

/// The columns of a key or an index, in order, as names.
fn columns(table: &str, numbers: &str) -> String {
    format!(
        "ARRAY(SELECT a.attname::text FROM unnest({numbers}) WITH ORDINALITY k(n, i)
                 JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = k.n ORDER BY k.i)"
    )
}

#[tokio::test]
async fn references_between_tenant_tables_carry_the_organization() {
    let (from, to) = (columns("f.conrelid", "f.conkey"), columns("f.confrelid", "f.confkey"));
    exactly(
        format!(
            "SELECT f.conname FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid
              WHERE {OURS} AND f.contype = 'f'
                AND NOT (({from})[1] = 'organization_id' AND ({to})[1] = 'organization_id' AND cardinality(f.conkey) > 1)
                AND NOT (f.confrelid = 'organizations'::regclass AND {from} = ARRAY['organization_id'])"
        ),
        &PLAIN_KEYS,
        "PLAIN_KEYS",
        "PostgreSQL checks references without policies, so a plain key can point into another organisation: \
         make it FOREIGN KEY (organization_id, …)",
    )
    .await;
}

#[tokio::test]
async fn every_reference_has_an_index() {
    nothing(
        format!(
            "SELECT f.conname FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid
              WHERE {OURS} AND f.contype = 'f' AND NOT EXISTS (
                    SELECT FROM pg_index i
                     WHERE i.indrelid = f.conrelid AND i.indpred IS NULL AND i.indisvalid
                       AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey)"
        ),
        "deleting what is referred to scans the whole table: CREATE INDEX whose leading columns are those of the key",
    )
    .await;
}

#[tokio::test]
async fn the_organization_leads_every_index() {
    exactly(
        format!(
            "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
               JOIN pg_attribute o ON o.attrelid = c.oid AND o.attname = 'organization_id'
              WHERE {OURS} AND i.indkey[0] <> o.attnum"
        ),
        &OTHER_INDEXES,
        "OTHER_INDEXES",
        "every query of a tenant begins with the organisation, so the index must too",
    )
    .await;
}

#[tokio::test]
async fn constraints_and_indexes_are_named_after_their_table() {
    nothing(
        format!(
            "SELECT conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
              WHERE {OURS} AND contype NOT IN ('n', 't') AND NOT starts_with(conname, relname || '_')"
        ),
        "errors.rs translates constraints by name: CONSTRAINT <table>_…",
    )
    .await;
    let from = columns("f.conrelid", "f.conkey");
    nothing(
        format!(
            "SELECT conname || ' should be ' || expected FROM (
                SELECT conname, contype, CASE contype
                       WHEN 'p' THEN relname || '_pkey'
                       WHEN 'f' THEN format('%s_%s_fkey', relname, array_to_string({from}, '_'))
                       WHEN 'u' THEN format('%s_%s_key', relname, array_to_string({from}, '_'))
                       WHEN 'c' THEN regexp_replace(conname, '_check$', '') || '_check' END AS expected
                  FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid WHERE {OURS}) named
              WHERE conname <> expected"
        ),
        "constraints are written out: <table>_<columns>_{fkey,key}, <table>_pkey, <table>_<what>_check",
    )
    .await;
    nothing(
        format!(
            "SELECT n.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class n ON n.oid = i.indexrelid
              WHERE {OURS} AND NOT (starts_with(n.relname, c.relname || '_')
                    AND n.relname ~ CASE WHEN indisprimary THEN '_pkey$' WHEN indisunique THEN '_key$' ELSE '_idx$' END)"
        ),
        "an index is called <table>_…_idx, a unique one <table>_…_key",
    )
    .await;
}

/// Enumerations cannot lose a value, and their comparison is not leakproof: no index serves it under a policy.
#[tokio::test]
async fn closed_vocabularies_are_text() {
    nothing(
        "SELECT typname FROM pg_type WHERE typtype = 'e' AND typnamespace IN ('public'::regnamespace, 'app'::regnamespace)",
        "use text with a named CHECK instead of an enumeration",
    )
    .await;
}

#[tokio::test]
async fn every_indexed_comparison_is_leakproof() {
    nothing(
        format!(
            "SELECT DISTINCT i.indexrelid::regclass || ' compares with ' || o.oprcode::text
               FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid,
                    unnest(i.indclass) class
               JOIN pg_opclass k ON k.oid = class
               JOIN pg_amop m ON m.amopfamily = k.opcfamily AND m.amoplefttype = k.opcintype
                             AND m.amoprighttype = k.opcintype AND m.amopstrategy = 3
               JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_proc f ON f.oid = o.oprcode
              WHERE {OURS} AND NOT f.proleakproof"
        ),
        "no policy lets such an index be used; compare uuid, text, integer, boolean, bytea or timestamps",
    )
    .await;
}

#[tokio::test]
async fn moments_know_their_zone() {
    nothing(
        format!(
            "SELECT format('%s.%s', relname, attname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
              WHERE {OURS} AND atttypid IN ('timestamp'::regtype, 'timetz'::regtype, 'time'::regtype)"
        ),
        "a moment is a timestamptz",
    )
    .await;
}
