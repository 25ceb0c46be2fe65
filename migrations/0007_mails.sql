-- Mails on their way out, and the single-use secrets that links and sign-ins by a provider carry.

-- A mail is written in the transaction of the change that it tells of, and goes when it was sent. Its content is sealed,
-- because it may hold a link that signs somebody in.
CREATE TABLE mail_outbox (
    id              uuid        NOT NULL,
    -- On whose behalf it is sent; absent for what precedes organisations, such as a sign-up.
    organization_id uuid,
    sealed          bytea,
    attempts        integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    -- Given up. The content goes at that moment; the row stays to be counted.
    dead_at         timestamptz,
    CONSTRAINT mail_outbox_pkey PRIMARY KEY (id),
    CONSTRAINT mail_outbox_attempts_check CHECK (attempts >= 0),
    CONSTRAINT mail_outbox_dead_check CHECK ((sealed IS NULL) = (dead_at IS NOT NULL))
);
ALTER TABLE mail_outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE mail_outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY mail_outbox_system_select ON mail_outbox FOR SELECT TO kijko_system USING (true);
CREATE POLICY mail_outbox_system_insert ON mail_outbox FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY mail_outbox_system_update ON mail_outbox FOR UPDATE TO kijko_system USING (true) WITH CHECK (true);
CREATE POLICY mail_outbox_system_delete ON mail_outbox FOR DELETE TO kijko_system USING (true);
-- For app.enqueue_mail.
CREATE POLICY mail_outbox_owner_insert ON mail_outbox FOR INSERT TO CURRENT_USER
    WITH CHECK (organization_id = (SELECT app.current_org()));
GRANT SELECT, INSERT, DELETE ON mail_outbox TO kijko_system;
GRANT UPDATE (sealed, attempts, dead_at) ON mail_outbox TO kijko_system;

-- Enqueues the sending of a mail, in the caller's transaction. Doing it again is harmless: the key makes it one job, and
-- a mail that was sent is not there any more. Mails go before runs, and are given up by their row, not by the engine.
CREATE FUNCTION app.enqueue_mail_job(p_id uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM graphile_worker.add_jobs(ARRAY[ROW(
        'kijko', pg_catalog.json_build_object('kind', 'send_mail', 'mailId', p_id),
        NULL, NULL, 25::smallint, 'mail:' || p_id::text, 0::smallint, NULL)::graphile_worker.job_spec], true);
END
$$;
GRANT EXECUTE ON FUNCTION app.enqueue_mail_job TO kijko_system;

-- The same for a tenant, who may add a mail and never see one.
CREATE FUNCTION app.enqueue_mail(p_id uuid, p_sealed bytea, p_now timestamptz) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.mail_outbox (id, organization_id, sealed, created_at)
    VALUES (p_id, app.current_org(), p_sealed, p_now);
    PERFORM app.enqueue_mail_job(p_id);
END
$$;
GRANT EXECUTE ON FUNCTION app.enqueue_mail TO kijko_tenant;

-- A secret that was handed out and is good for one thing, once, for a while. Kept as a keyed hash; what belongs to it
-- (an address, a PKCE verifier) is sealed.
CREATE TABLE auth_tickets (
    id          uuid        NOT NULL,
    kind        text        NOT NULL,
    -- Absent while nobody is known, as in a sign-in by a provider that just begins.
    user_id     uuid,
    secret_hash bytea       NOT NULL,
    sealed      bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    CONSTRAINT auth_tickets_pkey PRIMARY KEY (id),
    CONSTRAINT auth_tickets_secret_hash_key UNIQUE (secret_hash),
    CONSTRAINT auth_tickets_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT auth_tickets_kind_check
        CHECK (kind IN ('oauth_state', 'email_verify', 'password_reset', 'magic_link'))
);
CREATE INDEX auth_tickets_user_id_idx ON auth_tickets (user_id);
CREATE INDEX auth_tickets_expires_at_idx ON auth_tickets (expires_at);
ALTER TABLE auth_tickets ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth_tickets FORCE ROW LEVEL SECURITY;
CREATE POLICY auth_tickets_system_select ON auth_tickets FOR SELECT TO kijko_system USING (true);
CREATE POLICY auth_tickets_system_insert ON auth_tickets FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY auth_tickets_system_update ON auth_tickets FOR UPDATE TO kijko_system USING (true) WITH CHECK (true);
CREATE POLICY auth_tickets_system_delete ON auth_tickets FOR DELETE TO kijko_system USING (true);
GRANT SELECT, INSERT, DELETE ON auth_tickets TO kijko_system;
GRANT UPDATE (used_at) ON auth_tickets TO kijko_system;

-- Whoever uses a link that was sent to an address reads its mail.
GRANT UPDATE (email_verified_at) ON users TO kijko_system;
-- A new password ends every session of a person, wherever they work.
CREATE INDEX user_sessions_user_id_idx ON user_sessions (user_id) WHERE revoked_at IS NULL;
