//! Every route of the system, on one page. The path stands with its handler; here it is a comment, and the OpenAPI
//! document is made of the same lines, so that no route can be missing from it.

use axum::Router;
use axum::http::StatusCode;
use kijko_core::{App, Code};
use tower_http::normalize_path::NormalizePath;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::routes::{
    api_keys, auth, budgets, docs, executions, health, history, invitations, links, models, oauth, organizations,
    provider_keys, skill_library, skill_templates, skill_versions, skills, statistics, team, test_runs, well_known,
};
use crate::{middleware, openapi};

/// Routes that need no credential; everything else does. Logout finds out by itself who is leaving, since it also
/// takes an expired token.
pub const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/health/ready"),
    ("GET", "/healthz"),
    ("GET", "/healthz/db"),
    ("GET", "/healthz/redis"),
    ("GET", "/healthz/vault"),
    ("GET", "/info"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/openid-configuration"),
    ("POST", "/api/v1/auth/signup"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("POST", "/api/v1/auth/logout"),
    ("POST", "/api/v1/auth/password/forgot"),
    ("POST", "/api/v1/auth/password/reset"),
    ("POST", "/api/v1/auth/email/verify"),
    ("POST", "/api/v1/auth/magic-link"),
    ("POST", "/api/v1/auth/magic-link/verify"),
    ("GET", "/api/v1/auth/oauth/{provider}"),
    ("POST", "/api/v1/auth/oauth/callback"),
    ("GET", "/api/v1/team/invitations/lookup"),
];

#[rustfmt::skip]
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(health::root))                                     // GET /
        .routes(routes!(health::live))                                     // GET /health
        .routes(routes!(health::ready))                                    // GET /health/ready
        .routes(routes!(health::live_alias))                               // GET /healthz
        .routes(routes!(health::database))                                 // GET /healthz/db
        .routes(routes!(health::redis))                                    // GET /healthz/redis
        .routes(routes!(health::secrets))                                  // GET /healthz/vault
        .routes(routes!(health::info))                                     // GET /info
        .routes(routes!(well_known::jwks))                                 // GET /.well-known/jwks.json
        .routes(routes!(well_known::openid_configuration))                 // GET /.well-known/openid-configuration

        .routes(routes!(auth::signup))                                     // POST /api/v1/auth/signup
        .routes(routes!(auth::login))                                      // POST /api/v1/auth/login
        .routes(routes!(auth::refresh))                                    // POST /api/v1/auth/refresh
        .routes(routes!(auth::logout))                                     // POST /api/v1/auth/logout
        .routes(routes!(links::forgot_password))                           // POST /api/v1/auth/password/forgot
        .routes(routes!(links::reset_password))                            // POST /api/v1/auth/password/reset
        .routes(routes!(links::magic_link))                                // POST /api/v1/auth/magic-link
        .routes(routes!(links::verify_magic_link))                         // POST /api/v1/auth/magic-link/verify
        .routes(routes!(oauth::start))                                     // GET /api/v1/auth/oauth/{provider}
        .routes(routes!(oauth::callback))                                  // POST /api/v1/auth/oauth/callback
        .routes(routes!(links::verify_email))                              // POST /api/v1/auth/email/verify
        .routes(routes!(auth::me))                                         // GET /api/v1/auth/me
        .routes(routes!(organizations::list))                              // GET /api/v1/auth/organizations
        .routes(routes!(organizations::switch))                            // POST /api/v1/auth/organizations/switch

        .routes(routes!(team::get, team::update))                          // GET PATCH /api/v1/team
        .routes(routes!(team::members))                                    // GET /api/v1/team/members
        .routes(routes!(team::stats))                                      // GET /api/v1/team/stats
        .routes(routes!(team::change_role, team::remove))                  // PATCH DELETE /api/v1/team/members/{id}
        .routes(routes!(team::deactivate))                                 // POST /api/v1/team/members/{id}/deactivate
        .routes(routes!(team::reactivate))                                 // POST /api/v1/team/members/{id}/reactivate
        .routes(routes!(team::transfer_ownership))                         // POST /api/v1/team/transfer-ownership
        .routes(routes!(invitations::list, invitations::invite))           // GET POST /api/v1/team/invitations
        .routes(routes!(invitations::lookup))                              // GET /api/v1/team/invitations/lookup
        .routes(routes!(invitations::accept))                              // POST /api/v1/team/invitations/accept
        .routes(routes!(invitations::cancel))                              // DELETE /api/v1/team/invitations/{id}
        .routes(routes!(invitations::resend))                              // POST /api/v1/team/invitations/{id}/resend

        .routes(routes!(api_keys::list, api_keys::create))                 // GET POST /api/v1/security/api-keys
        .routes(routes!(api_keys::revoke))                                 // DELETE /api/v1/security/api-keys/{id}

        .routes(routes!(provider_keys::list))                              // GET /api/v1/settings/provider-keys
        .routes(routes!(provider_keys::get, provider_keys::store, provider_keys::delete)) // GET PUT DELETE /api/v1/settings/provider-keys/{provider}

        .routes(routes!(models::list))                                     // GET /api/v1/skills/models
        .routes(routes!(skills::list, skills::create))                     // GET POST /api/v1/skills
        .routes(routes!(skills::get, skills::update, skills::patch, skills::delete)) // GET PUT PATCH DELETE /api/v1/skills/{id}
        .routes(routes!(test_runs::draft))                                 // POST /api/v1/skills/test
        .routes(routes!(test_runs::get))                                   // GET /api/v1/skills/test/{id}
        .routes(routes!(test_runs::skill))                                 // POST /api/v1/skills/{id}/test
        .routes(routes!(skill_library::delete))                            // DELETE /api/v1/skills/bulk
        .routes(routes!(skill_library::activate))                          // POST /api/v1/skills/bulk/activate
        .routes(routes!(skill_library::deactivate))                        // POST /api/v1/skills/bulk/deactivate
        .routes(routes!(skill_library::starred))                           // GET /api/v1/skills/starred
        .routes(routes!(skill_library::import))                            // POST /api/v1/skills/import
        .routes(routes!(skill_templates::list))                            // GET /api/v1/skills/templates
        .routes(routes!(skill_templates::get))                             // GET /api/v1/skills/templates/{id}
        .routes(routes!(skill_library::full))                              // GET /api/v1/skills/{id}/full
        .routes(routes!(skill_library::executions))                        // GET /api/v1/skills/{id}/executions
        .routes(routes!(skill_library::duplicate))                         // POST /api/v1/skills/{id}/duplicate
        .routes(routes!(skill_library::export))                            // GET /api/v1/skills/{id}/export
        .routes(routes!(skill_library::star, skill_library::unstar))       // PUT DELETE /api/v1/skills/{id}/star
        .routes(routes!(skill_versions::list))                             // GET /api/v1/skills/{id}/versions
        .routes(routes!(skill_versions::get))                              // GET /api/v1/skills/{id}/versions/{number}
        .routes(routes!(skill_versions::diff))                             // GET /api/v1/skills/{id}/versions/{number}/diff/{other}
        .routes(routes!(skill_versions::restore))                          // POST /api/v1/skills/{id}/versions/{number}/restore
        .routes(routes!(statistics::skills))                               // GET /api/v1/skills/stats
        .routes(routes!(statistics::aggregated))                           // GET /api/v1/skills/stats/aggregated
        .routes(routes!(statistics::percentiles))                          // GET /api/v1/skills/stats/percentiles
        .routes(routes!(statistics::projection))                           // GET /api/v1/skills/stats/projection
        .routes(routes!(statistics::skill))                                // GET /api/v1/skills/{id}/stats
        .routes(routes!(executions::execute))                              // POST /api/v1/skills/{id}/execute

        .routes(routes!(budgets::get, budgets::set, budgets::remove))      // GET PUT DELETE /api/v1/settings/budget
        .routes(routes!(budgets::get_of_skill, budgets::set_of_skill, budgets::remove_of_skill)) // GET PUT DELETE /api/v1/skills/{id}/budget

        .routes(routes!(history::list))                                    // GET /api/v1/executions
        .routes(routes!(history::recent))                                  // GET /api/v1/executions/recent
        .routes(routes!(history::running))                                 // GET /api/v1/executions/running
        .routes(routes!(history::export))                                  // GET /api/v1/executions/export
        .routes(routes!(history::clean_up))                                // DELETE /api/v1/executions/cleanup
        .routes(routes!(statistics::executions))                           // GET /api/v1/executions/stats
        .routes(routes!(statistics::by_skill))                             // GET /api/v1/executions/stats/by-skill
        .routes(routes!(statistics::by_period))                            // GET /api/v1/executions/stats/by-period
        .routes(routes!(statistics::cost_breakdown))                       // GET /api/v1/executions/cost-breakdown
        .routes(routes!(statistics::performance))                          // GET /api/v1/executions/performance
        .routes(routes!(executions::get))                                  // GET /api/v1/executions/{id}
        .routes(routes!(history::full))                                    // GET /api/v1/executions/{id}/full
        .routes(routes!(executions::retry))                                // POST /api/v1/executions/{id}/retry
        .routes(routes!(executions::cancel))                               // POST /api/v1/executions/{id}/cancel
}

/// The whole server. `/x` and `/x/` are the same resource.
pub fn router(app: &App) -> Router {
    let (api, document) = routes().split_for_parts();
    let api = api
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, Code::NotFound, "There is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, "This path has no such method")
        });
    let api = middleware::inner(api, app).with_state(app.clone());
    // Swagger's pages live below a slash, so they stay outside.
    let docs = if app.config().http.docs_enabled {
        middleware::documentation(docs::router(&openapi::finish(&document)), app)
    } else {
        Router::new()
    };
    middleware::outer(docs.fallback_service(NormalizePath::trim_trailing_slash(api)), app)
}

/// The OpenAPI document, made of the routes above.
pub fn document() -> serde_json::Value {
    openapi::finish(&routes().into_openapi())
}
