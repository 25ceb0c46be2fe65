-- Runs of skills. The row is the truth about a run; the job that carries it is transport.

CREATE TABLE skill_executions (
    organization_id   uuid          NOT NULL DEFAULT app.current_org(),
    id                uuid          NOT NULL,
    user_id           uuid          NOT NULL DEFAULT app.current_user_id(),
    skill_id          uuid,
    -- The definition that ran; NULL until a worker took the run.
    skill_version     integer,
    execution_type    text          NOT NULL,
    reference_id      uuid,
    retry_of          uuid,
    input             jsonb         NOT NULL,
    status            text          NOT NULL DEFAULT 'pending',
    output            text,
    prompt_tokens     bigint,
    completion_tokens bigint,
    cost_cents        bigint,
    -- The exact amount, for billing; the cents are what people see.
    cost_usd          numeric(14,8),
    -- The model that was really called, and by whom it was answered.
    provider          text,
    model             text,
    -- The model that was asked for, where another answered: the stand-in of the skill, or the one of the plan.
    requested_model   text,
    -- Whose key paid: ours, or the organisation's own.
    key_source        text,
    attempts          smallint      NOT NULL DEFAULT 0,
    -- What the run may cost at most, as long as that is held back from budgets.
    reserved_usd      numeric(14,8),
    duration_ms       bigint,
    error_code        text,
    error_message     text,
    executed_at       timestamptz   NOT NULL,
    started_at        timestamptz,
    -- A worker that stops renewing this is taken for dead.
    lease_expires_at  timestamptz,
    completed_at      timestamptz,
    CONSTRAINT skill_executions_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT skill_executions_organization_id_user_id_fkey
        FOREIGN KEY (organization_id, user_id) REFERENCES organization_members (organization_id, user_id),
    CONSTRAINT skill_executions_organization_id_skill_id_fkey
        FOREIGN KEY (organization_id, skill_id) REFERENCES skills (organization_id, id) ON DELETE SET NULL (skill_id),
    CONSTRAINT skill_executions_execution_type_check CHECK (execution_type IN ('manual', 'habit', 'reflex', 'api')),
    CONSTRAINT skill_executions_status_check CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT skill_executions_input_check CHECK (jsonb_typeof(input) = 'object'),
    CONSTRAINT skill_executions_error_code_check CHECK (char_length(error_code) <= 50),
    CONSTRAINT skill_executions_error_message_check CHECK (char_length(error_message) <= 2000),
    CONSTRAINT skill_executions_terminal_check
        CHECK ((status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)),
    CONSTRAINT skill_executions_running_check
        CHECK ((status = 'running') = (lease_expires_at IS NOT NULL)),
    CONSTRAINT skill_executions_key_source_check CHECK (key_source IN ('platform', 'own')),
    CONSTRAINT skill_executions_tokens_check CHECK (prompt_tokens >= 0 AND completion_tokens >= 0),
    CONSTRAINT skill_executions_cost_check CHECK (cost_cents >= 0 AND cost_usd >= 0)
);
CREATE INDEX skill_executions_executed_at_idx
    ON skill_executions (organization_id, user_id, executed_at DESC, id DESC);
-- The skill leads, as its deletion wants it; with the user, a list needs nothing but the index to skip rows.
CREATE INDEX skill_executions_skill_id_idx
    ON skill_executions (organization_id, skill_id, user_id, executed_at DESC, id DESC);
CREATE INDEX skill_executions_execution_type_idx
    ON skill_executions (organization_id, user_id, execution_type, executed_at DESC, id DESC);
CREATE INDEX skill_executions_status_idx
    ON skill_executions (organization_id, user_id, status, executed_at DESC, id DESC);
-- Few runs are active at any moment, so both are small: for limits and fairness, and for the sweep over all tenants.
CREATE INDEX skill_executions_active_idx ON skill_executions (organization_id, user_id)
    WHERE status IN ('pending', 'running');
CREATE INDEX skill_executions_sweep_idx ON skill_executions (status, lease_expires_at, executed_at)
    WHERE status IN ('pending', 'running');

ALTER TABLE skill_executions ENABLE ROW LEVEL SECURITY;
ALTER TABLE skill_executions FORCE ROW LEVEL SECURITY;
-- History can be read and added to; only the functions below change it.
CREATE POLICY skill_executions_tenant_select ON skill_executions FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY skill_executions_tenant_insert ON skill_executions FOR INSERT TO kijko_tenant
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
-- The whole organisation, because its backlog decides the priority of its next job.
CREATE POLICY skill_executions_owner_select ON skill_executions FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY skill_executions_owner_update ON skill_executions FOR UPDATE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()))
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
-- The sweep sees which runs are active, and whose; nothing of what is in them.
CREATE POLICY skill_executions_system_select ON skill_executions FOR SELECT TO kijko_system
    USING (status IN ('pending', 'running'));
