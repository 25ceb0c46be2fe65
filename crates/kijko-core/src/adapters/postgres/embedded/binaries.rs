//! Finds the programs of an installed PostgreSQL server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::errors::{EmbeddedError, io_error};
use super::initdb::ClusterVersion;
use super::places::{Home, ServerUser};

/// The oldest version that Kijko is tested with.
pub(super) const OLDEST_MAJOR: u32 = 15;

const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

/// Parent folder, start of the name below it, and what follows: `/usr/pgsql-` `16` `/bin`.
const USUAL_PLACES: [(&str, &str, &str); 10] = [
    ("/usr/lib/postgresql", "", "bin"),         // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                  // PGDG on Fedora, RHEL
    ("/usr/lib", "postgresql", "bin"),          // openSUSE
    ("/usr/libexec", "postgresql", ""),         // Alpine
    ("/opt/homebrew/opt", "postgresql", "bin"), // Homebrew, Apple silicon
    ("/usr/local/opt", "postgresql", "bin"),    // Homebrew, Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ("/opt/local/lib", "postgresql", "bin"), // MacPorts
    ("/usr/local/pgsql", "bin", ""),         // built from source
];

#[derive(Debug, Clone)]
pub(super) struct Binaries {
    dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(super) fn pg_ctl(&self) -> PathBuf {
        self.dir.join("pg_ctl")
    }
}

/// Folders that hold all the programs; their versions are not known yet.
#[derive(Debug)]
pub(super) struct Candidates {
    dirs: Vec<PathBuf>,
    from_setting: bool,
}

impl Candidates {
    /// Looks at the setting alone when there is one: a wrong setting must not be papered over.
    pub(super) fn find(setting: Option<&Path>) -> Result<Self, EmbeddedError> {
        if let Some(bin_dir) = setting {
            // The programs are run from another folder than ours.
            let bin_dir = &std::path::absolute(bin_dir).map_err(io_error("find", bin_dir))?;
            if let Some(missing) = first_missing(bin_dir) {
                let bin_dir = bin_dir.to_owned();
                return Err(EmbeddedError::BinariesIncomplete { bin_dir, missing });
            }
            return Ok(Self { dirs: vec![bin_dir.to_owned()], from_setting: true });
        }
        let mut dirs = Vec::new();
        for dir in path_dirs().into_iter().chain(usual_dirs()) {
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        if dirs.is_empty() {
            return Err(EmbeddedError::BinariesMissing);
        }
        Ok(Self { dirs, from_setting: false })
    }

    /// The newest version for a new cluster; for an existing one the version that made it,
    /// because no other can open it.
    pub(super) async fn choose(
        &self,
        cluster: Option<&ClusterVersion>,
        user: &ServerUser,
        home: &Home,
    ) -> Result<Binaries, EmbeddedError> {
        // Asking costs a process, a good part of the time that a restart takes, and the folder
        // mostly says it. A lying folder does no harm: PostgreSQL itself refuses such a cluster.
        if let Some(major) = cluster.map(|cluster| cluster.major).filter(|major| *major >= OLDEST_MAJOR) {
            let named = self.dirs.iter().find(|dir| version_in_name(dir) == Some(major));
            if let Some(dir) = named.cloned() {
                return Ok(Binaries { dir, major });
            }
        }
        let mut installed = Vec::new();
        for dir in &self.dirs {
            let Some(major) = version_of(dir, user, home).await else {
                continue;
            };
            let found = Binaries { dir: dir.clone(), major };
            if major >= OLDEST_MAJOR && cluster.is_some_and(|cluster| cluster.major == major) {
                return Ok(found);
            }
            installed.push(found);
        }
        self.decide(cluster, installed)
    }

    fn decide(&self, cluster: Option<&ClusterVersion>, installed: Vec<Binaries>) -> Result<Binaries, EmbeddedError> {
        if installed.is_empty() && self.from_setting {
            return Err(EmbeddedError::BinariesIncomplete { bin_dir: self.dirs[0].clone(), missing: "postgres" });
        }
        let mut majors: Vec<u32> = installed.iter().map(|found| found.major).collect();
        majors.sort_unstable();
        majors.dedup();
        if let Some(cluster) = cluster {
            return Err(EmbeddedError::WrongVersion {
                path: cluster.path.clone(),
                cluster: cluster.text.clone(),
                installed: majors,
            });
        }
        let newest = installed
            .into_iter()
            .filter(|found| found.major >= OLDEST_MAJOR)
            // `max_by_key` prefers the last of equals; PATH, which comes first, should win.
            .rev()
            .max_by_key(|found| found.major);
        newest.ok_or(if majors.is_empty() {
            EmbeddedError::BinariesMissing
        } else {
            EmbeddedError::BinariesTooOld { installed: majors }
        })
    }
}

fn path_dirs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = Vec::new();
    for dir in std::env::split_paths(&path) {
        for program in PROGRAMS {
            // A link in PATH (Debian's alternatives, a hand-made /usr/local/bin/initdb) leads to
            // the folder where the other programs and the shared files are.
            let Ok(target) = fs::canonicalize(dir.join(program)) else {
                continue;
            };
            let behind_link = target.parent().map(Path::to_owned);
            let complete =
                behind_link.into_iter().chain(std::path::absolute(&dir)).find(|dir| first_missing(dir).is_none());
            dirs.extend(complete);
        }
    }
    dirs
}

