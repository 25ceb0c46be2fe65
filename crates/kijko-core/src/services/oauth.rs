//! Signing in by way of somebody else: the start sends the browser there, and the end takes what it came back with.
//! In Keycloak mode the realm vouches itself, or sends the browser on to Google or GitHub at once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::app::App;
use crate::domain::oauth::{OauthCallback, OauthProvider, OauthQuery, OauthStart, OauthTicket, may_redirect};
use crate::domain::sessions::TokenResponse;
use crate::domain::tickets::TicketKind;
use crate::error::{Code, Error, Result};
use crate::ports::SystemTask;
use crate::ports::realms::{AuthorizationRequest, Grant, Realm};
use crate::services::sessions::{self, Origin};
use crate::services::{realm_sessions, tickets};

/// Where the browser goes to sign in. The state, the PKCE verifier and the nonce are good once, for ten minutes.
/// Refuses with `UNSUPPORTED_PROVIDER`, `REDIRECT_NOT_ALLOWED`, `SERVICE_NOT_CONFIGURED`.
pub async fn start(app: &App, provider: &str, query: OauthQuery) -> Result<OauthStart> {
    let (provider, realm) = offered(app, provider)?;
    let redirect_uri = query.redirect_uri.unwrap_or_else(|| format!("{}/auth/callback", app.config.http.app_url));
    if !may_redirect(&redirect_uri, &app.config.http.redirect_allowlist) {
        return Err(Error::Rejected { code: Code::RedirectNotAllowed });
    }
    let ticket = OauthTicket { provider, redirect_uri, verifier: random(app), nonce: random(app) };
    let mut tx = sessions::open(app, SystemTask::SignIn).await?;
    let state = tickets::issue(app, &mut *tx, TicketKind::OauthState, None, &ticket, app.clock.now()).await?;
    let redirect_url = realm.client.authorization_url(&AuthorizationRequest {
        redirect_uri: &ticket.redirect_uri,
        state: state.expose_secret(),
        nonce: &ticket.nonce,
        code_challenge: &URL_SAFE_NO_PAD.encode(app.tokens.sha256(ticket.verifier.as_bytes())),
        broker: (provider != OauthProvider::Keycloak).then_some(provider.as_str()),
    })?;
    tx.commit().await?;
    Ok(OauthStart { redirect_url, provider })
}

/// Signs in with what the browser came back with. Refuses with `OAUTH_STATE_INVALID`, `OAUTH_CODE_INVALID`,
/// `ACCOUNT_LINK_REQUIRED`, `ACCOUNT_DISABLED`, `NO_ORGANIZATION`, `AUTH_UNAVAILABLE`.
pub async fn finish(app: &App, callback: OauthCallback, origin: &Origin) -> Result<TokenResponse> {
    let invalid = || Error::Rejected { code: Code::OauthStateInvalid };
    let ticket = use_up(app, &callback.state).await?.filter(|ticket| ticket.redirect_uri == callback.redirect_uri);
    let ticket = ticket.ok_or_else(invalid)?;
    // The mode may have been changed in between.
    let (_, realm) = offered(app, ticket.provider.as_str()).map_err(|_| invalid())?;
    let grant = Grant::Code {
        code: callback.code.expose_secret(),
        redirect_uri: &ticket.redirect_uri,
        verifier: &ticket.verifier,
        nonce: &ticket.nonce,
    };
    realm_sessions::sign_in_with_code(app, realm, grant, origin).await
}

/// Also when what follows fails: a state that somebody saw must not be good for another try.
async fn use_up(app: &App, state: &SecretString) -> Result<Option<OauthTicket>> {
    let mut tx = sessions::open(app, SystemTask::SignIn).await?;
    let redeemed = tickets::redeem(app, &mut *tx, TicketKind::OauthState, state, app.clock.now()).await?;
    tx.commit().await?;
    Ok(redeemed.map(|redeemed| redeemed.payload))
}

/// Who vouches for people in this installation.
fn offered<'a>(app: &'a App, provider: &str) -> Result<(OauthProvider, &'a Realm)> {
    let provider = OauthProvider::parse(provider).ok_or(Error::Rejected { code: Code::UnsupportedProvider })?;
    match (&app.realm, provider) {
        (Some(realm), provider) => Ok((provider, realm)),
        (None, OauthProvider::Keycloak) => Err(Error::Rejected { code: Code::UnsupportedProvider }),
        (None, OauthProvider::Google | OauthProvider::Github) => {
            Err(Error::Unavailable { code: Code::ServiceNotConfigured, source: None })
        }
    }
}

/// 256 bits.
fn random(app: &App) -> String {
    let mut bytes = [0; 32];
    app.random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
