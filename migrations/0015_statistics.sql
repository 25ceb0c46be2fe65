-- Statistics: what the executions of a person add up to, kept while they end, so that nobody ever counts a million rows.
--
-- The rows that exist are the truth. Every statement that makes an ended execution come, change or go (a run ends, its
-- cost becomes known later, its skill is deleted, it is cleaned up) adds the difference here, in its own transaction:
-- triggers see to it, so no function can forget, and a bulk load is counted by its statement.
--
-- The differences are added as new rows and never as updates. An updated counter would be a lock that everybody who ends
-- a run of that hour holds until the commit, and a deadlock with the deletion of a skill, which locks executions and
-- counters the other way round than the cost that becomes known. Rows of one key add up whether there is one or many; a
-- worker merges them now and then (adapters/postgres/statistics.rs), and nothing but speed depends on it.
--
-- Waiting and running executions are not in here. They are few, and are counted where they are.

CREATE TABLE execution_statistics (
    organization_id uuid        NOT NULL DEFAULT app.current_org(),
    user_id         uuid        NOT NULL DEFAULT app.current_user_id(),
    -- hour: of all skills and of none, by the hour in which they were asked for. skill_hour: of one skill.
    -- skill: of one skill, whenever; without it, comparing ten thousand skills would read every hour of each.
    grain           text        NOT NULL,
    -- Nothing where the grain has none: no key column is NULL, or an index could not find it.
    skill_id        uuid        NOT NULL,
    hour            timestamptz NOT NULL,
    execution_type  text        NOT NULL,
    status          text        NOT NULL,
    id              bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    -- Below zero for what changed or went.
    executions      bigint      NOT NULL,
    tokens          bigint      NOT NULL,
    cost_cents      bigint      NOT NULL,
    duration_ms     bigint      NOT NULL,
    -- Executions with a duration, and with one above zero: averages want the one or the other.
    timed           bigint      NOT NULL,
    measured        bigint      NOT NULL,
    -- Not merged yet.
    is_new          boolean     NOT NULL DEFAULT true,
    CONSTRAINT execution_statistics_pkey
        PRIMARY KEY (organization_id, user_id, grain, skill_id, hour, execution_type, status, id),
    CONSTRAINT execution_statistics_grain_check CHECK (
        CASE grain WHEN 'hour' THEN skill_id = '00000000-0000-0000-0000-000000000000' AND hour > '-infinity'
                   WHEN 'skill_hour' THEN hour > '-infinity'
                   WHEN 'skill' THEN hour = '-infinity'
                   ELSE false END),
    CONSTRAINT execution_statistics_execution_type_check
        CHECK (execution_type IN ('manual', 'habit', 'reflex', 'api')),
    CONSTRAINT execution_statistics_status_check CHECK (status IN ('completed', 'failed', 'cancelled'))
);
-- Many skills over some days, without a look at the table.
CREATE INDEX execution_statistics_skills_idx ON execution_statistics (organization_id, user_id, hour)
    INCLUDE (skill_id, execution_type, status, executions, tokens, cost_cents, duration_ms, timed)
    WHERE grain = 'skill_hour';
-- Whose executions are old, over all organisations.
CREATE INDEX execution_statistics_hour_idx ON execution_statistics (hour, organization_id, user_id)
    WHERE grain = 'hour';
CREATE INDEX execution_statistics_is_new_idx ON execution_statistics (organization_id, user_id) WHERE is_new;

ALTER TABLE execution_statistics ENABLE ROW LEVEL SECURITY;
ALTER TABLE execution_statistics FORCE ROW LEVEL SECURITY;
CREATE POLICY execution_statistics_tenant_select ON execution_statistics FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
-- For app.count_executions.
CREATE POLICY execution_statistics_owner_insert ON execution_statistics FOR INSERT TO CURRENT_USER
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
-- Merges, for everybody, and looks whose executions are old.
CREATE POLICY execution_statistics_system_select ON execution_statistics FOR SELECT TO kijko_system USING (true);
CREATE POLICY execution_statistics_system_insert ON execution_statistics FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY execution_statistics_system_delete ON execution_statistics FOR DELETE TO kijko_system USING (true);
GRANT SELECT ON execution_statistics TO kijko_tenant;
GRANT SELECT, INSERT, DELETE ON execution_statistics TO kijko_system;

