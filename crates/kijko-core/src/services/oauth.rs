//! Signing in by way of somebody else: the start sends the browser there, and the end takes what it came back with.
//! In Keycloak mode the realm vouches itself, or sends the browser on to Google or GitHub at once; otherwise these are
//! asked directly.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::app::App;
use crate::domain::oauth::{OauthCallback, OauthProvider, OauthQuery, OauthStart, OauthTicket, may_redirect};
use crate::domain::sessions::TokenResponse;
use crate::domain::tickets::TicketKind;
use crate::error::{Code, Error, Result};
use crate::ports::SystemTask;
use crate::ports::oauth::{AuthorizationRequest, CodeGrant, SocialProvider};
use crate::ports::realms::{Grant, Realm};
use crate::services::sessions::{self, Origin};
use crate::services::{realm_sessions, social, tickets};

/// Where the browser goes to sign in. The state, the PKCE verifier and the nonce are good once, for ten minutes.
/// Refuses with `UNSUPPORTED_PROVIDER`, `REDIRECT_NOT_ALLOWED`, `SERVICE_NOT_CONFIGURED`, `AUTH_UNAVAILABLE`.
pub async fn start(app: &App, provider: &str, query: OauthQuery) -> Result<OauthStart> {
    let (provider, voucher) = offered(app, provider)?;
    let redirect_uri = query.redirect_uri.unwrap_or_else(|| format!("{}/auth/callback", app.config.http.app_url));
    if !may_redirect(&redirect_uri, &app.config.http.redirect_allowlist) {
        return Err(Error::Rejected { code: Code::RedirectNotAllowed });
    }
    let ticket = OauthTicket { provider, redirect_uri, verifier: random(app), nonce: random(app) };
    let mut tx = sessions::open(app, SystemTask::SignIn).await?;
    let state = tickets::issue(app, &mut *tx, TicketKind::OauthState, None, &ticket, app.clock.now()).await?;
    tx.commit().await?;
    let request = AuthorizationRequest {
        redirect_uri: &ticket.redirect_uri,
        state: state.expose_secret(),
        nonce: &ticket.nonce,
        code_challenge: &URL_SAFE_NO_PAD.encode(app.tokens.sha256(ticket.verifier.as_bytes())),
    };
    let redirect_url = match voucher {
        Voucher::Realm(realm) => {
            let broker = (provider != OauthProvider::Keycloak).then_some(provider.as_str());
            realm.client.authorization_url(&request, broker)?
        }
        Voucher::Provider(social) => social.authorization_url(&request).await?,
    };
    Ok(OauthStart { redirect_url, provider })
}

/// Signs in with what the browser came back with. Refuses with `VALIDATION_ERROR`, `OAUTH_STATE_INVALID`,
/// `OAUTH_CODE_INVALID`, `EMAIL_NOT_VERIFIED`, `ACCOUNT_LINK_REQUIRED`, `ACCOUNT_DISABLED`, `SIGNUP_DISABLED`,
/// `NO_ORGANIZATION`, `AUTH_UNAVAILABLE`.
pub async fn finish(app: &App, callback: OauthCallback, origin: &Origin) -> Result<TokenResponse> {
    let invalid = || Error::Rejected { code: Code::OauthStateInvalid };
    let callback = callback.checked()?;
    let ticket = use_up(app, &callback.state).await?.filter(|ticket| ticket.redirect_uri == callback.redirect_uri);
    let ticket = ticket.ok_or_else(invalid)?;
    // The mode may have been changed in between.
    let (provider, voucher) = offered(app, ticket.provider.as_str()).map_err(|_| invalid())?;
    let code = callback.usable_code().ok_or(Error::Unauthenticated { code: Code::OauthCodeInvalid, reason: None })?;
    let grant =
        CodeGrant { code, redirect_uri: &ticket.redirect_uri, verifier: &ticket.verifier, nonce: &ticket.nonce };
    match voucher {
        Voucher::Realm(realm) => realm_sessions::sign_in_with_code(app, realm, Grant::Code(grant), origin).await,
        Voucher::Provider(social) => social::sign_in(app, provider, social, &grant, origin).await,
    }
}

/// Also when what follows fails: a state that somebody saw must not be good for another try.
async fn use_up(app: &App, state: &SecretString) -> Result<Option<OauthTicket>> {
    let mut tx = sessions::open(app, SystemTask::SignIn).await?;
    let redeemed = tickets::redeem(app, &mut *tx, TicketKind::OauthState, state, app.clock.now()).await?;
    tx.commit().await?;
    Ok(redeemed.map(|redeemed| redeemed.payload))
}

/// Who vouches for somebody.
enum Voucher<'a> {
    Realm(&'a Realm),
    Provider(&'a dyn SocialProvider),
}

/// Who vouches for people in this installation.
fn offered<'a>(app: &'a App, provider: &str) -> Result<(OauthProvider, Voucher<'a>)> {
    let unsupported = || Error::Rejected { code: Code::UnsupportedProvider };
    let not_set_up = |what| Error::NotConfigured { code: Code::ServiceNotConfigured, what };
    let provider = OauthProvider::parse(provider).ok_or_else(unsupported)?;
    if let Some(realm) = &app.realm {
        return Ok((provider, Voucher::Realm(realm)));
    }
    match (provider, app.social.get(&provider)) {
        (_, Some(social)) => Ok((provider, Voucher::Provider(&**social))),
        (OauthProvider::Google, None) => Err(not_set_up("signing in with Google, which needs GOOGLE_CLIENT_ID")),
        (OauthProvider::Github, None) => Err(not_set_up("signing in with GitHub, which needs GITHUB_CLIENT_ID")),
        (OauthProvider::Keycloak, None) => Err(unsupported()),
    }
}

/// 256 bits.
fn random(app: &App) -> String {
    let mut bytes = [0; 32];
    app.random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