fn usual_dirs() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for (parent, prefix, below) in USUAL_PLACES {
        let Ok(entries) = fs::read_dir(parent) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_name().to_string_lossy().starts_with(prefix) {
                continue;
            }
            let dir = entry.path().join(below);
            if first_missing(&dir).is_none() {
                dirs.extend(fs::canonicalize(dir));
            }
        }
    }
    dirs
}

fn first_missing(dir: &Path) -> Option<&'static str> {
    PROGRAMS.into_iter().find(|program| {
        !fs::metadata(dir.join(program)).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

/// Asks as the user that will run it, in the folder where it will run: an installation in root's
/// home is of no use to `postgres`.
async fn version_of(dir: &Path, user: &ServerUser, home: &Home) -> Option<u32> {
    let answer = user.command(&dir.join("postgres")).current_dir(home.root()).arg("--version").output().await;
    match answer {
        Ok(answer) => parse_version(&String::from_utf8_lossy(&answer.stdout)),
        Err(error) => {
            tracing::debug!(dir = %dir.display(), %error, "these PostgreSQL programs cannot be run");
            None
        }
    }
}

/// `/usr/lib/postgresql/17/bin`, `/usr/pgsql-17/bin` and `.../postgresql@17/17.2/bin` are all 17.
fn version_in_name(bin_dir: &Path) -> Option<u32> {
    let name = bin_dir.parent()?.file_name()?.to_str()?;
    leading_number(name.trim_start_matches(|c: char| !c.is_ascii_digit()))
}

/// `postgres (PostgreSQL) 17.2 (Debian 17.2-1)` is 17, `18beta1` is 18.
fn parse_version(line: &str) -> Option<u32> {
    let (_, version) = line.split_once("(PostgreSQL) ")?;
    leading_number(version)
}

pub(super) fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_every_known_form() {
        for (line, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (PostgreSQL) 17devel\n", Some(17)),
            ("postgres (PostgreSQL) 9.6.24\n", Some(9)),
            ("something else\n", None),
        ] {
            assert_eq!(parse_version(line), major, "parse_version misreads {line:?}");
        }
    }

    #[test]
    fn the_folder_tells_the_version_where_packages_put_it_there() {
        for (dir, major) in [
            ("/usr/lib/postgresql/15/bin", Some(15)),
            ("/usr/pgsql-16/bin", Some(16)),
            ("/opt/homebrew/Cellar/postgresql@17/17.2/bin", Some(17)),
            ("/usr/lib/postgresql18/bin", Some(18)),
            ("/usr/bin", None),
        ] {
            assert_eq!(version_in_name(Path::new(dir)), major, "version_in_name misreads {dir}");
        }
    }

    fn binaries(dir: &str, major: u32) -> Binaries {
        Binaries { dir: dir.into(), major }
    }

    fn searched() -> Candidates {
        Candidates { dirs: vec!["/a".into()], from_setting: false }
    }

    #[test]
    fn a_new_cluster_gets_the_newest_version_and_path_wins_a_tie() {
        let installed = vec![binaries("/path", 17), binaries("/usual", 17), binaries("/old", 15)];
        let chosen = searched().decide(None, installed).expect("17 is usable");
        assert_eq!(chosen.dir, Path::new("/path"), "the first of the newest must be chosen");
    }

    #[test]
    fn only_old_versions_are_reported_as_too_old() {
        let refused = searched().decide(None, vec![binaries("/old", 13)]);
        assert!(
            matches!(&refused, Err(EmbeddedError::BinariesTooOld { installed }) if installed == &[13]),
            "say that 13 is too old, not {refused:?}"
        );
    }
}
