//! Signing in with an account at Google or GitHub, where Kijko itself decides who is in.

use serde_json::json;

use super::sessions::{self, Origin, audit, open_session};
use super::{login_attempts, mails, organizations};
use crate::app::App;
use crate::domain::accounts::{Account, User};
use crate::domain::audit::{AuditEntry, AuditEvent};
use crate::domain::ids::UserId;
use crate::domain::login_attempts::FailureReason;
use crate::domain::mails::Mail;
use crate::domain::oauth::OauthProvider;
use crate::domain::profiles::OutsideIdentity;
use crate::domain::sessions::{AuthMethod, TokenResponse};
use crate::domain::time::Timestamp;
use crate::error::{Code, Error, Result};
use crate::ports::oauth::{CodeGrant, SocialProvider};
use crate::ports::{SystemTask, SystemTx};

/// How often somebody else may be faster at making the same account.
const TRIES: usize = 3;

/// Signs in whomever the provider vouches for: the account that was signed in to with this identity before; else the one
/// with the same address, where both sides have verified it; else a new one, with an organisation of its own.
/// Refuses with `OAUTH_CODE_INVALID`, `EMAIL_NOT_VERIFIED`, `ACCOUNT_LINK_REQUIRED`, `ACCOUNT_DISABLED`,
/// `SIGNUP_DISABLED`, `AUTH_UNAVAILABLE`.
pub(super) async fn sign_in(
    app: &App,
    name: OauthProvider,
    provider: &dyn SocialProvider,
    grant: &CodeGrant<'_>,
    origin: &Origin,
) -> Result<TokenResponse> {
    let now = app.clock.now();
    let identity = provider.identify(grant, now).await?;
    for _ in 0..TRIES {
        match enter(app, name, &identity, origin, now).await {
            Ok(Some(reply)) => return Ok(reply),
            Ok(None) => {}
            // The same person, in another window.
            Err(error) if error.code() == Code::EmailTaken => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::unavailable(Code::AuthUnavailable, "the same account is made again and again"))
}

/// None when somebody else was faster.
async fn enter(
    app: &App,
    name: OauthProvider,
    identity: &OutsideIdentity,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<TokenResponse>> {
    let mut tx = sessions::open(app, SystemTask::SignIn).await?;
    let known = tx.identities().find(name, &identity.account_id).await?;
    let account = match known {
        Some(account) => account,
        None => match admit(app, &mut *tx, name, identity, origin, now).await? {
            Some(account) => account,
            None => return Ok(None),
        },
    };
    if account.disabled {
        let (email, reason) = (&account.user.email, FailureReason::AccountDisabled);
        login_attempts::note_failure_later(app, email, AuthMethod::Sso, reason, origin);
        return Err(Error::Forbidden { code: Code::AccountDisabled });
    }
    let reply = open_session(app, &mut *tx, &account, AuthMethod::Sso, origin, now).await?;
    tx.commit().await?;
    Ok(Some(reply))
}

/// Links or makes an account for an identity that nobody has signed in with before. None when somebody else was faster.
async fn admit(
    app: &App,
    tx: &mut dyn SystemTx,
    name: OauthProvider,
    identity: &OutsideIdentity,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<Account>> {
    let email = identity.profile.address().filter(|_| identity.profile.email_verified);
    let email = email.ok_or(Error::Forbidden { code: Code::EmailNotVerified })?;
    let Some((account, _)) = tx.accounts().find_by_email(&email).await? else {
        return make(app, tx, name, email, identity, now).await;
    };
    // Whoever opened an account with somebody else's address would otherwise share it with them.
    if !account.user.email_verified {
        return Err(Error::conflict(Code::AccountLinkRequired));
    }
    if !tx.identities().insert(name, &identity.account_id, account.user.id, now).await? {
        // Linked just now, or to another account at the provider: addresses are given to somebody else there.
        let linked = tx.identities().find(name, &identity.account_id).await?;
        return linked.map_or(Err(Error::conflict(Code::AccountLinkRequired)), |_| Ok(None));
    }
    if let Some(membership) = &account.membership {
        let entry = AuditEntry {
            event: AuditEvent::UserProfileUpdated,
            user_id: Some(account.user.id),
            description: "Linked the account with a provider of sign-in".into(),
            metadata: json!({ "provider": name }),
        };
        audit(app, tx, membership.organization.id, &entry, origin, now).await?;
    }
    let notice = Mail::provider_linked(&email, name, &app.config.http.app_url);
    mails::enqueue(app, tx.outbox(), &notice).await?;
    Ok(Some(account))
}

async fn make(
    app: &App,
    tx: &mut dyn SystemTx,
    name: OauthProvider,
    email: String,
    identity: &OutsideIdentity,
    now: Timestamp,
) -> Result<Option<Account>> {
    if !app.config.identity.signup_enabled {
        return Err(Error::Forbidden { code: Code::SignupDisabled });
    }
    let (first_name, last_name) = identity.profile.names();
    let organization = organizations::own(app, &first_name);
    let id = UserId(app.random.uuid());
    let user = User { id, email, email_verified: true, first_name, last_name, is_platform_admin: false };
    tx.accounts().insert(&user, None, &organization, now).await?;
    if !tx.identities().insert(name, &identity.account_id, id, now).await? {
        return Ok(None);
    }
    tx.accounts().find(id, organization.id).await
}
