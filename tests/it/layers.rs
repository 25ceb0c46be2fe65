//! The layering rule: domain knows nothing, ports speak domain, services use both, adapters implement ports, and front
//! ends call services. What visibility cannot say, this does, with file and line.

use std::path::{Path, PathBuf};

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(dir);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    assert!(!found.is_empty(), "{dir} has no sources: was it moved?");
    found
}

/// Lines of code, comments left out, that mention one of the words.
fn mentions(dir: &str, words: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources(dir) {
        if except.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = words.iter().find(|word| code.contains(**word)) {
                found.push(format!("{}:{}: mentions {word}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

fn check(dir: &str, words: &[&str], except: &[&str], why: &str) {
    let found = mentions(dir, words, except);
    assert!(found.is_empty(), "{why}\n{}", found.join("\n"));
}

#[test]
fn the_domain_knows_nothing() {
    let words =
        ["crate::ports", "crate::services", "crate::adapters", "crate::app", "sqlx", "tokio", "async ", "now()"];
    check("crates/kijko-core/src/domain", &words, &[], "the domain is pure: no I/O, no async, no clock");
}

#[test]
fn ports_speak_domain() {
    let words = ["crate::services", "crate::adapters", "crate::app", "sqlx"];
    check("crates/kijko-core/src/ports", &words, &[], "a port says what is needed, never how it is done");
}

#[test]
fn services_use_domain_and_ports() {
    let words = ["crate::adapters", "sqlx", "axum", "http::", "std::env", "Utc::now"];
    check("crates/kijko-core/src/services", &words, &[], "a service reaches the world through ports");
}

#[test]
fn adapters_call_no_service() {
    check("crates/kijko-core/src/adapters", &["crate::services"], &[], "an adapter implements a port and calls nobody");
}

#[test]
fn front_ends_call_services() {
    for dir in ["crates/kijko-http/src", "crates/kijko-cli/src", "crates/kijko-py/src"] {
        check(dir, &["sqlx", "kijko_core::ports", "kijko_core::adapters"], &[], "a front end extracts, calls, answers");
    }
}

#[test]
fn contexts_come_from_identity_alone() {
    let words = ["TenantContext::new"];
    check("crates/kijko-core/src", &words, &["services/identity.rs", "context.rs"], "only identity.rs makes a context");
}

#[test]
fn transactions_are_opened_in_one_file() {
    let words = [".begin(", "begin_with(", "raw_sql("];
    let except = ["adapters/postgres/tx.rs", "adapters/jobs/driver.rs"];
    check("crates/kijko-core/src", &words, &except, "tx.rs opens every transaction, with its context");
}

#[test]
fn one_file_maps_errors_to_statuses() {
    check(
        "crates/kijko-http/src/routes",
        &["StatusCode::BAD", "StatusCode::NOT_FOUND", "StatusCode::CONFLICT", "StatusCode::INTERNAL"],
        &[],
        "problem.rs is the only file that maps an error to a status",
    );
}
