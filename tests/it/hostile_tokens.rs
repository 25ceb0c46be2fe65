//! Every lie about who one is that we could think of, and the exact reply to it: status, code, reason, and the header
//! that tells a client to sign in. None of them is an error of ours, and none opens anything.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Installation, Person};

const OURS: &str = include_str!("fixtures/signing_key.pem");
const THEIRS: &str = include_str!("fixtures/other_signing_key.pem");

/// An installation that signs with a key that we know, somebody who signed in, and the honest parts of their token.
struct Forge {
    app: Installation,
    ada: Person,
    claims: Value,
    kid: String,
    jwk: Value,
    now: i64,
}

impl Forge {
    async fn new() -> Self {
        let app = Installation::with(&[("JWT_SIGNING_KEY", OURS)]).await;
        let ada = app.owner().await;
        let jwk = app.nobody().get("/.well-known/jwks.json").await.ok(200)["keys"][0].clone();
        let (claims, kid) = (ada.claims(), jwk["kid"].as_str().unwrap().to_owned());
        let now = claims["iat"].as_i64().unwrap();
        Self { app, ada, claims, kid, jwk, now }
    }

    fn header(&self) -> Value {
        json!({ "typ": "JWT", "alg": "RS256", "kid": self.kid })
    }

    /// Signed with RS256, by whose key it is.
    fn signed_by(pem: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::RS256).unwrap();
        format!("{message}.{signature}")
    }

    /// A token that is right but for these members of its header.
    fn header_with(&self, members: Value) -> String {
        let mut header = self.header();
        header.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        Self::signed_by(OURS, &header.to_string(), &self.claims.to_string())
    }

    /// A token that is right, and rightly signed, but for these claims; null takes one away.
    fn claims_with(&self, members: Value) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        Self::signed_by(OURS, &self.header().to_string(), &claims.to_string())
    }

    /// What an attacker signs with their own key while pointing at it.
    fn theirs_with(&self, members: Value) -> String {
        let mut header = self.header();
        header.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        Self::signed_by(THEIRS, &header.to_string(), &self.claims.to_string())
    }

    fn symmetric(&self, algorithm: Algorithm, secret: &[u8]) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &self.claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    fn asymmetric(&self, algorithm: Algorithm) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &self.claims, &EncodingKey::from_rsa_pem(OURS.as_bytes()).unwrap()).unwrap()
    }

    /// The reply must be 401 `UNAUTHENTICATED` with this reason, on a route that needs no organisation and on one
    /// that does.
    async fn refuses(&self, what: &str, headers: &[&[u8]], reason: &str) {
        for path in ["/api/v1/auth/me", "/api/v1/skills"] {
            let mut request = Request::builder().uri(path);
            for value in headers {
                request = request.header("authorization", HeaderValue::from_bytes(value).unwrap());
            }
            let reply = self.app.nobody().send(request.body(Body::empty()).unwrap()).await;
            let text = reply.text.clone();
            assert_eq!(reply.status, 401, "{what} on {path}: {text}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{what} on {path}: {text}");
            let problem = reply.refused(401, "UNAUTHENTICATED");
            assert_eq!(problem["details"], json!({ "reason": reason }), "{what} on {path}: {text}");
            assert_eq!(problem["detail"], "Sign in first", "{what} on {path}: the text says no more: {text}");
        }
    }
}

#[tokio::test]
async fn the_forge_makes_tokens_that_are_right_but_for_one_thing() {
    let forge = Forge::new().await;
    for honest in [forge.claims_with(json!({})), forge.header_with(json!({ "jku": "https://evil.example.com" }))] {
        // What a header points at is never looked at: the key is ours to choose.
        forge.app.with_token(&honest).get("/api/v1/auth/me").await.ok(200);
    }
    let young = forge.claims_with(json!({ "nbf": forge.now + 29, "iat": forge.now + 29 }));
    forge.app.with_token(&young).get("/api/v1/auth/me").await.ok(200);
}

