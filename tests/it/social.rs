//! Google and GitHub vouch for people, and Kijko believes them exactly as far as it must: one answer, for the sign-in that
//! asked for it, from the provider that it asked, about an address that both sides know to be theirs.

use serde_json::{Value, json};

use crate::harness::browser::{Browser, CALLBACK, finish, returned, start};
use crate::harness::gate::GateIs;
use crate::harness::social::{ADA, CLIENT_SECRET, GithubPerson, Providers};
use crate::harness::{Installation, PASSWORD, Reply};

/// What the browser brings back from the provider.
async fn back(app: &Installation, provider: &str) -> Value {
    returned(&Browser::new().sign_in(&start(app, provider).await, &[]).await)
}

async fn sign_in(app: &Installation, provider: &str) -> Reply {
    finish(app, &back(app, provider).await).await
}

async fn me(app: &Installation, tokens: &Value) -> Value {
    app.with_token(tokens["access_token"].as_str().unwrap()).get("/api/v1/auth/me").await.ok(200)
}

fn github_with(emails: Value) -> GithubPerson {
    GithubPerson { emails, ..GithubPerson::default() }
}

#[tokio::test]
async fn the_browser_is_sent_to_the_provider_with_a_state_a_nonce_and_a_challenge() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    let google = url::Url::parse(&start(&app, "google").await).unwrap();
    let github = url::Url::parse(&start(&app, "github").await).unwrap();
    for (url, at, scopes) in [
        (&google, format!("{}/authorize", providers.google.gate.url), "openid email profile"),
        (&github, format!("{}/login/oauth/authorize", providers.github.gate.url), "read:user user:email"),
    ] {
        assert_eq!(url.as_str().split('?').next(), Some(at.as_str()));
        let member = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        assert_eq!(member("scope").as_deref(), Some(scopes));
        assert_eq!(member("redirect_uri").as_deref(), Some(CALLBACK));
        assert_eq!(member("response_type").as_deref(), Some("code"));
        assert_eq!(member("code_challenge_method").as_deref(), Some("S256"));
        for secret in ["state", "code_challenge"] {
            assert_eq!(member(secret).map(|secret| secret.len()), Some(43), "{secret} has 256 bits: {url}");
        }
        assert!(!url.as_str().contains(CLIENT_SECRET), "the secret stays with us: {url}");
    }
    assert!(google.query_pairs().any(|(key, value)| key == "nonce" && value.len() == 43), "{google}");
    assert_ne!(start(&app, "google").await, google.as_str(), "nothing is used twice");
}

#[tokio::test]
async fn somebody_new_gets_an_account_and_an_organisation_and_needs_no_password() {
    let providers = Providers::start().await;
    let app = providers.installation(&[("REQUIRE_EMAIL_VERIFICATION", "true")]).await;
    let tokens = sign_in(&app, "google").await.ok(200);
    let ada = me(&app, &tokens).await;
    assert_eq!((&ada["email"], &ada["email_verified"]), (&json!(ADA), &json!(true)));
    assert_eq!((&ada["first_name"], &ada["last_name"]), (&json!("Ada"), &json!("Lovelace")));
    assert_eq!((&ada["roles"], &ada["plan"]), (&json!(["owner"]), &json!("free")));
    assert_eq!(app.with_token(tokens["access_token"].as_str().unwrap()).claims()["amr"], json!(["sso"]));
    assert_eq!(app.count("organizations WHERE name = 'Ada''s workspace'").await, 1);
    assert_eq!(app.count("users WHERE password_hash IS NULL AND email_verified_at IS NOT NULL").await, 1);
    assert_eq!(app.count("user_sessions WHERE auth_method = 'sso'").await, 1);
    assert_eq!(app.count("audit_logs WHERE event_type = 'user.login'").await, 1);
    assert!(app.mails_to(ADA).await.is_empty(), "there is nothing to confirm");
    let guess = json!({ "email": ADA, "password": PASSWORD });
    app.nobody().post("/api/v1/auth/login", guess).await.refused(401, "INVALID_CREDENTIALS");

    // Their address changes at the provider; they stay who they are, with the address that they had.
    providers.google.be(json!({ "claims": { "email": "lovelace@example.com", "email_verified": false } })).await;
    let again = me(&app, &sign_in(&app, "google").await.ok(200)).await;
    assert_eq!((&again["id"], &again["email"]), (&ada["id"], &json!(ADA)));
    assert_eq!((app.count("users").await, app.count("user_identities").await), (1, 1));
}

