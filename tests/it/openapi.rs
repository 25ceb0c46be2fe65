//! The OpenAPI document is a committed snapshot: a changed wire field shows up in review.

use std::path::Path;

#[test]
fn the_committed_document_is_the_one_of_this_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let current = serde_json::to_string_pretty(&kijko_http::document()).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &current).expect("docs is writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "the interface changed: run `make openapi` and review docs/openapi.json");
}

#[test]
fn the_document_is_version_3_1_and_names_every_operation_once() {
    assert_eq!(kijko_http::document()["openapi"], "3.1.0");
    let mut seen = std::collections::BTreeSet::new();
    for (method, path, operation) in crate::access::operations() {
        let id = operation["operationId"].as_str().expect("every operation has an id").to_owned();
        assert!(operation["summary"].is_string(), "{method} {path} needs a first line of documentation");
        assert!(seen.insert(id.clone()), "{id} is there twice: name the handler of {method} {path} otherwise");
    }
}

#[test]
fn every_reply_is_described_and_nothing_is_null() {
    let document = kijko_http::document();
    for (method, path, operation) in crate::access::operations() {
        for (status, reply) in operation["responses"].as_object().expect("replies") {
            assert!(reply["description"].is_string(), "{method} {path}: {status} has no description: {reply}");
        }
    }
    let nullish = regex::Regex::new(r#""(content|responses|schema|description)":null"#).expect("a valid expression");
    assert!(!nullish.is_match(&document.to_string()), "viewers stumble over a null: see `finish` in openapi.rs");
}

#[test]
fn every_reference_leads_somewhere() {
    let document = kijko_http::document();
    let text = document.to_string();
    let reference = regex::Regex::new(r##""\$ref":"#([^"]+)""##).expect("a valid expression");
    for found in reference.captures_iter(&text) {
        assert!(document.pointer(&found[1]).is_some(), "{} is missing: add it to components in openapi.rs", &found[1]);
    }
}

/// Two structs of one name would be merged silently, and generated clients would be wrong.
#[test]
fn no_two_types_share_a_schema_name() {
    let mut seen = std::collections::BTreeMap::<String, String>::new();
    let word = regex::Regex::new(r"(?s)ToSchema[^{;]*?(?:struct|enum)\s+(\w+)").expect("a valid expression");
    for dir in ["crates/kijko-core/src", "crates/kijko-http/src"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir);
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                for found in word.captures_iter(&text) {
                    let other = seen.insert(found[1].to_owned(), path.display().to_string());
                    assert!(
                        other.is_none(),
                        "{} is in {} and {other:?}: use #[schema(as = …)]",
                        &found[1],
                        path.display()
                    );
                }
            }
        }
    }
}