#[tokio::test]
async fn tokens_with_a_lying_header_or_signature_are_refused() {
    let forge = Forge::new().await;
    let pem_public = forge.jwk["n"].as_str().unwrap().as_bytes().to_vec();
    let der_public = BASE64.decode(forge.jwk["n"].as_str().unwrap()).unwrap();
    let claims = forge.claims.to_string();
    let unsigned = |header: Value, signature: &str| {
        format!("{}.{}.{signature}", BASE64.encode(header.to_string()), BASE64.encode(&claims))
    };
    let honest = forge.ada.access_token();
    let parts: Vec<&str> = honest.split('.').collect();
    let admin = {
        let mut claims = forge.claims.clone();
        claims["roles"] = json!(["owner", "platform_admin"]);
        format!("{}.{}.{}", parts[0], BASE64.encode(claims.to_string()), parts[2])
    };
    let foreign_jwk = json!({ "kty": "RSA", "e": "AQAB", "n": forge.jwk["n"] });
    let table: Vec<(&str, String, &str)> = vec![
        ("alg none, no signature", unsigned(json!({ "typ": "JWT", "alg": "none" }), ""), "malformed"),
        ("alg None", unsigned(json!({ "typ": "JWT", "alg": "None", "kid": forge.kid }), parts[2]), "malformed"),
        ("alg NONE", unsigned(json!({ "typ": "JWT", "alg": "NONE", "kid": forge.kid }), ""), "malformed"),
        ("no alg", unsigned(json!({ "typ": "JWT", "kid": forge.kid }), parts[2]), "malformed"),
        ("alg null", unsigned(json!({ "typ": "JWT", "alg": null, "kid": forge.kid }), parts[2]), "malformed"),
        ("alg rs256", unsigned(json!({ "typ": "JWT", "alg": "rs256", "kid": forge.kid }), parts[2]), "malformed"),
        ("HS256 with the published modulus", forge.symmetric(Algorithm::HS256, &pem_public), "invalid"),
        ("HS256 with its bytes", forge.symmetric(Algorithm::HS256, &der_public), "invalid"),
        ("HS256 with an empty secret", forge.symmetric(Algorithm::HS256, b""), "invalid"),
        ("HS512 with the private key as text", forge.symmetric(Algorithm::HS512, OURS.as_bytes()), "invalid"),
        ("RS384 with our own key", forge.asymmetric(Algorithm::RS384), "invalid"),
        ("RS512 with our own key", forge.asymmetric(Algorithm::RS512), "invalid"),
        ("PS256 with our own key", forge.asymmetric(Algorithm::PS256), "invalid"),
        ("no kid", forge.header_with(json!({ "kid": null })), "invalid"),
        ("an empty kid", forge.header_with(json!({ "kid": "" })), "invalid"),
        ("another kid", forge.header_with(json!({ "kid": "another" })), "invalid"),
        ("a kid that is a number", forge.header_with(json!({ "kid": 1 })), "malformed"),
        ("a kid that is a list", forge.header_with(json!({ "kid": [forge.kid] })), "malformed"),
        ("a kid that is a path", forge.header_with(json!({ "kid": "../../../../dev/null" })), "invalid"),
        ("a kid that is SQL", forge.header_with(json!({ "kid": "' OR 1=1 --" })), "invalid"),
        ("a kid with NUL", forge.header_with(json!({ "kid": "a\u{0}b" })), "invalid"),
        ("a kid of 4 kB", forge.header_with(json!({ "kid": "k".repeat(4096) })), "invalid"),
        ("their key", forge.theirs_with(json!({})), "invalid"),
        ("their key, embedded as jwk", forge.theirs_with(json!({ "kid": null, "jwk": foreign_jwk })), "invalid"),
        ("our kid and a jwk", forge.theirs_with(json!({ "jwk": foreign_jwk })), "invalid"),
        ("jku", forge.theirs_with(json!({ "jku": "https://evil.example.com/jwks.json" })), "invalid"),
        ("x5u", forge.theirs_with(json!({ "x5u": "https://evil.example.com/cert.pem" })), "invalid"),
        ("x5c", forge.theirs_with(json!({ "x5c": ["MIIB"] })), "invalid"),
        ("something critical", forge.header_with(json!({ "crit": ["exp"], "exp": 1 })), "invalid"),
        ("b64 false", forge.header_with(json!({ "crit": ["b64"], "b64": false })), "invalid"),
        ("nothing critical", forge.header_with(json!({ "crit": [] })), "invalid"),
        ("the type of a refresh token", forge.header_with(json!({ "typ": "Refresh" })), "invalid"),
        ("the type of an ID token", forge.header_with(json!({ "typ": "ID" })), "invalid"),
        ("the type of a logout token", forge.header_with(json!({ "typ": "logout+jwt" })), "invalid"),
        ("no type", forge.header_with(json!({ "typ": null })), "invalid"),
        ("changed claims", admin, "invalid"),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), "invalid"),
        ("half a signature", format!("{}.{}.{}", parts[0], parts[1], &parts[2][..100]), "invalid"),
        ("a signature and more", format!("{honest}AAAA"), "invalid"),
        ("a signature that is no base64", format!("{}.{}.!!!", parts[0], parts[1]), "invalid"),
        ("claims that are no base64", format!("{}.!!!.{}", parts[0], parts[2]), "invalid"),
        ("a header that is no base64", format!("!!!.{}.{}", parts[1], parts[2]), "malformed"),
        ("a header that is no JSON", format!("{}.{}.{}", BASE64.encode("{"), parts[1], parts[2]), "malformed"),
        ("a header that is a list", format!("{}.{}.{}", BASE64.encode("[]"), parts[1], parts[2]), "malformed"),
        ("standard base64 with padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2]), "malformed"),
        ("two parts", format!("{}.{}", parts[0], parts[1]), "malformed"),
        ("four parts", format!("{honest}.x"), "malformed"),
        ("five parts, as encrypted tokens have", format!("{honest}.x.y"), "malformed"),
        ("only dots", "..".to_owned(), "malformed"),
        ("a refresh token", forge.ada.refresh_token().to_owned(), "malformed"),
        ("a word", "token".to_owned(), "malformed"),
        ("8 kB and more", format!("{honest}{}", "A".repeat(8 * 1024)), "malformed"),
        ("100 kB", "A".repeat(100 * 1024), "malformed"),
        ("100 kB of dots", ".".repeat(100 * 1024), "malformed"),
    ];
    assert!(table.len() >= 40, "the table may only grow");
    for (what, token, reason) in &table {
        forge.refuses(what, &[format!("Bearer {token}").as_bytes()], reason).await;
    }
    forge.ada.get("/api/v1/auth/me").await.ok(200);
}

