-- Roles, the schema `app`, and the tenant context that every policy reads.
--
-- owner   whoever runs the migrations; owns everything, never serves a request
-- tenant  works for one user in one organisation, held there by the policies
-- system  answers the few questions that precede or span organisations
-- login   kijko_app; NOINHERIT, so that it can do nothing outside a transaction that chose a role

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kijko_tenant') THEN
        CREATE ROLE kijko_tenant NOLOGIN NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kijko_system') THEN
        CREATE ROLE kijko_system NOLOGIN NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'kijko_app') THEN
        CREATE ROLE kijko_app LOGIN NOINHERIT NOBYPASSRLS;
    END IF;
    GRANT kijko_tenant, kijko_system TO kijko_app;
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO kijko_tenant, kijko_system;

CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO kijko_tenant, kijko_system;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The context of the transaction. Both fail when it is not set: no context is an error, never "all rows".
-- The bodies are parsed here and now, so that no search path can redirect them.
CREATE FUNCTION app.current_org() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN pg_catalog.current_setting('app.current_org_id')::uuid;

CREATE FUNCTION app.current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN pg_catalog.current_setting('app.current_user_id')::uuid;

GRANT EXECUTE ON FUNCTION app.current_org(), app.current_user_id() TO kijko_tenant;

-- What the server compares with the migrations it carries before it serves anybody.
GRANT SELECT ON _sqlx_migrations TO kijko_system;
