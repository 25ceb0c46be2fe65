//! Mails: written into the transaction of the change that they tell of, sent by a job after its commit.
//!
//! At least once: a process that dies between the server's "yes" and our note sends again, under the same Message-ID.

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::ids::MailId;
use crate::domain::mails::{Mail, Outgoing};
use crate::error::{Code, Error, Result};
use crate::ports::SystemTask;
use crate::ports::mails::{MailError, Outbox};
use crate::services::links;

/// The engine waits e, e², e³ … seconds between attempts, so this is about an hour and a half.
const MAX_ATTEMPTS: i32 = 10;
/// For how long a mail that was given up is counted; its content is gone at once.
const GIVEN_UP_KEPT: TimeDelta = TimeDelta::days(30);

/// Puts a mail into the transaction that `outbox` belongs to.
pub(crate) async fn enqueue(app: &App, outbox: &mut dyn Outbox, mail: &Mail) -> Result<()> {
    put(app, outbox, &Outgoing::Mail(mail.clone())).await
}

/// Puts something into the outbox that a job will take out of it.
pub(super) async fn put(app: &App, outbox: &mut dyn Outbox, what: &Outgoing) -> Result<()> {
    let id = MailId(app.random.uuid());
    let plain = serde_json::to_vec(what).map_err(|e| Error::internal("writing a mail", e))?;
    let sealed = app.secrets.seal(&plain, &row(id))?;
    outbox.put(id, &sealed, app.clock.now()).await
}

/// Sends a mail that is still to be sent. An error means: try again later.
pub(crate) async fn send(app: &App, id: MailId) -> Result<()> {
    let mut tx = app.store.system(SystemTask::SendMail).await?;
    let Some(queued) = tx.mails().find(id).await? else { return Ok(()) };
    drop(tx);
    let outgoing = app.secrets.open(&queued.sealed, &row(id)).and_then(|plain| serde_json::from_slice(&plain).ok());
    let sent = match outgoing {
        // The server was away for so long that the link in it has expired.
        Some(Outgoing::Mail(mail)) if mail.is_of_no_use(app.clock.now()) => {
            tracing::warn!(mail_id = %id, "a mail was not sent in time, and is not sent any more");
            Ok(())
        }
        Some(Outgoing::Mail(mail)) => app.mailer.send(id, &mail).await,
        Some(Outgoing::RequestedLink { kind, email }) => return links::answer(app, id, kind, &email).await,
        None => Err(MailError::Permanent("it was sealed with another ENCRYPTION_KEY".to_owned())),
    };
    let mut tx = app.store.system(SystemTask::SendMail).await?;
    let Err(failure) = sent else {
        tx.mails().delete(id).await?;
        return tx.commit().await;
    };
    let attempts = queued.attempts + 1;
    let given_up = attempts >= MAX_ATTEMPTS || matches!(failure, MailError::Permanent(_));
    tx.mails().note_failure(id, given_up.then(|| app.clock.now())).await?;
    tx.commit().await?;
    if given_up {
        tracing::error!(mail_id = %id, attempts, error = %failure, "a mail could not be sent and was given up");
        return Ok(());
    }
    tracing::warn!(mail_id = %id, attempts, error = %failure, "a mail could not be sent; it will be tried again");
    Err(Error::unavailable(Code::DependencyUnavailable, failure))
}

/// Forgets that mails were given up long ago.
pub(crate) async fn forget_old(app: &App) -> Result<()> {
    let mut tx = app.store.system(SystemTask::ForgetMails).await?;
    tx.mails().purge(app.clock.now() - GIVEN_UP_KEPT).await?;
    tx.commit().await
}

fn row(id: MailId) -> String {
    format!("mail_outbox/{id}")
}
