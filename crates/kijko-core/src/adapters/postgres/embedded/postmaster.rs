//! What can be learned, from outside, about a server that may or may not be running.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What `postmaster.pid` says: id, folder, start, port, socket folder, address, memory, status.
pub(super) struct PidFile {
    pub(super) pid: u32,
    pub(super) port: u16,
    pub(super) socket_dir: PathBuf,
    pub(super) ready: bool,
}

impl PidFile {
    /// `None` while it is absent or half written.
    pub(super) fn read(cluster: &Path) -> Option<Self> {
        let contents = fs::read(cluster.join("postmaster.pid")).ok()?;
        let lines: Vec<&[u8]> = contents.split(|byte| *byte == b'\n').collect();
        let number = |line: usize| std::str::from_utf8(lines.get(line)?).ok()?.trim().parse().ok();
        Some(Self {
            pid: number(0)?,
            port: u16::try_from(number(3)?).ok()?,
            socket_dir: PathBuf::from(OsString::from_vec(lines.get(4)?.to_vec())),
            ready: lines.get(7)?.trim_ascii() == b"ready",
        })
    }
}

/// Asks whether the server speaks TLS, the one question that needs no user and leaves no line in
/// its log.
pub(super) async fn answers(socket: &Path) -> io::Result<()> {
    const TLS_QUESTION: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&TLS_QUESTION).await?;
    stream.read_u8().await.map(drop)
}

/// Whether a process is a postmaster of this cluster: it always works in the cluster's folder.
pub(super) fn is_postmaster(pid: u32, cluster: &Path) -> bool {
    if Path::new("/proc/self/cwd").exists() {
        // Unreadable means gone, or another user's; PostgreSQL runs as the owner of the cluster.
        return fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder == cluster);
    }
    let name = std::process::Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()]).output();
    name.is_ok_and(|name| String::from_utf8_lossy(&name.stdout).contains("postgres"))
}
