-- An organisation as a team: its name, who belongs to it with which role, and who was invited.
--
-- Whoever runs a team works as the tenant role, so the policies hold them to their organisation. Its row is what every
-- change of the team locks first (FOR NO KEY UPDATE, which lets others refer to it), so that seats and owners are
-- counted by one change after another.

CREATE POLICY organizations_tenant_update ON organizations FOR UPDATE TO kijko_tenant
    USING (id = (SELECT app.current_org())) WITH CHECK (id = (SELECT app.current_org()));
GRANT UPDATE (name, updated_at) ON organizations TO kijko_tenant;
-- To lock the row, for somebody who is about to join.
CREATE POLICY organizations_system_update ON organizations FOR UPDATE TO kijko_system USING (true) WITH CHECK (true);
GRANT UPDATE (updated_at) ON organizations TO kijko_system;

-- An address that may become a member. The secret is in the mail alone; here is its hash.
CREATE TABLE team_invitations (
    organization_id uuid        NOT NULL DEFAULT app.current_org(),
    id              uuid        NOT NULL,
    email           text        NOT NULL,
    role            text        NOT NULL,
    invited_by      uuid        NOT NULL DEFAULT app.current_user_id(),
    message         text,
    token_hash      bytea       NOT NULL,
    status          text        NOT NULL DEFAULT 'pending',
    -- From then on a pending invitation counts as expired, whether or not the row says so yet.
    expires_at      timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT team_invitations_pkey PRIMARY KEY (organization_id, id),
    -- A link names its invitation alone: it is followed before an organisation is known.
    CONSTRAINT team_invitations_token_hash_key UNIQUE (token_hash),
    CONSTRAINT team_invitations_organization_id_invited_by_fkey
        FOREIGN KEY (organization_id, invited_by) REFERENCES organization_members (organization_id, user_id),
    CONSTRAINT team_invitations_email_check CHECK (email = lower(email) AND char_length(email) BETWEEN 3 AND 254),
    -- Ownership is handed over, never offered to an address.
    CONSTRAINT team_invitations_role_check CHECK (role IN ('admin', 'member', 'viewer')),
    CONSTRAINT team_invitations_message_check CHECK (char_length(message) BETWEEN 1 AND 500),
    CONSTRAINT team_invitations_status_check CHECK (status IN ('pending', 'accepted', 'expired', 'cancelled'))
);
-- An address is invited once at a time; also what counts the seats that invitations hold.
CREATE UNIQUE INDEX team_invitations_organization_id_email_key ON team_invitations (organization_id, email)
    WHERE status = 'pending';
CREATE INDEX team_invitations_created_at_idx ON team_invitations (organization_id, created_at DESC, id);
CREATE INDEX team_invitations_invited_by_idx ON team_invitations (organization_id, invited_by);

ALTER TABLE team_invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE team_invitations FORCE ROW LEVEL SECURITY;
CREATE POLICY team_invitations_tenant_select ON team_invitations FOR SELECT TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY team_invitations_tenant_insert ON team_invitations FOR INSERT TO kijko_tenant
    WITH CHECK (organization_id = (SELECT app.current_org()) AND invited_by = (SELECT app.current_user_id()));
CREATE POLICY team_invitations_tenant_update ON team_invitations FOR UPDATE TO kijko_tenant
    USING (organization_id = (SELECT app.current_org()))
    WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY team_invitations_system_select ON team_invitations FOR SELECT TO kijko_system USING (true);
CREATE POLICY team_invitations_system_update ON team_invitations FOR UPDATE TO kijko_system
    USING (true) WITH CHECK (true);
GRANT SELECT (organization_id, id, email, role, invited_by, message, status, expires_at, created_at)
    ON team_invitations TO kijko_tenant;
GRANT INSERT (id, email, role, message, token_hash, expires_at, created_at) ON team_invitations TO kijko_tenant;
GRANT UPDATE (status, token_hash, expires_at) ON team_invitations TO kijko_tenant;
GRANT SELECT ON team_invitations TO kijko_system;
GRANT UPDATE (status) ON team_invitations TO kijko_system;

-- Members and sessions of colleagues are changed by the functions below alone. Which change somebody may make is decided
-- by the program; these see to it that no statement of a member, a viewer, or somebody who is no longer there makes one.
CREATE POLICY organization_members_owner_select ON organization_members FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY organization_members_owner_update ON organization_members FOR UPDATE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()))
    WITH CHECK (organization_id = (SELECT app.current_org()));
CREATE POLICY user_sessions_owner_select ON user_sessions FOR SELECT TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()));
CREATE POLICY user_sessions_owner_update ON user_sessions FOR UPDATE TO CURRENT_USER
    USING (organization_id = (SELECT app.current_org()))
    WITH CHECK (organization_id = (SELECT app.current_org()));

-- Whether the person in the context is an active member with one of these roles. For the functions below.
CREATE FUNCTION app.acts_as(p_roles text[]) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM public.organization_members
                    WHERE organization_id = app.current_org() AND status = 'active' AND role = ANY (p_roles)
                      AND user_id = app.current_user_id());
END
$$;

-- Gives a colleague another role or standing; never oneself, and never ownership. True when there was such a colleague.
CREATE FUNCTION app.change_member(p_user_id uuid, p_role text, p_status text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.organization_members SET role = p_role, status = p_status
     WHERE organization_id = app.current_org() AND user_id = p_user_id AND status <> 'removed'
       AND (p_role <> 'owner' OR role = 'owner')
       AND CASE WHEN role IN ('owner', 'admin') THEN app.acts_as('{owner}') ELSE app.acts_as('{owner,admin}') END
       AND user_id <> app.current_user_id();
    RETURN FOUND;
END
$$;

-- Makes an active colleague the owner, and the caller, who is one, an admin.
CREATE FUNCTION app.transfer_ownership(p_user_id uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.organization_members SET role = 'owner'
     WHERE organization_id = app.current_org() AND user_id = p_user_id AND status = 'active'
       AND app.acts_as('{owner}') AND user_id <> app.current_user_id();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE public.organization_members SET role = 'admin'
     WHERE organization_id = app.current_org() AND user_id = app.current_user_id();
    RETURN true;
END
$$;

-- Ends every session of a colleague in this organisation who does not work here any more, and says which.
CREATE FUNCTION app.end_member_sessions(p_user_id uuid, p_now timestamptz) RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    UPDATE public.user_sessions s SET revoked_at = p_now, revoke_reason = 'membership'
     WHERE s.organization_id = app.current_org() AND s.user_id = p_user_id AND s.revoked_at IS NULL
       AND EXISTS (SELECT FROM public.organization_members m
                    WHERE m.organization_id = app.current_org() AND m.user_id = p_user_id AND m.status <> 'active')
    RETURNING s.id;
END
$$;

GRANT EXECUTE ON FUNCTION app.change_member, app.transfer_ownership, app.end_member_sessions TO kijko_tenant;
