-- What happened, written in the transaction that did it. Append-only for everybody.

CREATE TABLE audit_logs (
    organization_id uuid        NOT NULL DEFAULT app.current_org(),
    id              uuid        NOT NULL,
    user_id         uuid        DEFAULT app.current_user_id(),
    event_type      text        NOT NULL,
    description     text        NOT NULL,
    metadata        jsonb       NOT NULL DEFAULT '{}',
    request_id      text,
    ip_address      inet,
    created_at      timestamptz NOT NULL,
    CONSTRAINT audit_logs_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT audit_logs_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id),
    CONSTRAINT audit_logs_event_type_check
        CHECK (event_type ~ '^(user|context|team|security|integration|system)\.[a-z0-9_]+$'),
    CONSTRAINT audit_logs_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX audit_logs_organization_id_created_at_idx ON audit_logs (organization_id, created_at DESC, id);
ALTER TABLE audit_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_logs FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_logs_tenant_select ON audit_logs FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()));
-- In one's own name only; the system role may name whom it saw, or nobody.
CREATE POLICY audit_logs_tenant_insert ON audit_logs FOR INSERT TO kijko_tenant
    WITH CHECK (organization_id = (SELECT app.current_org()) AND user_id = (SELECT app.current_user_id()));
CREATE POLICY audit_logs_system_insert ON audit_logs FOR INSERT TO kijko_system WITH CHECK (true);
GRANT SELECT ON audit_logs TO kijko_tenant;
GRANT INSERT (id, event_type, description, metadata, request_id, ip_address, created_at) ON audit_logs TO kijko_tenant;
GRANT INSERT ON audit_logs TO kijko_system;

CREATE FUNCTION app.refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_logs_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_change();
