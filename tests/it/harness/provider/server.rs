//! The connections of the double: reads a call, writes its reply, and notices when the client leaves.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::replies::{Reply, Then};
use super::{Call, Ending, Shared};

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(serve(socket, shared.clone()));
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    socket.set_nodelay(true).expect("an open socket");
    let (reader, mut writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    while let Ok(call) = read_call(&mut reader).await {
        let (number, reply) = shared.choose(call);
        let ending = tokio::select! {
            biased;
            sent = answer(&mut writer, &reply, &shared) => sent.ok(),
            () = closed(&mut reader) => None,
        };
        let ending = ending.unwrap_or_else(|| Ending::ClientLeft { at: Instant::now() });
        let report = || shared.state.send_modify(|state| state.calls[number].ending = Some(ending));
        if ending != Ending::Answered {
            // Closed first, so that whoever sees the ending sees a closed connection.
            drop((reader, writer));
            return report();
        }
        report();
    }
}

async fn read_call(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Call> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut request_line = lines.first().map(String::as_str).unwrap_or_default().split(' ').map(str::to_owned);
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let headers: Vec<_> = headers.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).await?;
    Ok(Call {
        method: request_line.next().unwrap_or_default(),
        path: request_line.next().unwrap_or_default(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        received_at: Instant::now(),
        status: None,
        ending: None,
    })
}

async fn answer(writer: &mut OwnedWriteHalf, reply: &Reply, shared: &Shared) -> io::Result<Ending> {
    if reply.is_held {
        shared.releases.acquire().await.expect("never closed").forget();
    }
    if let Some(status) = reply.status {
        writer.write_all(&reply.head(status)).await?;
    }
    for (wait, chunk) in reply.chunks() {
        if !wait.is_zero() {
            sleep(wait).await;
        }
        writer.write_all(&chunk).await?;
    }
    match reply.then {
        Then::End => Ok(Ending::Answered),
        Then::Cut => Ok(Ending::Cut),
        Then::Hang => std::future::pending().await,
    }
}

/// Ends when the client has closed the connection. It has nothing more to say before its answer is whole.
async fn closed(reader: &mut BufReader<OwnedReadHalf>) {
    while matches!(reader.fill_buf().await, Ok(bytes) if !bytes.is_empty()) {
        std::future::pending::<()>().await;
    }
}
