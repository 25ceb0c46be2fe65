//! Whatever is killed, whenever, no server stays behind and the next start works.

use std::io::Write;

use super::harness::*;

#[tokio::test]
async fn a_killed_process_leaves_no_server_behind() {
    let folder = Folder::new();
    let mut helper = Helper::ready(&folder.data(), None);
    helper.tell("CREATE TABLE kept AS SELECT 1 AS one");
    let pid = postmaster(&folder.data());
    helper.kill();
    wait_until("the watchdog must stop the server", || !alive(pid));
    wait_until("the watchdog must end too", || watchdogs(&folder.data()).is_empty());

    let server = start(&folder.data()).await;
    assert_eq!(sql(server.socket_dir(), "SELECT one FROM kept"), "1", "keep what was committed");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_killed_process_does_not_take_the_server_from_another() {
    let folder = Folder::new();
    let mut first = Helper::ready(&folder.data(), None);
    let mut second = Helper::ready(&folder.data(), None);
    let pid = postmaster(&folder.data());
    first.kill();
    wait_until("the killed one's watchdog must see that it is not needed", || watchdogs(&folder.data()).len() == 1);
    assert!(alive(pid), "the server must stay for the second");
    assert_eq!(second.tell("SELECT 1"), "1", "the second must go on working");
    second.kill();
    wait_until("the second's watchdog must stop the server", || !alive(pid));
}

#[tokio::test]
async fn a_start_right_after_a_kill_gets_a_server() {
    let folder = Folder::new();
    for pause in [0, 5, 20, 60, 120, 200] {
        let mut helper = Helper::ready(&folder.data(), None);
        helper.kill();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let server = start(&folder.data()).await;
        assert_eq!(sql(server.socket_dir(), "SELECT 1"), "1", "the watchdog must not stop a server in use");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(sql(server.socket_dir(), "SELECT 1"), "1", "nor a moment later");
        server.stop().await.expect("it stops");
    }
}

#[tokio::test]
async fn a_process_killed_at_any_moment_of_its_start_leaves_nothing_running() {
    for moment in [0, 2, 5, 10, 30, 100, 250, 400, 600] {
        let folder = Folder::new();
        let mut helper = Helper::spawn(&folder.data(), None);
        if moment > 0 {
            wait_until("the start must begin", || folder.data().join("postgres/turn.lock").exists());
        }
        tokio::time::sleep(Duration::from_millis(moment)).await;
        helper.kill();
        let home = folder.data().join("postgres");
        if home.exists() {
            wait_until("its watchdog must end", || watchdogs(&folder.data()).is_empty());
            let pid_file = cluster(&folder.data()).join("postmaster.pid");
            assert!(!pid_file.exists(), "after {moment} ms the watchdog must have stopped the server");
        }
        let server = start(&folder.data()).await;
        assert_eq!(sql(server.socket_dir(), "SELECT 1"), "1", "the next start must work");
        assert!(!home.join("cluster.unfinished").exists(), "remove what initdb left");
        server.stop().await.expect("it stops");
    }
}

#[tokio::test]
async fn a_process_killed_while_it_stops_leaves_nothing_running() {
    let folder = Folder::new();
    for moment in [0, 1, 2, 4, 8, 12, 16, 30] {
        let mut helper = Helper::ready(&folder.data(), None);
        let pid = postmaster(&folder.data());
        writeln!(helper.stdin, "stop").expect("the helper listens");
        tokio::time::sleep(Duration::from_millis(moment)).await;
        helper.kill();
        wait_until("the watchdog must finish what the killed process began", || !alive(pid));
        wait_until("the watchdog must end too", || watchdogs(&folder.data()).is_empty());
    }
    start(&folder.data()).await.stop().await.expect("the next start and stop work");
}

#[tokio::test]
async fn an_interrupt_from_the_terminal_reaches_only_our_own_process() {
    let folder = Folder::new();
    let mut helper = Helper::ready(&folder.data(), None);
    let pid = postmaster(&folder.data());
    signal("INT", format!("-{}", helper.process.id()));
    // Whoever starts the tests in the background may have told them, and so it, to ignore interrupts.
    std::thread::sleep(Duration::from_millis(300));
    helper.kill();
    wait_until("the watchdog must stop the server", || !alive(pid));
    let log = fs::read_to_string(folder.data().join("postgres/server.log")).expect("there is a log");
    assert!(log.contains("database system is shut down"), "it must be stopped in order:\n{log}");
}

#[tokio::test]
async fn a_server_whose_process_and_watchdog_were_killed_is_adopted() {
    let folder = Folder::new();
    let mut helper = Helper::ready(&folder.data(), None);
    let pid = postmaster(&folder.data());
    for watchdog in watchdogs(&folder.data()) {
        signal("KILL", watchdog);
    }
    helper.kill();
    std::thread::sleep(Duration::from_millis(300));
    assert!(alive(pid), "this test needs an orphan; the watchdog was not killed");

    let server = start(&folder.data()).await;
    assert_eq!(postmaster(&folder.data()), pid, "adopt the running server");
    assert_eq!(sql(server.socket_dir(), "SELECT 1"), "1", "the orphan must serve");
    server.stop().await.expect("it stops");
    assert_stopped(&folder.data(), pid, "an adopted server must be stopped like any other");
}

#[tokio::test]
async fn a_crashed_server_recovers_at_the_next_start() {
    let folder = Folder::new();
    let durable = EmbeddedOptions { fast_unsafe: false, ..options(&folder.data()) };
    let server = EmbeddedPostgres::start(&durable).await.expect("it starts");
    sql(server.socket_dir(), "CREATE TABLE kept AS SELECT 1 AS one");
    signal("KILL", postmaster(&folder.data()));
    // At once, while the crashed server's other processes are still ending.
    let again = EmbeddedPostgres::start(&durable).await.expect("it starts again");
    assert_eq!(sql(again.socket_dir(), "SELECT one FROM kept"), "1", "recover what was committed");
    server.stop().await.expect("the first leaves");
    assert_eq!(sql(again.socket_dir(), "SELECT 2"), "2", "the first's leaving must not stop the new server");
    again.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_dropped_handle_stops_the_server_soon_after() {
    let folder = Folder::new();
    let server = start(&folder.data()).await;
    let pid = postmaster(&folder.data());
    drop(server);
    wait_until("dropping must wake the watchdog", || !alive(pid));
    wait_until("the watchdog must end", || watchdogs(&folder.data()).is_empty());
}

#[tokio::test]
async fn a_cancelled_start_leaves_nothing_running() {
    for moment in [1, 5, 20, 60, 200, 400] {
        let folder = Folder::new();
        let started = tokio::time::timeout(Duration::from_millis(moment), start(&folder.data())).await;
        drop(started);
        let home = folder.data().join("postgres");
        wait_until("the watchdog must end", || watchdogs(&folder.data()).is_empty());
        assert!(!home.join("cluster/postmaster.pid").exists(), "nothing may run after {moment} ms");
        start(&folder.data()).await.stop().await.expect("the next start and stop work");
        assert!(!home.join("cluster.unfinished").exists(), "remove what initdb left");
    }
}

#[tokio::test]
async fn a_stale_pid_file_is_no_obstacle_even_when_its_id_is_in_use_again() {
    let folder = Folder::new();
    start(&folder.data()).await.stop().await.expect("it stops");
    let owner = fs::metadata(cluster(&folder.data())).expect("the cluster exists");
    // PostgreSQL takes any living process of its own user for the postmaster.
    let mut foreign = Command::new("sleep");
    foreign.arg("60");
    if am_root() {
        foreign.uid(owner.uid()).gid(owner.gid());
    }
    let mut foreign = foreign.spawn().expect("sleep exists");
    let pid_file = cluster(&folder.data()).join("postmaster.pid");
    for contents in [
        format!("{}\n{}\n1700000000\n5432\n/tmp\n\n 1 2\nready   \n", foreign.id(), cluster(&folder.data()).display()),
        "999999999\n".to_owned(),
        String::new(),
    ] {
        fs::write(&pid_file, &contents).expect("the test may write it");
        chown(&pid_file, Some(owner.uid()), Some(owner.gid())).expect("the test may own it");
        let server = start(&folder.data()).await;
        assert_eq!(sql(server.socket_dir(), "SELECT 1"), "1", "remove the stale file {contents:?}");
        server.stop().await.expect("it stops");
    }
    assert!(alive(foreign.id()), "a foreign process must never be signalled");
    let _ = foreign.kill();
    let _ = foreign.wait();
}

#[tokio::test]
async fn a_server_that_an_administrator_started_is_left_alone() {
    let folder = Folder::new();
    start(&folder.data()).await.stop().await.expect("it stops");
    let owner = fs::metadata(cluster(&folder.data())).expect("the cluster exists");
    let major = fs::read_to_string(cluster(&folder.data()).join("PG_VERSION")).expect("a version");
    let postgres = PathBuf::from(format!("/usr/lib/postgresql/{}/bin/postgres", major.trim()));
    if !postgres.exists() {
        println!("skipped: this test looks for PostgreSQL in Debian's place only");
        return;
    }
    let mut command = Command::new(postgres);
    command.arg("-D").arg(cluster(&folder.data())).arg("-k").arg(cluster(&folder.data()));
    command.args(["-c", "listen_addresses="]).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    if am_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut theirs = command.spawn().expect("PostgreSQL can be run by hand");
    let pid_file = cluster(&folder.data()).join("postmaster.pid");
    wait_until("it must start", || fs::read_to_string(&pid_file).is_ok_and(|file| file.contains("ready")));
    let refused = refusal(&options(&folder.data())).await;
    assert!(
        matches!(refused, EmbeddedError::ForeignServer { pid, .. } if pid == theirs.id()),
        "name the server in the way, not: {refused}"
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(alive(theirs.id()), "their server must not be stopped");
    signal("INT", theirs.id());
    let _ = theirs.wait();
    start(&folder.data()).await.stop().await.expect("it starts when they are done");
}
