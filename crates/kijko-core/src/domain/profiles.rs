//! People as an outside identity provider describes them.

/// Somebody whom a provider vouches for, by its own name for them: addresses change hands, names do not.
#[derive(Clone, Debug)]
pub struct OutsideIdentity {
    pub account_id: String,
    pub profile: Profile,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub email: Option<String>,
    pub email_verified: bool,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
}

impl Profile {
    /// As ours are stored. None when there is none that could be.
    pub fn address(&self) -> Option<String> {
        let address = self.email.as_deref()?.trim().to_lowercase();
        let plausible = address.contains('@') && !address.chars().any(|c| c.is_control() || c.is_whitespace());
        (plausible && (3..=254).contains(&address.chars().count())).then_some(address)
    }

    /// First and last name as ours are stored: the provider may have none, or stranger ones than we take.
    pub fn names(&self) -> (String, String) {
        let local = self.email.as_deref().and_then(|email| email.split('@').next());
        let first = [self.given_name.as_deref(), local].into_iter().flatten().map(tamed).find(|name| !name.is_empty());
        let last = self.family_name.as_deref().map(tamed).filter(|name| !name.is_empty());
        (first.unwrap_or_else(|| "-".into()), last.unwrap_or_else(|| "-".into()))
    }
}

fn tamed(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).take(50).collect();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(email: &str, given: &str, family: &str) -> Profile {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Profile { email: text(email), email_verified: true, given_name: text(given), family_name: text(family) }
    }

    #[test]
    fn names_of_a_provider_fit_into_ours() {
        let cases = [
            (profile("ada@x.org", "Ada", "Lovelace"), ("Ada", "Lovelace")),
            (profile("ada@x.org", "", ""), ("ada", "-")),
            (profile("", "", ""), ("-", "-")),
            (profile("ada@x.org", "  <b>Ada\u{7}</b> ", " "), ("bAda/b", "-")),
        ];
        for (profile, (first, last)) in cases {
            assert_eq!(profile.names(), (first.to_owned(), last.to_owned()), "{profile:?}");
        }
        assert_eq!(profile("a@x.org", &"x".repeat(300), "").names().0.len(), 50);
    }

    #[test]
    fn an_address_is_taken_only_where_it_could_be_stored() {
        assert_eq!(profile(" Ada@X.org ", "", "").address().as_deref(), Some("ada@x.org"));
        for bad in ["", "ada", "a\u{0}da@x.org", "ada @x.org", &format!("{}@x.org", "a".repeat(260))] {
            assert_eq!(profile(bad, "", "").address(), None, "{bad}");
        }
    }
}
