//! Accounts: what somebody must tell us to sign up or sign in.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::domain::check::Check;
use crate::domain::ids::UserId;
use crate::domain::organizations::{Organization, Role};
use crate::error::Result;

/// A person, as far as the product shows one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub email_verified: bool,
    pub first_name: String,
    pub last_name: String,
    pub is_platform_admin: bool,
}

/// A user in the organisation that they act in. `membership` is absent for somebody who belongs nowhere.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: User,
    pub disabled: bool,
    pub membership: Option<Membership>,
}

#[derive(Clone, Debug)]
pub struct Membership {
    pub organization: Organization,
    pub role: Role,
}

/// What a sign-up sends.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewAccount {
    /// At most 254 characters; compared and stored in lower case.
    pub email: String,
    /// 8 to 128 characters.
    #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 8, max_length = 128))]
    pub password: SecretString,
    pub first_name: String,
    pub last_name: String,
    /// The secret of an invitation to this address: they join that organisation instead of getting one of their own.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub invitation_token: Option<SecretString>,
}

impl NewAccount {
    /// Who they become. Nobody has proved yet that the address is theirs.
    pub fn user(&self, id: UserId) -> User {
        User {
            id,
            email: self.email.clone(),
            email_verified: false,
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            is_platform_admin: false,
        }
    }

    /// The same with spaces trimmed and the address in lower case, or everything that is wrong with it.
    pub fn checked(self) -> Result<Self> {
        let account = Self {
            email: normalized_email(&self.email),
            password: self.password,
            first_name: self.first_name.trim().to_owned(),
            last_name: self.last_name.trim().to_owned(),
            invitation_token: self.invitation_token,
        };
        let mut check = Check::default();
        check_email(&mut check, &account.email);
        check_password(&mut check, &account.password);
        for (field, name) in [("first_name", &account.first_name), ("last_name", &account.last_name)] {
            check.text(field, name, 1, 50);
            check.that(!name.chars().any(|c| c.is_control() || matches!(c, '<' | '>')), field, "format", || {
                format!("{field} must not contain control characters, < or >")
            });
        }
        check.done()?;
        Ok(account)
    }
}

/// What a sign-in sends.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Credentials {
    pub email: String,
    #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 8, max_length = 128))]
    pub password: SecretString,
}

impl Credentials {
    pub fn checked(self) -> Result<Self> {
        let credentials = Self { email: normalized_email(&self.email), password: self.password };
        let mut check = Check::default();
        check_email(&mut check, &credentials.email);
        check_password(&mut check, &credentials.password);
        check.done()?;
        Ok(credentials)
    }
}

/// An address that asks for a link.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LinkRequest {
    pub email: String,
}

impl LinkRequest {
    pub fn checked(self) -> Result<Self> {
        let request = Self { email: normalized_email(&self.email) };
        let mut check = Check::default();
        check_email(&mut check, &request.email);
        check.done()?;
        Ok(request)
    }
}

/// What the holder of a reset link sends.
#[derive(Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PasswordReset {
    /// As it stands in the link that was mailed.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token: SecretString,
    /// 8 to 128 characters, with an upper-case letter, a lower-case letter and a digit.
    #[cfg_attr(feature = "openapi", schema(value_type = String, min_length = 8, max_length = 128))]
    pub new_password: SecretString,
}

impl PasswordReset {
    pub fn checked(self) -> Result<Self> {
        let mut check = Check::default();
        let text = self.new_password.expose_secret();
        let length = text.chars().count();
        check.that((8..=128).contains(&length), "new_password", "length", || {
            format!("new_password must have 8 to 128 characters, not {length}")
        });
        let kinds: [fn(char) -> bool; 3] = [char::is_uppercase, char::is_lowercase, |c| c.is_ascii_digit()];
        check.that(kinds.iter().all(|kind| text.chars().any(kind)), "new_password", "format", || {
            "new_password must have an upper-case letter, a lower-case letter and a digit".to_owned()
        });
        check.done()?;
        Ok(self)
    }
}

pub(crate) fn normalized_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Deliberately loose: the proof of an address is a mail that arrives.
fn check_email(check: &mut Check, email: &str) {
    let plausible = email.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && local.len() <= 64
            && domain.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            })
            && !email.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | ','))
    });
    check.that(email.len() <= 254, "email", "length", || "email must have at most 254 characters".into());
    check.that(plausible, "email", "format", || "email must be an e-mail address such as ada@example.com".into());
}

fn check_password(check: &mut Check, password: &SecretString) {
    let length = password.expose_secret().chars().count();
    check.that((8..=128).contains(&length), "password", "length", || {
        format!("password must have 8 to 128 characters, not {length}")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(email: &str) -> bool {
        let mut check = Check::default();
        check_email(&mut check, &normalized_email(email));
        check.done().is_ok()
    }

    #[test]
    fn addresses_are_told_from_other_text() {
        for good in ["ada@example.com", " Ada@Example.COM ", "a+b@x-y.co", "root@localhost"] {
            assert!(check(good), "{good} is an address");
        }
        for bad in ["", "ada", "@example.com", "ada@", "a b@example.com", "a@b@c.com", "a@-x.com", "<a@x.com>"] {
            assert!(!check(bad), "{bad} is no address");
        }
    }

    #[test]
    fn all_that_is_wrong_with_a_sign_up_is_said_at_once() {
        let account = NewAccount {
            email: "nobody".into(),
            password: "short".into(),
            first_name: " ".into(),
            last_name: "<b>".into(),
            invitation_token: None,
        };
        let Err(crate::Error::Invalid { violations, .. }) = account.checked() else {
            panic!("a sign-up with four mistakes was accepted")
        };
        let fields: Vec<_> = violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["email", "password", "first_name", "last_name"]);
    }
}
