//! Servers written by others that the tests talk to; `scripts/peers.sh` fetches them.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The folder that a peer was installed in.
pub async fn folder(peer: &str) -> String {
    let script = format!("{REPOSITORY}/scripts/peers.sh");
    let output = Command::new(script).arg(peer).stderr(Stdio::inherit()).output().await.expect("bash is there");
    assert!(output.status.success(), "{peer} is missing, and `scripts/peers.sh {peer}` cannot fetch it: see above");
    String::from_utf8(output.stdout).expect("a path").trim().to_owned()
}

/// A mail server that keeps what it is given: aiosmtpd.
pub struct Catcher {
    /// Killed when dropped.
    _process: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    pub port: u16,
}

impl Catcher {
    pub async fn start() -> Self {
        Self::start_on(0).await
    }

    pub async fn start_on(port: u16) -> Self {
        let mut process = Command::new("python3")
            .arg(format!("{REPOSITORY}/tests/it/fixtures/smtp_catcher.py"))
            .arg(port.to_string())
            .env("PYTHONPATH", folder("aiosmtpd").await)
            .env("PYTHONWARNINGS", "ignore")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 is there");
        let orders = process.stdin.take().expect("piped");
        let said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut catcher = Self { _process: process, orders, said, port };
        let port = catcher.next().await;
        catcher.port = u16::try_from(port.as_u64().expect("a port")).expect("a port");
        catcher
    }

    /// How to behave from now on; see the head of `smtp_catcher.py`.
    pub async fn behave(&mut self, mode: &str) {
        self.orders.write_all(format!("{mode}\n").as_bytes()).await.expect("it listens");
        assert_eq!(self.next().await, mode, "a mail came that the test did not look at");
    }

    /// The next mail.
    pub async fn mail(&mut self) -> Value {
        let mail = self.next().await;
        assert!(mail.is_object(), "this is no mail: {mail}");
        mail
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(std::time::Duration::from_secs(10), self.said.next_line()).await;
        let line = line.expect("the mail server says nothing").expect("it can be read");
        serde_json::from_str(&line.expect("the mail server has ended")).expect("JSON")
    }

    /// Fails when a mail came that the test did not look at.
    pub async fn has_no_more(mut self) {
        self.behave("accept").await;
    }
}

/// Model providers as somebody else understands them: aimock, which its makers hold against the real APIs every day.
pub struct Aimock {
    /// Killed when dropped.
    _process: Child,
    pub url: String,
}

impl Aimock {
    pub const KEY: &str = "sk-aimock-5d1c8f3b7e9a2460";

    /// Answers prompts as these fixtures of its own form say.
    pub async fn start(fixtures: &Value) -> Self {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let file = folder.path().join("fixtures.json");
        std::fs::write(&file, fixtures.to_string()).expect("the temporary directory is writable");
        let mut process = Command::new("node")
            .arg(format!("{}/node_modules/@copilotkit/aimock/dist/cli.js", self::folder("aimock").await))
            .args(["--port", "0", "--chunk-size", "3", "--fixtures"])
            .arg(&file)
            .env("AIMOCK_API_KEYS", Self::KEY)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is there");
        let mut said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let listening = async {
            while let Some(line) = said.next_line().await.expect("it can be read") {
                if let Some((_, url)) = line.split_once("listening on ") {
                    return url.to_owned();
                }
            }
            panic!("aimock ended before it listened");
        };
        let url = tokio::time::timeout(std::time::Duration::from_secs(20), listening).await;
        Self { _process: process, url: url.expect("aimock does not begin to listen") }
    }
}
