//! Who owns what in the policy matrix, and how a valid row of every table looks.
//!
//! Everything is seen from Ada, who works in the organisation A. Bob is her colleague, Eve works in B, and Ada belongs
//! to B as well: what she has there must not follow her to A.

use sqlx::postgres::PgConnection;

use super::texts;

const A: &str = "aaaaaaaa-0000-4000-8000-000000000000";
const B: &str = "bbbbbbbb-0000-4000-8000-000000000000";
const ADA: &str = "00000000-0000-4000-8000-0000000000ad";
const BOB: &str = "00000000-0000-4000-8000-000000000b0b";
const EVE: &str = "00000000-0000-4000-8000-0000000000ee";
/// Belongs to no organisation yet.
const ZOE: &str = "00000000-0000-4000-8000-00000000020e";

pub struct Owner {
    pub name: &'static str,
    organization: &'static str,
    pub user: &'static str,
}

pub const OWNERS: [Owner; 4] = [
    Owner { name: "own", organization: A, user: ADA },
    Owner { name: "colleague", organization: A, user: BOB },
    Owner { name: "elsewhere", organization: B, user: ADA },
    Owner { name: "stranger", organization: B, user: EVE },
];

/// How to tell whose a row is.
#[derive(Clone, Copy, PartialEq)]
pub enum Whose {
    /// It says so, in organization_id and user_id.
    Columns,
    /// It says who invited, in organization_id and invited_by.
    Inviter,
    /// An organisation.
    Organization,
    /// A person.
    User,
    /// It belongs to a session.
    Session,
    /// It says which organisation, and everybody there shares it.
    Shared,
    /// It names an execution, or a test, in its payload.
    Execution,
    /// It is the installation's.
    Nobody,
}

pub struct Table {
    pub name: &'static str,
    /// Tells one row from another; whoever may read the table may read this.
    pub key: &'static str,
    pub whose: Whose,
    /// The seeded rows of each owner, by a name that goes into their ids.
    rows: &'static [&'static str],
    /// A valid row: column and value.
    row: &'static [(&'static str, &'static str)],
    /// A change that every row survives, and that reads no column.
    pub change: &'static str,
}

const MADE: (&str, &str) = ("created_at", "now()");
const LATER: (&str, &str) = ("expires_at", "now() + interval '1 day'");
const ORGANIZATION: (&str, &str) = ("organization_id", "'{organization}'");
/// Another for each row.
const DAY: &str = "'2026-01-01'::date + length('{row}')";
/// Another for the row that is tried than for the one that is there.
const A_SKILL: &str = "md5('skills {owner} ' || CASE '{row}' WHEN 'new' THEN 'second' ELSE 'first' END)::uuid";
const USER: (&str, &str) = ("user_id", "'{user}'");

