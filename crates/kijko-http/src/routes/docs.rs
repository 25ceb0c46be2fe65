//! The documentation of the interface: Swagger UI, ReDoc, and the document that both read. Nothing is loaded from
//! another host.

use axum::Router;
use axum::http::header;
use axum::response::Html;
use axum::routing::get;
use serde_json::Value;
use utoipa_swagger_ui::SwaggerUi;

/// ReDoc's bundle, compressed as it was when it was added; see `assets/README.md`.
const REDOC: &[u8] = include_bytes!("../../assets/redoc.standalone.js.gz");

const REDOC_PAGE: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Kijko API</title>\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head><body style=\"margin:0\">\
    <redoc spec-url=\"/openapi.json\"></redoc><script src=\"/redoc/redoc.js\"></script></body></html>";

/// ReDoc would fetch its maker's logo.
const NOTHING_FOREIGN: &str = "default-src 'self'; script-src 'self' blob:; worker-src blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:";

pub fn router(document: &Value) -> Router {
    let script = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CONTENT_ENCODING, "gzip")];
    Router::new()
        .merge(SwaggerUi::new("/docs").external_url_unchecked("/openapi.json", document.clone()))
        .route("/redoc", get(|| async { ([(header::CONTENT_SECURITY_POLICY, NOTHING_FOREIGN)], Html(REDOC_PAGE)) }))
        .route("/redoc/redoc.js", get(move || async move { (script, REDOC) }))
}
