//! Default deny: every route of the system refuses whoever does not say who they are, and every way of lying about it.
//! The list of routes is the OpenAPI document, which is made of the router.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use crate::harness::{Installation, Person};

/// The contract's complete list of routes that need no credential, as far as they exist.
const PUBLIC: [&str; 22] = [
    "GET /",
    "GET /health",
    "GET /health/ready",
    "GET /healthz",
    "GET /healthz/db",
    "GET /healthz/redis",
    "GET /healthz/vault",
    "GET /info",
    "GET /.well-known/jwks.json",
    "GET /.well-known/openid-configuration",
    "POST /api/v1/auth/signup",
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/refresh",
    "POST /api/v1/auth/logout",
    "POST /api/v1/auth/password/forgot",
    "POST /api/v1/auth/password/reset",
    "POST /api/v1/auth/email/verify",
    "POST /api/v1/auth/magic-link",
    "POST /api/v1/auth/magic-link/verify",
    "GET /api/v1/auth/oauth/{provider}",
    "POST /api/v1/auth/oauth/callback",
    "GET /api/v1/team/invitations/lookup",
];

/// Every method and path of the system.
pub fn operations() -> Vec<(String, String, Value)> {
    let document = kijko_http::document();
    let paths = document["paths"].as_object().expect("paths").clone();
    let operations = paths.into_iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("methods").clone();
        methods.into_iter().map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    });
    operations.collect()
}

async fn call(person: &Person, method: &str, path: &str) -> crate::harness::Reply {
    let path =
        path.replace("{id}", "11111111-1111-4111-8111-111111111111").replace("{number}", "1").replace("{other}", "2");
    let body = (method != "GET" && method != "DELETE").then(|| json!({}));
    person.call(method.parse().unwrap(), &path, body).await
}

#[tokio::test]
async fn every_route_refuses_nobody_unless_the_contract_opens_it() {
    let app = Installation::new().await;
    let mut open = BTreeSet::new();
    for (method, path, operation) in operations() {
        let reply = call(&app.nobody(), &method, &path).await;
        let declared_open = operation["security"] == json!([{}]);
        if PUBLIC.contains(&format!("{method} {path}").as_str()) {
            open.insert(format!("{method} {path}"));
            // Logout is open at the door and asks inside.
            assert!(declared_open || path.ends_with("/logout"), "say `security(())` at {method} {path}");
            continue;
        }
        assert!(!declared_open, "{method} {path} declares itself open: remove `security(())`, or extend the contract");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{method} {path}");
        reply.refused(401, "UNAUTHENTICATED");
    }
    assert_eq!(
        open,
        PUBLIC.iter().map(|s| (*s).to_owned()).collect(),
        "the public list names routes that do not exist"
    );
    assert_eq!(kijko_http::PUBLIC.len(), PUBLIC.len(), "router.rs opens other routes than the contract");
    app.nobody().post("/api/v1/auth/logout", json!({})).await.refused(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn every_route_is_open_to_the_least_member_or_says_forbidden() {
    let app = Installation::new().await;
    let owner = app.owner().await;
    let viewer = app.member(&owner, "viewer").await;
    for (method, path, _) in operations() {
        if path.ends_with("/logout") {
            continue;
        }
        let reply = call(&viewer, &method, &path).await;
        assert_ne!(reply.status, 500, "{method} {path}: {}", reply.text);
        assert!(reply.status != 401 || path.starts_with("/api/v1/auth/"), "{method} {path}: {}", reply.text);
    }
}

fn forged(header: Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    format!("{}.{}.{signature}", part(&header), part(claims))
}

#[tokio::test]
async fn forged_and_foreign_tokens_are_refused_with_the_reason() {
    let app = Installation::new().await;
    let ada = app.owner().await;
    let token = ada.access_token().to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    let (claims, signature) = (ada.claims(), parts[2]);
    let header: Value = serde_json::from_slice(&BASE64.decode(parts[0]).unwrap()).unwrap();
    let kid = header["kid"].as_str().unwrap();

    // HS256 with our public key as the secret: the classic confusion.
    let jwks = app.nobody().get("/.well-known/jwks.json").await.ok(200);
    let public = jwks["keys"][0]["n"].as_str().unwrap().as_bytes();
    let mut hs256 = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    hs256.kid = Some(kid.to_owned());
    let confused = jsonwebtoken::encode(&hs256, &claims, &jsonwebtoken::EncodingKey::from_secret(public)).unwrap();

    let other = Installation::with(&[("PUBLIC_URL", "https://other.example.com")]).await;
    let foreign = other.owner().await;
    let mut admin = claims.clone();
    admin["roles"] = json!(["owner", "platform_admin"]);
    let mut twisted: Vec<u8> = signature.bytes().collect();
    twisted[10] = if twisted[10] == b'A' { b'B' } else { b'A' };
    let table = [
        (forged(json!({ "alg": "none" }), &claims, ""), "malformed"),
        (forged(json!({ "alg": "none", "kid": kid }), &claims, signature), "malformed"),
        (forged(json!({ "alg": "RS256", "kid": kid }), &admin, signature), "invalid"),
        (forged(json!({ "alg": "RS384", "kid": kid }), &claims, signature), "invalid"),
        (forged(json!({ "alg": "RS256", "kid": "unknown" }), &claims, signature), "invalid"),
        (forged(json!({ "alg": "RS256" }), &claims, signature), "invalid"),
        (confused, "invalid"),
        (foreign.access_token().to_owned(), "invalid"),
        (format!("{}.{}.{}", parts[0], parts[1], String::from_utf8(twisted).unwrap()), "invalid"),
        (format!("{}.{}.", parts[0], parts[1]), "invalid"),
        (format!("{}.{}", parts[0], parts[1]), "malformed"),
        ("not-a-token".to_owned(), "malformed"),
        ("x".repeat(9000), "malformed"),
        (ada.refresh_token().to_owned(), "malformed"),
    ];
    for (token, reason) in table {
        let reply = app.with_token(&token).get("/api/v1/auth/me").await;
        let text = reply.text.clone();
        assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], reason, "{token}: {text}");
    }
    ada.get("/api/v1/auth/me").await.ok(200);
}