/// One entry per table, of ours and of the job engine.
pub const TABLES: &[Table] = &[
    Table {
        name: "organizations",
        key: "id",
        whose: Whose::Organization,
        rows: &[],
        row: &[("id", "{id}"), ("name", "'New'"), MADE, ("updated_at", "now()")],
        change: "name = 'changed'",
    },
    Table {
        name: "users",
        key: "id",
        whose: Whose::User,
        rows: &[],
        row: &[
            ("id", "{id}"),
            ("email", "'new@example.com'"),
            ("first_name", "'New'"),
            ("last_name", "'Person'"),
            MADE,
            ("updated_at", "now()"),
        ],
        change: "password_hash = 'changed'",
    },
    Table {
        name: "organization_members",
        key: "(organization_id, user_id)",
        whose: Whose::Columns,
        rows: &[],
        row: &[ORGANIZATION, ("user_id", "'{newcomer}'"), ("role", "'owner'"), ("joined_at", "now()")],
        change: "role = 'viewer'",
    },
    Table {
        name: "team_invitations",
        key: "id",
        whose: Whose::Inviter,
        rows: &["first"],
        row: &[
            ORGANIZATION,
            ("id", "{id}"),
            ("email", "'{owner}-{row}@example.com'"),
            ("role", "'member'"),
            ("invited_by", "'{user}'"),
            ("token_hash", "'{owner} {row}'"),
            LATER,
            MADE,
        ],
        change: "status = 'cancelled'",
    },
    Table {
        name: "user_sessions",
        key: "id",
        whose: Whose::Columns,
        rows: &["first"],
        row: &[
            ORGANIZATION,
            ("id", "{id}"),
            USER,
            ("auth_method", "'password'"),
            ("ip", "'192.0.2.1'"),
            MADE,
            ("last_active", "now()"),
            LATER,
        ],
        change: "revoked_at = now()",
    },
    Table {
        name: "refresh_tokens",
        key: "id",
        whose: Whose::Session,
        rows: &["first"],
        row: &[
            ("id", "{id}"),
            ("session_id", "md5('user_sessions {owner} first')::uuid"),
            ("token_hash", "'{owner} {row}'"),
            MADE,
            LATER,
        ],
        change: "rotated_at = now(), replaced_by = gen_random_uuid()",
    },
    Table {
        name: "realm_sessions",
        key: "session_id",
        whose: Whose::Session,
        rows: &["first"],
        row: &[("session_id", "md5('user_sessions {owner} first')::uuid"), ("sid", "'{owner} {row}'"), LATER],
        change: "ended_at = now()",
    },
    Table {
        name: "signing_keys",
        key: "id",
        whose: Whose::Nobody,
        rows: &["first"],
        row: &[
            ("id", "{id}"),
            ("algorithm", "'RS256'"),
            ("encrypted", "''"),
            MADE,
            ("retired_at", "now()"),
            ("published_until", "now()"),
        ],
        change: "published_until = 'infinity'",
    },
    Table {
        name: "offered_models",
        key: "name",
        whose: Whose::Nobody,
        rows: &["first"],
        row: &[
            ("name", "'{owner} {row}'"),
            ("input_cost_per_million", "0"),
            ("output_cost_per_million", "0"),
            ("max_output_tokens", "1"),
            ("seen_at", "now()"),
        ],
        change: "seen_at = now()",
    },
    Table {
        name: "mail_outbox",
        key: "id",
        whose: Whose::Nobody,
        rows: &["first"],
        row: &[ORGANIZATION, ("id", "{id}"), ("sealed", "''"), MADE],
        change: "attempts = 1",
    },
    Table {
        name: "auth_tickets",
        key: "id",
        whose: Whose::Nobody,
        rows: &["first"],
        row: &[("id", "{id}"), ("kind", "'magic_link'"), ("secret_hash", "'{row}'"), ("sealed", "''"), MADE, LATER],
        change: "used_at = now()",
    },
    Table {
        name: "user_identities",
        key: "provider_account_id",
        whose: Whose::Nobody,
        rows: &["first"],
        row: &[("provider", "'google'"), ("provider_account_id", "'{owner} {row}'"), USER, MADE],
        change: "created_at = now()",
    },
    Table {
        name: "audit_logs",
        key: "id",
        whose: Whose::Columns,
        rows: &["first"],
        row: &[
            ORGANIZATION,
            ("id", "{id}"),
            USER,
            ("event_type", "'user.login'"),
            ("description", "'{owner} {row}'"),
            MADE,
        ],
        change: "description = 'changed'",
    },
    Table {
        name: "api_keys",
        key: "id",
        whose: Whose::Columns,
        rows: &["first"],
        row: &[
            ORGANIZATION,
            ("id", "{id}"),
            USER,
            ("name", "'{owner} {row}'"),
            ("key_hash", "sha256('{owner} {row}')"),
            ("key_prefix", "'kijko_test_012345678'"),
            ("scopes", "'{read}'"),
            MADE,
        ],
        change: "revoked_at = now()",
    },
    Table {
        name: "idempotency_keys",
        key: "(organization_id, user_id, key)",
        whose: Whose::Columns,
        rows: &["first"],
        row: &[
            ORGANIZATION,
            USER,
            ("key", "'{row}'"),
            ("fingerprint", "sha256('{owner} {row}')"),
            ("reply", "''"),
            MADE,
        ],
        change: "reply = 'changed'",
    },
    Table {
        name: "login_locks",
        key: "account_hash",
        whose: Whose::Nobody,
        rows: &["first"],
        row: &[("account_hash", "sha256('{row}')"), ("failures", "5"), ("last_failed_at", "now()")],
        change: "failures = 7",
    },
    Table {
        name: "login_history",
        key: "id",
        whose: Whose::Columns,
        rows: &["first"],
        row: &[
            ("id", "{id}"),
            ORGANIZATION,
            USER,
            ("status", "'success'"),
            ("auth_method", "'password'"),
            ("ip", "'192.0.2.1'"),
            MADE,
        ],
        change: "user_agent = 'changed'",
    },
    Table {
        name: "skills",
        key: "id",
        whose: Whose::Columns,
        rows: &["first", "second"],
        row: &[
            ORGANIZATION,
            ("id", "{id}"),
            USER,
            ("name", "'{owner} {row}'"),
            ("category", "'custom'"),
            ("prompt_template", "'Summarise in one line: {{text}}'"),
            ("model", "'offline'"),
            ("parameters", "'{}'"),
            ("output_format", "'text'"),
            ("is_active", "true"),
            MADE,
            ("updated_at", "now()"),
        ],
        change: "description = 'changed'",
    },
    Table {
        name: "skill_stars",
        key: "skill_id",
        whose: Whose::Columns,
        rows: &["first"],
        row: &[ORGANIZATION, USER, ("skill_id", "md5(replace('skills {owner} {row}', 'new', 'second'))::uuid"), MADE],
        change: "created_at = 'epoch'",
    },
    Table {
        name: "skill_versions",
        key: "(skill_id, number)",
        whose: Whose::Columns,
        rows: &["first"],
        row: &[
            ORGANIZATION,
            USER,
            ("skill_id", "md5('skills {owner} second')::uuid"),
            ("number", "CASE '{row}' WHEN 'first' THEN 1 ELSE 2 END"),
            ("prompt_template", "'Summarise: {{text}}'"),
            ("model", "'offline'"),
            ("parameters", "'{}'"),
            MADE,
        ],
        change: "model = 'changed'",
    },
    Table {
        name: "skill_executions",
        key: "id",
        whose: Whose::Columns,
        rows: &["pending", "running", "completed", "cancelled"],
        row: &[
            ORGANIZATION,
            ("id", "{id}"),
            USER,
            ("skill_id", "md5('skills {owner} first')::uuid"),
            ("execution_type", "'manual'"),
            ("input", "'{}'"),
            ("executed_at", "now()"),
        ],
        change: "output = 'changed'",
    },
    Table {
        name: "skill_transient_runs",
        key: "id",
        whose: Whose::Columns,
        rows: &["pending", "completed"],
        row: &[ORGANIZATION, ("id", "{id}"), USER, ("payload", "'{}'"), MADE, LATER],
        change: "expires_at = now()",
    },
    Table {
        name: "provider_keys",
        key: "(organization_id, provider)",
        whose: Whose::Shared,
        rows: &["google"],
        row: &[
            ORGANIZATION,
            ("provider", "CASE '{row}' WHEN 'google' THEN 'google' ELSE 'openai' END"),
            ("sealed_key", "'sealed'"),
            ("last_four", "'1234'"),
            ("stored_by", "'{user}'"),
            ("stored_at", "now()"),
        ],
        change: "last_four = '4321'",
    },
    Table {
        name: "budgets",
        key: "(organization_id, subject_id)",
        whose: Whose::Shared,
        rows: &["first"],
        row: &[
            ORGANIZATION,
            ("subject_id", A_SKILL),
            ("skill_id", A_SKILL),
            ("limit_usd", "1"),
            ("updated_at", "now()"),
        ],
        change: "limit_usd = 2",
    },
    Table {
        name: "spending",
        key: "(organization_id, subject_id, month)",
        whose: Whose::Shared,
        rows: &["first"],
        row: &[ORGANIZATION, ("subject_id", "'{organization}'"), ("month", DAY)],
        change: "announced_percent = -1",
    },
    Table {
        name: "usage_counters",
        key: "(organization_id, metric, period)",
        whose: Whose::Shared,
        rows: &["first"],
        row: &[ORGANIZATION, ("metric", "'ingestions'"), ("period", DAY), ("used", "1")],
        change: "used = 7",
    },
    Table {
        name: "execution_statistics",
        key: "(organization_id, user_id, id)",
        whose: Whose::Columns,
        rows: &["first"],
        row: &[
            ORGANIZATION,
            USER,
            ("grain", "'skill'"),
            ("skill_id", "{id}"),
            ("hour", "'-infinity'"),
            ("execution_type", "'api'"),
            ("status", "'failed'"),
            ("executions", "1"),
            ("tokens", "0"),
            ("cost_cents", "0"),
            ("duration_ms", "0"),
            ("timed", "0"),
            ("measured", "0"),
        ],
        change: "executions = 2",
    },
    Table {
        name: "graphile_worker._private_jobs",
        key: "id",
        whose: Whose::Execution,
        rows: &[],
        row: &[("task_id", "1")],
        change: "last_error = 'changed'",
    },
    engine("graphile_worker.migrations", "id", &[("id", "9999")], "ts = now()"),
    engine("graphile_worker._private_job_queues", "id", &[("queue_name", "'{row}'")], "locked_by = 'changed'"),
    engine("graphile_worker._private_job_retirements", "id", &[("id", "2")], "id = 3"),
    engine(
        "graphile_worker._private_known_crontabs",
        "identifier",
        &[("identifier", "'{row}'"), ("known_since", "now()")],
        "last_execution = now()",
    ),
    engine("graphile_worker._private_tasks", "id", &[("identifier", "'{row}'")], "identifier = 'changed'"),
    engine(
        "graphile_worker._private_workers",
        "id",
        &[("id", "'{row}'"), ("last_heartbeat_at", "now()")],
        "metadata = '{}'",
    ),
];

