//! Where the private PostgreSQL keeps its files, and as which user of the machine it runs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::libc::O_NOFOLLOW;
use nix::unistd::{Uid, User, getegid};
use tokio::process::Command;

use super::errors::{EmbeddedError, io_error};

pub(super) const PORT: u16 = 5432;

/// The address of a Unix socket is a fixed field of the kernel; PostgreSQL refuses longer ones.
const LONGEST_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

const LOG_LIMIT_BYTES: u64 = 4 << 20;

/// What PostgreSQL's programs may see of our environment. Not the rest: it holds our secrets, and
/// variables such as PGOPTIONS or PGDATA would change what the programs do.
const PASSED_ON: [&str; 6] = ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LOCPATH", "LOCALE_ARCHIVE", "TZDIR"];

/// `<data_dir>/postgres`, the folder that holds everything of the private server.
#[derive(Debug, Clone)]
pub(super) struct Home {
    root: PathBuf,
}

impl Home {
    /// Creates what is missing. Existing folders keep their owner and mode.
    pub(super) fn create(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let data_dir = std::path::absolute(data_dir).map_err(io_error("find", data_dir))?;
        let root = data_dir.join("postgres");
        create_missing(&root)?;
        // One spelling for all processes, whichever link they came through.
        let root = fs::canonicalize(&root).map_err(io_error("find", &root))?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn data_dir(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// Where initdb works; becomes the cluster by a rename.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.root.join("cluster.unfinished")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }

    /// Held by whoever is starting or stopping the server.
    pub(super) fn turn_lock(&self) -> PathBuf {
        self.root.join("turn.lock")
    }

    /// Shared by every process that uses the server.
    pub(super) fn users_lock(&self) -> PathBuf {
        self.root.join("users.lock")
    }

    /// Held by PostgreSQL's own processes, for as long as one of them lives.
    pub(super) fn server_lock(&self) -> PathBuf {
        self.root.join("server.lock")
    }

    /// Opens the log for appending; one older part is kept when it has grown.
    pub(super) fn open_log(&self, user: &ServerUser) -> Result<File, EmbeddedError> {
        let log = self.log();
        if fs::symlink_metadata(&log).is_ok_and(|file| file.len() > LOG_LIMIT_BYTES) {
            let older = self.root.join("server.log.1");
            fs::rename(&log, older).map_err(io_error("rename", &log))?;
        }
        user.open_own(&log, OpenOptions::new().append(true))
    }

    /// The folder of the socket: beside the cluster, or a short one when that path is too long.
    pub(super) fn socket_dir(&self, user: &ServerUser) -> Result<PathBuf, EmbeddedError> {
        let beside = self.root.join("run");
        if socket_path_fits(&beside) {
            return Ok(beside);
        }
        self.short_socket_dir(user)
    }

    fn short_socket_dir(&self, user: &ServerUser) -> Result<PathBuf, EmbeddedError> {
        // Device and inode name the data directory briefly, and the same at every start, so
        // that what a crash leaves is used again.
        let root = fs::metadata(&self.root).map_err(io_error("read", &self.root))?;
        let name = format!("kijko-{}-{:x}-{:x}", user.uid, root.dev(), root.ino());
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let under_runtime = runtime
            .filter(|dir| !user.switched && dir.is_absolute())
            .filter(|dir| fs::metadata(dir).is_ok_and(|dir| dir.is_dir() && dir.uid() == user.uid))
            .map(|dir| dir.join(&name))
            .filter(|dir| socket_path_fits(dir));
        Ok(under_runtime.unwrap_or_else(|| Path::new("/tmp").join(&name)))
    }
}

fn socket_path_fits(dir: &Path) -> bool {
    socket_in(dir, PORT).as_os_str().as_bytes().len() <= LONGEST_SOCKET_PATH
}

pub(super) fn socket_in(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!(".s.PGSQL.{port}"))
}

/// The user of the machine that runs PostgreSQL and owns the cluster.
#[derive(Debug, Clone)]
pub(super) struct ServerUser {
    pub(super) uid: u32,
    gid: u32,
    name: String,
    /// We are root and step down; otherwise it is ourselves.
    switched: bool,
}

impl ServerUser {
    pub(super) fn choose(home: &Home) -> Result<Self, EmbeddedError> {
        let ourselves = Uid::effective();
        if !ourselves.is_root() {
            let path = home.cluster();
            let owner = fs::symlink_metadata(&path).ok();
            if owner.is_some_and(|owner| owner.uid() != ourselves.as_raw()) {
                return Err(EmbeddedError::NotOurs { path });
            }
            return Ok(Self {
                uid: ourselves.as_raw(),
                gid: getegid().as_raw(),
                name: user_name(ourselves),
                switched: false,
            });
        }
        // Root may look after the database of an ordinary user, and must not take it away.
        let owner = [home.cluster().as_path(), home.root(), home.data_dir()]
            .into_iter()
            .filter_map(|path| fs::symlink_metadata(path).ok())
            .find(|found| found.uid() != 0);
        if let Some(owner) = owner {
            return Ok(Self {
                uid: owner.uid(),
                gid: owner.gid(),
                name: user_name(Uid::from_raw(owner.uid())),
                switched: true,
            });
        }
        let user = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .filter(|user| !user.uid.is_root())
            .ok_or(EmbeddedError::NoServerUser)?;
        Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name, switched: true })
    }

    /// In a user's data directory our folder has to be that user's too.
    pub(super) fn settle(&self, home: &Home) -> Result<(), EmbeddedError> {
        let owner = |path| fs::symlink_metadata(path).map(|found| found.uid()).ok();
        if owner(home.data_dir()) == Some(self.uid) && owner(home.root()) == Some(0) {
            self.give(home.root())?;
        }
        Ok(())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A program of PostgreSQL, run as this user, deaf to our terminal, in plain English: its
    /// messages are read for the reason of a failure.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            // Ctrl-C reaches the whole group of a terminal; only we may decide to stop.
            .process_group(0);
        if self.switched {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    pub(super) fn give(&self, path: &Path) -> Result<(), EmbeddedError> {
        if !self.switched {
            return Ok(());
        }
        // Never through a link: root would hand over whatever it points to.
        lchown(path, Some(self.uid), Some(self.gid)).map_err(io_error("change the owner of", path))
    }

    /// For a cluster that root has copied or restored.
    pub(super) fn give_tree(&self, path: &Path) -> Result<(), EmbeddedError> {
        self.give(path)?;
        if fs::symlink_metadata(path).is_ok_and(|entry| entry.is_dir()) {
            let entries = fs::read_dir(path).map_err(io_error("read", path))?;
            for entry in entries {
                self.give_tree(&entry.map_err(io_error("read", path))?.path())?;
            }
        }
        Ok(())
    }

    /// Empty and never removed: deleting a lock file lets two processes lock two of them.
    pub(super) fn lock_file(&self, path: &Path) -> Result<File, EmbeddedError> {
        self.open_own(path, OpenOptions::new().read(true).write(true))
    }

    /// Opens or creates a file of this user, even when we are root: the watchdog opens it as this
    /// user, and so does the next process of a user whose database root has looked after.
    fn open_own(&self, path: &Path, options: &mut OpenOptions) -> Result<File, EmbeddedError> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => EmbeddedError::NotOurs { path: path.to_owned() },
            _ => io_error("open", path)(error),
        };
        // A link is not followed: it could lead root to any file of the machine.
        options.mode(0o600).custom_flags(O_NOFOLLOW);
        let file = match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
            created => created,
        };
        let file = file.map_err(refused)?;
        if self.switched {
            let found = file.metadata().map_err(refused)?;
            // New, or root was killed before it gave it away; a hard link to a file of root is
            // neither.
            if found.uid() == 0 && found.nlink() == 1 && found.len() == 0 {
                fchown(&file, Some(self.uid), Some(self.gid)).map_err(refused)?;
            }
        }
        Ok(file)
    }

    /// Root sees every folder; the user it steps down to may not.
    pub(super) async fn check_reach(&self, home: &Home) -> Result<(), EmbeddedError> {
        if !self.switched {
            return Ok(());
        }
        // Tried rather than computed: access lists and security modules have a say as well.
        let tried = self.command(Path::new("/bin/sh")).args(["-c", ":"]).current_dir(home.root()).status().await;
        match tried {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let user = self.name.clone();
                let blocked = self.first_closed(home.root());
                Err(EmbeddedError::Unreachable { blocked, user })
            }
            _ => Ok(()),
        }
    }

    fn first_closed(&self, dir: &Path) -> PathBuf {
        let mut parents: Vec<&Path> = dir.ancestors().collect();
        parents.reverse();
        let closed = parents.into_iter().find(|parent| {
            fs::metadata(parent).is_ok_and(|parent| {
                let bit = if parent.uid() == self.uid {
                    0o100
                } else if parent.gid() == self.gid {
                    0o010
                } else {
                    0o001
                };
                parent.mode() & bit == 0
            })
        });
        closed.unwrap_or(dir).to_owned()
    }
}

