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
