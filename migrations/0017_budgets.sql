-- What an organisation used of its plan.

-- How often a metric was counted in a period: a calendar month or day, UTC, named by its first day.
CREATE TABLE usage_counters (
    organization_id uuid   NOT NULL DEFAULT app.current_org(),
    metric          text   NOT NULL,
    period          date   NOT NULL,
    used            bigint NOT NULL,
    CONSTRAINT usage_counters_pkey PRIMARY KEY (organization_id, metric, period),
    CONSTRAINT usage_counters_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT usage_counters_metric_check CHECK (metric IN ('api_calls', 'ingestions', 'oracle_queries')),
    CONSTRAINT usage_counters_used_check CHECK (used >= 0)
);
ALTER TABLE usage_counters ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_counters FORCE ROW LEVEL SECURITY;
CREATE POLICY usage_counters_tenant_select ON usage_counters FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()));
-- For app.count_usage.
CREATE POLICY usage_counters_owner_select ON usage_counters FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY usage_counters_owner_insert ON usage_counters FOR INSERT TO CURRENT_USER
    WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY usage_counters_owner_update ON usage_counters FOR UPDATE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org())) WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY usage_counters_system_select ON usage_counters FOR SELECT TO kijko_system USING (true);
CREATE POLICY usage_counters_system_delete ON usage_counters FOR DELETE TO kijko_system USING (true);
GRANT SELECT ON usage_counters TO kijko_tenant;
GRANT SELECT, DELETE ON usage_counters TO kijko_system;

-- Checks and counts in one statement: whoever comes second waits for the first, and is counted after them or not at all.
-- Should the transaction not commit, nothing was counted. A negative limit is none.
CREATE FUNCTION app.count_usage(
    p_metric text, p_period date, p_amount bigint, p_limit bigint, OUT used bigint, OUT admitted boolean
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_limit < 0 OR p_amount <= p_limit THEN
        INSERT INTO public.usage_counters AS c (organization_id, metric, period, used)
        VALUES (app.current_org(), p_metric, p_period, p_amount)
            ON CONFLICT ON CONSTRAINT usage_counters_pkey DO UPDATE SET used = c.used + excluded.used
            WHERE p_limit < 0 OR c.used + excluded.used <= p_limit
        RETURNING c.used INTO used;
    END IF;
    admitted := used IS NOT NULL;
    IF NOT admitted THEN
        SELECT c.used INTO used FROM public.usage_counters c
         WHERE c.organization_id = app.current_org() AND c.metric = p_metric AND c.period = p_period;
        used := coalesce(used, 0);
    END IF;
END
$$;
GRANT EXECUTE ON FUNCTION app.count_usage TO kijko_tenant;

-- Runs that leave no history: tests. They wait and run as executions do, and are gone an hour after their end. Nothing
-- counts them but the limit of active runs.
CREATE TABLE skill_transient_runs (
    organization_id  uuid        NOT NULL DEFAULT app.current_org(),
    id               uuid        NOT NULL,
    user_id          uuid        NOT NULL DEFAULT app.current_user_id(),
    kind             text        NOT NULL DEFAULT 'test',
    -- What the model is asked, with nothing left to fill in; goes when the run ends.
    payload          jsonb,
    -- What came of it, as its owner sees it.
    result           jsonb,
    status           text        NOT NULL DEFAULT 'pending',
    created_at       timestamptz NOT NULL,
    started_at       timestamptz,
    -- A worker that stops renewing this is taken for dead.
    lease_expires_at timestamptz,
    expires_at       timestamptz NOT NULL,
    CONSTRAINT skill_transient_runs_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT skill_transient_runs_organization_id_user_id_fkey
        FOREIGN KEY (organization_id, user_id) REFERENCES organization_members (organization_id, user_id)
        ON DELETE CASCADE,
    CONSTRAINT skill_transient_runs_kind_check CHECK (kind IN ('test')),
    CONSTRAINT skill_transient_runs_status_check CHECK (status IN ('pending', 'running', 'completed', 'failed')),
    CONSTRAINT skill_transient_runs_ended_check CHECK ((status IN ('completed', 'failed')) = (result IS NOT NULL)),
    CONSTRAINT skill_transient_runs_payload_check CHECK ((result IS NULL) = (payload IS NOT NULL)),
    CONSTRAINT skill_transient_runs_running_check CHECK ((status = 'running') = (lease_expires_at IS NOT NULL))
);
CREATE INDEX skill_transient_runs_organization_id_user_id_idx ON skill_transient_runs (organization_id, user_id);
-- For the sweep over all tenants.
CREATE INDEX skill_transient_runs_sweep_idx ON skill_transient_runs (status, lease_expires_at, created_at)
    WHERE status IN ('pending', 'running');
CREATE INDEX skill_transient_runs_expires_at_idx ON skill_transient_runs (expires_at);

ALTER TABLE skill_transient_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE skill_transient_runs FORCE ROW LEVEL SECURITY;
CREATE POLICY skill_transient_runs_tenant_select ON skill_transient_runs FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY skill_transient_runs_tenant_insert ON skill_transient_runs FOR INSERT TO kijko_tenant
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY skill_transient_runs_tenant_update ON skill_transient_runs FOR UPDATE TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()))
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
-- The whole organisation, because its backlog decides the priority of its next job.
CREATE POLICY skill_transient_runs_owner_select ON skill_transient_runs FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
-- The sweep sees which runs are active, and whose; the periodic clean-up, which are over.
CREATE POLICY skill_transient_runs_system_select ON skill_transient_runs FOR SELECT TO kijko_system USING (true);
CREATE POLICY skill_transient_runs_system_delete ON skill_transient_runs FOR DELETE TO kijko_system
    USING (status IN ('completed', 'failed'));