#[tokio::test]
async fn an_address_that_both_sides_verified_is_one_account() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    let password = app.sign_up(ADA).await;
    let token = app.mailed_token(ADA).await;
    app.nobody().post("/api/v1/auth/email/verify", json!({ "token": token })).await.ok(204);
    for provider in ["google", "github"] {
        let linked = me(&app, &sign_in(&app, provider).await.ok(200)).await;
        assert_eq!(linked["id"], password.user_id(), "{provider} opens the account that is there");
    }
    app.sign_in(ADA).await;
    assert_eq!((app.count("users").await, app.count("user_identities").await), (1, 2));
    assert_eq!(app.count("audit_logs WHERE description LIKE 'Linked the account%'").await, 2);
    let mails = app.mails_to(ADA).await;
    for provider in ["Google", "GitHub"] {
        let subject = format!("You can now sign in with {provider}");
        assert_eq!(mails.iter().filter(|mail| mail.subject == subject).count(), 1, "{subject}");
    }
    sign_in(&app, "google").await.ok(200);
    assert_eq!(app.mails_to(ADA).await.len(), 3, "they are told once");
}

#[tokio::test]
async fn nobody_gets_an_account_by_an_address_that_is_not_proven_on_both_sides() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    // Somebody signed up with the address, and never showed that it is theirs.
    let squatter = app.sign_up(ADA).await;
    for provider in ["google", "github"] {
        sign_in(&app, provider).await.refused(409, "ACCOUNT_LINK_REQUIRED");
    }
    // Once its owner has shown it by a link, the account is theirs alone, and the provider may open it.
    app.nobody().post("/api/v1/auth/magic-link", json!({ "email": ADA })).await.ok(202);
    let token = app.mailed_token(ADA).await;
    app.nobody().post("/api/v1/auth/magic-link/verify", json!({ "token": token })).await.ok(200);
    sign_in(&app, "google").await.ok(200);
    squatter.get("/api/v1/auth/me").await.refused(401, "UNAUTHENTICATED");

    // A provider that only says so.
    providers.google.be(json!({ "claims": { "sub": "2", "email_verified": false } })).await;
    sign_in(&app, "google").await.refused(403, "EMAIL_NOT_VERIFIED");
    providers.google.be(json!({ "claims": { "sub": "2", "email_verified": null } })).await;
    sign_in(&app, "google").await.refused(403, "EMAIL_NOT_VERIFIED");
    providers.google.be(json!({ "claims": { "sub": "2", "email": null } })).await;
    sign_in(&app, "google").await.refused(403, "EMAIL_NOT_VERIFIED");
    for emails in [
        json!([{ "email": ADA, "primary": true, "verified": false }]),
        json!([{ "email": ADA, "primary": false, "verified": true }]),
        json!([]),
    ] {
        providers.github.be(github_with(emails));
        sign_in(&app, "github").await.refused(403, "EMAIL_NOT_VERIFIED");
    }
    assert_eq!((app.count("users").await, app.count("user_identities").await), (1, 1));
}

/// Providers give addresses to somebody else when their owner leaves.
#[tokio::test]
async fn the_next_owner_of_an_address_does_not_get_the_account_of_the_first() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    sign_in(&app, "google").await.ok(200);
    providers.google.be(json!({ "claims": { "sub": "somebody else" } })).await;
    sign_in(&app, "google").await.refused(409, "ACCOUNT_LINK_REQUIRED");
    sign_in(&app, "github").await.ok(200);
    providers.github.be(GithubPerson { id: 2, ..GithubPerson::default() });
    sign_in(&app, "github").await.refused(409, "ACCOUNT_LINK_REQUIRED");
    assert_eq!((app.count("users").await, app.count("user_identities").await), (1, 2));
}