-- Adds (1) or takes away (-1) the ended executions among those that a statement changed: as the owner, who alone may
-- write, and in the context of whoever the executions belong to, so that the policy above holds here too. Only these
-- triggers can run this: nobody else may, or they could count what never was.
CREATE FUNCTION app.count_executions() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_sign constant integer := TG_ARGV[0];
    v_org constant text := current_setting('app.current_org_id', true);
    v_user constant text := current_setting('app.current_user_id', true);
    v_owner record;
BEGIN
    FOR v_owner IN SELECT DISTINCT organization_id, user_id FROM changed
                    WHERE status IN ('completed', 'failed', 'cancelled') LOOP
        PERFORM set_config('app.current_org_id', v_owner.organization_id::text, true),
                set_config('app.current_user_id', v_owner.user_id::text, true);
        INSERT INTO public.execution_statistics (grain, skill_id, hour, execution_type, status,
                                                 executions, tokens, cost_cents, duration_ms, timed, measured)
        SELECT CASE grouping(e.skill_id, h.hour) WHEN 2 THEN 'hour' WHEN 0 THEN 'skill_hour' ELSE 'skill' END,
               coalesce(e.skill_id, '00000000-0000-0000-0000-000000000000'), coalesce(h.hour, '-infinity'),
               e.execution_type, e.status,
               v_sign * count(*),
               v_sign * coalesce(sum(e.prompt_tokens + e.completion_tokens), 0),
               v_sign * coalesce(sum(e.cost_cents), 0),
               v_sign * coalesce(sum(e.duration_ms), 0),
               v_sign * count(e.duration_ms),
               v_sign * count(*) FILTER (WHERE e.duration_ms > 0)
          FROM changed e, LATERAL (SELECT date_trunc('hour', e.executed_at, 'UTC') AS hour) h
         WHERE e.organization_id = v_owner.organization_id AND e.user_id = v_owner.user_id
           AND e.status IN ('completed', 'failed', 'cancelled')
         GROUP BY e.execution_type, e.status, GROUPING SETS ((h.hour), (e.skill_id, h.hour), (e.skill_id))
        -- What a deleted skill did belongs to no skill any more.
        HAVING grouping(e.skill_id) = 1 OR e.skill_id IS NOT NULL;
    END LOOP;
    IF FOUND THEN
        PERFORM set_config('app.current_org_id', coalesce(v_org, ''), true),
                set_config('app.current_user_id', coalesce(v_user, ''), true);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER skill_executions_count_inserted AFTER INSERT ON skill_executions
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION app.count_executions('1');
CREATE TRIGGER skill_executions_count_before_update AFTER UPDATE ON skill_executions
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION app.count_executions('-1');
CREATE TRIGGER skill_executions_count_after_update AFTER UPDATE ON skill_executions
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION app.count_executions('1');
CREATE TRIGGER skill_executions_count_deleted AFTER DELETE ON skill_executions
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION app.count_executions('-1');

-- Percentiles are exact: the duration at a place in this order, of all skills or of one.
CREATE INDEX skill_executions_duration_ms_idx ON skill_executions (organization_id, user_id, duration_ms)
    WHERE status = 'completed' AND duration_ms > 0;
CREATE INDEX skill_executions_skill_id_duration_ms_idx
    ON skill_executions (organization_id, skill_id, user_id, duration_ms)
    WHERE status = 'completed' AND duration_ms > 0;

-- Deletes ended executions of the caller that are older than `p_before`, the oldest first and at most `p_limit`; says
-- how many, and how long they were as JSON. What somebody else is about to delete is left to them. The policies of the
-- owner hold it to the caller: what one may lock here is one's own, and so is what one may delete.
CREATE POLICY skill_executions_owner_delete ON skill_executions FOR DELETE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE FUNCTION app.delete_executions(p_before timestamptz, p_limit integer, OUT deleted bigint, OUT bytes bigint)
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH old AS (
        SELECT id FROM public.skill_executions
         WHERE executed_at < p_before AND status IN ('completed', 'failed', 'cancelled')
         ORDER BY executed_at, id LIMIT p_limit FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM public.skill_executions e USING old WHERE e.id = old.id
        RETURNING octet_length(row_to_json(e)::text) AS bytes
    )
    SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM gone;
$$;
GRANT EXECUTE ON FUNCTION app.delete_executions TO kijko_tenant;