const fn engine(
    name: &'static str,
    key: &'static str,
    row: &'static [(&'static str, &'static str)],
    change: &'static str,
) -> Table {
    Table { name, key, whose: Whose::Nobody, rows: &[], row, change }
}

impl Table {
    /// Of the job engine, which is no place for tenants at all.
    pub fn is_engine(&self) -> bool {
        self.name.starts_with("graphile_worker.")
    }

    /// The name with its schema: who may not enter the schema is told so, and not that there is no such table.
    pub fn path(&self) -> String {
        if self.is_engine() { self.name.to_owned() } else { format!("public.{}", self.name) }
    }

    /// Whether each of the four owners may have rows here.
    pub fn is_owned(&self) -> bool {
        matches!(self.whose, Whose::Columns | Whose::Inviter | Whose::Session)
    }

    /// Who has rows here.
    pub fn owners(&self) -> Vec<&'static Owner> {
        match self.whose {
            Whose::Shared => vec![&OWNERS[0], &OWNERS[3]],
            _ if self.is_owned() => OWNERS.iter().collect(),
            _ => vec![&OWNERS[0]],
        }
    }

    /// Table, key, owner and content of every row.
    pub fn content(&self) -> String {
        let owned_by = |row: &str, user: &str| {
            let when = |o: &Owner| format!("WHEN '{} {}' THEN '{}'", o.organization, o.user, o.name);
            let whens: Vec<String> = OWNERS.iter().map(when).collect();
            format!(
                "CASE {row}.organization_id || ' ' || {row}.{user} {} ELSE
                     CASE {row}.organization_id WHEN '{A}' THEN 'A' ELSE 'B' END END",
                whens.join(" ")
            )
        };
        let owner = |row: &str| owned_by(row, "user_id");
        let whose = match self.whose {
            Whose::Columns => owner("t"),
            Whose::Inviter => owned_by("t", "invited_by"),
            Whose::Organization => format!("CASE t.id WHEN '{A}' THEN 'own' WHEN '{B}' THEN 'stranger' ELSE 'new' END"),
            Whose::Shared => format!("CASE t.organization_id WHEN '{A}' THEN 'own' ELSE 'stranger' END"),
            Whose::User => format!(
                "CASE t.id WHEN '{ADA}' THEN 'own' WHEN '{BOB}' THEN 'colleague' WHEN '{EVE}' THEN 'stranger'
                           WHEN '{ZOE}' THEN 'stranger' ELSE 'new' END"
            ),
            Whose::Session => format!("(SELECT {} FROM user_sessions s WHERE s.id = t.session_id)", owner("s")),
            Whose::Execution => format!(
                "coalesce((SELECT {} FROM skill_executions e WHERE e.id::text = t.payload ->> 'executionId'),
                          (SELECT {} FROM skill_transient_runs r WHERE 'test-' || r.id = t.payload ->> 'testRunId'),
                          CASE WHEN t.payload ->> 'kind' = 'announce_budget' THEN
                              CASE t.payload ->> 'organizationId' WHEN '{A}' THEN 'own' ELSE 'stranger' END END,
                          'all')",
                owner("e"),
                owner("r")
            ),
            Whose::Nobody => "'all'".to_owned(),
        };
        format!("SELECT '{name}', {}::text, {whose}, t::text FROM {name} t", self.key, name = self.name)
    }

    /// Adds a row that belongs to `owner`, leaving columns to their defaults.
    pub fn insert(&self, owner: &Owner, row: &str, left_out: &[String]) -> String {
        let kept = self.row.iter().filter(|(column, _)| !left_out.iter().any(|left| left == column));
        let (columns, values): (Vec<&str>, Vec<&str>) = kept.copied().unzip();
        let values = values
            .join(", ")
            .replace("{id}", &format!("md5('{} {{owner}} {{row}}')::uuid", self.name))
            .replace("{organization}", owner.organization)
            .replace("{user}", owner.user)
            .replace("{newcomer}", ZOE)
            .replace("{owner}", owner.name)
            .replace("{row}", row);
        format!("INSERT INTO {} ({}) VALUES ({values})", self.path(), columns.join(", "))
    }

    /// Gives every row within reach to somebody else, reading no column.
    pub fn give_away(&self, to: &Owner) -> String {
        match self.whose {
            Whose::Organization => format!("UPDATE {} SET id = gen_random_uuid()", self.path()),
            Whose::Shared => format!("UPDATE {} SET organization_id = '{}'", self.path(), to.organization),
            Whose::Inviter => {
                let (organization, user) = (to.organization, to.user);
                format!("UPDATE {} SET organization_id = '{organization}', invited_by = '{user}'", self.path())
            }
            _ => format!("UPDATE {} SET organization_id = '{}', user_id = '{}'", self.path(), to.organization, to.user),
        }
    }
}