#[tokio::test]
async fn two_windows_at_once_make_one_account() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    let mut windows = Vec::new();
    for provider in ["google", "github", "google", "github", "google", "github"] {
        windows.push(back(&app, provider).await);
    }
    let replies = futures_util::future::join_all(windows.iter().map(|body| finish(&app, body))).await;
    for reply in replies {
        reply.ok(200);
    }
    assert_eq!((app.count("users").await, app.count("organizations").await), (1, 1));
    assert_eq!(app.count("user_identities").await, 2);
}

#[tokio::test]
async fn who_is_disabled_or_not_wanted_stays_out() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    sign_in(&app, "google").await.ok(200);
    app.sql("UPDATE users SET disabled_at = now()").await;
    sign_in(&app, "google").await.refused(403, "ACCOUNT_DISABLED");
    // Also through a provider that they never used, and it is not linked on the way.
    sign_in(&app, "github").await.refused(403, "ACCOUNT_DISABLED");
    assert_eq!(app.count("user_identities").await, 1);
    crate::harness::eventually("both are in the history of the account", async || {
        app.count("login_history WHERE failure_reason = 'Account disabled' AND auth_method = 'sso'").await == 2
    })
    .await;

    let closed = providers.installation(&[("SIGNUP_ENABLED", "false")]).await;
    sign_in(&closed, "google").await.refused(403, "SIGNUP_DISABLED");
    assert_eq!(closed.count("users").await, 0);
}

#[tokio::test]
async fn a_provider_that_is_not_set_up_is_named() {
    let app = Installation::new().await;
    for (provider, setting) in [("google", "GOOGLE_CLIENT_ID"), ("github", "GITHUB_CLIENT_ID")] {
        let path = format!("/api/v1/auth/oauth/{provider}");
        let problem = app.nobody().get(&path).await.refused(503, "SERVICE_NOT_CONFIGURED");
        assert!(problem["detail"].as_str().unwrap().contains(setting), "{problem}");
    }
}

#[tokio::test]
async fn a_browser_is_sent_back_to_the_allow_list_and_to_nothing_that_looks_like_it() {
    let providers = Providers::start().await;
    let app = providers.installation(&[("REDIRECT_ALLOWLIST", "https://app.kijko.nl")]).await;
    let ask = async |uri: &str| {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("redirect_uri", uri).finish();
        app.nobody().get(&format!("/api/v1/auth/oauth/google?{query}")).await
    };
    ask("https://app.kijko.nl/auth/callback").await.ok(200);
    for uri in [
        "",
        "https://app.kijko.nl.evil.example/auth/callback",
        "https://evil.app.kijko.nl/auth/callback",
        "https://kijko.nl/auth/callback",
        "https://appxkijko.nl/auth/callback",
        "https://app.kijko.nl@evil.example/auth/callback",
        "https://app.kijko.nl:secret@evil.example/",
        "https://user@app.kijko.nl/auth/callback",
        "https://evil.example\\@app.kijko.nl/",
        "https://app.kijko.nl:8443/auth/callback",
        "http://app.kijko.nl/auth/callback",
        "ftp://app.kijko.nl/",
        "javascript:alert(1)//app.kijko.nl",
        "//app.kijko.nl/auth/callback",
        "/auth/callback",
        "https://app.kijko.nl/#https://evil.example",
        "https://аpp.kijko.nl/auth/callback",
    ] {
        ask(uri).await.refused(400, "REDIRECT_NOT_ALLOWED");
    }
    assert_eq!(app.count("auth_tickets").await, 1, "nothing is kept for a sign-in that was refused");
}

