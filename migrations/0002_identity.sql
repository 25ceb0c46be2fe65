-- Who people are, where they belong, and how long they stay signed in.

-- A tenant. `organization_members` decides who may act inside it.
CREATE TABLE organizations (
    id          uuid        NOT NULL,
    name        text        NOT NULL,
    plan        text        NOT NULL DEFAULT 'free',
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CONSTRAINT organizations_pkey PRIMARY KEY (id),
    CONSTRAINT organizations_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT organizations_plan_check CHECK (plan IN ('free', 'pro', 'teams', 'enterprise'))
);
ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY organizations_tenant_select ON organizations FOR SELECT TO kijko_tenant
    USING (id = (SELECT app.current_org()));
CREATE POLICY organizations_system_select ON organizations FOR SELECT TO kijko_system USING (true);
CREATE POLICY organizations_system_insert ON organizations FOR INSERT TO kijko_system WITH CHECK (true);
GRANT SELECT ON organizations TO kijko_tenant;
GRANT SELECT, INSERT ON organizations TO kijko_system;

-- A person. Spans organisations, so the tenant role sees its own row only, and never the hash.
CREATE TABLE users (
    id                uuid        NOT NULL,
    email             text        NOT NULL,
    email_verified_at timestamptz,
    password_hash     text,
    first_name        text        NOT NULL,
    last_name         text        NOT NULL,
    is_platform_admin boolean     NOT NULL DEFAULT false,
    disabled_at       timestamptz,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_email_check CHECK (email = lower(email) AND char_length(email) BETWEEN 3 AND 254),
    CONSTRAINT users_first_name_check CHECK (char_length(first_name) BETWEEN 1 AND 50),
    CONSTRAINT users_last_name_check CHECK (char_length(last_name) BETWEEN 1 AND 50)
);
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY users_tenant_select ON users FOR SELECT TO kijko_tenant
    USING (id = (SELECT app.current_user_id()));
CREATE POLICY users_system_select ON users FOR SELECT TO kijko_system USING (true);
CREATE POLICY users_system_insert ON users FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY users_system_update ON users FOR UPDATE TO kijko_system USING (true) WITH CHECK (true);
GRANT SELECT (id, email, email_verified_at, first_name, last_name, created_at, updated_at) ON users TO kijko_tenant;
GRANT SELECT, INSERT ON users TO kijko_system;
GRANT UPDATE (password_hash, updated_at) ON users TO kijko_system;

-- Who belongs to which organisation, with which role. This table, never a token, decides the role.
-- Whoever is removed keeps the row, with the status `removed`: skills and executions refer to it, and nothing of the
-- organisation is lost. They are no member, hold no seat, and may be invited again, which revives the row.
CREATE TABLE organization_members (
    organization_id uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    role            text        NOT NULL,
    status          text        NOT NULL DEFAULT 'active',
    joined_at       timestamptz NOT NULL,
    -- Names this place in paths and replies.
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    -- What colleagues see of the person: copies of theirs in `users`, kept by triggers. So the tenant role need not see
    -- any other row of `users`, which spans organisations.
    email           text        NOT NULL,
    first_name      text        NOT NULL,
    last_name       text        NOT NULL,
    last_active_at  timestamptz,
    CONSTRAINT organization_members_pkey PRIMARY KEY (organization_id, user_id),
    CONSTRAINT organization_members_organization_id_fkey
        FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT organization_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT organization_members_role_check CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    CONSTRAINT organization_members_organization_id_id_key UNIQUE (organization_id, id),
    CONSTRAINT organization_members_status_check CHECK (status IN ('active', 'inactive', 'pending', 'removed'))
);
CREATE INDEX organization_members_user_id_idx ON organization_members (user_id, joined_at);
ALTER TABLE organization_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE organization_members FORCE ROW LEVEL SECURITY;
CREATE POLICY organization_members_tenant_select ON organization_members FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY organization_members_system_select ON organization_members FOR SELECT TO kijko_system USING (true);
CREATE POLICY organization_members_system_insert ON organization_members FOR INSERT TO kijko_system
    WITH CHECK (true);
CREATE POLICY organization_members_system_update ON organization_members FOR UPDATE TO kijko_system
    USING (true) WITH CHECK (true);
GRANT SELECT ON organization_members TO kijko_tenant;
GRANT SELECT, INSERT ON organization_members TO kijko_system;
GRANT UPDATE (role, status, joined_at, email, first_name, last_name, last_active_at)
    ON organization_members TO kijko_system;

-- Both run as whoever changes the row. The person is held, so that a new name and a new membership are one after the
-- other. A tenant cannot read the person, and then the row is refused.
CREATE FUNCTION app.copy_person_to_member() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT u.email, u.first_name, u.last_name INTO NEW.email, NEW.first_name, NEW.last_name
      FROM public.users u WHERE u.id = NEW.user_id FOR SHARE;
    RETURN NEW;
