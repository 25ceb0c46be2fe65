//! A Kijko that was given nothing but a folder: everything is there after a restart, and nothing runs after the end.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::harness::{Server, answer, within};

/// The server of the database may not be root, so it has to be able to enter.
pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("kijko-p-").permissions(Permissions::from_mode(0o755)).tempdir_in("/tmp").unwrap()
}

/// Of every process that was started with something in this folder.
async fn processes_of(folder: &Path) -> Vec<String> {
    let list = Command::new("ps").args(["-ww", "-eo", "pid=,args="]).output().await.expect("install ps (procps)");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    list.lines().filter(|line| line.contains(&*folder.to_string_lossy())).map(str::to_owned).collect()
}

#[tokio::test]
async fn an_installation_of_nothing_but_a_folder_keeps_everything() {
    let folder = folder();
    let data_dir = folder.path().join("data").to_string_lossy().into_owned();
    let settings = [("KIJKO_DATA_DIR".to_owned(), data_dir)];
    let server = Server::start(&[], &settings).await;
    let ada = server.owner().await;
    let skill = ada.create_skill("Summary").await;
    let id = ada.execute(&skill, "Kijko.").await;
    let done = ada.run_becomes(&id, "completed").await;
    assert!(done["output"].as_str().unwrap().contains("Kijko."), "the offline model answers: {done}");

    let status = answer("kijko", &["migrate", "status"], &settings).await;
    assert!(status.exits(0).contains("up to date"), "{}", status.stdout);
    let doctor = answer("kijko", &["doctor", "--json"], &settings).await.json(0);
    for subject in ["configuration", "models", "encryption key", "database", "schema", "policies", "roles"] {
        let finding = doctor.as_array().unwrap().iter().find(|finding| finding["subject"] == subject);
        assert_eq!(finding.map(|finding| &finding["ok"]), Some(&json!(true)), "{subject}: {doctor:#}");
    }
    ada.get("/api/v1/auth/me").await.ok(200);
    server.stop().await;
    nothing_runs(folder.path()).await;

    let server = Server::start(&[], &settings).await;
    let ada = server.with_token(&ada.token);
    ada.get("/api/v1/auth/me").await.ok(200);
    assert_eq!(ada.execution(&id).await, done, "the run is as it was");
    assert_eq!(ada.execution_count(&skill).await, 1);
    let next = ada.execute(&skill, "Again.").await;
    ada.run_becomes(&next, "completed").await;
    server.stop().await;
    nothing_runs(folder.path()).await;
}

async fn nothing_runs(folder: &Path) {
    let mut left = processes_of(folder).await;
    within(Duration::from_secs(10), &format!("the processes of the database end: {left:?}"), async || {
        left = processes_of(folder).await;
        left.is_empty()
    })
    .await;
    assert!(!folder.join("data/postgres/cluster/postmaster.pid").exists(), "the database was not shut down in order");
}
