//! Who may ask how often: each function counts one request and says where its caller stands, or refuses with
//! `RATE_LIMITED`. What was refused is not counted, so that waiting always helps.

use std::net::IpAddr;

use crate::app::App;
use crate::domain::ids::SessionId;
use crate::domain::limits::{Counter, Question, Standing, Subject, Window, judge, plan_windows};
use crate::domain::plans::Plan;
use crate::error::{AuthReason, Error, Result};
use crate::services::identity::{Credential, Identity};

/// A request of which only the address is known.
pub async fn of_address(app: &App, counter: Counter, address: IpAddr) -> Result<Option<Standing>> {
    count(app, counter, Subject::address(address), counter.windows()).await
}

/// A request of somebody who is signed in, by the plan of their organisation.
pub async fn of_identity(app: &App, identity: &Identity) -> Result<Option<Standing>> {
    let plan = identity.account.membership.as_ref().map_or(Plan::Free, |membership| membership.organization.plan);
    let (counter, subject) = match identity.credential {
        Credential::Session(_) => (Counter::User, identity.account.user.id.0),
        Credential::ApiKey(key) => (Counter::ApiKey, key.0),
    };
    count(app, counter, Subject::id(subject), plan_windows(plan)).await
}

/// A request whose credential was refused: its sender is anybody at that address. An outage is nobody's fault.
pub async fn of_refused(app: &App, refusal: &Error, address: IpAddr) -> Result<Option<Standing>> {
    match refusal {
        Error::Unauthenticated { reason: Some(AuthReason::Expired), .. } => {
            of_address(app, Counter::Expired, address).await
        }
        Error::Unauthenticated { .. } => of_address(app, Counter::Anonymous, address).await,
        _ => Ok(None),
    }
}

/// An attempt at an account, whether or not there is one of this address. The store never learns the address.
pub(crate) async fn of_account(app: &App, counter: Counter, email: &str) -> Result<()> {
    let subject = Subject::hash(&app.secrets.keyed_hash("rate limit", email.as_bytes()));
    count(app, counter, subject, counter.windows()).await.map(drop)
}

/// A refresh of a session.
pub(crate) async fn of_family(app: &App, session: SessionId) -> Result<()> {
    let counter = Counter::RefreshOfFamily;
    count(app, counter, Subject::id(session.0), counter.windows()).await.map(drop)
}

/// A name for an address that tells nobody which it is, and is the same on every process: for the log.
pub fn label(app: &App, address: IpAddr) -> String {
    let hash = app.secrets.keyed_hash("address in a log", address.to_string().as_bytes());
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn count(app: &App, counter: Counter, subject: Subject, windows: &'static [Window]) -> Result<Option<Standing>> {
    if !app.config.limits.enabled {
        return Ok(None);
    }
    let now = app.clock.now();
    let answer = app.limits.count(&Question { counter, subject, windows }, now).await;
    judge(windows, &answer, now).map(Some).map_err(Error::RateLimited)
}
