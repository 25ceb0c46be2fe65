-- Keys for model providers that organisations brought along. Runs read the sealed key, whoever they belong to; only owners
-- and administrators change one. What was sealed for one organisation and provider does not open in another's row.

CREATE TABLE provider_keys (
    organization_id uuid        NOT NULL DEFAULT app.current_org(),
    provider        text        NOT NULL,
    sealed_key      bytea       NOT NULL,
    -- All of the key that is ever shown again.
    last_four       text        NOT NULL,
    -- Where somebody speaks OpenAI's API; OpenAI itself when absent.
    base_url        text,
    -- Azure's.
    api_version     text,
    -- Nobody when they have left since: the key is the organisation's.
    stored_by       uuid        DEFAULT app.current_user_id(),
    stored_at       timestamptz NOT NULL,
    CONSTRAINT provider_keys_pkey PRIMARY KEY (organization_id, provider),
    CONSTRAINT provider_keys_organization_id_stored_by_fkey
        FOREIGN KEY (organization_id, stored_by) REFERENCES organization_members (organization_id, user_id)
        ON DELETE SET NULL (stored_by),
    CONSTRAINT provider_keys_provider_check CHECK (provider IN ('anthropic', 'google', 'openai')),
    CONSTRAINT provider_keys_last_four_check CHECK (char_length(last_four) = 4),
    CONSTRAINT provider_keys_base_url_check CHECK
        (base_url IS NULL OR (provider = 'openai' AND char_length(base_url) <= 500)),
    CONSTRAINT provider_keys_api_version_check CHECK
        (api_version IS NULL OR (base_url IS NOT NULL AND char_length(api_version) <= 40))
);
CREATE INDEX provider_keys_stored_by_idx ON provider_keys (organization_id, stored_by);

ALTER TABLE provider_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE provider_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY provider_keys_tenant_select ON provider_keys FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY provider_keys_owner_select ON provider_keys FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY provider_keys_owner_insert ON provider_keys FOR INSERT TO CURRENT_USER
    WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY provider_keys_owner_update ON provider_keys FOR UPDATE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()))
    WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY provider_keys_owner_delete ON provider_keys FOR DELETE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
GRANT SELECT ON provider_keys TO kijko_tenant;

-- Stores the key, in the place of the one before. True when the caller may.
CREATE FUNCTION app.store_provider_key(
    p_provider text, p_sealed_key bytea, p_last_four text, p_base_url text, p_api_version text, p_now timestamptz
) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.provider_keys (provider, sealed_key, last_four, base_url, api_version, stored_at)
    SELECT p_provider, p_sealed_key, p_last_four, p_base_url, p_api_version, p_now
     WHERE app.acts_as('{owner,admin}')
        ON CONFLICT (organization_id, provider) DO UPDATE
       SET sealed_key = excluded.sealed_key, last_four = excluded.last_four, base_url = excluded.base_url,
           api_version = excluded.api_version, stored_by = app.current_user_id(), stored_at = excluded.stored_at;
    RETURN FOUND;
END
$$;

-- True when there was one and the caller may.
CREATE FUNCTION app.delete_provider_key(p_provider text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM public.provider_keys
     WHERE organization_id = app.current_org() AND provider = p_provider AND app.acts_as('{owner,admin}');
    RETURN FOUND;
END
$$;

GRANT EXECUTE ON FUNCTION app.store_provider_key, app.delete_provider_key TO kijko_tenant;