#[tokio::test]
async fn tokens_that_we_signed_with_claims_that_we_never_make_are_refused() {
    let forge = Forge::new().await;
    let now = forge.now;
    let eve = forge.app.stranger().await;
    let of_eve = eve.claims();
    let nobody = uuid::Uuid::new_v4();
    // What an OpenID provider would call an ID token: for a client, with other claims.
    let id_token = json!({ "aud": "kijko-web", "nonce": "n", "at_hash": "h", "auth_time": now, "sid": null,
                           "org_id": null, "jti": null, "roles": null });
    let id_token_for_us = json!({ "nonce": "n", "at_hash": "h", "jti": null, "org_id": null, "roles": null });
    let table: Vec<(&str, Value, &str)> = vec![
        ("no exp", json!({ "exp": null }), "invalid"),
        ("exp as text", json!({ "exp": (now + 60).to_string() }), "invalid"),
        ("exp as a word", json!({ "exp": "never" }), "invalid"),
        ("exp with a fraction", json!({ "exp": now as f64 + 60.5 }), "invalid"),
        ("exp 1e300", json!({ "exp": 1e300 }), "invalid"),
        ("exp at the end of 64 bits", json!({ "exp": i64::MAX }), "invalid"),
        ("exp beyond 64 bits", json!({ "exp": u64::MAX }), "invalid"),
        ("exp in a thousand years", json!({ "exp": now + 1000 * 365 * 86_400 }), "invalid"),
        ("exp negative", json!({ "exp": -1 }), "invalid"),
        ("exp zero", json!({ "exp": 0 }), "invalid"),
        ("exp as a list", json!({ "exp": [now + 60] }), "invalid"),
        ("exp true", json!({ "exp": true }), "invalid"),
        ("expired this second", json!({ "exp": now, "iat": now - 60 }), "expired"),
        ("expired by one second", json!({ "exp": now - 1, "iat": now - 60 }), "expired"),
        ("expired by an hour", json!({ "exp": now - 3600, "iat": now - 7200 }), "expired"),
        ("expired before it was issued", json!({ "exp": now + 10, "iat": now + 20 }), "invalid"),
        ("no nbf", json!({ "nbf": null }), "invalid"),
        ("nbf in 31 seconds", json!({ "nbf": now + 31 }), "invalid"),
        ("nbf as text", json!({ "nbf": "now" }), "invalid"),
        ("no iat", json!({ "iat": null }), "invalid"),
        ("iat in 31 seconds", json!({ "iat": now + 31 }), "invalid"),
        ("iat as text", json!({ "iat": "now" }), "invalid"),
        ("no issuer", json!({ "iss": null }), "invalid"),
        ("another issuer", json!({ "iss": "https://evil.example.com" }), "invalid"),
        ("our issuer with a slash", json!({ "iss": "http://localhost:8000/" }), "invalid"),
        ("a list of issuers", json!({ "iss": [forge.claims["iss"], "x"] }), "invalid"),
        ("no audience", json!({ "aud": null }), "invalid"),
        ("another audience", json!({ "aud": "another-backend" }), "invalid"),
        ("a list with our audience", json!({ "aud": ["kijko-backend"] }), "invalid"),
        ("a list with ours and another", json!({ "aud": ["another-backend", "kijko-backend"] }), "invalid"),
        ("an empty list of audiences", json!({ "aud": [] }), "invalid"),
        ("an ID token", id_token, "invalid"),
        ("an ID token with our audience", id_token_for_us, "invalid"),
        ("no sub", json!({ "sub": null }), "invalid"),
        ("a sub that is no UUID", json!({ "sub": "ada" }), "invalid"),
        ("a sub that is SQL", json!({ "sub": "' OR 1=1 --" }), "invalid"),
        ("a sub that nobody has", json!({ "sub": nobody }), "revoked"),
        ("somebody else's sub", json!({ "sub": of_eve["sub"] }), "revoked"),
        ("no session", json!({ "sid": null }), "invalid"),
        ("a session that is no UUID", json!({ "sid": "1" }), "invalid"),
        ("a session that never was", json!({ "sid": nobody }), "revoked"),
        ("somebody else's session", json!({ "sid": of_eve["sid"] }), "revoked"),
        ("an organisation that is no UUID", json!({ "org_id": "*" }), "invalid"),
        ("no organisation", json!({ "org_id": null }), "invalid"),
        ("roles as text", json!({ "roles": "owner" }), "invalid"),
        ("a verified address as text", json!({ "email_verified": "true" }), "invalid"),
    ];
    for (what, members, reason) in &table {
        let token = forge.claims_with(members.clone());
        forge.refuses(what, &[format!("Bearer {token}").as_bytes()], reason).await;
    }
    let claims = forge.claims.to_string();
    for (what, text) in [
        ("claims with exp twice", format!("{{\"exp\":{},{}", now + 999_999, &claims[1..])),
        ("claims with sub twice", format!("{{\"sub\":{},{}", of_eve["sub"], &claims[1..])),
        ("claims with aud twice", format!("{{\"aud\":\"x\",{}", &claims[1..])),
        ("claims that are a list", "[]".to_owned()),
        ("claims that are null", "null".to_owned()),
        ("claims with something after them", format!("{claims}{claims}")),
        ("no claims", String::new()),
        ("claims that are no UTF-8", "\u{fffd}".to_owned()),
        ("claims nested without end", format!("{{\"x\":{}", "[".repeat(2000))),
    ] {
        let token = Forge::signed_by(OURS, &forge.header().to_string(), &text);
        forge.refuses(what, &[format!("Bearer {token}").as_bytes()], "invalid").await;
    }
    // Roles in a token are for the front end to show; the database decides.
    let boastful = forge.claims_with(json!({ "roles": ["owner", "platform_admin"], "email": "root@kijko.nl" }));
    let me = forge.app.with_token(&boastful).get("/api/v1/auth/me").await.ok(200);
    assert_eq!((&me["roles"], &me["email"]), (&json!(["owner"]), &forge.claims["email"]));
    // Another organisation's id in a token that is right otherwise opens nothing.
    let crossed = forge.app.with_token(&forge.claims_with(json!({ "org_id": of_eve["org_id"] })));
    let reply = crossed.get("/api/v1/skills").await;
    assert_eq!(reply.header("www-authenticate"), None, "a refresh would not help");
    reply.refused(403, "NO_ORGANIZATION");
    let made_up = forge.app.with_token(&forge.claims_with(json!({ "org_id": nobody })));
    made_up.get("/api/v1/skills").await.refused(403, "NO_ORGANIZATION");
}

