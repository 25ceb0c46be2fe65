//! How far an API key reaches: one rule for every route of the system, also those that are still to come. A session is
//! not limited here, and what the creator's role allows is asked for in the services.

use axum::http::{Method, StatusCode};
use kijko_core::Code;
use kijko_core::domain::api_keys::Scope;
use kijko_core::services::identity::Identity;

use crate::problem::Problem;

/// Where only somebody who signed in may go: credentials, roles, money, and the end of an account. With `false`, keys
/// may still read there. The one exception is `GET /api/v1/auth/me`.
const SESSION_ONLY: &[(bool, &str)] = &[
    (true, "/api/v1/auth"),
    (true, "/api/v1/admin"),
    (true, "/api/v1/security/2fa"),
    (false, "/api/v1/security"),
    (false, "/api/v1/billing"),
    (false, "/api/v1/gdpr"),
    (false, "/api/v1/settings/provider-keys"),
    (false, "/api/v1/profile/password"),
    (false, "/api/v1/team/members"),
    (false, "/api/v1/team/transfer-ownership"),
    (false, "/api/v1/team/invitations/accept"),
];
/// Settings rather than resources: changing them takes the scope `admin`, as deleting anything does.
const SETTINGS: &[&str] = &["/api/v1/team", "/api/v1/profile", "/api/v1/settings", "/api/v1/organizations"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    Scope(Scope),
    Session,
}

/// What the caller lacks for this request, if anything.
pub fn refusal(identity: &Identity, method: &Method, route: &str) -> Option<Problem> {
    let detail = match demand(method, route) {
        Demand::Session if identity.api_key_id().is_some() => "An API key cannot do this; sign in instead".to_owned(),
        Demand::Scope(needed) if !identity.holds(needed) => {
            format!("This API key lacks the scope {}", needed.as_str())
        }
        Demand::Session | Demand::Scope(_) => return None,
    };
    Some(Problem::new(StatusCode::FORBIDDEN, Code::InsufficientScope, detail))
}

fn demand(method: &Method, route: &str) -> Demand {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let below = |prefix: &str| route.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let session_only = SESSION_ONLY.iter().any(|(also_reading, prefix)| (*also_reading || !reads) && below(prefix));
    if session_only && route != "/api/v1/auth/me" {
        Demand::Session
    } else if reads {
        Demand::Scope(Scope::Read)
    } else if *method == Method::DELETE || SETTINGS.iter().any(|prefix| below(prefix)) {
        Demand::Scope(Scope::Admin)
    } else {
        Demand::Scope(Scope::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_demands_what_the_contract_says() {
        let (read, write, admin) =
            (Demand::Scope(Scope::Read), Demand::Scope(Scope::Write), Demand::Scope(Scope::Admin));
        for (method, route, expected) in [
            (Method::GET, "/api/v1/skills", read),
            (Method::HEAD, "/api/v1/skills", read),
            (Method::POST, "/api/v1/skills", write),
            (Method::POST, "/api/v1/skills/{id}/execute", write),
            (Method::PUT, "/api/v1/skills/{id}", write),
            (Method::PATCH, "/api/v1/skills/{id}", write),
            (Method::DELETE, "/api/v1/skills/{id}", admin),
            (Method::GET, "/api/v1/settings", read),
            (Method::PUT, "/api/v1/settings/{key}", admin),
            (Method::GET, "/api/v1/settings/provider-keys", read),
            (Method::PUT, "/api/v1/settings/provider-keys/{provider}", Demand::Session),
            (Method::POST, "/api/v1/team/invitations", admin),
            (Method::GET, "/api/v1/team/members", read),
            (Method::PATCH, "/api/v1/team/members/{memberId}", Demand::Session),
            (Method::POST, "/api/v1/team/transfer-ownership", Demand::Session),
            (Method::GET, "/api/v1/auth/me", read),
            (Method::GET, "/api/v1/auth/organizations", Demand::Session),
            (Method::POST, "/api/v1/auth/organizations/switch", Demand::Session),
            (Method::DELETE, "/api/v1/auth/linked-accounts/{id}", Demand::Session),
            (Method::GET, "/api/v1/security/api-keys", read),
            (Method::POST, "/api/v1/security/api-keys", Demand::Session),
            (Method::DELETE, "/api/v1/security/api-keys/{id}", Demand::Session),
            (Method::GET, "/api/v1/security/2fa", Demand::Session),
            (Method::GET, "/api/v1/billing/invoices", read),
            (Method::POST, "/api/v1/billing/checkout", Demand::Session),
            (Method::POST, "/api/v1/gdpr/delete", Demand::Session),
            (Method::GET, "/api/v1/admin/users", Demand::Session),
            (Method::POST, "/api/v1/teammates", write),
            (Method::POST, "/api/v1/authors", write),
        ] {
            assert_eq!(demand(&method, route), expected, "{method} {route}");
        }
    }
}