GRANT SELECT ON skill_executions TO kijko_tenant;
GRANT INSERT (id, skill_id, execution_type, reference_id, retry_of, input, reserved_usd, executed_at)
    ON skill_executions TO kijko_tenant;
GRANT SELECT (organization_id, user_id, id, status, executed_at, lease_expires_at)
    ON skill_executions TO kijko_system;

-- The state machine. Each transition is one conditional update: the first writer wins, the other is told.
-- pg_temp comes last in the path: first, as it does unless it is named, a tenant's temporary type called `uuid` would
-- take the place of the real one, and the check of that type would run as the owner.

-- pending -> running, with this version of the skill. True when this caller is the one who runs it.
CREATE FUNCTION app.claim_execution(
    p_id uuid, p_skill_version integer, p_now timestamptz, p_lease_expires_at timestamptz
) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.skill_executions
       SET status = 'running', skill_version = p_skill_version, started_at = p_now,
           lease_expires_at = p_lease_expires_at
     WHERE organization_id = app.current_org() AND id = p_id AND status = 'pending';
    RETURN FOUND;
END
$$;

-- Says that the worker lives. False when the run has ended in the meantime (cancelled, for one).
CREATE FUNCTION app.renew_execution(p_id uuid, p_lease_expires_at timestamptz) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.skill_executions SET lease_expires_at = p_lease_expires_at
     WHERE organization_id = app.current_org() AND id = p_id AND status = 'running';
    RETURN FOUND;
END
$$;

-- pending or running -> completed, failed or cancelled; counts a completed run on its skill, exactly once,
-- because only one caller can ever leave the expected status.
-- `p_lapsed_before` narrows it to runs whose lease ran out before that moment.
CREATE FUNCTION app.end_execution(
    p_id uuid, p_from text[], p_lapsed_before timestamptz, p_status text, p_now timestamptz, p_output text,
    p_prompt_tokens bigint, p_completion_tokens bigint, p_cost_cents bigint, p_cost_usd numeric,
    p_provider text, p_model text, p_requested_model text, p_key_source text, p_attempts smallint,
    p_error_code text, p_error_message text
) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_skill_id uuid;
    -- First, so that spending is locked before the run, as everywhere.
    v_reserved numeric := app.hold_execution_costs(p_id);
BEGIN
    UPDATE public.skill_executions
       SET status = p_status, completed_at = p_now, lease_expires_at = NULL, output = p_output,
           reserved_usd = NULL,
           prompt_tokens = p_prompt_tokens, completion_tokens = p_completion_tokens,
           cost_cents = p_cost_cents, cost_usd = p_cost_usd,
           provider = p_provider, model = p_model, requested_model = p_requested_model,
           key_source = p_key_source, attempts = p_attempts,
           error_code = p_error_code, error_message = p_error_message,
           -- A run that never started took no time, which is not the same as none.
           duration_ms = CASE WHEN started_at IS NOT NULL
                              THEN greatest(0, floor(extract(epoch FROM p_now - started_at) * 1000)) END
     WHERE organization_id = app.current_org() AND id = p_id
       AND status = ANY (p_from) AND status IN ('pending', 'running')
       AND (p_lapsed_before IS NULL OR lease_expires_at < p_lapsed_before)
    RETURNING skill_id INTO v_skill_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM app.settle_execution(p_id, v_reserved);
    IF p_status = 'completed' THEN
        UPDATE public.skills
           SET execution_count = execution_count + 1, last_executed_at = p_now, updated_at = p_now
         WHERE organization_id = app.current_org() AND id = v_skill_id;
    END IF;
    RETURN true;
END
$$;

-- What a call had cost whose run was ended by somebody else: cancelled, or taken for lost while it still went on.
CREATE FUNCTION app.record_usage(
    p_id uuid, p_prompt_tokens bigint, p_completion_tokens bigint, p_cost_cents bigint, p_cost_usd numeric,
    p_provider text, p_model text, p_requested_model text, p_key_source text, p_attempts smallint
) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.hold_execution_costs(p_id);
    UPDATE public.skill_executions
       SET prompt_tokens = p_prompt_tokens, completion_tokens = p_completion_tokens,
           cost_cents = p_cost_cents, cost_usd = p_cost_usd,
           provider = p_provider, model = p_model, requested_model = p_requested_model,
           key_source = p_key_source, attempts = p_attempts
     WHERE organization_id = app.current_org() AND id = p_id
       AND (status = 'cancelled' OR error_code = 'WORKER_LOST') AND attempts = 0 AND cost_usd IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM app.settle_execution(p_id, 0);
    RETURN true;
END
$$;

GRANT EXECUTE ON FUNCTION app.claim_execution, app.renew_execution, app.end_execution, app.record_usage
    TO kijko_tenant;
