//! Mails: plain text, to one person.

use serde::{Deserialize, Serialize};

use crate::domain::budgets::{self, BudgetNotice};
use crate::domain::invitations::TeamInvitation;
use crate::domain::oauth::OauthProvider;
use crate::domain::tickets::TicketKind;
use crate::domain::time::Timestamp;

/// What lies in the outbox.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outgoing {
    Mail(Mail),
    /// Somebody asked for a link to this address. Whether there is such an account is looked at by the job that takes
    /// it from the outbox, so that nothing about the request tells.
    RequestedLink {
        kind: TicketKind,
        email: String,
    },
}

/// Deliberately without `Debug`: the text may hold a link that signs somebody in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mail {
    /// A bare address.
    pub to: String,
    pub subject: String,
    pub text: String,
    /// After this it is of no use any more, such as a link that has expired.
    #[serde(default)]
    pub valid_until: Option<Timestamp>,
}

// No text repeats what somebody wrote about themselves, such as a name: whoever signs up with a stranger's address would
// have us deliver their words.
impl Mail {
    /// The same, of no use after this.
    pub fn until(self, moment: Timestamp) -> Self {
        Self { valid_until: Some(moment), ..self }
    }

    pub fn is_of_no_use(&self, now: Timestamp) -> bool {
        self.valid_until.is_some_and(|end| end <= now)
    }

    pub fn email_verification(to: &str, link: &str) -> Self {
        let text = format!(
            "Hello,\n\n\
             somebody, hopefully you, opened a Kijko account with this e-mail address.\n\
             Please confirm that it is yours:\n\n\
             {link}\n\n\
             The link works once, within 24 hours. If it was not you, ignore this mail and do not open the link.\n\n\
             Kijko\n"
        );
        Self { to: to.to_owned(), subject: "Confirm your e-mail address".to_owned(), text, valid_until: None }
    }
    /// This one does repeat what its sender wrote: it comes from somebody who has a team, and whose seats bound how many
    /// such mails there can be.
    pub fn invitation(invitation: &TeamInvitation, organization: &str, link: &str) -> Self {
        let inviter = &invitation.invited_by.name;
        let message = match &invitation.message {
            Some(message) => format!("{inviter} writes:\n\n{message}\n\n"),
            None => String::new(),
        };
        let text = format!(
            "Hello,\n\n\
             {inviter} invites you to join {organization} on Kijko, with the role {role}.\n\n\
             {message}\
             To accept, open this link:\n\n\
             {link}\n\n\
             It works once, for this address alone, until {day}. If you do not know who this is, ignore this mail.\n\n\
             Kijko\n",
            role = invitation.role.as_str(),
            day = invitation.expires_at.format("%Y-%m-%d"),
        );
        Self {
            to: invitation.email.clone(),
            subject: "You are invited to join a team on Kijko".to_owned(),
            text,
            valid_until: Some(invitation.expires_at),
        }
    }

    pub fn budget_reached(to: &str, notice: &BudgetNotice, percent: u8) -> Self {
        let whose = match notice.skill_id {
            Some(skill) => format!("the skill {skill}"),
            None => "your organisation".to_owned(),
        };
        let month = budgets::name_of(notice.month);
        let (spent, limit) = (budgets::dollars(notice.spent), budgets::dollars(notice.limit));
        let text = format!(
            "Hello,\n\n\
             {percent} % of the budget of {whose} for {month} are spent: {spent} of {limit} US dollars.\n\n\
             Runs that could cost more than what is left are refused until the next month begins, or somebody raises the\n\
             budget.\n\n\
             Kijko\n"
        );
        Self { to: to.to_owned(), subject: format!("{percent} % of a Kijko budget are spent"), text, valid_until: None }
    }

    pub fn password_reset(to: &str, link: &str) -> Self {
        let text = format!(
            "Hello,\n\n\
             somebody, hopefully you, asked to reset the password of your Kijko account.\n\
             Choose a new one here:\n\n\
             {link}\n\n\
             The link works once, within 60 minutes. A new password signs you out everywhere. If it was not you, ignore\n\
             this mail: the old password stays.\n\n\n\
             Kijko\n"
        );
        Self { to: to.to_owned(), subject: "Reset your password".to_owned(), text, valid_until: None }
    }

    pub fn password_changed(to: &str, app_url: &str) -> Self {
        let text = format!(
            "Hello,\n\n\
             the password of your Kijko account was reset, and every session was ended.\n\n\
             If it was not you, somebody else reads your mail: secure your mailbox, then reset the password at\n\n\
             {app_url}\n\n\n\
             Kijko\n"
        );
        Self { to: to.to_owned(), subject: "Your password was changed".to_owned(), text, valid_until: None }
    }

    /// The first characters of a key tell which one it is, and are of no use to anybody.
    pub fn api_key_created(to: &str, key_prefix: &str, app_url: &str) -> Self {
        let text = format!(
            "Hello,\n\n\
             a new API key was made with your Kijko account. It begins with {key_prefix} and acts for you.\n\n\
             If it was not you, revoke it and end your sessions at once, then change your password:\n\n\
             {app_url}\n\n\n\
             Kijko\n"
        );
        Self { to: to.to_owned(), subject: "A new API key was made".to_owned(), text, valid_until: None }
    }

    pub fn provider_linked(to: &str, provider: OauthProvider, app_url: &str) -> Self {
        let provider = provider.title();
        let text = format!(
            "Hello,\n\n\
             your {provider} account with this e-mail address was used to sign in to your Kijko account, for the first time.\n\
             From now on it opens your Kijko account.\n\n\
             If it was not you, somebody else uses your {provider} account: secure it, and write to us from\n\n\
             {app_url}\n\n\n\
             Kijko\n"
        );
        Self { to: to.to_owned(), subject: format!("You can now sign in with {provider}"), text, valid_until: None }
    }

    pub fn magic_link(to: &str, link: &str) -> Self {
        let text = format!(
            "Hello,\n\n\
             this link signs you in to Kijko:\n\n\
             {link}\n\n\
             It works once, within 15 minutes. If you did not ask for it, ignore this mail and give the link to nobody.\n\n\n\
             Kijko\n"
        );
        Self { to: to.to_owned(), subject: "Your sign-in link".to_owned(), text, valid_until: None }
    }
}
