-- People and sign-ins of an outside identity provider (KIJKO_AUTH_MODE=keycloak).

-- Who the realm says they are. Set once, by the first sign-in, and never by an unverified address.
ALTER TABLE users
    ADD COLUMN keycloak_sub text,
    ADD CONSTRAINT users_keycloak_sub_key UNIQUE (keycloak_sub),
    ADD CONSTRAINT users_keycloak_sub_check CHECK (char_length(keycloak_sub) BETWEEN 1 AND 255);
GRANT UPDATE (keycloak_sub, email, email_verified_at, first_name, last_name) ON users TO kijko_system;

-- A sign-in at the realm: the tokens that it gave last, sealed, and whether it was ended here. Our own refresh tokens
-- stand for it, so that the realm's never leave the server. The row of a session that ended outlives its access tokens.
CREATE TABLE realm_sessions (
    session_id    uuid        NOT NULL,
    sid           text        NOT NULL,
    sealed        bytea,
    -- Who exchanges the tokens has the right to until then; a dead process loses it.
    claimed_until timestamptz,
    expires_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    CONSTRAINT realm_sessions_pkey PRIMARY KEY (session_id),
    CONSTRAINT realm_sessions_sid_check CHECK (char_length(sid) BETWEEN 1 AND 255),
    CONSTRAINT realm_sessions_ended_check CHECK (ended_at IS NULL OR sealed IS NULL)
);
ALTER TABLE realm_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE realm_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY realm_sessions_system_select ON realm_sessions FOR SELECT TO kijko_system USING (true);
CREATE POLICY realm_sessions_system_insert ON realm_sessions FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY realm_sessions_system_update ON realm_sessions FOR UPDATE TO kijko_system
    USING (true) WITH CHECK (true);
CREATE POLICY realm_sessions_system_delete ON realm_sessions FOR DELETE TO kijko_system USING (true);
CREATE INDEX realm_sessions_expires_at_idx ON realm_sessions (expires_at);
GRANT SELECT, INSERT, DELETE ON realm_sessions TO kijko_system;
GRANT UPDATE (sealed, claimed_until, expires_at, ended_at) ON realm_sessions TO kijko_system;
