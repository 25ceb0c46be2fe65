//! Decides who starts and who stops the server when several processes use it, or are killed.
//!
//! Three lock files, all released by the kernel when their holder dies:
//! `turn.lock` serialises starting and stopping, `users.lock` is shared by every process that
//! uses the server, and `server.lock` is held by the server itself (see `cluster`). Whoever
//! leaves, in its turn, and then gets `users.lock` alone was the last one, and stops the server.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::time::{sleep, timeout};

use super::cluster::Cluster;
use super::errors::{EmbeddedError, io_error};
use super::places::{Home, ServerUser};

/// Longer than a start and a stop together may take.
const TURN_PATIENCE: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(2);

/// The right to start or stop the server; given back on drop.
pub(super) struct Turn(File);

impl Turn {
    pub(super) async fn take(home: &Home, user: &ServerUser) -> Result<Self, EmbeddedError> {
        let path = home.turn_lock();
        let file = user.lock_file(&path)?;
        let deadline = Instant::now() + TURN_PATIENCE;
        // Polled, not waited for: a thread blocked in the kernel could not be cancelled.
        while !try_exclusive(&file, &path)? {
            if Instant::now() > deadline {
                return Err(EmbeddedError::Busy { path: home.root().to_owned() });
            }
            sleep(POLL).await;
        }
        Ok(Self(file))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Closing is not enough while another thread has just forked and not yet executed.
        let _ = self.0.unlock();
    }
}

/// The mark that this process uses the server; taken back on drop.
#[derive(Debug)]
pub(super) struct Membership(File);

impl Membership {
    /// Call in turn: nobody tries for the exclusive lock out of turn.
    pub(super) fn join(home: &Home, user: &ServerUser) -> Result<Self, EmbeddedError> {
        let path = home.users_lock();
        let file = user.lock_file(&path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(EmbeddedError::Busy { path }),
            Err(TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
        }
    }

    /// Gives the membership up and says whether it was the last. Call in turn.
    pub(super) fn leave(&mut self, home: &Home) -> Result<bool, EmbeddedError> {
        let path = home.users_lock();
        self.0.unlock().map_err(io_error("unlock", &path))?;
        let last = try_exclusive(&self.0, &path)?;
        // Not kept: the turn already keeps others from joining.
        self.0.unlock().map_err(io_error("unlock", &path))?;
        Ok(last)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Waits for the end of this process on a pipe, and does then what `stop` would have done.
///
/// It runs as the server's user, in a group of its own, so that Ctrl-C does not reach it. Shells
/// cannot lock, so it borrows `flock` (every Linux) or `perl` (macOS); where both are missing the
/// server stays behind a killed process, until the next process to start adopts and stops it.
const WATCHDOG: &str = r#"
turn=$1 users=$2 server=$3 pg_ctl=$4 cluster=$5 sockets=$6
trap '' HUP INT QUIT TERM
if command -v flock >/dev/null; then
    try_lock() { flock -n "$1"; }
elif command -v perl >/dev/null; then
    try_lock() { perl -e 'open(F, "+<&=", $ARGV[0]) && flock(F, 6) || exit 1' "$1"; }
else
    exit 0
fi

# The process says "leave" when it has seen to the server itself.
read -r word && [ "$word" = leave ] && exit 0

stop_if_unused() (
    # Opening would create it again in a folder that is being deleted.
    [ -e "$server" ] || exit 0
    exec 7<>"$turn" 8<>"$users" 9<>"$server" || exit 1
    tries=0
    until try_lock 7; do
        tries=$((tries + 1)); [ $tries -lt 1500 ] || exit 1
        sleep 0.1
    done
    try_lock 8 || exit 1
    exec 8<&-
    tries=0
    # Repeated, because a server that was just starting has no process id to stop yet.
    until try_lock 9; do
        tries=$((tries + 1)); [ $tries -lt 1000 ] || exit 1
        "$pg_ctl" stop -D "$cluster" -m fast -W
        sleep 0.1
    done
    rmdir "$sockets"
    exit 0
)

# Repeated, because the kernel may close the pipe of a killed process before it frees its locks.
for again in 1 2 3 4 5 6 7 8 9 10; do
    stop_if_unused && exit 0
    sleep 0.1
done
"#;

#[derive(Debug)]
pub(super) struct Watchdog {
    /// Never closed by hand: its end is the signal.
    pipe: ChildStdin,
    child: Child,
}

impl Watchdog {
    /// Spawn it before the server, so that there is no moment without it.
    pub(super) fn spawn(cluster: &Cluster) -> Result<Self, EmbeddedError> {
        let Cluster { home, user, binaries } = cluster;
        let shell = Path::new("/bin/sh");
        let mut child = user
            .command(shell)
            .args(["-c", WATCHDOG, "kijko-watchdog"])
            .args([home.turn_lock(), home.users_lock(), home.server_lock()])
            .args([binaries.pg_ctl(), home.cluster(), home.socket_dir(user)?])
            .current_dir(home.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io_error("run", shell))?;
        let Some(pipe) = child.stdin.take() else {
            unreachable!("its standard input is a pipe");
        };
        Ok(Self { pipe, child })
    }

    /// Sends it away: the server has been seen to.
    pub(super) async fn dismiss(mut self) {
        // An error means that it is gone already.
        let _ = self.pipe.write_all(b"leave\n").await;
        if timeout(Duration::from_secs(1), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// Takes an exclusive lock if nobody holds one.
pub(super) fn try_exclusive(file: &File, path: &Path) -> Result<bool, EmbeddedError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(io_error("lock", path)(error)),
    }
}