#[tokio::test]
async fn tokens_signed_with_our_key_but_not_for_us_are_refused() {
    let pem = include_str!("fixtures/signing_key.pem");
    let app = Installation::with(&[("JWT_SIGNING_KEY", pem)]).await;
    let ada = app.owner().await;
    let kid = app.nobody().get("/.well-known/jwks.json").await.ok(200)["keys"][0]["kid"].as_str().unwrap().to_owned();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    header.kid = Some(kid);
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let signed = |change: &dyn Fn(&mut Value)| {
        let mut claims = ada.claims();
        change(&mut claims);
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    };
    let now = ada.claims()["iat"].as_i64().unwrap();
    app.with_token(&signed(&|_| ())).get("/api/v1/auth/me").await.ok(200);
    let session = uuid::Uuid::new_v4().to_string();
    let table: [(&str, String, &str); 9] = [
        ("another issuer", signed(&|c| c["iss"] = json!("https://evil.example.com")), "invalid"),
        ("another audience", signed(&|c| c["aud"] = json!("another-backend")), "invalid"),
        ("a list of audiences", signed(&|c| c["aud"] = json!(["kijko-backend"])), "invalid"),
        ("no expiry", signed(&|c| drop(c.as_object_mut().unwrap().remove("exp"))), "invalid"),
        ("an expiry that is text", signed(&|c| c["exp"] = json!("tomorrow")), "invalid"),
        ("expired this second", signed(&|c| c["exp"] = json!(now)), "expired"),
        ("not valid yet", signed(&|c| c["nbf"] = json!(now + 3600)), "invalid"),
        ("a session that never was", signed(&|c| c["sid"] = json!(session)), "revoked"),
        ("somebody else's session", signed(&|c| c["sub"] = json!(session)), "revoked"),
    ];
    for (what, token, reason) in table {
        let reply = app.with_token(&token).get("/api/v1/auth/me").await;
        let text = reply.text.clone();
        assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], reason, "{what}: {text}");
    }
    // Another organisation's id in an honest token of this user opens nothing.
    let eve = app.stranger().await;
    let crossed = signed(&|c| c["org_id"] = json!(eve.organization_id()));
    app.with_token(&crossed).get("/api/v1/skills").await.refused(403, "NO_ORGANIZATION");
}

#[tokio::test]
async fn headers_that_are_no_bearer_token_count_as_none() {
    let app = Installation::new().await;
    for value in ["", "Bearer", "Bearer ", "Basic YTpi", "bearer"] {
        let request = axum::http::Request::builder().uri("/api/v1/auth/me").header("authorization", value);
        let reply = app.nobody().send(request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], "missing", "{value:?}");
    }
}