GRANT SELECT ON skill_transient_runs TO kijko_tenant;
GRANT INSERT (id, payload, created_at, expires_at) ON skill_transient_runs TO kijko_tenant;
GRANT UPDATE (payload, result, status, started_at, lease_expires_at, expires_at) ON skill_transient_runs TO kijko_tenant;
GRANT SELECT (organization_id, user_id, id, status, created_at, lease_expires_at, expires_at)
    ON skill_transient_runs TO kijko_system;
GRANT DELETE ON skill_transient_runs TO kijko_system;

CREATE FUNCTION app.transient_run_job_key(p_organization_id uuid, p_id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN p_organization_id::text || ':test:' || p_id::text;
GRANT EXECUTE ON FUNCTION app.transient_run_job_key TO kijko_system;

-- As app.enqueue_execution.
CREATE FUNCTION app.enqueue_transient_run(p_id uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_backlog bigint;
BEGIN
    PERFORM FROM public.skill_transient_runs
      WHERE organization_id = app.current_org() AND user_id = app.current_user_id() AND id = p_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the caller has no transient run % to enqueue', p_id USING ERRCODE = 'no_data_found';
    END IF;
    SELECT (SELECT count(*) FROM public.skill_executions
             WHERE organization_id = app.current_org() AND status IN ('pending', 'running'))
         + (SELECT count(*) FROM public.skill_transient_runs
             WHERE organization_id = app.current_org() AND status IN ('pending', 'running')) INTO v_backlog;
    PERFORM graphile_worker.add_jobs(ARRAY[ROW(
        'kijko',
        pg_catalog.json_build_object(
            'kind', 'run_test', 'organizationId', app.current_org(),
            'userId', app.current_user_id(), 'testRunId', 'test-' || p_id::text),
        NULL, NULL, 25::smallint,
        app.transient_run_job_key(app.current_org(), p_id),
        least(v_backlog, 32000)::smallint, NULL)::graphile_worker.job_spec], true);
END
$$;
GRANT EXECUTE ON FUNCTION app.enqueue_transient_run TO kijko_tenant;
