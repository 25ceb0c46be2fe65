//! Clients that hang up on a real server.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::units::Dice;
use super::*;

/// How a client hangs up.
#[derive(Clone, Copy, Debug)]
struct HangUp {
    /// How much of the request it sends, in percent.
    sends: usize,
    /// Then it waits for so long.
    after: Duration,
    /// It slams the connection instead of closing it.
    resets: bool,
}

/// Sends a request and hangs up. Gives the status if the answer was already there.
async fn hang_up(address: std::net::SocketAddr, request: String, how: HangUp) -> Option<u16> {
    let mut connection = TcpStream::connect(address).await.expect("the server listens");
    let bytes = &request.as_bytes()[..request.len() * how.sends / 100];
    connection.write_all(bytes).await.expect("the server reads");
    tokio::time::sleep(how.after).await;
    let mut head = [0; 12];
    let read = connection.try_read(&mut head).unwrap_or(0);
    if how.resets {
        connection.set_zero_linger().expect("a socket");
    }
    drop(connection);
    String::from_utf8_lossy(&head[..read]).strip_prefix("HTTP/1.1 ").and_then(|status| status.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_clients_that_hang_up_leave_nothing_half_done() {
    const CLIENTS: usize = 300;
    let started = Instant::now();
    let settings = [("DB_MAX_CONNECTIONS", "2"), ONE_CONNECTION[1]];
    let scene = Scene::on(Installation::with(&settings).await).await;
    let (app, ada) = (&scene.app, &scene.ada);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stop = tokio_util::sync::CancellationToken::new();
    let server = tokio::spawn(kijko_http::serve(app.app.clone(), listener, false, stop.clone().cancelled_owned()));
    let target = scene.skill().await;

    let mut dice = Dice(0x6b69_6a6b_6f00_0002);
    let mut plan: Vec<(String, HangUp)> = Vec::new();
    for number in 0..CLIENTS {
        let (path, body) = if number % 2 == 0 {
            let name = format!("Client {number}");
            (
                "/api/v1/skills".to_owned(),
                json!({ "name": name, "description": name, "promptTemplate": template(&name) }),
            )
        } else {
            (format!("/api/v1/skills/{target}/execute"), json!({ "input": { "text": format!("client {number}") } }))
        };
        let (token, body) = (ada.person.access_token(), body.to_string());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: kijko\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let sends = if dice.below(8) == 0 { dice.below(100) } else { 100 };
        let after = Duration::from_millis(dice.below(16) as u64);
        plan.push((request, HangUp { sends, after, resets: dice.below(2) == 0 }));
    }
    let (mut answered, mut created) = (0, 0);
    for (index, wave) in plan.chunks(4).enumerate() {
        let clients = wave.iter().map(|(request, how)| hang_up(address, request.clone(), *how));
        for (client, status) in futures_util::future::join_all(clients).await.into_iter().enumerate() {
            let number = index * 4 + client;
            let Some(status) = status else { continue };
            answered += 1;
            created += u32::from(status == 201);
            assert!(matches!(status, 201 | 202), "client {number} was refused with {status}");
            let row = if status == 201 {
                format!("skills WHERE name = 'Client {number}'")
            } else {
                format!("skill_executions WHERE input->>'text' = 'client {number}'")
            };
            assert_eq!(app.count(&row).await, 1, "an acknowledged write is lost: {row}");
        }
        settle(app).await;
        scene.neighbour_sees_only_their_own("clients hung up").await;
    }
    stop.cancel();
    server.await.expect("the server does not panic").expect("the server stops");
    scene.neighbour_sees_only_their_own("clients hung up").await;
    settle(app).await;

    let (organization, user) = (ada.ctx.organization_id(), ada.ctx.user_id());
    let written = app.count("skills WHERE name LIKE 'Client %'").await;
    let whole = format!(
        "skills WHERE name LIKE 'Client %' AND description = name AND organization_id = '{organization}'
            AND user_id = '{user}' AND prompt_template = 'Summarise for ' || name || ': {{{{text}}}}'"
    );
    assert_eq!(app.count(&whole).await, written, "half a skill was written, or by somebody else");
    check_runs(app).await;
    app.run_jobs().await;
    let left = "skill_executions WHERE status <> 'completed'";
    assert_eq!(app.count(left).await, 0, "every run that was written can be run");
    eprintln!(
        "{CLIENTS} clients hung up: {answered} had their answer ({created} skills), {written} skills written, {:?}",
        started.elapsed()
    );
}
