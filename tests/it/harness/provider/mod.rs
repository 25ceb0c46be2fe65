//! A local double of the model providers: real connections, their real event formats, answers by a script.
//!
//! A call is answered by the first of: a reply scripted for its prompt, the next reply of the script, the reply for
//! all. What the real API would refuse (key, headers, members of the body) is refused here in the same form and uses up
//! no reply. Nothing is random; what one reply writes arrives as separate chunks in exactly those pieces.

#![allow(dead_code, reason = "not every test needs every kind of reply")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

mod anthropic;
pub mod google;
pub mod openai;
mod replies;
mod server;

pub use anthropic::API_KEY;
pub use replies::Reply;

const PATIENCE: Duration = Duration::from_secs(10);

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
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let message = messages.iter().find(|message| message["role"] == "user");
        let content = message.map_or(&self.body["contents"][0]["parts"][0]["text"], |message| &message["content"]);
        content.as_str().unwrap_or_default()
    }

    pub fn left_at(&self) -> Option<Instant> {
        match self.ending {
            Some(Ending::ClientLeft { at }) => Some(at),
            _ => None,
        }
    }
}

struct State {
    calls: Vec<Call>,
    keys: Vec<String>,
    by_prompt: Vec<(String, Reply)>,
    script: VecDeque<Reply>,
    always: Option<Reply>,
}

impl Default for State {
    fn default() -> Self {
        let keys = [API_KEY, google::KEY, openai::KEY].map(str::to_owned).to_vec();
        Self { calls: Vec::new(), keys, by_prompt: Vec::new(), script: VecDeque::new(), always: None }
    }
}

impl State {
    fn accepts(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known == key)
    }

    fn reply_to(&mut self, call: &Call) -> Reply {
        let own_answer = match call.path.split('/').nth(1) {
            Some("v1beta") => google::own_answer(call, self),
            Some("compatible" | "azure") => openai::own_answer(call, self),
            _ => anthropic::own_answer(call, self),
        };
        if let Some(answer) = own_answer {
            return answer;
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
        let server = tokio::spawn(server::accept(listener, shared.clone()));
        Self { url, shared, _server: AbortOnDropHandle::new(server) }
    }

    /// The base URL, for `ANTHROPIC_BASE_URL` and `GOOGLE_BASE_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A base URL that refuses connections.
    pub async fn refused_url() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on this machine");
        format!("http://{}", listener.local_addr().expect("a bound address"))
    }

    /// One more key that is good from now on.
    pub fn accept_key(&self, key: &str) -> &Self {
        self.shared.state.send_modify(|state| state.keys.push(key.to_owned()));
        self
    }

    /// The key is good for nothing any more.
    pub fn revoke_key(&self, key: &str) -> &Self {
        self.shared.state.send_modify(|state| state.keys.retain(|known| known != key));
        self
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
