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

-- Which skills somebody marked: their own, so far.
CREATE TABLE skill_stars (
    organization_id uuid        NOT NULL DEFAULT app.current_org(),
    user_id         uuid        NOT NULL DEFAULT app.current_user_id(),
    skill_id        uuid        NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT skill_stars_pkey PRIMARY KEY (organization_id, user_id, skill_id),
    CONSTRAINT skill_stars_organization_id_skill_id_fkey
        FOREIGN KEY (organization_id, skill_id) REFERENCES skills (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX skill_stars_skill_id_idx ON skill_stars (organization_id, skill_id);
CREATE INDEX skill_stars_created_at_idx ON skill_stars (organization_id, user_id, created_at DESC, skill_id);
ALTER TABLE skill_stars ENABLE ROW LEVEL SECURITY;
ALTER TABLE skill_stars FORCE ROW LEVEL SECURITY;
CREATE POLICY skill_stars_tenant_select ON skill_stars FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
-- For the function.
CREATE POLICY skill_stars_owner_select ON skill_stars FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY skill_stars_owner_insert ON skill_stars FOR INSERT TO CURRENT_USER
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY skill_stars_owner_delete ON skill_stars FOR DELETE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
GRANT SELECT ON skill_stars TO kijko_tenant;

-- Marks a skill, or takes the mark back, and says how many marks it has then. NULL when the caller has no such skill.
-- Nobody else writes stars, so the count is exact; and it touches none of the columns that people edit.
CREATE FUNCTION app.star_skill(p_skill_id uuid, p_starred boolean, p_now timestamptz) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_change integer;
    v_count integer;
BEGIN
    -- One after the other, and not while the skill is being deleted.
    PERFORM FROM public.skills WHERE organization_id = app.current_org() AND id = p_skill_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF p_starred THEN
        INSERT INTO public.skill_stars (skill_id, created_at) VALUES (p_skill_id, p_now) ON CONFLICT DO NOTHING;
    ELSE
        -- The policies leave no other star of this skill than the caller's within reach.
        DELETE FROM public.skill_stars WHERE organization_id = app.current_org() AND skill_id = p_skill_id;
    END IF;
    v_change := CASE WHEN NOT FOUND THEN 0 WHEN p_starred THEN 1 ELSE -1 END;
    UPDATE public.skills SET star_count = star_count + v_change
     WHERE organization_id = app.current_org() AND id = p_skill_id
    RETURNING star_count INTO v_count;
    RETURN v_count;
END
$$;
GRANT EXECUTE ON FUNCTION app.star_skill TO kijko_tenant;
