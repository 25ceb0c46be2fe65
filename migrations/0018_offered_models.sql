-- Models that programs serve, which run Kijko in process: known to every process, so that any of them can accept a run
-- whose job only a worker of that program takes. They belong to the installation, like its catalogue.
CREATE TABLE offered_models (
    name                    text        NOT NULL,
    -- US dollars, for what a run may cost; it costs what the program asks that answers.
    input_cost_per_million  numeric     NOT NULL,
    output_cost_per_million numeric     NOT NULL,
    max_output_tokens       integer     NOT NULL,
    -- A program that lives says so again and again.
    seen_at                 timestamptz NOT NULL,
    CONSTRAINT offered_models_pkey PRIMARY KEY (name),
    CONSTRAINT offered_models_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT offered_models_costs_check CHECK (input_cost_per_million >= 0 AND output_cost_per_million >= 0),
    CONSTRAINT offered_models_max_output_tokens_check CHECK (max_output_tokens > 0)
);
CREATE INDEX offered_models_seen_at_idx ON offered_models (seen_at);
ALTER TABLE offered_models ENABLE ROW LEVEL SECURITY;
ALTER TABLE offered_models FORCE ROW LEVEL SECURITY;
-- Whatever organisation it is, but never without one.
CREATE POLICY offered_models_tenant_select ON offered_models FOR SELECT TO kijko_tenant
    USING ((SELECT app.current_org()) IS NOT NULL);
CREATE POLICY offered_models_system_select ON offered_models FOR SELECT TO kijko_system USING (true);
CREATE POLICY offered_models_system_insert ON offered_models FOR INSERT TO kijko_system WITH CHECK (true);
CREATE POLICY offered_models_system_update ON offered_models FOR UPDATE TO kijko_system
    USING (true) WITH CHECK (true);
CREATE POLICY offered_models_system_delete ON offered_models FOR DELETE TO kijko_system USING (true);
GRANT SELECT ON offered_models TO kijko_tenant;
GRANT SELECT, INSERT, DELETE ON offered_models TO kijko_system;
GRANT UPDATE (input_cost_per_million, output_cost_per_million, max_output_tokens, seen_at)
    ON offered_models TO kijko_system;
