-- Reusable prompts. Private to their owner inside an organisation.

CREATE TABLE skills (
    organization_id  uuid         NOT NULL DEFAULT app.current_org(),
    id               uuid         NOT NULL,
    user_id          uuid         NOT NULL DEFAULT app.current_user_id(),
    name             text         NOT NULL,
    description      text,
    category         text         NOT NULL,
    prompt_template  text         NOT NULL,
    model            text         NOT NULL,
    -- Nobody named one: the plan chooses when the skill runs.
    model_is_default boolean      NOT NULL DEFAULT false,
    -- Stands in when the provider of the first is down.
    fallback_model   text,
    parameters       jsonb        NOT NULL,
    input_schema     jsonb,
    output_format    text         NOT NULL,
    is_active        boolean      NOT NULL,
    -- Written by app.end_execution alone.
    execution_count  integer      NOT NULL DEFAULT 0,
    last_executed_at timestamptz,
    -- Which definition this is, counted from 1; those before it are in skill_versions.
    version          integer      NOT NULL DEFAULT 1,
    -- When it became so; NULL for the first, which is as old as the skill.
    versioned_at     timestamptz,
    -- Counts edits of any kind, which runs and stars are not: by it two editors notice each other.
    revision         bigint       NOT NULL DEFAULT 1,
    star_count       integer      NOT NULL DEFAULT 0,
    -- Reserved: no write path yet.
    rating           numeric(3,2),
    rating_count     integer      NOT NULL DEFAULT 0,
    created_at       timestamptz  NOT NULL,
    updated_at       timestamptz  NOT NULL,
    CONSTRAINT skills_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT skills_organization_id_user_id_fkey
        FOREIGN KEY (organization_id, user_id) REFERENCES organization_members (organization_id, user_id),
    CONSTRAINT skills_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    CONSTRAINT skills_description_check CHECK (char_length(description) BETWEEN 1 AND 500),
    CONSTRAINT skills_category_check CHECK (category IN
        ('analysis', 'generation', 'transformation', 'communication', 'automation', 'custom')),
    CONSTRAINT skills_prompt_template_check CHECK (char_length(prompt_template) BETWEEN 20 AND 10000),
    CONSTRAINT skills_model_check CHECK (char_length(model) BETWEEN 1 AND 100),
    CONSTRAINT skills_fallback_model_check CHECK (char_length(fallback_model) BETWEEN 1 AND 100),
    CONSTRAINT skills_parameters_check CHECK (jsonb_typeof(parameters) = 'object'),
    CONSTRAINT skills_input_schema_check CHECK (jsonb_typeof(input_schema) = 'array'),
    CONSTRAINT skills_output_format_check CHECK (output_format IN ('markdown', 'json', 'text', 'html', 'code')),
    CONSTRAINT skills_execution_count_check CHECK (execution_count >= 0),
    CONSTRAINT skills_version_check CHECK (version >= 1 AND (version = 1) = (versioned_at IS NULL)),
    CONSTRAINT skills_star_count_check CHECK (star_count >= 0)
);
CREATE UNIQUE INDEX skills_organization_id_user_id_name_key ON skills (organization_id, user_id, lower(name));
-- One for each order in which the library can be read.
CREATE INDEX skills_updated_at_idx ON skills (organization_id, user_id, updated_at DESC, id);
CREATE INDEX skills_created_at_idx ON skills (organization_id, user_id, created_at DESC, id);
CREATE INDEX skills_execution_count_idx ON skills (organization_id, user_id, execution_count DESC, id);
CREATE INDEX skills_star_count_idx ON skills (organization_id, user_id, star_count DESC, id);

ALTER TABLE skills ENABLE ROW LEVEL SECURITY;
ALTER TABLE skills FORCE ROW LEVEL SECURITY;
CREATE POLICY skills_tenant_select ON skills FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY skills_tenant_insert ON skills FOR INSERT TO kijko_tenant
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY skills_tenant_update ON skills FOR UPDATE TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()))
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY skills_tenant_delete ON skills FOR DELETE TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
-- The owner, for the SECURITY DEFINER functions, is held to the same rows.
CREATE POLICY skills_owner_select ON skills FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY skills_owner_update ON skills FOR UPDATE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()))
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));

GRANT SELECT, DELETE ON skills TO kijko_tenant;
GRANT INSERT (id, name, description, category, prompt_template, model, model_is_default, fallback_model, parameters,
              input_schema, output_format, is_active, created_at, updated_at) ON skills TO kijko_tenant;
GRANT UPDATE (name, description, category, prompt_template, model, model_is_default, fallback_model, parameters,
              input_schema, output_format, is_active, updated_at) ON skills TO kijko_tenant;
