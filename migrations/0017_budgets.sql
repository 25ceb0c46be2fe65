-- What an organisation used of its plan and its money: counters of usage, runs that leave no history, and budgets.

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
    -- Which skill's budget it draws on; that skill may be gone.
    skill_id         uuid,
    reserved_usd     numeric(14,8),
    cost_usd         numeric(14,8),
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
GRANT INSERT (id, payload, skill_id, reserved_usd, created_at, expires_at) ON skill_transient_runs TO kijko_tenant;
GRANT UPDATE (payload, result, status, reserved_usd, cost_usd, started_at, lease_expires_at, expires_at)
    ON skill_transient_runs TO kijko_tenant;
GRANT SELECT (organization_id, user_id, id, status, created_at, lease_expires_at, expires_at)
    ON skill_transient_runs TO kijko_system;
GRANT DELETE ON skill_transient_runs TO kijko_system;

CREATE FUNCTION app.transient_run_job_key(p_organization_id uuid, p_id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN p_organization_id::text || ':test:' || p_id::text;
GRANT EXECUTE ON FUNCTION app.transient_run_job_key TO kijko_system;

-- As app.enqueue_execution.
CREATE FUNCTION app.enqueue_transient_run(p_id uuid, p_model text) RETURNS void
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
        least(v_backlog, 32000)::smallint,
        CASE WHEN p_model IS NOT NULL THEN ARRAY[p_model] END)::graphile_worker.job_spec], true);
END
$$;
GRANT EXECUTE ON FUNCTION app.enqueue_transient_run TO kijko_tenant;

-- How much an organisation, or one of its skills, may spend in a calendar month (UTC). None by default.
CREATE TABLE budgets (
    organization_id uuid          NOT NULL DEFAULT app.current_org(),
    -- The organisation itself, or one of its skills.
    subject_id      uuid          NOT NULL,
    skill_id        uuid,
    limit_usd       numeric(14,8) NOT NULL,
    updated_at      timestamptz   NOT NULL,
    CONSTRAINT budgets_pkey PRIMARY KEY (organization_id, subject_id),
    CONSTRAINT budgets_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT budgets_organization_id_skill_id_fkey
        FOREIGN KEY (organization_id, skill_id) REFERENCES skills (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT budgets_subject_check CHECK (subject_id = coalesce(skill_id, organization_id)),
    CONSTRAINT budgets_limit_usd_check CHECK (limit_usd >= 0)
);
CREATE INDEX budgets_skill_id_idx ON budgets (organization_id, skill_id);

-- What was spent in a month, and what is held back for runs that have not ended. Kept whether or not there is a budget,
-- so that one that is set in the middle of a month knows what is gone. A run belongs to the month in which it was asked
-- for, whenever it ends.
CREATE TABLE spending (
    organization_id   uuid          NOT NULL DEFAULT app.current_org(),
    subject_id        uuid          NOT NULL,
    skill_id          uuid,
    month             date          NOT NULL,
    spent_usd         numeric(18,8) NOT NULL DEFAULT 0,
    reserved_usd      numeric(18,8) NOT NULL DEFAULT 0,
    -- The share of the budget that was reached, and that was announced: 0, 80 or 100.
    noted_percent     smallint      NOT NULL DEFAULT 0,
    announced_percent smallint      NOT NULL DEFAULT 0,
    CONSTRAINT spending_pkey PRIMARY KEY (organization_id, subject_id, month),
    CONSTRAINT spending_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT spending_organization_id_skill_id_fkey
        FOREIGN KEY (organization_id, skill_id) REFERENCES skills (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT spending_subject_check CHECK (subject_id = coalesce(skill_id, organization_id)),
    CONSTRAINT spending_usd_check CHECK (spent_usd >= 0 AND reserved_usd >= 0),
    CONSTRAINT spending_percent_check CHECK (announced_percent <= noted_percent)
);
CREATE INDEX spending_skill_id_idx ON spending (organization_id, skill_id);

-- Sums, which the whole organisation may see; whose skill it is, the program asks. They are changed by the functions
-- below alone.
ALTER TABLE budgets ENABLE ROW LEVEL SECURITY;
ALTER TABLE budgets FORCE ROW LEVEL SECURITY;
CREATE POLICY budgets_tenant_select ON budgets FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY budgets_owner_select ON budgets FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY budgets_owner_insert ON budgets FOR INSERT TO CURRENT_USER
    WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY budgets_owner_update ON budgets FOR UPDATE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org())) WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY budgets_owner_delete ON budgets FOR DELETE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY budgets_system_select ON budgets FOR SELECT TO kijko_system USING (true);
GRANT SELECT ON budgets TO kijko_tenant, kijko_system;

