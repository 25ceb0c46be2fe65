//! Creates the cluster, once, and knows which PostgreSQL made an existing one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::sleep;

use super::EmbeddedOptions;
use super::binaries::leading_number;
use super::cluster::{Cluster, SUPERUSER};
use super::errors::{EmbeddedError, ServerOutput, io_error};
use super::places::{Home, private_dir};

/// Which PostgreSQL made the cluster; only the same major version can open it.
#[derive(Debug)]
pub(super) struct ClusterVersion {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) major: u32,
}

impl ClusterVersion {
    pub(super) fn read(home: &Home) -> Result<Option<Self>, EmbeddedError> {
        let path = home.cluster();
        match fs::read_to_string(path.join("PG_VERSION")) {
            Ok(text) => {
                let text = text.trim().to_owned();
                let major = leading_number(&text).unwrap_or(0);
                Ok(Some(Self { path, text, major }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let in_use = fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
                if in_use {
                    return Err(EmbeddedError::NotACluster { path });
                }
                Ok(None)
            }
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }
}

impl Cluster {
    /// Runs initdb beside the cluster and renames, so that a killed initdb leaves nothing that
    /// looks like a cluster.
    pub(super) async fn initialise(&self, lock: &File, options: &EmbeddedOptions) -> Result<(), EmbeddedError> {
        let unfinished = Unfinished(self.home.unfinished());
        let cluster = self.home.cluster();
        let mut attempts = locale_arguments(self.binaries.major).iter().peekable();
        while let Some(locale) = attempts.next() {
            unfinished.clear_patiently().await?;
            private_dir(&unfinished.0, &self.user)?;
            let output = self
                .initdb(&unfinished.0, locale, options)
                // An initdb that outlives us keeps the next start waiting until it has ended.
                .stdin(lock.try_clone().map_err(io_error("open", self.home.server_lock()))?)
                .kill_on_drop(true)
                .output()
                .await
                .map_err(io_error("run", self.binaries.initdb()))?;
            if output.status.success() {
                fs::rename(&unfinished.0, &cluster).map_err(io_error("create", &cluster))?;
                let synced = File::open(self.home.root()).and_then(|root| root.sync_all());
                return synced.map_err(io_error("write", self.home.root()));
            }
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            // musl and older macOS have no C.UTF-8.
            if text.contains("locale") && attempts.peek().is_some() {
                continue;
            }
            return Err(if self.disk_is_full(&text) {
                EmbeddedError::DiskFull { path: cluster }
            } else {
                let output = ServerOutput(text);
                EmbeddedError::InitFailed { path: cluster, output }
            });
        }
        unreachable!("the last attempt returns")
    }

    /// Puts on disk what a run without durability left in memory: PostgreSQL itself would only
    /// write what changes from now on.
    pub(super) async fn sync_files(&self) -> Result<(), EmbeddedError> {
        let path = self.home.cluster();
        let synced = self
            .user
            .command(&self.binaries.initdb())
            .current_dir(self.home.root())
            .arg("--sync-only")
            .arg("-D")
            .arg(&path)
            .output()
            .await
            .map_err(io_error("run", self.binaries.initdb()))?;
        if synced.status.success() {
            return Ok(());
        }
        let output = ServerOutput(String::from_utf8_lossy(&synced.stderr).into_owned());
        Err(EmbeddedError::InitFailed { path, output })
    }

    fn initdb(&self, target: &Path, locale: &[&str], options: &EmbeddedOptions) -> Command {
        let mut command = self.user.command(&self.binaries.initdb());
        command
            .current_dir(self.home.root())
            .arg("-D")
            .arg(target)
            .args(["--username", SUPERUSER, "--encoding", "UTF8", "--data-checksums"])
            // The folder of the socket keeps everybody else out; there is no network address.
            .args(["--auth-local", "trust", "--auth-host", "reject", "--no-instructions"])
            .args(locale);
        if options.fast_unsafe {
            command.arg("--no-sync");
        }
        command
    }
}

/// What to try, best first. The built-in provider sorts alike on every machine; `C` always exists.
fn locale_arguments(major: u32) -> &'static [&'static [&'static str]] {
    if major >= 17 {
        &[
            &["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8"],
            &["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"],
            &["--locale=C"],
        ]
    } else {
        &[&["--locale=C.UTF-8"], &["--locale=C"]]
    }
}

/// The folder of an initdb at work, removed unless it has become the cluster.
struct Unfinished(PathBuf);

impl Unfinished {
    /// A server process of a killed initdb may write for another moment.
    async fn clear_patiently(&self) -> Result<(), EmbeddedError> {
        for _ in 0..100 {
            if self.clear().is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.clear()
    }

    fn clear(&self) -> Result<(), EmbeddedError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &self.0)(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(%error, "an unfinished cluster stays until the next start");
        }
    }
}