#[tokio::test]
async fn headers_that_are_no_single_bearer_token_are_refused() {
    let forge = Forge::new().await;
    let honest = forge.ada.access_token();
    let bearer = format!("Bearer {honest}");
    let table: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("none", vec![], "missing"),
        ("empty", vec![b"".to_vec()], "missing"),
        ("spaces", vec![b"   ".to_vec()], "missing"),
        ("the scheme alone", vec![b"Bearer".to_vec()], "missing"),
        ("the scheme and a space", vec![b"Bearer ".to_vec()], "missing"),
        ("the token alone", vec![honest.as_bytes().to_vec()], "missing"),
        ("Basic", vec![b"Basic YWRhOnRlc3RwYXNzMTIz".to_vec()], "missing"),
        ("Basic with a good token", vec![format!("Basic {honest}").into_bytes()], "missing"),
        ("Digest", vec![b"Digest username=\"ada\"".to_vec()], "missing"),
        ("DPoP", vec![format!("DPoP {honest}").into_bytes()], "missing"),
        ("Bearer:", vec![format!("Bearer: {honest}").into_bytes()], "missing"),
        ("a tab for the space", vec![format!("Bearer\t{honest}").into_bytes()], "missing"),
        ("a space before", vec![format!(" Bearer {honest}").into_bytes()], "missing"),
        ("quotes", vec![format!("Bearer \"{honest}\"").into_bytes()], "malformed"),
        ("a parameter after it", vec![format!("{bearer}, realm=x").into_bytes()], "invalid"),
        ("a second token after it", vec![format!("{bearer} {honest}").into_bytes()], "malformed"),
        ("two tokens in a list", vec![format!("{bearer},{bearer}").into_bytes()], "malformed"),
        ("the header twice", vec![bearer.clone().into_bytes(), bearer.clone().into_bytes()], "malformed"),
        ("a good and a bad header", vec![bearer.clone().into_bytes(), b"Bearer x".to_vec()], "malformed"),
        ("a bad and a good header", vec![b"Basic x".to_vec(), bearer.clone().into_bytes()], "malformed"),
        ("letters beyond ASCII", vec![format!("Bearer {honest}\u{e9}").into_bytes()], "malformed"),
        ("bytes that are no UTF-8", vec![b"Bearer \xff\xfe".to_vec()], "malformed"),
        ("letters that only look alike", vec!["Веаrer x".as_bytes().to_vec()], "malformed"),
    ];
    for (what, headers, reason) in &table {
        let headers: Vec<&[u8]> = headers.iter().map(Vec::as_slice).collect();
        forge.refuses(what, &headers, reason).await;
    }
    // The name of the scheme has no case (RFC 9110), and more spaces after it do no harm.
    for good in [format!("bearer {honest}"), format!("BEARER {honest}"), format!("Bearer   {honest}")] {
        let request = Request::builder().uri("/api/v1/auth/me").header("authorization", good);
        forge.app.nobody().send(request.body(Body::empty()).unwrap()).await.ok(200);
    }
    // A token counts where the contract says, and nowhere else.
    for (what, path) in [("query", format!("/api/v1/skills?token={honest}&access_token={honest}"))] {
        let reply = forge.app.nobody().get(&path).await;
        assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], "missing", "{what}");
    }
    for name in ["cookie", "x-access-token", "proxy-authorization"] {
        let request = Request::builder().uri("/api/v1/skills").header(name, format!("kijko_session={honest}"));
        let reply = forge.app.nobody().send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.refused(401, "UNAUTHENTICATED")["details"]["reason"], "missing", "{name}");
    }
}

