-- What a library of skills keeps beside the skills: the definitions they had before.

-- A definition is what decides the prompt that a run sends and who answers it. It never changes unnoticed: a change
-- makes the next version, and the one before is kept here.
--
-- The current version stands in the skill alone, so that making a skill and renaming it cost what they did before, and
-- no definition is stored twice. That none is lost does not depend on the program: the trigger keeps the old one with
-- any statement that replaces it, and nobody was granted to write, change or remove a version.
CREATE TABLE skill_versions (
    organization_id uuid        NOT NULL,
    skill_id        uuid        NOT NULL,
    number          integer     NOT NULL,
    -- Whose skill it is. Nobody edits the skills of others, so this is also who wrote the version.
    user_id         uuid        NOT NULL,
    prompt_template text        NOT NULL,
    model           text        NOT NULL,
    model_is_default boolean    NOT NULL DEFAULT false,
    fallback_model  text,
    parameters      jsonb       NOT NULL,
    input_schema    jsonb,
    created_at      timestamptz NOT NULL,
    CONSTRAINT skill_versions_pkey PRIMARY KEY (organization_id, skill_id, number),
    CONSTRAINT skill_versions_organization_id_skill_id_fkey
        FOREIGN KEY (organization_id, skill_id) REFERENCES skills (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT skill_versions_number_check CHECK (number >= 1)
);
ALTER TABLE skill_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE skill_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY skill_versions_tenant_select ON skill_versions FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
-- For the trigger.
CREATE POLICY skill_versions_owner_insert ON skill_versions FOR INSERT TO CURRENT_USER
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
GRANT SELECT ON skill_versions TO kijko_tenant;

-- Counts an edit, and keeps the definition that it replaces.
CREATE FUNCTION app.edit_skill() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    IF (NEW.prompt_template, NEW.model, NEW.model_is_default, NEW.fallback_model, NEW.parameters, NEW.input_schema)
       IS DISTINCT FROM
       (OLD.prompt_template, OLD.model, OLD.model_is_default, OLD.fallback_model, OLD.parameters, OLD.input_schema) THEN
        INSERT INTO public.skill_versions (organization_id, skill_id, number, user_id, prompt_template, model,
                                           model_is_default, fallback_model, parameters, input_schema, created_at)
        VALUES (OLD.organization_id, OLD.id, OLD.version, OLD.user_id, OLD.prompt_template, OLD.model,
                OLD.model_is_default, OLD.fallback_model, OLD.parameters, OLD.input_schema, coalesce(OLD.versioned_at, OLD.created_at));
        NEW.version := OLD.version + 1;
        NEW.versioned_at := NEW.updated_at;
    END IF;
    RETURN NEW;
END
$$;
-- The columns that people edit; what is counted on a skill is none of them.
CREATE TRIGGER skills_edit
    BEFORE UPDATE OF name, description, category, prompt_template, model, model_is_default, fallback_model, parameters,
                     input_schema, output_format, is_active
    ON skills FOR EACH ROW EXECUTE FUNCTION app.edit_skill();
