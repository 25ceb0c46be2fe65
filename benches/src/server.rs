//! The server under measurement: its settings, its process, and somebody who uses it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::Result;
use crate::http::Client;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Settings {
    program: PathBuf,
    home: PathBuf,
    port: u16,
    environment: Vec<(OsString, OsString)>,
}

impl Settings {
    /// Everything as it comes, with the log of production, on an embedded database in `home`.
    pub fn new(program: PathBuf, home: &Path, given: &[String]) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let passed_on = ["PATH", "POSTGRES_BIN_DIR"];
        let mut environment: Vec<_> =
            passed_on.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect();
        environment.extend([
            ("HOST".into(), "127.0.0.1".into()),
            ("PORT".into(), port.to_string().into()),
            ("LOG_FORMAT".into(), "json".into()),
            // One user asks more than any plan allows.
            ("RATE_LIMITS_ENABLED".into(), "false".into()),
            ("KIJKO_DATA_DIR".into(), home.join("data").into()),
            ("SECRETS_DIR".into(), home.into()),
        ]);
        for setting in given {
            let (name, value) = setting.split_once('=').ok_or("--set takes NAME=VALUE")?;
            environment.push((name.into(), value.into()));
        }
        Ok(Self { program, home: home.to_owned(), port, environment })
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn log(&self) -> PathBuf {
        self.home.join("log.jsonl")
    }
}

pub struct Server<'a> {
    pub settings: &'a Settings,
    child: Child,
    stopped: bool,
}

impl<'a> Server<'a> {
    /// Starts it and waits until it answers.
    pub fn start(settings: &'a Settings) -> Result<Self> {
        let mut server = Self::launch(settings)?;
        server.client()?.get("/health/ready", "")?;
        Ok(server)
    }

    /// Starts it.
    pub fn launch(settings: &'a Settings) -> Result<Self> {
        let child = Command::new(&settings.program)
            .env_clear()
            .envs(settings.environment.iter().cloned())
            // Away from any .env.
            .current_dir(&settings.home)
            .stdin(Stdio::null())
            .stdout(File::create(settings.log())?)
            .spawn()
            .map_err(|e| format!("{}: {e}", settings.program.display()))?;
        Ok(Self { settings, child, stopped: false })
    }

    /// A connection, as soon as there is one to be had.
    pub fn client(&mut self) -> Result<Client> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Client::connect(self.settings.port) {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) if self.child.try_wait()?.is_some() => return Err("The server ended".into()),
                Err(_) => sleep(Duration::from_micros(200)),
            }
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.settings.port)
    }

    pub fn port(&self) -> u16 {
        self.settings.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn postmaster(&self) -> Result<u32> {
        let file = self.settings.home.join("data/postgres/cluster/postmaster.pid");
        let text = fs::read_to_string(file)?;
        Ok(text.lines().next().unwrap_or_default().parse()?)
    }

    pub fn socket_dir(&self) -> PathBuf {
        self.settings.home.join("data/postgres/run")
    }

    /// A program that came with the PostgreSQL that runs.
    pub fn postgres_program(&self, name: &str) -> Result<PathBuf> {
        let program = fs::read_link(format!("/proc/{}/exe", self.postmaster()?))?.with_file_name(name);
        if !program.exists() {
            return Err(format!("{} is missing; PostgreSQL's own packages bring it", program.display()).into());
        }
        Ok(program)
    }

    pub fn postgres_version(&self) -> Result<String> {
        let answer = Command::new(self.postgres_program("postgres")?).arg("--version").output()?;
        Ok(String::from_utf8(answer.stdout)?.trim().to_owned())
    }

    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.stopped = true;
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        let ended = self.child.wait()?;
        if ended.success() { Ok(()) } else { Err(format!("The server ended with {ended}").into()) }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if !self.stopped {
            // After an error, which is what matters then.
            let _ = self.end();
        }
    }
}

/// Somebody who signed in and has a skill.
pub struct Account {
    pub token: String,
    pub user_id: String,
    pub organization_id: String,
    pub skill_id: String,
}

impl Account {
    pub fn create(server: &Server<'_>) -> Result<Self> {
        let mut client = Client::connect(server.port())?;
        let mut ask = |method: &str, path: &str, token: &str, json: &str| -> Result<Value> {
            Ok(serde_json::from_slice(&client.ask(method, path, token, json)?)?)
        };
        let person =
            r#"{"email":"ada@example.com","password":"a long password","first_name":"Ada","last_name":"Lovelace"}"#;
        let token = text(&ask("POST", "/api/v1/auth/signup", "", person)?, "access_token")?;
        let me = ask("GET", "/api/v1/auth/me", &token, "")?;
        let skill = r#"{"name":"Summary","description":"Shortens a text to one line","promptTemplate":
            "Summarise the following text in one line, in plain words: {{text}}","category":"transformation"}"#;
        let skill = ask("POST", "/api/v1/skills", &token, skill)?;
        Ok(Self {
            user_id: text(&me, "id")?,
            organization_id: text(&me, "org_id")?,
            skill_id: text(&skill, "id")?,
            token,
        })
    }

    pub fn skill_path(&self) -> String {
        format!("/api/v1/skills/{}", self.skill_id)
    }
}

fn text(object: &Value, member: &str) -> Result<String> {
    let text = object[member].as_str().ok_or_else(|| format!("the reply has no {member}: {object}"))?;
    Ok(text.to_owned())
}
