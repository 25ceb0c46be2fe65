//! A secret is where it was handed out, and nowhere else: not in another reply, its headers, a log line of any level,
//! what a command prints, nor in a mail that is not about it. Neither is what the database keeps of it.

use reqwest::Method;
use serde_json::{Value, json};

use super::harness::{Client, Deployment, Server};
use crate::harness::Reply;
use crate::harness::peers::Catcher;

const EMAIL: &str = "grace@nosuchplace.example";
const PASSWORD: &str = "Compiler-1952-first";
const WRONG_PASSWORD: &str = "Compiler-1951-wrong";
const NEXT_PASSWORD: &str = "Compiler-1959-cobol";
const PEPPER: &str = "a-pepper-to-look-for-0123456789abcdef";

/// Everything that left Kijko, and by which way.
struct Ear {
    deployment: Deployment,
    server: Server,
    catcher: Catcher,
    heard: Vec<(String, String)>,
    /// What to look for, what it is, and the one way by which it may have left.
    secrets: Vec<(String, &'static str, String)>,
}

impl Ear {
    async fn new() -> Self {
        let catcher = Catcher::start().await;
        let smtp = format!("smtp://127.0.0.1:{}", catcher.port);
        let settings = [
            ("MAIL_PROVIDER", "smtp"),
            ("SMTP_URL", smtp.as_str()),
            ("API_KEY_PEPPER", PEPPER),
            ("LOG_LEVEL", "trace"),
            ("LOG_FORMAT", "json"),
        ];
        let deployment = Deployment::new(&settings).await;
        let server = deployment.server(&[]).await;
        Self { deployment, server, catcher, heard: Vec::new(), secrets: Vec::new() }
    }

    /// From now on nobody may hear this but by the way of this name.
    fn keep(&mut self, what: &'static str, secret: &Value, way: &str) {
        let secret = secret.as_str().unwrap_or_else(|| panic!("there is no {what}"));
        self.secrets.push((secret.to_owned(), what, way.to_owned()));
    }

    async fn call(&mut self, way: &str, client: &Client, method: Method, path: &str, body: Option<Value>) -> Reply {
        let reply = client.call(method, path, body).await.expect("the server answers");
        self.heard.push((way.to_owned(), format!("{:?}\n{}", reply.headers, reply.text)));
        reply
    }

    async fn post(&mut self, way: &str, client: &Client, path: &str, body: Value) -> Reply {
        self.call(way, client, Method::POST, path, Some(body)).await
    }

    /// A reply with a pair of tokens; gives them and who they are of.
    async fn tokens(&mut self, way: &str, path: &str, body: Value) -> (Value, Client) {
        let nobody = self.server.nobody();
        let tokens = self.post(way, &nobody, path, body).await.body;
        self.keep("access token", &tokens["access_token"], way);
        self.keep("refresh token", &tokens["refresh_token"], way);
        let client = self.server.with_token(tokens["access_token"].as_str().expect("a token"));
        (tokens, client)
    }

    /// The secret in the link of the next mail, which may not be heard elsewhere.
    async fn link(&mut self, way: &str) -> Value {
        let text = self.mail(way).await;
        let (_, rest) = text.split_once("token=").unwrap_or_else(|| panic!("there is no link in {text}"));
        let token = json!(rest.split_whitespace().next());
        self.keep("link", &token, way);
        token
    }

    /// The text of the next mail.
    async fn mail(&mut self, way: &str) -> String {
        let mail = self.catcher.mail().await;
        self.heard.push((way.to_owned(), mail.to_string()));
        mail["text"].as_str().expect("a text").to_owned()
    }

    async fn kijko(&mut self, way: &str, args: &[&str]) -> String {
        let answer = self.deployment.kijko(args).await;
        let text = format!("{}{}", answer.stdout, answer.stderr);
        self.heard.push((way.to_owned(), text.clone()));
        text
    }

    /// What the database keeps of secrets, in every spelling in which it might slip out.
    async fn keep_hashes(&mut self) {
        for (what, query) in [
            ("password hash", "SELECT password_hash FROM users WHERE password_hash IS NOT NULL"),
            ("refresh token hash", "SELECT encode(token_hash, 'hex') FROM refresh_tokens"),
            ("refresh token hash", "SELECT encode(token_hash, 'base64') FROM refresh_tokens"),
            ("API key hash", "SELECT encode(key_hash, 'hex') FROM api_keys"),
            ("API key hash", "SELECT encode(key_hash, 'base64') FROM api_keys"),
            ("invitation hash", "SELECT encode(token_hash, 'hex') FROM team_invitations"),
            ("link hash", "SELECT encode(secret_hash, 'hex') FROM auth_tickets"),
            ("signing key", "SELECT encode(encrypted, 'hex') FROM signing_keys"),
        ] {
            let hashes = self.deployment.texts(query).await;
            assert!(!hashes.is_empty(), "nothing was stored that `{query}` could find");
            self.secrets.extend(hashes.into_iter().map(|hash| (hash, what, String::new())));
        }
    }

