//! Sending mail: to an SMTP server, or to the log where there is none.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, Error as SmtpError, PoolConfig};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::ids::MailId;
use crate::domain::mails::Mail;
use crate::ports::mails::{MailError, Mailer};

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// One process sends few mails at a time: no more than it runs jobs.
const MAX_CONNECTIONS: u32 = 4;
const IDLE: Duration = Duration::from_secs(60);

pub(crate) struct SmtpMailer {
    builder: AsyncSmtpTransportBuilder,
    transport: RwLock<Transport>,
    from: Mailbox,
    time_limit: Duration,
}

impl SmtpMailer {
    /// The URL is one of lettre: `smtps://user:password@host`, or `smtp://…?tls=required`.
    pub(crate) fn new(url: &SecretString, from: &str, time_limit: Duration) -> Result<Self, String> {
        let from = from.parse().map_err(|_| "MAIL_FROM is not an e-mail address".to_owned())?;
        let pool = PoolConfig::new().max_size(MAX_CONNECTIONS).idle_timeout(IDLE);
        let builder = Transport::from_url(url.expose_secret())
            .map_err(|_| "must be a URL such as smtps://user:password@smtp.example.com".to_owned())?
            .timeout(Some(time_limit))
            .pool_config(pool);
        Ok(Self { transport: RwLock::new(builder.clone().build()), builder, from, time_limit })
    }

    fn transport(&self) -> Transport {
        self.transport.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// lettre limits the time of connecting alone, and puts a connection back into its pool whose command was dropped:
    /// the late reply would then be taken for the one to the next command. So the whole pool goes.
    fn start_afresh(&self) {
        *self.transport.write().unwrap_or_else(PoisonError::into_inner) = self.builder.clone().build();
    }

    fn message(&self, id: MailId, mail: &Mail) -> Result<Message, MailError> {
        let invalid = |_| MailError::Permanent("the mail cannot be written".to_owned());
        let to: Address = mail.to.parse().map_err(|_| MailError::Permanent("the address is not one".to_owned()))?;
        let domain = self.from.email.domain();
        Message::builder()
            .from(self.from.clone())
            .to(to.into())
            .subject(&mail.subject)
            .message_id(Some(format!("<{id}@{domain}>")))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())
            .map_err(invalid)
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, id: MailId, mail: &Mail) -> Result<(), MailError> {
        let message = self.message(id, mail)?;
        let transport = self.transport();
        match tokio::time::timeout(self.time_limit, transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_) => {
                self.start_afresh();
                Err(MailError::Temporary("the mail server did not answer in time".to_owned()))
            }
        }
    }
}

fn refusal(error: &SmtpError) -> MailError {
    match error.status() {
        Some(code) if error.is_permanent() => MailError::Permanent(format!("the mail server refused it with {code}")),
        Some(code) => MailError::Temporary(format!("the mail server put it off with {code}")),
        None if error.is_tls() => MailError::Temporary("no safe connection to the mail server".to_owned()),
        None => MailError::Temporary("the mail server cannot be reached, or hung up".to_owned()),
    }
}

/// For whoever develops on this machine: the mail, and so its link, is in the log. Elsewhere links have no place there,
/// so that only the fact is.
pub(crate) struct LogMailer {
    pub(crate) shows_text: bool,
}

#[async_trait]
impl Mailer for LogMailer {
    async fn send(&self, id: MailId, mail: &Mail) -> Result<(), MailError> {
        let Mail { subject, text, .. } = mail;
        if self.shows_text {
            tracing::info!(mail_id = %id, "a mail that nobody gets, since MAIL_PROVIDER is log: {subject}\n\n{text}");
        } else {
            tracing::warn!(mail_id = %id, subject, "a mail was dropped, since MAIL_PROVIDER is log");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// lettre's pool needs a runtime to close.
    #[tokio::test]
    async fn a_message_is_plain_text_under_its_own_id_and_keeps_injections_out_of_its_headers() {
        let url = SecretString::from("smtp://127.0.0.1:1");
        let mailer = SmtpMailer::new(&url, "Kijko <no-reply@kijko.example>", Duration::from_secs(1)).expect("valid");
        let id = MailId(uuid::Uuid::nil());
        let mail = |to: &str, subject: &str| Mail {
            to: to.into(),
            subject: subject.into(),
            text: "Hé\n".into(),
            valid_until: None,
        };
        let subject = "Hello\r\nBcc: eve@example.com";
        let message = mailer.message(id, &mail("ada@example.com", subject)).map_err(|e| e.to_string()).expect("sent");
        let text = String::from_utf8(message.formatted()).expect("ASCII");
        assert!(text.contains("From: Kijko <no-reply@kijko.example>\r\n"), "{text}");
        assert!(text.contains("Message-ID: <00000000-0000-0000-0000-000000000000@kijko.example>\r\n"), "{text}");
        assert!(text.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{text}");
        assert!(!text.contains("\nBcc:"), "a line break in a subject made a header: {text}");
        for nonsense in ["", "ada", "ada@example.com\r\nBcc: eve@example.com", "a@b.com, c@d.com"] {
            let refused = mailer.message(id, &mail(nonsense, "Hello")).err();
            assert!(matches!(refused, Some(MailError::Permanent(_))), "{nonsense:?} is one address: {refused:?}");
        }
    }
}
