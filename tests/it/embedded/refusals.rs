//! What cannot work is refused with what to do about it, and touches nothing.

use super::harness::*;

#[tokio::test]
async fn another_major_version_is_refused_and_both_are_named() {
    let folder = Folder::new();
    start(&folder.data()).await.stop().await.expect("it stops");
    let version = cluster(&folder.data()).join("PG_VERSION");
    let real = fs::read_to_string(&version).expect("a cluster has a version");
    fs::write(&version, "12\n").expect("the test may write it");
    let refused = refusal(&options(&folder.data())).await.to_string();
    for part in ["PostgreSQL 12", real.trim(), "pg_upgrade"] {
        assert!(refused.contains(part), "the message must name {part}: {refused}");
    }
    fs::write(&version, real).expect("the test may write it");
    start(&folder.data()).await.stop().await.expect("nothing was changed");
}

#[tokio::test]
async fn a_setting_that_names_the_wrong_folder_is_not_papered_over() {
    let folder = Folder::new();
    let wrong = EmbeddedOptions { bin_dir: Some(folder.0.clone()), ..options(&folder.data()) };
    let refused = refusal(&wrong).await;
    assert!(matches!(refused, EmbeddedError::BinariesIncomplete { .. }), "name the setting, not: {refused}");
    assert!(!folder.data().exists(), "a refused start must not create the data directory");
}

#[tokio::test]
async fn a_machine_without_postgresql_is_told_what_to_install() {
    if !am_root() {
        println!("skipped: hiding the installed PostgreSQL needs root");
        return;
    }
    let folder = Folder::new();
    let hide = "mount -t tmpfs none /usr/lib/postgresql && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "/bin/sh", "-c", hide]);
    command.arg(std::env::current_exe().expect("the test binary has a path"));
    command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    let allowed = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).status();
    if !allowed.is_ok_and(|status| status.success()) || !Path::new("/usr/lib/postgresql").exists() {
        println!("skipped: this machine does not allow mounts, or has PostgreSQL elsewhere");
        return;
    }
    let answer = Helper::run(&mut command, &folder.data()).answer();
    for part in ["apt-get install postgresql", "dnf install", "brew install", "DATABASE_URL"] {
        assert!(answer.contains(part), "the message must say {part}: {answer}");
    }
    assert!(!folder.data().exists(), "a refused start must not create the data directory");
}

#[tokio::test]
async fn a_folder_that_is_no_cluster_is_not_touched() {
    let folder = Folder::new();
    fs::create_dir_all(cluster(&folder.data())).expect("make it");
    let precious = cluster(&folder.data()).join("precious");
    fs::write(&precious, "keep").expect("write it");
    let refused = refusal(&options(&folder.data())).await;
    assert!(matches!(refused, EmbeddedError::NotACluster { .. }), "say so, not: {refused}");
    assert!(precious.exists(), "a folder that is not ours must not be touched");
}

#[tokio::test]
async fn what_an_unfinished_initdb_left_is_removed() {
    let folder = Folder::new();
    let left = folder.data().join("postgres/cluster.unfinished/base");
    fs::create_dir_all(&left).expect("make it");
    fs::write(left.join("1"), "half").expect("write it");
    let server = start(&folder.data()).await;
    assert!(!folder.data().join("postgres/cluster.unfinished").exists(), "remove it before initdb");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn root_is_told_which_folder_bars_the_way_of_postgresql() {
    if !am_root() {
        println!("skipped: only root steps down to another user");
        return;
    }
    let folder = Folder::new();
    let closed = folder.0.join("closed");
    fs::create_dir(&closed).expect("make it");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("close it");
    let refused = refusal(&options(&closed.join("data"))).await;
    assert!(
        matches!(&refused, EmbeddedError::Unreachable { blocked, .. } if *blocked == closed),
        "name the closed folder, not: {refused}"
    );
    assert_eq!(default_data_dir(), Path::new("/var/lib/kijko"), "root's default must be reachable");
}