#[tokio::test]
async fn a_state_is_good_once_for_its_own_sign_in_and_not_for_long() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    for provider in ["google", "github"] {
        let used = back(&app, provider).await;
        finish(&app, &used).await.ok(200);
        finish(&app, &used).await.refused(400, "OAUTH_STATE_INVALID");

        let mut invented = back(&app, provider).await;
        invented["state"] = json!("invented");
        finish(&app, &invented).await.refused(400, "OAUTH_STATE_INVALID");

        let mut elsewhere = back(&app, provider).await;
        elsewhere["redirect_uri"] = json!("https://app.kijko.nl/auth/callback");
        finish(&app, &elsewhere).await.refused(400, "OAUTH_STATE_INVALID");
        elsewhere["redirect_uri"] = json!(CALLBACK);
        finish(&app, &elsewhere).await.refused(400, "OAUTH_STATE_INVALID");

        // Somebody else's code under one's own state: it was given for another challenge.
        let (mut mine, theirs) = (back(&app, provider).await, back(&app, provider).await);
        mine["code"] = theirs["code"].clone();
        finish(&app, &mine).await.refused(401, "OAUTH_CODE_INVALID");
        finish(&app, &mine).await.refused(400, "OAUTH_STATE_INVALID");

        for code in ["invented", "", &"x".repeat(5000)] {
            let mut body = back(&app, provider).await;
            body["code"] = json!(code);
            finish(&app, &body).await.refused(401, "OAUTH_CODE_INVALID");
        }
        let mut silent = back(&app, provider).await;
        silent.as_object_mut().unwrap().remove("code");
        finish(&app, &silent).await.refused_field(422, "VALIDATION_ERROR", "code");
    }
    // The one provider's code under the other's state.
    let (google, github) = (back(&app, "google").await, back(&app, "github").await);
    for (state, code) in [(&google, &github), (&github, &google)] {
        let mixed = json!({ "state": state["state"], "code": code["code"], "redirect_uri": CALLBACK });
        finish(&app, &mixed).await.refused(401, "OAUTH_CODE_INVALID");
    }
    let late = back(&app, "github").await;
    app.advance(601);
    finish(&app, &late).await.refused(400, "OAUTH_STATE_INVALID");
}

#[tokio::test]
async fn an_id_token_counts_only_if_google_made_it_for_this_sign_in() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    let now = chrono::Utc::now().timestamp();
    let cases = [
        ("another nonce", json!({ "claims": { "nonce": "another" } })),
        ("no nonce", json!({ "claims": { "nonce": null } })),
        ("another client", json!({ "claims": { "aud": "another-client" } })),
        ("several clients without ours", json!({ "claims": { "aud": ["one", "two"] } })),
        ("for us, given to another", json!({ "claims": { "azp": "another-client" } })),
        ("no audience", json!({ "claims": { "aud": null } })),
        ("another issuer", json!({ "claims": { "iss": "https://accounts.google.com.evil.example" } })),
        ("expired", json!({ "claims": { "exp": now - 60 } })),
        ("without an end", json!({ "claims": { "exp": null } })),
        ("an end that is no number", json!({ "claims": { "exp": "tomorrow" } })),
        ("from the future", json!({ "claims": { "iat": now + 3600 } })),
        ("without a subject", json!({ "claims": { "sub": null } })),
        ("an empty subject", json!({ "claims": { "sub": "" } })),
        ("an endless subject", json!({ "claims": { "sub": "x".repeat(256) } })),
        ("alg none", json!({ "unsigned": true })),
        ("a key that nobody published", json!({ "header": { "kid": "unheard-of" } })),
        ("no key", json!({ "header": { "kid": null } })),
        ("another type", json!({ "header": { "typ": "logout+jwt" } })),
    ];
    for (case, order) in cases {
        providers.google.be(order).await;
        let reply = sign_in(&app, "google").await;
        assert_eq!((reply.status.as_u16(), &reply.body["code"]), (401, &json!("OAUTH_CODE_INVALID")), "{case}");
    }
    assert_eq!((app.count("users").await, app.count("user_sessions").await), (0, 0));

    providers.google.be(json!({ "claims": { "aud": ["kijko-at-the-provider", "another"] } })).await;
    sign_in(&app, "google").await.ok(200);
    let fetched = providers.google.gate.fetched_keys();
    sign_in(&app, "google").await.ok(200);
    assert_eq!(providers.google.gate.fetched_keys(), fetched, "keys that are known are not asked for again");
    providers.google.be(json!({ "rotates": true })).await;
    sign_in(&app, "google").await.ok(200);
    assert_eq!(providers.google.gate.fetched_keys(), fetched + 1, "a new key is asked for at once");
}