fn user_name(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        // Containers often run under a number that has no name.
        _ => uid.to_string(),
    }
}

/// Creates a folder and its parents. Root's may be passed through, because the unprivileged user
/// has to reach the cluster below; whatever is private in them has a mode of its own.
fn create_missing(dir: &Path) -> Result<(), EmbeddedError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_missing(parent)?;
    }
    match fs::create_dir(dir) {
        Ok(()) => {}
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(io_error("create", dir)(error)),
    }
    let mode = if Uid::effective().is_root() { 0o711 } else { 0o700 };
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).map_err(io_error("set up", dir))
}

/// Creates a folder that only `user` can enter, or makes sure that an existing one is such:
/// in /tmp anybody could have put a folder or a link under this name first.
pub(super) fn private_dir(dir: &Path, user: &ServerUser) -> Result<(), EmbeddedError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return user.give(dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_error("create", dir)(error)),
    }
    let found = fs::symlink_metadata(dir).map_err(io_error("read", dir))?;
    let private = found.is_dir() && found.mode() & 0o077 == 0;
    if private && user.switched && found.uid() == 0 {
        // Root was killed between creating it and giving it away.
        return user.give(dir);
    }
    if !private || found.uid() != user.uid {
        return Err(EmbeddedError::NotPrivate { path: dir.to_owned(), user: user.name.clone() });
    }
    Ok(())
}
