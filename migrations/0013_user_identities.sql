-- What Google and GitHub call our people, where Kijko itself signs them in. Somebody is found again by the provider's own
-- name for them, never by an address, which may change hands. One account per provider and person: another one that
-- brings the same address may be its next owner's.
CREATE TABLE user_identities (
    provider            text        NOT NULL,
    provider_account_id text        NOT NULL,
    user_id             uuid        NOT NULL,
    created_at          timestamptz NOT NULL,
    CONSTRAINT user_identities_pkey PRIMARY KEY (provider, provider_account_id),
    CONSTRAINT user_identities_user_id_provider_key UNIQUE (user_id, provider),
    CONSTRAINT user_identities_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT user_identities_provider_check CHECK (provider IN ('google', 'github')),
    CONSTRAINT user_identities_provider_account_id_check CHECK (char_length(provider_account_id) BETWEEN 1 AND 255)
);
ALTER TABLE user_identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_identities FORCE ROW LEVEL SECURITY;
CREATE POLICY user_identities_system_select ON user_identities FOR SELECT TO kijko_system USING (true);
CREATE POLICY user_identities_system_insert ON user_identities FOR INSERT TO kijko_system WITH CHECK (true);
GRANT SELECT, INSERT ON user_identities TO kijko_system;
