//! Any number of processes may use one data directory; the last one stops its server.

use super::harness::*;

#[tokio::test]
async fn two_processes_share_a_server_and_the_last_one_stops_it() {
    let folder = Folder::new();
    let mut first = Helper::ready(&folder.data(), None);
    let second = start(&folder.data()).await;
    let pid = postmaster(&folder.data());
    assert_eq!(first.tell("stop"), "Ok(())", "the first leaves in order");
    assert!(alive(pid), "the server must stay for the second");
    assert_eq!(sql(second.socket_dir(), "SELECT 1"), "1", "the second must go on working");

    let mut third = Helper::ready(&folder.data(), None);
    second.stop().await.expect("the second leaves");
    assert_eq!(third.tell("SELECT 2"), "2", "the third must go on working");
    assert_eq!(postmaster(&folder.data()), pid, "one server must serve them all");
    assert_eq!(third.tell("stop"), "Ok(())", "the third leaves");
    assert_stopped(&folder.data(), pid, "the last one must stop the server");
}

#[tokio::test]
async fn starts_at_the_same_moment_make_one_cluster() {
    let folder = Folder::new();
    let mut others: Vec<Helper> = (0..3).map(|_| Helper::spawn(&folder.data(), None)).collect();
    let data = folder.data();
    let (one, two, three) = tokio::join!(start(&data), start(&data), start(&data));
    for other in &mut others {
        assert!(other.answer().starts_with("ready"), "a simultaneous start must join");
    }
    let pid = postmaster(&data);
    for server in [one, two, three] {
        server.stop().await.expect("each leaves");
    }
    for other in &mut others {
        assert!(alive(pid), "the server must stay until the last has left");
        assert_eq!(other.tell("stop"), "Ok(())", "each leaves");
    }
    assert_stopped(&folder.data(), pid, "the last one must stop the server");
}

#[tokio::test]
async fn starting_and_stopping_in_a_crowd_always_gives_a_server() {
    let folder = Folder::new();
    let data = folder.data();
    start(&data).await.stop().await.expect("it stops");
    let crowd = (0..6).map(|_| {
        let data = data.clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                let server = start(&data).await;
                assert_eq!(sql(server.socket_dir(), "SELECT 1"), "1", "whoever starts must be served");
                server.stop().await.expect("each leaves");
            }
        })
    });
    for one in crowd.collect::<Vec<_>>() {
        one.await.expect("no start and no stop may disturb another");
    }
    assert!(!cluster(&data).join("postmaster.pid").exists(), "the last one must stop the server");
}

#[tokio::test]
async fn a_caller_who_needs_durability_is_not_given_a_server_without_it() {
    let folder = Folder::new();
    let server = start(&folder.data()).await;
    let durable = EmbeddedOptions { fast_unsafe: false, ..options(&folder.data()) };
    let refused = refusal(&durable).await;
    assert!(matches!(refused, EmbeddedError::NotDurable { .. }), "refuse to join, not: {refused}");
    assert_eq!(sql(server.socket_dir(), "SELECT 1"), "1", "the refusal must not disturb the server");
    server.stop().await.expect("it stops");
}
