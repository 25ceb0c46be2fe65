//! Starts and stops the server of the cluster.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::EmbeddedOptions;
use super::binaries::{Binaries, leading_number};
use super::errors::{EmbeddedError, ServerOutput, io_error};
use super::guard::try_exclusive;
use super::places::{Home, PORT, ServerUser, private_dir, socket_in};
use super::postmaster::{PidFile, answers, is_postmaster};

pub(super) const SUPERUSER: &str = "postgres";

const START_PATIENCE: Duration = Duration::from_mins(1);
const STOP_PATIENCE: Duration = Duration::from_mins(1);
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Short, because it is part of the time to the first request; a look costs a few microseconds.
const POLL: Duration = Duration::from_millis(2);

/// Below it PostgreSQL cannot even write the reason of a failure into its log.
const NEARLY_NOTHING_BYTES: u64 = 1 << 20;

/// A server that takes connections.
pub(super) struct Running {
    pub(super) socket_dir: PathBuf,
    pub(super) port: u16,
    /// Present when we started it, absent when we found it running.
    pub(super) child: Option<Child>,
}

#[derive(PartialEq, Eq)]
enum Durability {
    Safe,
    Unsafe,
}

/// The three things that every step needs.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) home: Home,
    pub(super) user: ServerUser,
    pub(super) binaries: Binaries,
}

impl Cluster {
    /// Joins the running server or starts it. The caller holds the turn.
    ///
    /// PostgreSQL inherits the locked server lock as its standard input, so the lock says, as no
    /// process id can, whether any process of the server is alive: the kernel releases it with
    /// the last of them, and a foreign process that got a reused id does not hold it.
    pub(super) async fn ensure_running(&self, options: &EmbeddedOptions) -> Result<Running, EmbeddedError> {
        let lock_path = self.home.server_lock();
        let lock = self.user.lock_file(&lock_path)?;
        let deadline = Instant::now() + START_PATIENCE;
        while Instant::now() < deadline {
            if try_exclusive(&lock, &lock_path)? {
                return self.start(lock, options).await;
            }
            if let Some(running) = self.find_running().await {
                self.check_durability(options)?;
                return Ok(running);
            }
            // Starting for somebody who was killed, or about to end.
            sleep(POLL).await;
        }
        Err(self.start_timed_out(0))
    }

    /// Whether any process of the server, or an initdb, lives.
    pub(super) fn is_alive(&self) -> Result<bool, EmbeddedError> {
        let path = self.home.server_lock();
        let free = try_exclusive(&self.user.lock_file(&path)?, &path)?;
        Ok(!free)
    }

    async fn find_running(&self) -> Option<Running> {
        let postmaster = PidFile::read(&self.home.cluster())?;
        if !postmaster.ready {
            return None;
        }
        // The file outlives a killed postmaster, and for a moment so does its socket; only an
        // answer proves that it is there.
        let socket = socket_in(&postmaster.socket_dir, postmaster.port);
        timeout(Duration::from_secs(1), answers(&socket)).await.ok()?.ok()?;
        Some(Running { socket_dir: postmaster.socket_dir, port: postmaster.port, child: None })
    }

    /// Whoever asked for durability must not be given a server that a test started without it.
    fn check_durability(&self, options: &EmbeddedOptions) -> Result<(), EmbeddedError> {
        if !options.fast_unsafe && self.last_run() == Some(Durability::Unsafe) {
            return Err(EmbeddedError::NotDurable { path: self.home.cluster() });
        }
        Ok(())
    }

    /// How the server runs or last ran, by the command line that it notes down.
    fn last_run(&self) -> Option<Durability> {
        let command_line = fs::read(self.home.cluster().join("postmaster.opts")).ok()?;
        let off = String::from_utf8_lossy(&command_line).contains("fsync=off");
        Some(if off { Durability::Unsafe } else { Durability::Safe })
    }