    async fn holds(mut self) {
        self.keep_hashes().await;
        for password in [PASSWORD, WRONG_PASSWORD, NEXT_PASSWORD] {
            self.keep("password", &json!(password), "");
        }
        self.keep("pepper", &json!(PEPPER), "");
        for (_, key) in self.deployment.with(&[]).into_iter().filter(|(name, _)| name == "ENCRYPTION_KEY") {
            self.keep("encryption key", &json!(key), "");
        }
        let log = self.server.stop().await;
        assert!(log.contains("DEBUG"), "everything is told:\n{log}");
        self.heard.push(("the log".to_owned(), log));
        for (secret, what, allowed) in &self.secrets {
            for (way, text) in self.heard.iter().filter(|(way, _)| way != allowed) {
                let line = text.lines().find(|line| line.contains(secret.as_str()));
                assert!(line.is_none(), "the {what} of {allowed:?} is in {way}: {line:?}");
            }
            let was_given =
                allowed.is_empty() || self.heard.iter().any(|(way, text)| way == allowed && text.contains(secret));
            assert!(was_given, "the {what} was never in {allowed}: this test looks for the wrong thing");
        }
    }
}

#[tokio::test]
async fn a_secret_is_where_it_was_handed_out_and_nowhere_else() {
    let mut ear = Ear::new().await;
    let nobody = ear.server.nobody();
    let signup = json!({ "email": EMAIL, "password": PASSWORD, "first_name": "Grace", "last_name": "Hopper" });
    let (tokens, _) = ear.tokens("sign-up", "/api/v1/auth/signup", signup.clone()).await;
    let verification = ear.link("the verification mail").await;
    ear.post("a second sign-up", &nobody, "/api/v1/auth/signup", signup).await.refused(409, "EMAIL_TAKEN");
    ear.post("verifying", &nobody, "/api/v1/auth/email/verify", json!({ "token": verification })).await.ok(204);
    ear.post("verifying again", &nobody, "/api/v1/auth/email/verify", json!({ "token": verification })).await;

    let wrong = json!({ "email": EMAIL, "password": WRONG_PASSWORD });
    ear.post("a wrong login", &nobody, "/api/v1/auth/login", wrong).await.refused(401, "INVALID_CREDENTIALS");
    let refresh = json!({ "refresh_token": tokens["refresh_token"] });
    let (_, grace) = ear.tokens("refresh", "/api/v1/auth/refresh", refresh).await;
    ear.call("me", &grace, Method::GET, "/api/v1/auth/me", None).await.ok(200);

    let organization = grace.get("/api/v1/auth/me").await.ok(200)["org_id"].as_str().expect("an id").to_owned();
    ear.kijko("orgs set-plan", &["orgs", "set-plan", &organization, "pro", "--yes", "--reason", "a test"]).await;
    let invited = json!({ "emails": ["bob@nosuchplace.example"], "role": "member" });
    ear.post("inviting", &grace, "/api/v1/team/invitations", invited).await.ok(201);
    let invitation = ear.link("the invitation").await;
    let lookup = format!("/api/v1/team/invitations/lookup?token={}", invitation.as_str().unwrap());
    ear.call("looking up", &nobody, Method::GET, &lookup, None).await.ok(200);
    ear.call("invitations", &grace, Method::GET, "/api/v1/team/invitations", None).await.ok(200);

    let key = json!({ "name": "Nightly", "expiration": "never", "scopes": ["read"] });
    let key = ear.post("making a key", &grace, "/api/v1/security/api-keys", key).await.ok(201)["key"].clone();
    ear.keep("API key", &key, "making a key");
    let notice = ear.mail("the notice of a key").await;
    assert!(notice.contains("API key was made"), "it says what happened: {notice}");
    let robot = ear.server.with_token(key.as_str().unwrap());
    ear.call("skills by key", &robot, Method::GET, "/api/v1/skills", None).await.ok(200);
    ear.call("beyond the key", &robot, Method::DELETE, "/api/v1/skills/x", None).await;
    ear.call("keys", &grace, Method::GET, "/api/v1/security/api-keys", None).await.ok(200);

    let forgot = json!({ "email": EMAIL });
    ear.post("forgetting", &nobody, "/api/v1/auth/password/forgot", forgot).await.ok(202);
    let reset = ear.link("the reset mail").await;
    let weak = json!({ "token": reset, "new_password": "Compiler-1951-wrong ".repeat(9) });
    ear.post("a bad reset", &nobody, "/api/v1/auth/password/reset", weak).await.refused(422, "VALIDATION_ERROR");
    let reset = json!({ "token": reset, "new_password": NEXT_PASSWORD });
    ear.post("resetting", &nobody, "/api/v1/auth/password/reset", reset).await.ok(204);
    let login = json!({ "email": EMAIL, "password": NEXT_PASSWORD });
    let (_, grace) = ear.tokens("login", "/api/v1/auth/login", login).await;
    ear.call("logout", &grace, Method::POST, "/api/v1/auth/logout", None).await.ok(204);
    ear.call("after logout", &grace, Method::GET, "/api/v1/skills", None).await.refused(401, "UNAUTHENTICATED");

    for args in [
        &["users", "list"][..],
        &["users", "list", "--json"],
        &["users", "show", EMAIL, "--json"],
        &["keys", "list", "--user", EMAIL],
        &["keys", "list", "--user", EMAIL, "--json"],
        &["keys", "rotate-signing", "--yes", "--reason", "a test"],
        &["config", "check"],
        &["doctor"],
    ] {
        ear.kijko(&args.join(" "), args).await;
    }
    ear.holds().await;
}
