//! A person with a browser, who signs in at somebody's own pages and comes back to the front end with a code.

use std::sync::Mutex;

use regex::Regex;
use reqwest::redirect;
use serde_json::{Value, json};

use super::{Installation, Reply};

/// Where the front end is.
const FRONT_END: &str = "http://localhost:3000/";
pub const CALLBACK: &str = "http://localhost:3000/auth/callback";

/// Where Kijko sends the browser.
pub async fn start(app: &Installation, provider: &str) -> String {
    let started = app.nobody().get(&format!("/api/v1/auth/oauth/{provider}")).await.ok(200);
    assert_eq!(started["provider"], provider);
    started["redirect_url"].as_str().unwrap().to_owned()
}

/// What the front end's callback page sends on.
pub fn returned(url: &str) -> Value {
    let url = url::Url::parse(url).unwrap();
    assert_eq!(url.as_str().split('?').next(), Some(CALLBACK), "the browser comes back to the front end");
    let mut body = json!({ "redirect_uri": CALLBACK });
    for (name, value) in url.query_pairs().filter(|(name, _)| ["code", "state", "error"].contains(&&**name)) {
        body[&*name] = json!(value);
    }
    body
}

pub async fn finish(app: &Installation, body: &Value) -> Reply {
    app.nobody().post("/api/v1/auth/oauth/callback", body.clone()).await
}

/// Keeps cookies, follows redirects by hand, and fills in forms.
#[derive(Default)]
pub struct Browser {
    http: reqwest::Client,
    cookies: Mutex<Vec<(String, String)>>,
}

impl Browser {
    pub fn new() -> Self {
        let http = reqwest::Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        Self { http, cookies: Mutex::default() }
    }

    /// Opens a page; where it shows a form, fills it in and sends it; and goes on until it is sent away.
    pub async fn sign_in(&self, url: &str, fields: &[(&str, &str)]) -> String {
        let (mut next, mut form) = (url::Url::parse(url).expect("a URL"), None);
        let action = Regex::new(r#"(?s)<form[^>]*?action="([^"]+)"[^>]*method="post""#).unwrap();
        for _ in 0..20 {
            let reply = self.send(&next, form.take()).await;
            if reply.status().is_redirection() {
                let location = reply.headers()["location"].to_str().expect("text").to_owned();
                next = next.join(&location).expect("a URL");
                if next.as_str().starts_with(FRONT_END) {
                    return next.into();
                }
                continue;
            }
            let (status, page) = (reply.status(), reply.text().await.expect("text"));
            assert_eq!(status, 200, "an error is shown: {page}");
            let action = action.captures(&page).unwrap_or_else(|| panic!("a page without a form: {page}"));
            next = next.join(&action[1].replace("&amp;", "&")).expect("a URL");
            form = Some(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish());
        }
        panic!("they keep asking")
    }

    /// The page, and where a link on it leads.
    pub async fn link(&self, url: &str, containing: &str) -> String {
        let url = url::Url::parse(url).expect("a URL");
        let page = self.send(&url, None).await.text().await.expect("text");
        let links = Regex::new(r#"href="([^"]+)""#).unwrap();
        let mut links = links.captures_iter(&page).map(|found| found[1].replace("&amp;", "&"));
        let link = links.find(|link| link.contains(containing)).unwrap_or_else(|| panic!("no such link: {page}"));
        url.join(&link).expect("a URL").into()
    }

    async fn send(&self, url: &url::Url, form: Option<String>) -> reqwest::Response {
        let cookies = self.cookies.lock().unwrap().iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>();
        let mut request = match form {
            None => self.http.get(url.clone()),
            Some(form) => {
                self.http.post(url.clone()).header("content-type", "application/x-www-form-urlencoded").body(form)
            }
        };
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let reply = request.send().await.expect("they answer");
        let mut kept = self.cookies.lock().unwrap();
        for cookie in reply.headers().get_all("set-cookie") {
            let pair = cookie.to_str().expect("text").split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie");
            kept.retain(|(other, _)| other != name);
            kept.push((name.to_owned(), value.to_owned()));
        }
        drop(kept);
        reply
    }
}
