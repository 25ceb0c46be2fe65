//! A server keeps its data, is durable and private, and belongs to the right user.

use super::harness::*;

#[tokio::test]
async fn a_restart_keeps_the_data_and_durability_is_on() {
    let folder = Folder::new();
    let durable = EmbeddedOptions { fast_unsafe: false, ..options(&folder.data()) };
    let server = EmbeddedPostgres::start(&durable).await.expect("a fresh start works");
    assert_eq!(server.superuser(), "postgres", "callers build their URL from it");
    for (setting, wanted) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("listen_addresses", ""),
        ("max_connections", "20"),
    ] {
        let found = sql(server.socket_dir(), &format!("SHOW {setting}"));
        assert_eq!(found, wanted, "start the server with {setting}={wanted}");
    }
    sql(server.socket_dir(), "CREATE TABLE kept AS SELECT 'żółw' AS word");
    let pid = postmaster(&folder.data());
    server.stop().await.expect("it stops");
    assert_stopped(&folder.data(), pid, "stop() must wait for the end of PostgreSQL");

    let server = EmbeddedPostgres::start(&durable).await.expect("a restart works");
    assert_eq!(sql(server.socket_dir(), "SELECT upper(word) FROM kept"), "ŻÓŁW", "keep the data and its letters");
    server.stop().await.expect("it stops");
    wait_until("the watchdog must be dismissed", || watchdogs(&folder.data()).is_empty());
}

#[tokio::test]
async fn nobody_else_can_enter_the_folders_of_the_server() {
    let folder = Folder::new();
    let server = start(&folder.data()).await;
    for private in [server.socket_dir().to_owned(), cluster(&folder.data())] {
        let mode = fs::metadata(&private).expect("it exists").mode() & 0o777;
        assert_eq!(mode, 0o700, "create {} with mode 0700", private.display());
    }
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn an_ordinary_user_gets_a_server_of_its_own() {
    if !am_root() {
        println!("skipped: every other test of this run is that of an ordinary user");
        return;
    }
    let folder = Folder::new();
    chown(&folder.0, Some(NOBODY), Some(NOBODY)).expect("root may");
    let mut helper = Helper::ready(&folder.data(), Some(NOBODY));
    assert_eq!(helper.tell("SELECT 1 + 1"), "2", "an ordinary user must be able to work");
    let owner = fs::metadata(cluster(&folder.data())).expect("the cluster exists").uid();
    assert_eq!(owner, NOBODY, "an ordinary user's cluster must be its own");

    // Root looks at it and must neither disturb it nor take it away.
    let server = start(&folder.data()).await;
    assert_eq!(sql(server.socket_dir(), "SELECT 3"), "3", "root must be able to join");
    server.stop().await.expect("root leaves");
    assert_eq!(helper.tell("SELECT 4"), "4", "root's leaving must not stop the user's server");
    assert_eq!(helper.tell("stop"), "Ok(())", "the user stops its server");

    let server = start(&folder.data()).await;
    server.stop().await.expect("root starts and stops it too");
    let mut helper = Helper::ready(&folder.data(), Some(NOBODY));
    assert_eq!(helper.tell("stop"), "Ok(())", "root's visit must leave the files to the user");
}

#[tokio::test]
async fn root_works_in_a_users_folder_as_that_user() {
    if !am_root() {
        println!("skipped: needs root");
        return;
    }
    let folder = Folder::new();
    fs::create_dir(folder.data()).expect("make it");
    fs::set_permissions(folder.data(), fs::Permissions::from_mode(0o700)).expect("close it");
    chown(folder.data(), Some(NOBODY), Some(NOBODY)).expect("root may");
    start(&folder.data()).await.stop().await.expect("root starts and stops it");
    let mut helper = Helper::ready(&folder.data(), Some(NOBODY));
    assert_eq!(helper.tell("stop"), "Ok(())", "the user must not be locked out by root");
}

#[tokio::test]
async fn a_cluster_that_root_has_restored_is_given_to_the_unprivileged_user() {
    if !am_root() {
        println!("skipped: needs root");
        return;
    }
    let folder = Folder::new();
    start(&folder.data()).await.stop().await.expect("it stops");
    let status = Command::new("chown").args(["-R", "0:0"]).arg(folder.data()).status();
    assert!(status.is_ok_and(|status| status.success()), "root may");
    start(&folder.data()).await.stop().await.expect("restored files must work");
}

#[tokio::test]
async fn data_of_an_unsafe_run_is_secured_before_a_durable_one() {
    let folder = Folder::new();
    let server = start(&folder.data()).await;
    sql(server.socket_dir(), "CREATE TABLE kept AS SELECT 1 AS one");
    server.stop().await.expect("it stops");
    let durable = EmbeddedOptions { fast_unsafe: false, ..options(&folder.data()) };
    let server = EmbeddedPostgres::start(&durable).await.expect("it may turn durable");
    assert_eq!(sql(server.socket_dir(), "SHOW fsync"), "on", "turn fsync on");
    assert_eq!(sql(server.socket_dir(), "SELECT one FROM kept"), "1", "keep the data");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn an_ordinary_user_is_told_when_the_data_belongs_to_another() {
    if !am_root() {
        println!("skipped: needs root to make a cluster of somebody else");
        return;
    }
    let folder = Folder::new();
    start(&folder.data()).await.stop().await.expect("it stops");
    let answer = Helper::spawn(&folder.data(), Some(NOBODY)).answer();
    assert!(answer.contains("belongs to another user"), "say whose data it is, not: {answer}");
}
