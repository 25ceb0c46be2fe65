//! What can go wrong with the private PostgreSQL, each as one sentence that says what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::binaries::OLDEST_MAJOR;

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "no PostgreSQL server, version {OLDEST_MAJOR} or newer, was found on this machine; install one \
         (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; \
         macOS: brew install postgresql@17), or name the folder of its programs in the settings, \
         or set DATABASE_URL to use a server of your own"
    )]
    BinariesMissing,

    #[error(
        "the folder {} that the settings name for PostgreSQL's programs has no runnable {missing}; \
         correct the setting, or remove it to let Kijko search",
        bin_dir.display()
    )]
    BinariesIncomplete { bin_dir: PathBuf, missing: &'static str },

    #[error(
        "PostgreSQL {} is installed, but Kijko needs version {OLDEST_MAJOR} or newer; install a newer one \
         (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; \
         macOS: brew install postgresql@17)",
        versions(installed)
    )]
    BinariesTooOld { installed: Vec<u32> },

    #[error(
        "the database in {} was made by PostgreSQL {cluster}, but only PostgreSQL {} can be used here; \
         install PostgreSQL {cluster} again, or move the data over with pg_upgrade, \
         or choose another data directory",
        path.display(), versions(installed)
    )]
    WrongVersion { path: PathBuf, cluster: String, installed: Vec<u32> },

    #[error(
        "the folder {} is not empty and is not a PostgreSQL database either; \
         move it away or choose another data directory",
        path.display()
    )]
    NotACluster { path: PathBuf },

    #[error(
        "{} belongs to another user of this machine; run Kijko as that user, \
         or choose another data directory",
        path.display()
    )]
    NotOurs { path: PathBuf },

    #[error(
        "{} must be a folder that only the user {user} can enter; remove it, or correct its owner and mode",
        path.display()
    )]
    NotPrivate { path: PathBuf, user: String },

    #[error(
        "PostgreSQL does not run as root, and this machine has neither a user postgres nor a user nobody; \
         create one of them, or run Kijko as an ordinary user"
    )]
    NoServerUser,

    #[error(
        "PostgreSQL runs here as the user {user}, who may not pass through the folder {}; \
         allow it (chmod o+x) or choose another data directory, such as /var/lib/kijko",
        blocked.display()
    )]
    Unreachable { blocked: PathBuf, user: String },

    #[error(
        "no space left on the disk that holds {}; free some space or choose another data directory",
        path.display()
    )]
    DiskFull { path: PathBuf },

    #[error(
        "another process has been starting or stopping the database in {} for too long; \
         wait for it, or end it, and try again",
        path.display()
    )]
    Busy { path: PathBuf },

    #[error(
        "PostgreSQL (process {pid}) that Kijko did not start is using the database in {}; \
         stop it with pg_ctl stop, and try again",
        path.display()
    )]
    ForeignServer { path: PathBuf, pid: u32 },

    #[error(
        "the database in {} is running in the test mode that can lose data; \
         end the process that started it, and try again",
        path.display()
    )]
    NotDurable { path: PathBuf },

    #[error("PostgreSQL could not create the database in {}; its own message, in the log of Kijko, says why", path.display())]
    InitFailed {
        path: PathBuf,
        #[source]
        output: ServerOutput,
    },

    #[error("PostgreSQL ended while it was starting; the reason is in {}", log.display())]
    StartFailed {
        log: PathBuf,
        #[source]
        output: ServerOutput,
    },

    #[error(
        "PostgreSQL was not ready within {seconds} seconds; see {} and try again",
        log.display()
    )]
    StartTimedOut {
        log: PathBuf,
        seconds: u64,
        #[source]
        output: ServerOutput,
    },

    #[error(
        "PostgreSQL did not stop within {seconds} seconds; see {} and stop it with pg_ctl stop -m immediate",
        log.display()
    )]
    StopTimedOut { log: PathBuf, seconds: u64 },

    #[error("could not {doing} {}; check that it exists and that its permissions allow it", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What PostgreSQL itself said last. Kept out of `Display` of the error: it may name paths and
/// rows, and it is long.
#[derive(Debug)]
pub struct ServerOutput(pub(super) String);

impl fmt::Display for ServerOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerOutput {}

/// Turns an I/O error into a sentence; a full disk is told apart because its remedy differs.
pub(super) fn io_error(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.into();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => EmbeddedError::DiskFull { path },
        _ => EmbeddedError::Io { doing, path, source },
    }
}

fn versions(installed: &[u32]) -> String {
    if installed.is_empty() {
        return "of no version".to_owned();
    }
    let names: Vec<String> = installed.iter().map(u32::to_string).collect();
    names.join(" and ")
}
