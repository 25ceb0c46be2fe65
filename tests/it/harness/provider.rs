//! A local double of Anthropic's Messages API: real connections, the real event format, answers by a script.
//!
//! A call is answered by the first of: a reply scripted for its prompt, the next reply of the script, the reply for
//! all. What the real API would refuse (key, headers, members of the body) is refused here in the same form and uses up
//! no reply. Nothing is random; what one reply writes arrives as separate chunks in exactly those pieces.

#![allow(dead_code, reason = "not every test needs every kind of reply")]

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// The only key that the double accepts; distinctive, so that a test can search logs and answers for it.
pub const API_KEY: &str = "sk-ant-double-7f3c1e9a5b2d4860";
const PATIENCE: Duration = Duration::from_secs(10);
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How the double dealt with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Answered,
    /// The double broke the connection, as scripted.
    Cut,
    /// The client closed the connection before it had the whole answer.
    ClientLeft {
        at: Instant,
    },
}

#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// `null` when it was not JSON.
    pub body: Value,
    pub received_at: Instant,
    /// What it was answered with; none when nothing was sent.
    pub status: Option<u16>,
    /// None while it is being answered.
    pub ending: Option<Ending>,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn prompt(&self) -> &str {
        self.body["messages"][0]["content"].as_str().unwrap_or_default()
    }

    pub fn left_at(&self) -> Option<Instant> {
        match self.ending {
            Some(Ending::ClientLeft { at }) => Some(at),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
enum Part {
    Event(&'static str, Value),
    Raw(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
enum Then {
    End,
    Cut,
    Hang,
}

/// What a call is answered with.
#[derive(Clone, Debug)]
pub struct Reply {
    /// None: not even the head of an answer.
    status: Option<u16>,
    headers: Vec<(&'static str, String)>,
    parts: Vec<Part>,
    then: Then,
    pace: Duration,
    line_end: &'static str,
    chunk_bytes: Option<usize>,
    is_held: bool,
}

impl Reply {
    // Whole answers

    /// One block of text, streamed in these pieces; without pieces an empty answer.
    pub fn text(pieces: &[&str], input_tokens: u64, output_tokens: u64) -> Self {
        Self::blocks(&[pieces], input_tokens, output_tokens)
    }

    /// Several blocks of text, each streamed in its pieces.
    pub fn blocks(blocks: &[&[&str]], input_tokens: u64, output_tokens: u64) -> Self {
        let mut parts = vec![start(input_tokens)];
        for (index, pieces) in blocks.iter().enumerate() {
            parts.push(block_start(index));
            parts.extend(pieces.iter().map(|piece| delta(index, piece)));
            parts.push(Part::Event("content_block_stop", json!({ "type": "content_block_stop", "index": index })));
        }
        parts.extend(stop(output_tokens));
        Self::stream(parts, Then::End)
    }

    /// The model refuses, after these pieces.
    pub fn refusal(pieces: &[&str], input_tokens: u64, output_tokens: u64) -> Self {
        let reply = match pieces {
            [] => Self::blocks(&[], input_tokens, output_tokens),
            _ => Self::text(pieces, input_tokens, output_tokens),
        };
        reply.stop_reason("refusal")
    }

    // Refusals by status

    pub fn status(status: u16, body: &str) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status: Some(status), headers, ..Self::stream(vec![Part::Raw(body.into())], Then::End) }
    }

    /// In the form of the real API; the status decides about the kind of the error.
    pub fn error(status: u16, message: &str) -> Self {
        let kind = match status {
            400 => "invalid_request_error",
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        let error = json!({ "type": kind, "message": message });
        Self::status(status, &json!({ "type": "error", "error": error, "request_id": "req_double" }).to_string())
    }

    pub fn retry_after(mut self, value: impl ToString) -> Self {
        self.headers.push(("retry-after", value.to_string()));
        self
    }

    // Answers that break off; `pieces` come before, and may be none

    /// An `error` event within the stream.
    pub fn error_event(kind: &str, message: &str, pieces: &[&str]) -> Self {
        let error = json!({ "type": "error", "error": { "type": kind, "message": message } });
        Self::begun(pieces, Some(Part::Event("error", error)), Then::End)
    }

    /// An event whose data is not JSON; after it the answer goes on to its end, as if nothing were wrong.
    pub fn malformed(pieces: &[&str]) -> Self {
        let mut rest = b"event: content_block_delta\ndata: {\"type\":\"content_block_de\n\n".to_vec();
        rest.extend(stop(1).iter().flat_map(|part| part.bytes("\n")));
        Self::begun(pieces, Some(Part::Raw(rest)), Then::End)
    }

    /// The response ends in good order, but before the answer does.
    pub fn ends_early(pieces: &[&str]) -> Self {
        Self::begun(pieces, None, Then::End)
    }

    /// The connection is closed before the first byte.
    pub fn cut_before_head() -> Self {
        Self { status: None, ..Self::stream(Vec::new(), Then::Cut) }
    }

    /// The connection is closed after the answer has begun.
    pub fn cut_after(pieces: &[&str]) -> Self {
        Self::begun(pieces, None, Then::Cut)
    }

    /// Never answers.
    pub fn hang() -> Self {
        Self { status: None, ..Self::stream(Vec::new(), Then::Hang) }
    }

    /// Falls silent after the answer has begun.
    pub fn hang_after(pieces: &[&str]) -> Self {
        Self::begun(pieces, None, Then::Hang)
    }

    /// An event stream of exactly these chunks.
    pub fn raw<B: Into<Vec<u8>>>(chunks: impl IntoIterator<Item = B>) -> Self {
        Self::stream(chunks.into_iter().map(|chunk| Part::Raw(chunk.into())).collect(), Then::End)
    }

    // Variations

    /// Waits this long before each piece of text, or before each chunk of `in_chunks_of`.
    pub fn paced(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    /// Sends nothing until the test calls `Provider::release`.
    pub fn held(self) -> Self {
        Self { is_held: true, ..self }
    }

    /// Line ends of CR and LF.
    pub fn with_crlf(self) -> Self {
        Self { line_end: "\r\n", ..self }
    }

    /// Cuts what is sent into chunks of this many bytes, also within characters.
    pub fn in_chunks_of(self, bytes: usize) -> Self {
        Self { chunk_bytes: Some(bytes), ..self }
    }

    /// A `ping`, an event of an unknown kind and a comment after every event but the last.
    pub fn with_pings(mut self) -> Self {
        let ping = Part::Event("ping", json!({ "type": "ping" }));
        let unknown = Part::Event("some_new_event", json!({ "type": "some_new_event", "text": "not for the answer" }));
        let noise = [ping, unknown, Part::Raw(b": a comment\n\n".to_vec())];
        let last = self.parts.pop();
        self.parts = self.parts.into_iter().flat_map(|part| [part].into_iter().chain(noise.clone())).collect();
        self.parts.extend(last);
        self
    }

    /// A further figure in the usage of the event `message_start` or `message_delta`.
    pub fn with_usage(mut self, event: &str, name: &str, tokens: u64) -> Self {
        let data = self.event(event);
        let data = if event == "message_start" { &mut data["message"] } else { data };
        data["usage"][name] = tokens.into();
        self
    }

    /// `end_turn` otherwise.
    pub fn stop_reason(mut self, reason: &str) -> Self {
        self.event("message_delta")["delta"]["stop_reason"] = reason.into();
        self
    }

    fn event(&mut self, name: &str) -> &mut Value {
        let found = self.parts.iter_mut().find_map(|part| match part {
            Part::Event(n, data) if *n == name => Some(data),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("this reply has no event {name}"))
    }

    fn begun(pieces: &[&str], last: Option<Part>, then: Then) -> Self {
        let mut parts = vec![start(25), block_start(0)];
        parts.extend(pieces.iter().map(|piece| delta(0, piece)));
        parts.extend(last);
        Self::stream(parts, then)
    }

    fn stream(parts: Vec<Part>, then: Then) -> Self {
        Self {
            status: Some(200),
            headers: vec![("content-type", "text/event-stream; charset=utf-8".to_owned())],
            parts,
            then,
            pace: Duration::ZERO,
            line_end: "\n",
            chunk_bytes: None,
            is_held: false,
        }
    }

    fn head(&self, status: u16) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {status} Double\r\ntransfer-encoding: chunked\r\nrequest-id: req_double\r\n");
        head.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
        (head + "\r\n").into_bytes()
    }

    /// The body in HTTP chunks, each with the wait before it.
    fn chunks(&self) -> Vec<(Duration, Vec<u8>)> {
        let wait = |part: &Part| if part.is_text() { self.pace } else { Duration::ZERO };
        let mut chunks: Vec<_> = self.parts.iter().map(|part| (wait(part), part.bytes(self.line_end))).collect();
        if let Some(size) = self.chunk_bytes {
            let all: Vec<u8> = chunks.into_iter().flat_map(|(_, bytes)| bytes).collect();
            chunks = all.chunks(size).map(|chunk| (self.pace, chunk.to_vec())).collect();
        }
        // A chunk without bytes would be the end.
        chunks.retain(|(_, bytes)| !bytes.is_empty());
        for (_, bytes) in &mut chunks {
            *bytes = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        }
        match (self.then, chunks.last_mut()) {
            // In one write with the last chunk, so that a client that has all it needs never counts as having left.
            (Then::End, Some((_, last))) => last.extend(LAST_CHUNK),
            (Then::End, None) => chunks.push((Duration::ZERO, LAST_CHUNK.to_vec())),
            (Then::Cut | Then::Hang, _) => {}
        }
        chunks
    }
}

impl Part {
    fn is_text(&self) -> bool {
        matches!(self, Part::Event("content_block_delta", _))
    }

    fn bytes(&self, end: &str) -> Vec<u8> {
        match self {
            Part::Event(name, data) => format!("event: {name}{end}data: {data}{end}{end}").into_bytes(),
            Part::Raw(bytes) => bytes.clone(),
        }
    }
}

fn start(input_tokens: u64) -> Part {
    let message = json!({
        "id": "msg_double", "type": "message", "role": "assistant", "model": "double", "content": [],
        "stop_reason": null, "stop_sequence": null,
        "usage": {
            "input_tokens": input_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": 1,
        },
    });
    Part::Event("message_start", json!({ "type": "message_start", "message": message }))
}

fn block_start(index: usize) -> Part {
    let data =
        json!({ "type": "content_block_start", "index": index, "content_block": { "type": "text", "text": "" } });
    Part::Event("content_block_start", data)
}

fn delta(index: usize, text: &str) -> Part {
    let delta = json!({ "type": "text_delta", "text": text });
    Part::Event("content_block_delta", json!({ "type": "content_block_delta", "index": index, "delta": delta }))
}

fn stop(output_tokens: u64) -> [Part; 2] {
    let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    let usage = json!({ "output_tokens": output_tokens });
    let report = json!({ "type": "message_delta", "delta": delta, "usage": usage });
    [Part::Event("message_delta", report), Part::Event("message_stop", json!({ "type": "message_stop" }))]
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    by_prompt: Vec<(String, Reply)>,
    script: VecDeque<Reply>,
    always: Option<Reply>,
}

impl State {
    fn reply_to(&mut self, call: &Call) -> Reply {
        if let Some(refusal) = refusal(call) {
            return refusal;
        }
        if let Some(at) = self.by_prompt.iter().position(|(text, _)| call.prompt().contains(text)) {
            return self.by_prompt.remove(at).1;
        }
        let unexpected = || Reply::error(400, "the double of the provider has no reply left for this call");
        self.script.pop_front().or_else(|| self.always.clone()).unwrap_or_else(unexpected)
    }
}

/// The running double; it ends with this value.
pub struct Provider {
    url: String,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

struct Shared {
    state: watch::Sender<State>,
    releases: Semaphore,
}

impl Shared {
    /// Records the call; gives its number and its reply.
    fn choose(&self, call: Call) -> (usize, Reply) {
        let mut chosen = None;
        self.state.send_modify(|state| {
            let reply = state.reply_to(&call);
            state.calls.push(Call { status: reply.status, ..call });
            chosen = Some((state.calls.len() - 1, reply));
        });
        chosen.expect("set above")
    }
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on this machine");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let shared = Arc::new(Shared { state: watch::channel(State::default()).0, releases: Semaphore::new(0) });
        let server = tokio::spawn(accept(listener, shared.clone()));
        Self { url, shared, _server: AbortOnDropHandle::new(server) }
    }

    /// The base URL, for `ANTHROPIC_BASE_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A base URL that refuses connections.
    pub async fn refused_url() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on this machine");
        format!("http://{}", listener.local_addr().expect("a bound address"))
    }

    /// Answers one call, after the replies that were scripted before.
    pub fn script(&self, reply: Reply) -> &Self {
        self.shared.state.send_modify(|state| state.script.push_back(reply));
        self
    }

    /// Answers one call whose prompt contains this text; for calls whose order is not known.
    pub fn script_for(&self, text: &str, reply: Reply) -> &Self {
        self.shared.state.send_modify(|state| state.by_prompt.push((text.to_owned(), reply)));
        self
    }

    /// Answers every call for which nothing is scripted.
    pub fn always(&self, reply: Reply) -> &Self {
        self.shared.state.send_modify(|state| state.always = Some(reply));
        self
    }

    /// Lets this many held replies go, now or as soon as they are asked for.
    pub fn release(&self, replies: usize) {
        self.shared.releases.add_permits(replies);
    }

    /// Every call so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state.borrow().calls.clone()
    }

    /// The calls whose prompt contains this text.
    pub fn calls_with(&self, text: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.prompt().contains(text)).collect()
    }

    pub fn call_count(&self) -> usize {
        self.shared.state.borrow().calls.len()
    }

    /// Waits until there were this many calls, and gives them.
    pub async fn wait_for_calls(&self, count: usize) -> Vec<Call> {
        let found = |calls: &[Call]| (calls.len() >= count).then(|| calls.to_vec());
        self.wait_for(&format!("{count} calls"), found).await
    }

    /// Waits until a client has closed its connection in the middle of an answer, and gives the first such call.
    pub async fn wait_for_disconnect(&self) -> Call {
        let found = |calls: &[Call]| calls.iter().find(|call| call.left_at().is_some()).cloned();
        self.wait_for("a client to close its connection", found).await
    }

    /// Waits until nothing is being answered any more, and gives all calls.
    pub async fn wait_until_idle(&self) -> Vec<Call> {
        let found = |calls: &[Call]| calls.iter().all(|call| call.ending.is_some()).then(|| calls.to_vec());
        self.wait_for("every call to end", found).await
    }

    async fn wait_for<T>(&self, what: &str, found: impl Fn(&[Call]) -> Option<T>) -> T {
        let mut states = self.shared.state.subscribe();
        let waiting = async {
            loop {
                if let Some(found) = found(&states.borrow_and_update().calls) {
                    return found;
                }
                states.changed().await.expect("the sender lives as long as the double");
            }
        };
        let Ok(found) = timeout(PATIENCE, waiting).await else {
            let calls: Vec<String> = self.calls().iter().map(describe).collect();
            panic!("waited {PATIENCE:?} for {what}; there were {} calls:\n{}", calls.len(), calls.join("\n"));
        };
        found
    }
}

fn describe(call: &Call) -> String {
    let prompt: String = call.prompt().chars().take(60).collect();
    format!("- {} {} {prompt:?}: {:?}, {:?}", call.method, call.path, call.status, call.ending)
}

/// What the real API would refuse by itself.
fn refusal(call: &Call) -> Option<Reply> {
    if (call.method.as_str(), call.path.as_str()) != ("POST", "/v1/messages") {
        return Some(Reply::error(404, "Not found"));
    }
    if call.header("x-api-key") != Some(API_KEY) {
        return Some(Reply::error(401, "invalid x-api-key"));
    }
    let required = [("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
    let header = required.iter().find(|(name, value)| call.header(name) != Some(value)).map(|(name, _)| *name);
    let member = ["model", "max_tokens", "messages", "stream"].into_iter().find(|name| call.body.get(name).is_none());
    if let Some(name) = header.or(member) {
        return Some(Reply::error(400, &format!("{name}: Field required")));
    }
    let (name, value) = call.body.as_object()?.iter().find(|(name, value)| !is_member(name, value))?;
    Some(Reply::error(400, &format!("{name}: {value} is not permitted")))
}

fn is_member(name: &str, value: &Value) -> bool {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    match name {
        "model" | "system" => is_text(value),
        "max_tokens" | "top_k" => value.as_u64().is_some_and(|number| number >= 1),
        "temperature" | "top_p" => value.as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)),
        "stop_sequences" => !items.is_empty() && items.iter().all(is_text),
        "messages" => items.first().is_some_and(|first| first["role"] == "user" && is_text(&first["content"])),
        // The double speaks in streams only.
        "stream" => value == true,
        _ => false,
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
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
