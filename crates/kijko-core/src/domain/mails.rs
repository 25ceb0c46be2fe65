//! Mails: plain text, to one person.

use serde::{Deserialize, Serialize};

/// Deliberately without `Debug`: the text may hold a link that signs somebody in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mail {
    /// A bare address.
    pub to: String,
    pub subject: String,
    pub text: String,
}

// No text repeats what somebody wrote about themselves, such as a name: whoever signs up with a stranger's address would
// have us deliver their words.
impl Mail {
    pub fn email_verification(to: &str, link: &str) -> Self {
        let text = format!(
            "Hello,\n\n\
             somebody, hopefully you, opened a Kijko account with this e-mail address.\n\
             Please confirm that it is yours:\n\n\
             {link}\n\n\
             The link works once, within 24 hours. If it was not you, ignore this mail and do not open the link.\n\n\
             Kijko\n"
        );
        Self { to: to.to_owned(), subject: "Confirm your e-mail address".to_owned(), text }
    }
}
