//! `kijko keys`.

use kijko_core::App;
use kijko_core::domain::api_keys::{ApiKey, Expiration, NewApiKey};
use kijko_core::services::{api_keys, identity, signing_keys};

use super::operator::{confirm, operator};
use crate::args::Keys;
use crate::exit::Failure;
use crate::output::{Output, table};

const HEAD: [&str; 6] = ["ID", "NAME", "BEGINS WITH", "SCOPES", "USES", "EXPIRES"];

pub async fn run(app: &App, command: Keys, output: &Output) -> Result<(), Failure> {
    match command {
        Keys::List { owner, all, why } => {
            let ctx = identity::as_operator(app, &operator(&why), &owner.user, owner.org).await?;
            let keys = api_keys::list(app, &ctx, all).await?;
            output.answer(&keys, || table(&HEAD, keys.iter().map(row).collect()));
        }
        Keys::Create { owner, name, scope, expires_in_days, why } => {
            let ctx = identity::as_operator(app, &operator(&why), &owner.user, owner.org).await?;
            let expiration = if expires_in_days.is_some() { Expiration::Custom } else { Expiration::Never };
            let new = NewApiKey { name, expiration, custom_expiration_days: expires_in_days, scopes: scope };
            let created = api_keys::create(app, &ctx, new, None).await?;
            output.answer(&created, || {
                vec![
                    "Keep it safe; it is not shown again:".to_owned(),
                    created.key.clone(),
                    format!("(id {})", created.id),
                ]
            });
        }
        Keys::Revoke { key, owner, why, sure } => {
            confirm(&sure, "ends the key at once, wherever it is used")?;
            let ctx = identity::as_operator(app, &operator(&why), &owner.user, owner.org).await?;
            api_keys::revoke(app, &ctx, key).await?;
            output.answer(&serde_json::json!({ "revoked": key }), || vec![format!("Revoked {key}")]);
        }
        Keys::RotateSigning { at_once, why, sure } => {
            let consequence = match at_once {
                true => "makes every access token that was given out until now worthless; people have to refresh",
                false => "makes all servers sign access tokens with a new key; nobody is signed out",
            };
            confirm(&sure, consequence)?;
            let rotated = signing_keys::rotate(app, &operator(&why), at_once).await?;
            output.answer(&rotated, || match rotated.previous_verifies_until {
                Some(until) => vec![format!(
                    "The key {} signs now; the one before it verifies until {}",
                    rotated.key_id,
                    until.format("%Y-%m-%d %H:%M:%S UTC")
                )],
                None => vec![format!("The key {} signs now; no other verifies", rotated.key_id)],
            });
        }
    }
    Ok(())
}

fn row(key: &ApiKey) -> Vec<String> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let expires = match key.expires_at {
        Some(end) if key.is_expired => format!("expired {}", end.format("%Y-%m-%d")),
        Some(end) => end.format("%Y-%m-%d").to_string(),
        None => "never".to_owned(),
    };
    vec![
        key.id.to_string(),
        key.name.clone(),
        key.key_prefix.clone(),
        scopes.join(","),
        key.usage_count.to_string(),
        expires,
    ]
}
