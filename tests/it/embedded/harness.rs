//! What the tests of the private PostgreSQL share: folders, questions, and other processes.
//!
//! Processes that have to die are this test binary itself, run again with `KIJKO_HELPER_DIR`.

pub use std::fs;
use std::io::{BufRead, BufReader, Write};
pub use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
pub use std::os::unix::process::CommandExt;
pub use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
pub use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
pub use std::time::Duration;
use std::time::Instant;

pub use kijko_core::testing::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres, default_data_dir};

pub const NOBODY: u32 = 65534;

/// A folder of one test, removed afterwards.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/kijko-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("make room in /tmp");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod the folder");
        Self(path)
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn options(data_dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions { data_dir: data_dir.to_owned(), bin_dir: None, max_connections: 20, fast_unsafe: true }
}

pub async fn start(data_dir: &Path) -> EmbeddedPostgres {
    EmbeddedPostgres::start(&options(data_dir))
        .await
        .unwrap_or_else(|error| panic!("the server must start here: {error}\n{error:?}"))
}

pub async fn refusal(options: &EmbeddedOptions) -> EmbeddedError {
    match EmbeddedPostgres::start(options).await {
        Ok(_) => panic!("this start must be refused; look for the missing check in start()"),
        Err(error) => error,
    }
}

pub fn cluster(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres/cluster")
}

pub fn am_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("every Unix has id");
    id.stdout.trim_ascii() == b"0"
}

pub fn sql(socket_dir: &Path, statement: &str) -> String {
    let output = Command::new(psql())
        .args(["-U", "postgres", "-d", "postgres", "-p", "5432", "-AtqX", "-v", "ON_ERROR_STOP=1"])
        .arg("-h")
        .arg(socket_dir)
        .args(["-c", statement])
        .output()
        .expect("install psql (postgresql-client)");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the server must answer {statement:?}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn psql() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    installed.map(|version| version.path().join("bin/psql")).find(|psql| psql.exists()).unwrap_or_else(|| "psql".into())
}

pub fn postmaster(data_dir: &Path) -> u32 {
    let file = cluster(data_dir).join("postmaster.pid");
    let contents = fs::read_to_string(&file).expect("a running server has a postmaster.pid");
    contents.lines().next().and_then(|pid| pid.parse().ok()).expect("its first line is the pid")
}

pub fn alive(pid: u32) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output();
    let state = state.expect("install ps (procps)").stdout;
    !state.is_empty() && !state.starts_with(b"Z")
}

/// The process may be seen for a moment after it has let go of its files.
pub fn assert_stopped(data_dir: &Path, pid: u32, why: &str) {
    let pid_file = cluster(data_dir).join("postmaster.pid");
    assert!(!pid_file.exists(), "{why}");
    wait_until(why, || !alive(pid));
}

pub fn signal(name: &str, pid: impl ToString) {
    let status = Command::new("kill").args(["-s", name, "--", &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "the process must still be there to get {name}");
}

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited 20 s in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn watchdogs(data_dir: &Path) -> Vec<u32> {
    let cluster = fs::canonicalize(data_dir).expect("the data directory exists").join("postgres/cluster");
    let list = Command::new("ps").args(["-ww", "-eo", "pid=,args="]).output().expect("install ps");
    String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter(|line| line.contains("kijko-watchdog") || line.contains("/turn.lock"))
        .filter(|line| line.contains(&*cluster.to_string_lossy()))
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

/// Another process that uses the server.
pub struct Helper {
    pub process: Child,
    pub stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Helper {
    pub fn spawn(data_dir: &Path, user: Option<u32>) -> Self {
        let binary = std::env::current_exe().expect("the test binary has a path");
        let mut command = Command::new(binary);
        if let Some(user) = user {
            command.uid(user).gid(user).env("HOME", "/nonexistent");
        }
        Self::run(&mut command, data_dir)
    }

    pub fn run(command: &mut Command, data_dir: &Path) -> Self {
        // The test runner knows its tests by their path without the name of the binary.
        let (_, module) = module_path!().split_once("::").unwrap_or_default();
        let helper_name = format!("{module}::helper_process");
        let mut process = command
            .args(["--exact", &helper_name, "--ignored", "--nocapture", "--test-threads=1"])
            .env("KIJKO_HELPER_DIR", data_dir)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary can be run again");
        let stdin = process.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(process.stdout.take().expect("stdout is piped"));
        Self { process, stdin, stdout }
    }

    pub fn ready(data_dir: &Path, user: Option<u32>) -> Self {
        let mut helper = Self::spawn(data_dir, user);
        let answer = helper.answer();
        assert!(answer.starts_with("ready"), "the other process must get its server: {answer}");
        helper
    }

    /// The next line that the helper, not the test runner, wrote.
    pub fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).expect("the helper writes UTF-8");
            assert!(read > 0, "the helper ended without an answer; run it by hand");
            if let Some((_, answer)) = line.split_once("HELPER ") {
                return answer.trim().to_owned();
            }
        }
    }

    pub fn tell(&mut self, word: &str) -> String {
        writeln!(self.stdin, "{word}").expect("the helper listens");
        self.answer()
    }

    pub fn kill(&mut self) {
        self.process.kill().expect("the helper can be killed");
        let _ = self.process.wait();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "not a test: the other process that the tests talk to"]
async fn helper_process() {
    let Some(data_dir) = std::env::var_os("KIJKO_HELPER_DIR") else {
        return;
    };
    let server = match EmbeddedPostgres::start(&options(Path::new(&data_dir))).await {
        Ok(server) => server,
        Err(error) => {
            println!("HELPER failed: {error}");
            return;
        }
    };
    println!("HELPER ready {}", server.socket_dir().display());
    for line in std::io::stdin().lines() {
        let line = line.expect("the test writes UTF-8");
        match line.as_str() {
            "stop" => {
                println!("HELPER {:?}", server.stop().await);
                return;
            }
            statement => println!("HELPER {}", sql(server.socket_dir(), statement)),
        }
    }
}
