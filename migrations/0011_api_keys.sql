-- Long-lived credentials of a person in one organisation, and the replies that a repeated request gets again.

-- A key is kept as a keyed hash; nobody but the system role, which looks keys up, may read even that.
CREATE TABLE api_keys (
    organization_id uuid        NOT NULL DEFAULT app.current_org(),
    id              uuid        NOT NULL,
    user_id         uuid        NOT NULL DEFAULT app.current_user_id(),
    name            text        NOT NULL,
    key_hash        bytea       NOT NULL,
    key_prefix      text        NOT NULL,
    scopes          text[]      NOT NULL,
    -- Written in batches, a few seconds late.
    usage_count     bigint      NOT NULL DEFAULT 0,
    last_used_at    timestamptz,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz,
    revoked_at      timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (organization_id, id),
    -- A key is looked up before an organisation is known.
    CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash),
    CONSTRAINT api_keys_organization_id_user_id_fkey
        FOREIGN KEY (organization_id, user_id) REFERENCES organization_members (organization_id, user_id)
        ON DELETE CASCADE,
    CONSTRAINT api_keys_name_check CHECK (char_length(name) BETWEEN 3 AND 100),
    CONSTRAINT api_keys_key_hash_check CHECK (octet_length(key_hash) = 32),
    CONSTRAINT api_keys_key_prefix_check CHECK (key_prefix ~ '^kijko_(live|test)_[0-9a-f]{9}$'),
    CONSTRAINT api_keys_scopes_check CHECK (scopes <@ ARRAY['read', 'write', 'admin'] AND cardinality(scopes) > 0),
    CONSTRAINT api_keys_usage_count_check CHECK (usage_count >= 0)
);
CREATE INDEX api_keys_created_at_idx ON api_keys (organization_id, user_id, created_at DESC, id);
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
-- One's own. What administrators may do to the keys of others goes through the system role.
CREATE POLICY api_keys_tenant_select ON api_keys FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY api_keys_tenant_insert ON api_keys FOR INSERT TO kijko_tenant
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY api_keys_tenant_update ON api_keys FOR UPDATE TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()))
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY api_keys_system_select ON api_keys FOR SELECT TO kijko_system USING (true);
CREATE POLICY api_keys_system_update ON api_keys FOR UPDATE TO kijko_system USING (true) WITH CHECK (true);
GRANT SELECT (organization_id, id, user_id, name, key_prefix, scopes, usage_count, last_used_at, created_at,
              expires_at, revoked_at) ON api_keys TO kijko_tenant;
GRANT INSERT (id, name, key_hash, key_prefix, scopes, created_at, expires_at) ON api_keys TO kijko_tenant;
GRANT UPDATE (revoked_at) ON api_keys TO kijko_tenant;
GRANT SELECT ON api_keys TO kijko_system;
GRANT UPDATE (usage_count, last_used_at, revoked_at) ON api_keys TO kijko_system;

-- Replies to requests that carried an Idempotency-Key, encrypted, since they may hold what is shown once. A key is the
-- caller's own: that of a colleague must not show what the colleague got.
CREATE TABLE idempotency_keys (
    organization_id uuid        NOT NULL DEFAULT app.current_org(),
    user_id         uuid        NOT NULL DEFAULT app.current_user_id(),
    key             text        NOT NULL,
    fingerprint     bytea       NOT NULL,
    reply           bytea       NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (organization_id, user_id, key),
    CONSTRAINT idempotency_keys_organization_id_user_id_fkey
        FOREIGN KEY (organization_id, user_id) REFERENCES organization_members (organization_id, user_id)
        ON DELETE CASCADE,
    CONSTRAINT idempotency_keys_key_check CHECK (char_length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_fingerprint_check CHECK (octet_length(fingerprint) = 32)
);
-- What is old goes, of all organisations at once.
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY idempotency_keys_tenant_select ON idempotency_keys FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY idempotency_keys_tenant_insert ON idempotency_keys FOR INSERT TO kijko_tenant
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY idempotency_keys_tenant_update ON idempotency_keys FOR UPDATE TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()))
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY idempotency_keys_system_select ON idempotency_keys FOR SELECT TO kijko_system USING (true);
CREATE POLICY idempotency_keys_system_delete ON idempotency_keys FOR DELETE TO kijko_system USING (true);
GRANT SELECT ON idempotency_keys TO kijko_tenant;
GRANT INSERT (key, fingerprint, reply, created_at) ON idempotency_keys TO kijko_tenant;
GRANT UPDATE (fingerprint, reply, created_at) ON idempotency_keys TO kijko_tenant;
GRANT SELECT (organization_id, user_id, key, created_at) ON idempotency_keys TO kijko_system;
GRANT DELETE ON idempotency_keys TO kijko_system;

-- Whoever runs the installation locks people out, makes them staff, and sets plans.
GRANT UPDATE (disabled_at, is_platform_admin) ON users TO kijko_system;
GRANT UPDATE (plan) ON organizations TO kijko_system;