    async fn start(&self, lock: File, options: &EmbeddedOptions) -> Result<Running, EmbeddedError> {
        let cluster = self.home.cluster();
        if cluster.join("PG_VERSION").exists() {
            if fs::symlink_metadata(&cluster).is_ok_and(|cluster| cluster.uid() != self.user.uid) {
                self.user.give_tree(&cluster)?;
            }
            self.clear_stale_pid_file()?;
            if !options.fast_unsafe && self.last_run() != Some(Durability::Safe) {
                self.sync_files().await?;
            }
        } else {
            self.initialise(&lock, options).await?;
        }
        let socket_dir = self.home.socket_dir(&self.user)?;
        private_dir(&socket_dir, &self.user)?;
        // The folder is ours alone and nobody serves in it, but PostgreSQL would trust a process
        // id in a left-over lock file that may belong to another program by now.
        let socket = socket_in(&socket_dir, PORT);
        let mut socket_lock = socket.clone().into_os_string();
        socket_lock.push(".lock");
        let _ = fs::remove_file(&socket);
        let _ = fs::remove_file(&socket_lock);

        let log = self.home.open_log(&self.user)?;
        let log_start = log.metadata().map_or(0, |log| log.len());
        let mut child = self.launch(lock, log, &socket_dir, options)?;
        let deadline = Instant::now() + START_PATIENCE;
        while Instant::now() < deadline {
            let ended = child.try_wait().map_err(io_error("watch", self.binaries.postgres()))?;
            if ended.is_some() {
                return Err(self.start_failed(log_start));
            }
            let postmaster = PidFile::read(&cluster);
            // The file of an earlier run says ready too, until PostgreSQL replaces it.
            if postmaster.is_some_and(|found| found.ready && Some(found.pid) == child.id()) {
                return Ok(Running { socket_dir, port: PORT, child: Some(child) });
            }
            sleep(POLL).await;
        }
        self.ask_to_stop("immediate").await;
        Err(self.start_timed_out(log_start))
    }

    /// PostgreSQL copes with most stale files itself, but it takes any living process of the same
    /// user for the postmaster, and an empty file (power cut) for one that is starting.
    fn clear_stale_pid_file(&self) -> Result<(), EmbeddedError> {
        let cluster = self.home.cluster();
        let path = cluster.join("postmaster.pid");
        let Ok(contents) = fs::read_to_string(&path) else {
            return Ok(());
        };
        let pid = leading_number(&contents).filter(|pid| *pid > 0);
        if let Some(pid) = pid.filter(|pid| is_postmaster(*pid, &cluster)) {
            return Err(EmbeddedError::ForeignServer { path: cluster, pid });
        }
        tracing::info!(pid, "a stale postmaster.pid of a PostgreSQL that is gone is removed");
        fs::remove_file(&path).map_err(io_error("remove", &path))
    }

    fn launch(
        &self,
        lock: File,
        log: File,
        socket_dir: &Path,
        options: &EmbeddedOptions,
    ) -> Result<Child, EmbeddedError> {
        let also_log = log.try_clone().map_err(io_error("open", self.home.log()))?;
        let mut command = self.user.command(&self.binaries.postgres());
        command
            .current_dir(self.home.root())
            .arg("-D")
            .arg(self.home.cluster())
            .stdin(lock)
            .stdout(log)
            .stderr(also_log);
        for setting in settings(socket_dir, options) {
            command.arg("-c").arg(setting);
        }
        command.spawn().map_err(io_error("run", self.binaries.postgres()))
    }

    /// Stops the server and waits until the last of its processes is gone. The caller holds the
    /// turn and knows that nobody else uses the server.
    pub(super) async fn stop(&self, socket_dir: &Path) -> Result<(), EmbeddedError> {
        let lock_path = self.home.server_lock();
        let lock = self.user.lock_file(&lock_path)?;
        for (mode, patience) in [("fast", STOP_PATIENCE), ("immediate", KILL_PATIENCE)] {
            let deadline = Instant::now() + patience;
            let mut asked = false;
            while Instant::now() < deadline {
                if try_exclusive(&lock, &lock_path)? {
                    // Matters for a short one outside our own folder; made again at each start.
                    let _ = fs::remove_dir(socket_dir);
                    return Ok(());
                }
                if !asked {
                    self.ask_to_stop(mode).await;
                    asked = true;
                }
                sleep(POLL).await;
            }
        }
        Err(EmbeddedError::StopTimedOut { log: self.home.log(), seconds: (STOP_PATIENCE + KILL_PATIENCE).as_secs() })
    }