#[tokio::test]
async fn api_keys_that_are_not_good_all_sound_the_same() {
    let forge = Forge::new().await;
    let new = json!({ "name": "A machine", "expiration": "30", "scopes": ["read"] });
    let make = async || forge.ada.post("/api/v1/security/api-keys", new.clone()).await.ok(201);
    let (good, revoked) = (make().await, make().await);
    let path = format!("/api/v1/security/api-keys/{}", revoked["id"].as_str().unwrap());
    forge.ada.delete(&path).await.ok(204);
    let key = good["key"].as_str().unwrap();
    let digits = &key["kijko_test_".len()..];
    let mut table: Vec<(&str, String)> = vec![
        ("a revoked key", revoked["key"].as_str().unwrap().to_owned()),
        ("a key that never was", format!("kijko_test_{}", "0".repeat(48))),
        ("the other environment", format!("kijko_live_{digits}")),
        ("no such environment", format!("kijko_prod_{digits}")),
        ("no environment", format!("kijko_{digits}")),
        ("a prefix in capitals", format!("KIJKO_TEST_{digits}")),
        ("digits in capitals", format!("kijko_test_{}", digits.to_uppercase())),
        ("one digit short", key[..key.len() - 1].to_owned()),
        ("one digit more", format!("{key}0")),
        ("the part that is shown", good["keyPrefix"].as_str().unwrap().to_owned()),
        ("its id", format!("kijko_test_{}", good["id"].as_str().unwrap())),
        ("the prefix alone", "kijko_".to_owned()),
        ("digits that are no digits", format!("kijko_test_{}", "g".repeat(48))),
        ("SQL", "kijko_test_' OR 1=1 --".to_owned()),
        ("100 kB of digits", format!("kijko_test_{}", "0".repeat(100 * 1024))),
        ("a token after a prefix", format!("kijko_{}", forge.ada.access_token())),
    ];
    if digits.to_uppercase() == digits {
        table.retain(|(what, _)| *what != "digits in capitals");
    }
    for (what, key) in &table {
        forge.refuses(what, &[format!("Bearer {key}").as_bytes()], "api_key").await;
    }
    forge.refuses("a key as Basic", &[format!("Basic {key}").as_bytes()], "missing").await;
    forge.refuses("a key without a scheme", &[key.as_bytes()], "missing").await;
    forge.app.with_token(key).get("/api/v1/skills").await.ok(200);
    forge.app.advance(30 * 86_400);
    forge.refuses("an expired key", &[format!("Bearer {key}").as_bytes()], "api_key").await;
}