#[tokio::test]
async fn who_changes_their_mind_at_the_provider_is_not_signed_in() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    providers.google.be(json!({ "denies": true })).await;
    providers.github.be(GithubPerson { denies: true, ..GithubPerson::default() });
    for provider in ["google", "github"] {
        let denied = back(&app, provider).await;
        assert_eq!((&denied["error"], &denied["code"]), (&json!("access_denied"), &Value::Null));
        finish(&app, &denied).await.refused(401, "OAUTH_CODE_INVALID");
        finish(&app, &denied).await.refused(400, "OAUTH_STATE_INVALID");
    }
    assert_eq!(app.count("users").await, 0);
}

#[tokio::test]
async fn a_provider_that_fails_is_said_to_fail_and_the_next_sign_in_works() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    let (google, github) = (&providers.google.gate, &providers.github.gate);
    google.turn(GateIs::Broken);
    app.nobody().get("/api/v1/auth/oauth/google").await.refused(503, "AUTH_UNAVAILABLE");
    google.turn(GateIs::Open);

    for state in [GateIs::Broken, GateIs::Garbage, GateIs::Endless] {
        for (gate, provider, path) in [
            (google, "google", "/token"),
            (google, "google", "/jwks"),
            (github, "github", "/access_token"),
            (github, "github", "/user"),
            (github, "github", "/emails"),
        ] {
            let body = back(&app, provider).await;
            gate.turn_for(path, state);
            let problem = finish(&app, &body).await.refused(503, "AUTH_UNAVAILABLE");
            assert!(
                problem.get("details").is_none(),
                "{provider} {path} {state:?}: nothing of it is repeated: {problem}"
            );
            gate.turn(GateIs::Open);
        }
    }
    assert_eq!(app.count("users").await, 0);
    for provider in ["google", "github"] {
        sign_in(&app, provider).await.ok(200);
    }
    // Keys that are known go on being good while Google cannot be asked for others.
    google.turn_for("/jwks", GateIs::Broken);
    sign_in(&app, "google").await.ok(200);
}

#[tokio::test]
async fn a_provider_that_hangs_is_given_up_after_ten_seconds() {
    let providers = Providers::start().await;
    let app = providers.installation(&[]).await;
    let bodies = [back(&app, "google").await, back(&app, "github").await];
    providers.google.gate.turn(GateIs::Hanging);
    providers.github.gate.turn_for("/emails", GateIs::Hanging);
    let started = std::time::Instant::now();
    let replies = futures_util::future::join_all(bodies.iter().map(|body| finish(&app, body)));
    let looking = async {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let open = "pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        assert_eq!(app.count(open).await, 0, "nothing is kept open while the provider is waited for");
    };
    let (replies, ()) = tokio::join!(replies, looking);
    for reply in replies {
        reply.refused(503, "AUTH_UNAVAILABLE");
    }
    let waited = started.elapsed().as_secs();
    assert!((9..20).contains(&waited), "it took {waited} s");
}

#[tokio::test]
async fn a_registration_that_the_provider_does_not_know_is_ours_to_mend() {
    let providers = Providers::start().await;
    let app = providers.installation(&[("GITHUB_CLIENT_SECRET", "a wrong one")]).await;
    sign_in(&app, "github").await.refused(503, "AUTH_UNAVAILABLE");
}
