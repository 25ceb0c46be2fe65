//! A Redis of one's own: on a socket in a temporary folder, killed and started again as a test likes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::{Child, Command};

pub struct RedisServer {
    folder: TempDir,
    child: Child,
}

impl RedisServer {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let child = launch(&folder).await;
        Self { folder, child }
    }

    pub fn url(&self) -> String {
        format!("unix://{}", socket(&self.folder))
    }

    /// SIGKILL; what it held is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    pub async fn start_again(&mut self) {
        std::fs::remove_file(socket(&self.folder)).ok();
        self.child = launch(&self.folder).await;
    }

    /// SIGSTOP: it still accepts what is sent, and answers nothing.
    pub async fn freeze(&self) {
        self.signal("STOP").await;
    }

    /// SIGCONT.
    pub async fn thaw(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().await.expect("every Unix has kill");
        assert!(status.success(), "Redis must still run to get {name}");
    }

    /// What `redis-cli` prints for a command.
    pub async fn cli(&self, command: &[&str]) -> String {
        cli(&self.folder, command).await.expect("Redis answers")
    }

    /// Makes everything that is counted older, as if that much time had passed.
    pub async fn age(&self, seconds: u32) {
        let script = "for _, key in ipairs(redis.call('KEYS', '*')) do
                for i, at in ipairs(redis.call('LRANGE', key, 0, -1)) do
                    redis.call('LSET', key, i - 1, at - ARGV[1] * 1000)
                end
            end";
        self.cli(&["EVAL", script, "0", &seconds.to_string()]).await;
    }
}

fn socket(folder: &TempDir) -> String {
    folder.path().join("redis.sock").to_str().expect("a path in UTF-8").to_owned()
}

async fn launch(folder: &TempDir) -> Child {
    let child = Command::new("redis-server")
        .args(["--port", "0", "--unixsocket", &socket(folder), "--save", "", "--appendonly", "no"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server can be run; `make test` installs it");
    let started = Instant::now();
    while cli(folder, &["PING"]).await.as_deref() != Some("PONG") {
        assert!(started.elapsed() < Duration::from_secs(10), "redis-server does not answer");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child
}

async fn cli(folder: &TempDir, command: &[&str]) -> Option<String> {
    let socket = socket(folder);
    let output = Command::new("redis-cli").args(["-s", &socket]).args(command).output().await;
    let output = output.expect("redis-cli can be run; it comes with redis-server");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