/// What no client library would send: bytes on a real connection.
#[tokio::test]
async fn bytes_that_are_no_http_never_reach_a_handler() {
    let forge = Forge::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(kijko_http::serve(forge.app.app.clone(), listener, false, async {
        stopped.await.ok();
    }));
    let honest = forge.ada.access_token().as_bytes();
    let table: [(&str, Vec<u8>, &str); 7] = [
        ("a good token", [b"Bearer ", honest].concat(), "200"),
        ("NUL inside", [b"Bearer \0", honest].concat(), "400"),
        ("NUL at the end", [b"Bearer ", honest, b"\0"].concat(), "400"),
        ("a bare line feed", [b"Bearer x\nX-Injected: 1 ", honest].concat(), "401"),
        ("a carriage return inside", [b"Bearer \r", honest].concat(), "400"),
        ("another header smuggled in", [b"Basic x\r\nAuthorization: Bearer ", honest].concat(), "401"),
        ("a megabyte", [b"Bearer ", &vec![b'A'; 1 << 20][..]].concat(), "431"),
    ];
    for (what, value, status) in table {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = b"GET /api/v1/auth/me HTTP/1.1\r\nHost: kijko\r\nConnection: close\r\nAuthorization: ";
        // The server may close before it has read all of it.
        stream.write_all(&[head, &value[..], b"\r\n\r\n"].concat()).await.ok();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.ok();
        let reply = String::from_utf8_lossy(&reply);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {}", &reply[..reply.len().min(300)]);
    }
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
