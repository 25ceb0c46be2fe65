//! Tickets: secrets that are good for one thing, once, for a while.

use chrono::TimeDelta;

use crate::domain::ids::{TicketId, UserId};
use crate::domain::time::Timestamp;
use crate::domain::vocabulary::vocabulary;

vocabulary! {
    /// What a ticket is good for.
    TicketKind {
        OauthState = "oauth_state",
        EmailVerify = "email_verify",
        PasswordReset = "password_reset",
        MagicLink = "magic_link",
    }
}

impl TicketKind {
    pub fn lifetime(self) -> TimeDelta {
        match self {
            TicketKind::OauthState => TimeDelta::minutes(10),
            TicketKind::EmailVerify => TimeDelta::hours(24),
            TicketKind::PasswordReset => TimeDelta::minutes(60),
            TicketKind::MagicLink => TimeDelta::minutes(15),
        }
    }
}

/// A ticket as it is stored: the hash of its secret, and what belongs to it, sealed.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub id: TicketId,
    pub kind: TicketKind,
    /// Absent while nobody is known.
    pub user_id: Option<UserId>,
    pub secret_hash: [u8; 32],
    pub sealed: Vec<u8>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}
