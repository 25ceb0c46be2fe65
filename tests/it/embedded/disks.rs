//! A full disk and an awkward path are named or coped with, and leave nothing half made.

use super::harness::*;

/// A small disk of its own.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Folder, size: &str) -> Option<Self> {
        let path = folder.0.join("disk");
        fs::create_dir(&path).expect("make it");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "tmpfs"])
            .arg(&path)
            .status();
        let mounted = am_root() && status.is_ok_and(|status| status.success());
        if !mounted {
            println!("skipped: this machine does not allow to mount a small disk");
        }
        mounted.then_some(Self(path))
    }

    fn resize(&self, size: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "the disk can grow");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a watchdog may need another moment.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_at_the_first_start_is_named_and_leaves_nothing_half_made() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder, "1m") else {
        return;
    };
    let data = disk.0.join("data");
    for size in ["64k", "1m", "4m", "16m", "24m"] {
        disk.resize(size);
        let refused = refusal(&options(&data)).await;
        assert!(
            matches!(refused, EmbeddedError::DiskFull { .. }),
            "with {size} say that the disk is full, not: {refused} {refused:?}"
        );
        assert!(refused.to_string().contains("no space left on"), "say so in plain words: {refused}");
        for half in ["cluster", "cluster.unfinished"] {
            assert!(!data.join("postgres").join(half).exists(), "with {size} remove {half} after the failure");
        }
    }
    disk.resize("300m");
    start(&data).await.stop().await.expect("with space it works");
}

#[tokio::test]
async fn a_disk_that_is_full_at_a_later_start_is_named_and_loses_nothing() {
    let folder = Folder::new();
    let Some(disk) = Disk::mount(&folder, "300m") else {
        return;
    };
    let data = disk.0.join("data");
    let server = start(&data).await;
    sql(server.socket_dir(), "CREATE TABLE kept AS SELECT 1 AS one");
    server.stop().await.expect("it stops");

    let ballast = disk.0.join("ballast");
    let filled = Command::new("dd").args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", ballast.display())).output();
    assert!(!filled.expect("dd exists").status.success(), "the disk must be full now");
    let refused = refusal(&options(&data)).await;
    assert!(matches!(refused, EmbeddedError::DiskFull { .. }), "say that the disk is full, not: {refused} {refused:?}");

    fs::remove_file(ballast).expect("make room");
    let server = start(&data).await;
    assert_eq!(sql(server.socket_dir(), "SELECT one FROM kept"), "1", "nothing may be lost");
    server.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_private_folder() {
    let folder = Folder::new();
    let data = folder.0.join("long".repeat(20)).join("longer".repeat(20)).join("a, \"b\"");
    let server = start(&data).await;
    let sockets = server.socket_dir().to_owned();
    assert!(sockets.as_os_str().len() < 90, "choose a short folder, not {}", sockets.display());
    let mode = fs::metadata(&sockets).expect("it exists").mode() & 0o777;
    assert_eq!(mode, 0o700, "nobody else may enter {}", sockets.display());
    let mut helper = Helper::ready(&data, None);
    assert_eq!(helper.tell("SELECT 1"), "1", "another process must find the folder");
    assert_eq!(helper.tell("stop"), "Ok(())", "it leaves");
    server.stop().await.expect("it stops");
    assert!(!sockets.exists(), "remove the short folder at the end");

    // Anybody could have put this there.
    symlink(&folder.0, &sockets).expect("the test may");
    let refused = refusal(&options(&data)).await;
    fs::remove_file(&sockets).expect("the test may");
    assert!(matches!(refused, EmbeddedError::NotPrivate { .. }), "do not follow a link, but: {refused}");
}

#[tokio::test]
async fn awkward_letters_in_the_path_are_no_obstacle() {
    let folder = Folder::new();
    // psql takes a comma for the start of another host, so joining has to prove that one.
    let comma = folder.0.join("a, \"b\"");
    let (one, two) = tokio::join!(start(&comma), start(&comma));
    one.stop().await.expect("it leaves");
    two.stop().await.expect("it stops");

    let data = folder.0.join("it's \"żółw\" $HOME");
    let server = start(&data).await;
    assert_eq!(sql(server.socket_dir(), "SELECT 1"), "1", "quote the folder of the socket");
    server.stop().await.expect("it stops");
    let mut helper = Helper::ready(&data, None);
    let pid = postmaster(&data);
    helper.kill();
    wait_until("the watchdog must cope with the path as well", || !alive(pid));
}

#[tokio::test]
async fn the_log_does_not_grow_for_ever() {
    let folder = Folder::new();
    start(&folder.data()).await.stop().await.expect("it stops");
    let log = folder.data().join("postgres/server.log");
    fs::OpenOptions::new().append(true).open(&log).and_then(|log| log.set_len(5 << 20)).expect("grow it");
    let server = start(&folder.data()).await;
    let size = fs::metadata(&log).expect("there is a log").len();
    assert!(size < 1 << 20, "begin a new log above a few megabytes");
    let _ = Command::new(psql())
        .arg("-h")
        .arg(server.socket_dir())
        .args(["-U", "postgres", "-c", "SELECT secret"])
        .output();
    let text = fs::read_to_string(&log).expect("the log is text");
    assert!(!text.contains("secret"), "statements must stay out of the log:\n{text}");
    server.stop().await.expect("it stops");
}