END
$$;
CREATE TRIGGER organization_members_person BEFORE INSERT ON organization_members
    FOR EACH ROW EXECUTE FUNCTION app.copy_person_to_member();

CREATE FUNCTION app.copy_person_to_members() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.organization_members
       SET email = NEW.email, first_name = NEW.first_name, last_name = NEW.last_name
     WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER users_members AFTER UPDATE OF email, first_name, last_name ON users
    FOR EACH ROW EXECUTE FUNCTION app.copy_person_to_members();

-- One sign-in: a family of refresh tokens that rotate. Revoking the row ends them all at once.
CREATE TABLE user_sessions (
    organization_id uuid        NOT NULL,
    id              uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    auth_method     text        NOT NULL,
    user_agent      text,
    ip              inet        NOT NULL,
    created_at      timestamptz NOT NULL,
    last_active     timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    revoked_at      timestamptz,
    revoke_reason   text,
    CONSTRAINT user_sessions_pkey PRIMARY KEY (organization_id, id),
    -- Tokens name a session alone: they are looked at before an organisation is known.
    CONSTRAINT user_sessions_id_key UNIQUE (id),
    CONSTRAINT user_sessions_organization_id_user_id_fkey
        FOREIGN KEY (organization_id, user_id) REFERENCES organization_members (organization_id, user_id),
    CONSTRAINT user_sessions_auth_method_check CHECK (auth_method IN ('password', 'sso', 'magic_link')),
    CONSTRAINT user_sessions_revoke_reason_check CHECK (revoke_reason IN
        ('logout', 'token_reuse', 'membership', 'realm', 'password_reset', 'email_confirmed', 'operator'))
);
CREATE INDEX user_sessions_organization_id_user_id_idx ON user_sessions (organization_id, user_id);
ALTER TABLE user_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY user_sessions_tenant_select ON user_sessions FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY user_sessions_system_select ON user_sessions FOR SELECT TO kijko_system USING (true);
CREATE POLICY user_sessions_system_insert ON user_sessions FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY user_sessions_system_update ON user_sessions FOR UPDATE TO kijko_system
    USING (true) WITH CHECK (true);
GRANT SELECT ON user_sessions TO kijko_tenant;
GRANT SELECT, INSERT ON user_sessions TO kijko_system;
GRANT UPDATE (last_active, expires_at, revoked_at, revoke_reason) ON user_sessions TO kijko_system;

-- The tokens of a session, as hashes. Nobody but the system role ever sees them.
CREATE TABLE refresh_tokens (
    id          uuid        NOT NULL,
    session_id  uuid        NOT NULL,
    token_hash  bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    rotated_at  timestamptz,
    replaced_by uuid,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT refresh_tokens_session_id_fkey
        FOREIGN KEY (session_id) REFERENCES user_sessions (id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_rotation_check CHECK ((rotated_at IS NULL) = (replaced_by IS NULL))
);
CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (session_id);
ALTER TABLE refresh_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE refresh_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY refresh_tokens_system_select ON refresh_tokens FOR SELECT TO kijko_system USING (true);
CREATE POLICY refresh_tokens_system_insert ON refresh_tokens FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY refresh_tokens_system_update ON refresh_tokens FOR UPDATE TO kijko_system
    USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON refresh_tokens TO kijko_system;
GRANT UPDATE (rotated_at, replaced_by) ON refresh_tokens TO kijko_system;

-- The key pairs that sign access tokens, encrypted with the installation's master key. One signs; one that was retired
-- goes on verifying until the last token that it signed has expired.
CREATE TABLE signing_keys (
    id          uuid        NOT NULL,
    algorithm   text        NOT NULL,
    encrypted   bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    retired_at  timestamptz,
    -- Until when a retired key still verifies.
    published_until timestamptz,
    -- Who made it and why, where it was not the first start.
    note        text,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (id),
    CONSTRAINT signing_keys_retirement_check CHECK ((retired_at IS NULL) = (published_until IS NULL)),
    CONSTRAINT signing_keys_algorithm_check CHECK (algorithm = 'RS256')
);
-- At most one key signs; two first starts at once cannot both create it.
CREATE UNIQUE INDEX signing_keys_active_key ON signing_keys (algorithm) WHERE retired_at IS NULL;
ALTER TABLE signing_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE signing_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY signing_keys_system_select ON signing_keys FOR SELECT TO kijko_system USING (true);
CREATE POLICY signing_keys_system_insert ON signing_keys FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY signing_keys_system_update ON signing_keys FOR UPDATE TO kijko_system USING (true) WITH CHECK (true);
CREATE POLICY signing_keys_system_delete ON signing_keys FOR DELETE TO kijko_system USING (true);
GRANT SELECT, INSERT, DELETE ON signing_keys TO kijko_system;
GRANT UPDATE (retired_at, published_until) ON signing_keys TO kijko_system;
