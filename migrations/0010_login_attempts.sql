-- Attempts to sign in: how wrong passwords lock an account for a while, and what people see of them.

-- Wrong passwords in a row, by the keyed hash of the address that was tried. Not by user: an address without an account
-- must lock just the same, or the lock would tell which addresses have one. Which rule follows from the count is the
-- program's to say; forgotten a day after the last wrong one.
CREATE TABLE login_locks (
    account_hash   bytea       NOT NULL,
    failures       integer     NOT NULL,
    last_failed_at timestamptz NOT NULL,
    CONSTRAINT login_locks_pkey PRIMARY KEY (account_hash),
    CONSTRAINT login_locks_account_hash_check CHECK (octet_length(account_hash) = 32),
    CONSTRAINT login_locks_failures_check CHECK (failures > 0)
);
CREATE INDEX login_locks_last_failed_at_idx ON login_locks (last_failed_at);
ALTER TABLE login_locks ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_locks FORCE ROW LEVEL SECURITY;
CREATE POLICY login_locks_system_select ON login_locks FOR SELECT TO kijko_system USING (true);
CREATE POLICY login_locks_system_insert ON login_locks FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY login_locks_system_update ON login_locks FOR UPDATE TO kijko_system USING (true) WITH CHECK (true);
CREATE POLICY login_locks_system_delete ON login_locks FOR DELETE TO kijko_system USING (true);
GRANT SELECT, INSERT, DELETE ON login_locks TO kijko_system;
GRANT UPDATE (failures, last_failed_at) ON login_locks TO kijko_system;

-- Every attempt that was looked at, also one at an address without an account: that belongs to nobody, and no tenant
-- sees it. Attempts that a rate limit turned away are not here; their number is what the limit protects us from.
-- Kept apart from members, whom it outlives.
CREATE TABLE login_history (
    id              uuid        NOT NULL,
    organization_id uuid,
    user_id         uuid,
    status          text        NOT NULL,
    auth_method     text        NOT NULL,
    failure_reason  text,
    ip              inet        NOT NULL,
    user_agent      text,
    created_at      timestamptz NOT NULL,
    CONSTRAINT login_history_pkey PRIMARY KEY (id),
    CONSTRAINT login_history_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT login_history_owner_check CHECK (organization_id IS NULL OR user_id IS NOT NULL),
    CONSTRAINT login_history_status_check CHECK (status IN ('success', 'failed', 'blocked')),
    CONSTRAINT login_history_auth_method_check
        CHECK (auth_method IN ('password', 'sso', 'magic_link', 'api_key')),
    CONSTRAINT login_history_failure_reason_check CHECK (
        (failure_reason IS NULL) = (status = 'success')
        AND failure_reason IN ('Invalid password', 'Unknown account', 'Account locked', 'Account disabled',
                               'No organisation', 'E-mail address not confirmed')
    )
);
CREATE INDEX login_history_organization_id_user_id_created_at_idx
    ON login_history (organization_id, user_id, created_at DESC, id);
ALTER TABLE login_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_history FORCE ROW LEVEL SECURITY;
CREATE POLICY login_history_tenant_select ON login_history FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY login_history_system_insert ON login_history FOR INSERT TO kijko_system WITH CHECK (true);
GRANT SELECT ON login_history TO kijko_tenant;
-- History ends after 90 days, for all organisations at once.
CREATE INDEX login_history_created_at_idx ON login_history (created_at);
CREATE POLICY login_history_system_select ON login_history FOR SELECT TO kijko_system USING (true);
CREATE POLICY login_history_system_delete ON login_history FOR DELETE TO kijko_system USING (true);
GRANT SELECT (created_at), INSERT, DELETE ON login_history TO kijko_system;
