//! The embedded default: a private PostgreSQL, run from installed programs, for a Kijko that has
//! no `DATABASE_URL`.
//!
//! It listens on a Unix socket in a folder that nobody else can enter, and on no network address.
//! Several processes may use one data directory at a time: the first starts the server, the
//! others join it, the last one stops it. A process that is killed is replaced, for that last
//! duty, by a small watchdog. Migrations and roles are not its business.
//!
//! Everything lies in `<data_dir>/postgres`: `cluster` (the data), `run` (the socket, unless
//! that path is too long for one), `server.log`, and three lock files that are never removed.
//! Root runs it as the owner of the data directory, or as `postgres` or `nobody` if that is root.
//! Under systemd set `KillMode=mixed`, or PostgreSQL gets its signal before Kijko has finished
//! its requests.

mod binaries;
mod cluster;
mod errors;
mod guard;
mod initdb;
mod places;
mod postmaster;

use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::unistd::{Uid, User};
use tokio::process::Child;

use self::binaries::Candidates;
use self::cluster::{Cluster, SUPERUSER};
use self::guard::{Membership, Turn, Watchdog};
use self::initdb::ClusterVersion;
use self::places::{Home, ServerUser};

pub use self::errors::EmbeddedError;

#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Kijko's data directory; created when missing.
    pub data_dir: PathBuf,
    /// The folder of `initdb`, `postgres` and `pg_ctl`; searched for when absent.
    pub bin_dir: Option<PathBuf>,
    /// Of these PostgreSQL keeps three for its superuser. A server that is already running keeps
    /// the number it was started with.
    pub max_connections: u16,
    /// For tests: twice as fast, and a power cut may destroy the data.
    pub fast_unsafe: bool,
}

/// One process's use of the private server.
///
/// Call [`stop`](Self::stop) to leave. Dropping it leaves as well, without waiting: the watchdog
/// stops the server soon after.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    // Dropped before the watchdog, which else would find the server still in use.
    membership: Membership,
    watchdog: Watchdog,
    cluster: Cluster,
    socket_dir: PathBuf,
    port: u16,
}

impl EmbeddedPostgres {
    /// Joins the server of this data directory, starting or creating it first if need be.
    /// Cancelling it is safe: what was begun is stopped, and a half-made cluster removed.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let began = Instant::now();
        let candidates = Candidates::find(options.bin_dir.as_deref())?;
        let home = Home::create(&options.data_dir)?;
        let user = ServerUser::choose(&home)?;
        user.settle(&home)?;

        let server = match Self::enter(&home, &user, &candidates, options).await {
            Ok(server) => server,
            Err(error) => {
                // A closed folder on the way fails in many forms; this is the one that helps.
                user.check_reach(&home).await?;
                return Err(error);
            }
        };
        tracing::info!(
            data_dir = %options.data_dir.display(),
            postgres.version = server.cluster.binaries.major,
            postgres.user = server.cluster.user.name(),
            elapsed_ms = began.elapsed().as_millis(),
            "the private PostgreSQL is ready"
        );
        Ok(server)
    }

    async fn enter(
        home: &Home,
        user: &ServerUser,
        candidates: &Candidates,
        options: &EmbeddedOptions,
    ) -> Result<Self, EmbeddedError> {
        let turn = Turn::take(home, user).await?;
        let membership = Membership::join(home, user)?;
        // Read in turn: until now another process may have been creating it.
        let version = ClusterVersion::read(home)?;
        let cluster = Cluster {
            binaries: candidates.choose(version.as_ref(), user, home).await?,
            home: home.clone(),
            user: user.clone(),
        };
        let watchdog = Watchdog::spawn(&cluster)?;
        let running = match cluster.ensure_running(options).await {
            Ok(running) => running,
            Err(error) => {
                // After most failures nothing runs, and nobody should touch the folder any more.
                if !cluster.is_alive()? {
                    watchdog.dismiss().await;
                }
                return Err(error);
            }
        };
        drop(turn);
        if let Some(child) = running.child {
            tokio::spawn(report_end(child));
        }
        Ok(Self { membership, watchdog, cluster, socket_dir: running.socket_dir, port: running.port })
    }

    /// The folder of the socket, which takes the place of a host name.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Part of the socket's name; no network port is open.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Needs no password: reaching the socket is the proof.
    pub fn superuser(&self) -> &str {
        SUPERUSER
    }

    /// Leaves the server; the last process to leave stops it and waits for its end. Close the
    /// connections first: the last process breaks those that are left.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let turn = Turn::take(&self.cluster.home, &self.cluster.user).await?;
        if self.membership.leave(&self.cluster.home)? {
            self.cluster.stop(&self.socket_dir).await?;
        }
        drop(turn);
        self.watchdog.dismiss().await;
        Ok(())
    }
}

/// Also collects the ended process, which would stay a zombie until we end.
async fn report_end(mut server: Child) {
    match server.wait().await {
        Ok(status) if status.success() => tracing::debug!("the private PostgreSQL has stopped"),
        ended => tracing::error!(?ended, "the private PostgreSQL has ended; restart Kijko"),
    }
}

/// Where the data goes when no setting says so: the user's data folder (XDG), and for root a
/// folder that the unprivileged user of PostgreSQL can reach, which root's home is not.
#[allow(clippy::disallowed_methods, reason = "the default of a setting, so part of reading the configuration")]
pub fn default_data_dir() -> PathBuf {
    let ourselves = Uid::effective();
    if ourselves.is_root() {
        return PathBuf::from("/var/lib/kijko");
    }
    let folder = |name| {
        let folder = PathBuf::from(std::env::var_os(name)?);
        // The XDG rules say to ignore a relative one.
        folder.is_absolute().then_some(folder)
    };
    let home = || folder("HOME").or_else(|| Some(User::from_uid(ourselves).ok()??.dir));
    let in_home = || Some(home()?.join(".local/share"));
    let data = folder("XDG_DATA_HOME").or_else(in_home);
    data.unwrap_or_else(|| PathBuf::from("/var/tmp")).join("kijko")
}