ALTER TABLE spending ENABLE ROW LEVEL SECURITY;
ALTER TABLE spending FORCE ROW LEVEL SECURITY;
CREATE POLICY spending_tenant_select ON spending FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY spending_owner_select ON spending FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY spending_owner_insert ON spending FOR INSERT TO CURRENT_USER
    WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY spending_owner_update ON spending FOR UPDATE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org())) WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY spending_system_select ON spending FOR SELECT TO kijko_system USING (true);
CREATE POLICY spending_system_update ON spending FOR UPDATE TO kijko_system USING (true) WITH CHECK (true);
GRANT SELECT ON spending TO kijko_tenant, kijko_system;
GRANT UPDATE (announced_percent) ON spending TO kijko_system;

-- Everybody locks in the same order: the organisation's row, the skill's, the run, the skill. So nobody waits for
-- somebody who waits for them, also where one transaction ends many runs.

-- Sets the month's spending aside for changes, and makes the rows that are not there yet.
CREATE FUNCTION app.hold_spending(p_skill_id uuid, p_month date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.spending AS s (organization_id, subject_id, month)
    VALUES (app.current_org(), app.current_org(), p_month)
        ON CONFLICT ON CONSTRAINT spending_pkey DO UPDATE SET spent_usd = s.spent_usd;
    -- A skill that is being deleted at this moment is waited for, and has no row then.
    INSERT INTO public.spending AS s (organization_id, subject_id, skill_id, month)
    SELECT organization_id, id, id, p_month FROM public.skills
     WHERE organization_id = app.current_org() AND id = p_skill_id FOR KEY SHARE
        ON CONFLICT ON CONSTRAINT spending_pkey DO UPDATE SET spent_usd = s.spent_usd;
END
$$;

-- Holds back what a run may cost at most, from the budget of the organisation and that of the skill; or, when one of
-- them has not so much left, says which and changes nothing.
CREATE FUNCTION app.reserve_cost(
    p_skill_id uuid, p_month date, p_amount numeric, OUT admitted boolean, OUT of_skill boolean, OUT allowed numeric,
    OUT used numeric
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.hold_spending(p_skill_id, p_month);
    SELECT s.skill_id IS NOT NULL, b.limit_usd, s.spent_usd + s.reserved_usd INTO of_skill, allowed, used
      FROM public.spending s
      JOIN public.budgets b ON b.organization_id = s.organization_id AND b.subject_id = s.subject_id
     WHERE s.organization_id = app.current_org() AND s.subject_id IN (app.current_org(), p_skill_id)
       AND s.month = p_month AND s.spent_usd + s.reserved_usd + p_amount > b.limit_usd
     ORDER BY s.skill_id NULLS FIRST LIMIT 1;
    admitted := NOT FOUND;
    IF admitted THEN
        UPDATE public.spending s SET reserved_usd = s.reserved_usd + p_amount
         WHERE s.organization_id = app.current_org() AND s.subject_id IN (app.current_org(), p_skill_id)
           AND s.month = p_month;
    END IF;
END
$$;
GRANT EXECUTE ON FUNCTION app.reserve_cost TO kijko_tenant;

-- Gives back what was held back for a run, and takes what it cost instead. Notes each share of a budget that was
-- reached by this, for a job to announce.
CREATE FUNCTION app.settle_cost(p_skill_id uuid, p_month date, p_reserved numeric, p_cost numeric) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_subject uuid;
BEGIN
    -- In the order in which everybody locks. Here nothing is made: the skill of a test may be gone.
    PERFORM FROM public.spending s
      WHERE s.organization_id = app.current_org() AND s.subject_id = app.current_org() AND s.month = p_month FOR UPDATE;
    PERFORM FROM public.spending s
      WHERE s.organization_id = app.current_org() AND s.subject_id = p_skill_id AND s.month = p_month FOR UPDATE;
    -- A run must be able to end, whatever somebody did to the sums by hand.
    UPDATE public.spending s
       SET reserved_usd = greatest(0, s.reserved_usd - p_reserved), spent_usd = s.spent_usd + p_cost
     WHERE s.organization_id = app.current_org() AND s.subject_id IN (app.current_org(), p_skill_id)
       AND s.month = p_month;
    FOR v_subject IN
        UPDATE public.spending s SET noted_percent = app.reached_percent(s.spent_usd, b.limit_usd)
          FROM public.budgets b
         WHERE s.organization_id = app.current_org() AND s.subject_id IN (app.current_org(), p_skill_id)
           AND s.month = p_month AND b.organization_id = s.organization_id AND b.subject_id = s.subject_id
           AND app.reached_percent(s.spent_usd, b.limit_usd) > s.noted_percent
        RETURNING s.subject_id
    LOOP
        PERFORM graphile_worker.add_jobs(ARRAY[ROW(
            'kijko',
            pg_catalog.json_build_object('kind', 'announce_budget', 'organizationId', app.current_org(),
                                         'subjectId', v_subject, 'month', p_month),
            NULL, NULL, 25::smallint, format('%s:budget:%s:%s', app.current_org(), v_subject, p_month),
            0::smallint, NULL)::graphile_worker.job_spec], true);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION app.settle_cost TO kijko_tenant;

CREATE FUNCTION app.reached_percent(p_spent numeric, p_limit numeric) RETURNS smallint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN p_spent >= p_limit THEN 100 WHEN p_spent * 100 >= p_limit * 80 THEN 80 ELSE 0 END::smallint;

-- The month that a run belongs to.
CREATE FUNCTION app.month_of(p_moment timestamptz) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (pg_catalog.date_trunc('month', p_moment AT TIME ZONE 'UTC'))::date;

-- For whoever is about to end a run: says what is held back for it, which nobody changes from now on.
CREATE FUNCTION app.hold_execution_costs(p_id uuid) RETURNS numeric
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.hold_spending(e.skill_id, app.month_of(e.executed_at)) FROM public.skill_executions e
      WHERE e.organization_id = app.current_org() AND e.id = p_id AND e.user_id = app.current_user_id();
    RETURN (SELECT coalesce(e.reserved_usd, 0) FROM public.skill_executions e
             WHERE e.organization_id = app.current_org() AND e.id = p_id);
END
$$;

-- For whoever just ended a run, or wrote down what an ended one had cost.
CREATE FUNCTION app.settle_execution(p_id uuid, p_reserved numeric) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- What the organisation's own key paid for is no cost of ours.
    PERFORM app.settle_cost(e.skill_id, app.month_of(e.executed_at), p_reserved,
                            CASE WHEN e.key_source = 'own' THEN 0 ELSE coalesce(e.cost_usd, 0) END)
       FROM public.skill_executions e WHERE e.organization_id = app.current_org() AND e.id = p_id;
END
$$;

-- A skill may have become dearer while its run waited: holds back the difference, too. False when a budget has not so
-- much left, or the run does not wait any more.
CREATE FUNCTION app.cover_execution(p_id uuid, p_amount numeric) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_run public.skill_executions;
    v_admitted boolean;
BEGIN
    PERFORM app.hold_execution_costs(p_id);
    SELECT * INTO v_run FROM public.skill_executions
     WHERE organization_id = app.current_org() AND id = p_id AND status = 'pending' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF p_amount <= coalesce(v_run.reserved_usd, 0) THEN
        RETURN true;
    END IF;
    SELECT r.admitted INTO v_admitted
      FROM app.reserve_cost(v_run.skill_id, app.month_of(v_run.executed_at),
                            p_amount - coalesce(v_run.reserved_usd, 0)) r;
    IF v_admitted THEN
        UPDATE public.skill_executions SET reserved_usd = p_amount
         WHERE organization_id = app.current_org() AND id = p_id;
    END IF;
    RETURN v_admitted;
END
$$;
GRANT EXECUTE ON FUNCTION app.cover_execution TO kijko_tenant;

-- Sets a budget, or with NULL takes it away: that of the organisation by its owners and administrators, that of a skill
-- by whose skill it is. True when the caller may. What was announced counts for the limit that it was announced of, so
-- with another one announcing begins anew.
CREATE FUNCTION app.set_budget(p_skill_id uuid, p_limit_usd numeric, p_month date, p_now timestamptz) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_subject uuid := coalesce(p_skill_id, app.current_org());
BEGIN
    IF p_skill_id IS NULL THEN
        IF NOT app.acts_as('{owner,admin}') THEN
            RETURN false;
        END IF;
    ELSE
        PERFORM FROM public.skills
          WHERE organization_id = app.current_org() AND id = p_skill_id AND user_id = app.current_user_id();
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END IF;
    PERFORM app.hold_spending(p_skill_id, p_month);
    IF p_limit_usd IS NULL THEN
        DELETE FROM public.budgets WHERE organization_id = app.current_org() AND subject_id = v_subject;
    ELSE
        INSERT INTO public.budgets (organization_id, subject_id, skill_id, limit_usd, updated_at)
        VALUES (app.current_org(), v_subject, p_skill_id, p_limit_usd, p_now)
            ON CONFLICT ON CONSTRAINT budgets_pkey
            DO UPDATE SET limit_usd = excluded.limit_usd, updated_at = excluded.updated_at;
    END IF;
    UPDATE public.spending s
       SET noted_percent = r.reached, announced_percent = r.reached
      FROM (SELECT coalesce(app.reached_percent(spent_usd, p_limit_usd), 0)::smallint AS reached FROM public.spending
             WHERE organization_id = app.current_org() AND subject_id = v_subject AND month = p_month) r
     WHERE s.organization_id = app.current_org() AND s.subject_id = v_subject AND s.month = p_month;
    RETURN true;
END
$$;
GRANT EXECUTE ON FUNCTION app.set_budget TO kijko_tenant;
