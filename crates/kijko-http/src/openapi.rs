//! The OpenAPI document. Its paths come from the routes, its schemas from the types of the core; here are its head, and
//! what the derives cannot know.

use serde_json::{Value, json};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use crate::problem::ProblemBody;

/// The document before any route.
pub fn head() -> OpenApi {
    Document::openapi()
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Kijko API",
        description = "Skills, executions and everything around them. Errors are `application/problem+json` (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody, kijko_core::domain::exports::ExportFormat, kijko_core::domain::skills::SkillSort, kijko_core::domain::statistics::Granularity, kijko_core::domain::statistics::StatsPeriod)),
    security(("bearer" = [])),
)]
struct Document;

/// The document with every route in it, as it is published.
pub fn finish(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    for item in
        document.pointer_mut("/paths").and_then(Value::as_object_mut).into_iter().flat_map(|paths| paths.values_mut())
    {
        item.as_object_mut().into_iter().flat_map(|item| item.values_mut()).for_each(finish_operation);
    }
    for (name, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        // Only a change tells null from absent; everywhere else a member without a value is left out.
        if name != "SkillPatch" {
            remove_null(schema);
        }
    }
    document["components"]["securitySchemes"] =
        json!({ "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT, or an API key" } });
    document
}

/// The one operation whose reply may be null.
const NULLABLE_REPLY: &str = "team_get";

/// Ids are unique over the whole document, and refusals have a media type of their own.
fn finish_operation(operation: &mut Value) {
    let id = format!("{}_{}", text(&operation["tags"][0]).replace('-', "_"), text(&operation["operationId"]));
    operation["operationId"] = id.into();
    if operation["operationId"] != NULLABLE_REPLY {
        remove_null(operation);
    }
    for (status, response) in operation.pointer_mut("/responses").and_then(Value::as_object_mut).into_iter().flatten() {
        let Some(response) = response.as_object_mut() else { continue };
        let refusal = status == "default";
        response
            .entry("description")
            .or_insert(if refusal { "A refusal, or a failure on our side" } else { "Done" }.into());
        if refusal && let Some(body) = response.get_mut("content").and_then(Value::as_object_mut) {
            *body = std::mem::take(body).into_iter().map(|(_, s)| ("application/problem+json".into(), s)).collect();
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `["string", "null"]` becomes `"string"`, and `oneOf [X, null]` becomes X.
fn remove_null(schema: &mut Value) {
    if let Some(members) = schema.as_object_mut() {
        members.retain(|name, value| !(name == "default" && value.is_null()));
        if let Some([kind, null]) = members.get("type").and_then(Value::as_array).map(Vec::as_slice)
            && null == "null"
        {
            let kind = kind.clone();
            members.insert("type".into(), kind);
        }
        if let Some([one, null]) = members.get("oneOf").and_then(Value::as_array).map(Vec::as_slice)
            && null["type"] == "null"
        {
            *schema = one.clone();
        }
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(remove_null),
        Value::Array(items) => items.iter_mut().for_each(remove_null),
        _ => {}
    }
}