    /// Through pg_ctl as the server's user: the process id comes from a file that this user can
    /// write, so root must not signal it.
    async fn ask_to_stop(&self, mode: &str) {
        let asked = self
            .user
            .command(&self.binaries.pg_ctl())
            .current_dir(self.home.root())
            .arg("stop")
            .arg("-D")
            .arg(self.home.cluster())
            .args(["-m", mode, "-W"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        tracing::debug!(mode, ?asked, "PostgreSQL was asked to stop");
    }

    fn start_failed(&self, log_start: u64) -> EmbeddedError {
        let text = self.log_since(log_start);
        if self.disk_is_full(&text) {
            return EmbeddedError::DiskFull { path: self.home.cluster() };
        }
        EmbeddedError::StartFailed { log: self.home.log(), output: ServerOutput(text) }
    }

    fn start_timed_out(&self, log_start: u64) -> EmbeddedError {
        EmbeddedError::StartTimedOut {
            log: self.home.log(),
            seconds: START_PATIENCE.as_secs(),
            output: ServerOutput(self.log_since(log_start)),
        }
    }

    /// The last lines that the server wrote since a position in its log.
    fn log_since(&self, start: u64) -> String {
        const LINES: usize = 20;
        let read = || -> io::Result<Vec<u8>> {
            let mut log = File::open(self.home.log())?;
            let end = log.metadata()?.len();
            log.seek(SeekFrom::Start(start.max(end.saturating_sub(64 << 10))))?;
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// PostgreSQL says so, unless the disk is too full to say it.
    #[allow(clippy::useless_conversion, reason = "the counts are 32 bits wide on macOS")]
    pub(super) fn disk_is_full(&self, output: &str) -> bool {
        let said = output.lines().any(|line| {
            // Shared memory runs out of space with the same words; a disk does not help there.
            (line.contains("No space left on device") || line.contains("Disk quota exceeded"))
                && !line.contains("shared memory")
        });
        said || nix::sys::statvfs::statvfs(self.home.root()).is_ok_and(|disk| {
            let free = u64::from(disk.blocks_available()) * u64::from(disk.fragment_size());
            let out_of_files = disk.files() > 0 && disk.files_available() == 0;
            free < NEARLY_NOTHING_BYTES || out_of_files
        })
    }
}

/// Suited to a small private server; a busy installation sets DATABASE_URL.
fn settings(socket_dir: &Path, options: &EmbeddedOptions) -> Vec<OsString> {
    let mut settings: Vec<OsString> = [
        "listen_addresses=",
        "unix_socket_permissions=0700",
        "cluster_name=kijko",
        "shared_buffers=128MB",
        "max_wal_size=512MB",
        "wal_compression=on",
        // No replicas and no archive here, so the log need not carry what they would need.
        "wal_level=minimal",
        "max_wal_senders=0",
        // Compiling and parallel workers cost more than they bring to short statements, and
        // workers need more shared memory than a container's 64 MB /dev/shm may have.
        "jit=off",
        "max_parallel_workers_per_gather=0",
        "random_page_cost=1.1",
        "timezone=UTC",
        "log_timezone=UTC",
        // Everything about the server, nothing about statements: a refused statement is the
        // caller's business, may carry personal data, and would make the log grow without end.
        "log_min_messages=log",
        "log_checkpoints=off",
        "logging_collector=off",
        "log_destination=stderr",
    ]
    .map(OsString::from)
    .into();
    settings.push(format!("port={PORT}").into());
    // Below ten PostgreSQL's own reserve leaves nothing.
    settings.push(format!("max_connections={}", options.max_connections.max(10)).into());
    // Said in both modes, because a command line wins over the files in the cluster.
    let durable = if options.fast_unsafe { "off" } else { "on" };
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        settings.push(format!("{name}={durable}").into());
    }
    // A list of folders: quoted, or a comma in the path would end it.
    let mut folder = b"unix_socket_directories=\"".to_vec();
    for byte in socket_dir.as_os_str().as_bytes() {
        folder.push(*byte);
        if *byte == b'"' {
            folder.push(b'"');
        }
    }
    folder.push(b'"');
    settings.push(OsString::from_vec(folder));
    settings
}