/// For the rest of the transaction: this role, and the context of Ada at work in A.
pub fn become_ada(role: &str) -> String {
    context(&OWNERS[0]) + &format!("SET LOCAL ROLE {role};")
}

fn context(owner: &Owner) -> String {
    let (organization, user) = (owner.organization, owner.user);
    format!("SET LOCAL app.current_org_id = '{organization}'; SET LOCAL app.current_user_id = '{user}';")
}

/// Everybody, and everything that belongs to them.
pub async fn seed(superuser: &mut PgConnection) {
    let mut sql = vec![format!(
        "BEGIN;
         INSERT INTO organizations (id, name, created_at, updated_at)
             SELECT id, id, now(), now() FROM unnest('{{{A},{B}}}'::uuid[]) id;
         INSERT INTO users (id, email, first_name, last_name, created_at, updated_at)
             SELECT id, id || '@example.com', 'A', 'B', now(), now()
               FROM unnest('{{{ADA},{BOB},{EVE},{ZOE}}}'::uuid[]) id"
    )];
    for Owner { organization, user, .. } in &OWNERS {
        sql.push(format!(
            "INSERT INTO organization_members VALUES ('{organization}', '{user}', 'owner', 'active', now())"
        ));
    }
    for table in TABLES {
        for owner in table.owners() {
            sql.extend(table.rows.iter().map(|row| table.insert(owner, row, &[])));
        }
    }
    for owner in &OWNERS {
        let id = |status: &str| format!("md5('skill_executions {} {status}')::uuid", owner.name);
        sql.push(format!(
            "UPDATE skill_executions SET status = 'running', started_at = now(), lease_expires_at = now() WHERE id = {};
             UPDATE skill_executions SET status = 'completed', completed_at = now() WHERE id = {};
             UPDATE skill_executions SET status = 'cancelled', completed_at = now() WHERE id = {};
             UPDATE skill_transient_runs SET status = 'completed', result = '{{}}', payload = NULL
              WHERE id = md5('skill_transient_runs {} completed')::uuid",
            id("running"),
            id("completed"),
            id("cancelled"),
            owner.name
        ));
        sql.push(format!("UPDATE skills SET star_count = 1 WHERE id = md5('skills {} first')::uuid", owner.name));
        sql.push(context(owner) + &format!("SELECT app.enqueue_execution({}, NULL)", id("pending")));
    }
    sql.push(
        "INSERT INTO graphile_worker._private_job_queues (queue_name) VALUES ('first');
         INSERT INTO graphile_worker._private_job_retirements VALUES (1);
         INSERT INTO graphile_worker._private_known_crontabs VALUES ('first', now());
         INSERT INTO graphile_worker._private_workers VALUES ('first', now());
         COMMIT"
            .to_owned(),
    );
    texts(superuser, sql.join("; ")).await;
}
