//! Where the values of settings come from, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

/// Everything that is wrong, one line each.
#[derive(Debug)]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// A setting as it is in force.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Effective {
    pub name: &'static str,
    /// Dots for a secret.
    pub value: String,
    /// `default`, `config file`, `.env`, `environment`, `flag`, or the file a secret was read from.
    pub origin: String,
}

pub(super) struct Source {
    values: BTreeMap<String, (String, &'static str)>,
    /// Names that somebody gave to us alone, unlike the environment, and where, to tell the ones that nobody knows.
    given: BTreeMap<String, &'static str>,
    secrets_dir: PathBuf,
    effective: Vec<Effective>,
    secret_files: Vec<(&'static str, PathBuf)>,
    problems: Vec<String>,
}

impl Source {
    pub(super) fn from_values(values: &[(&str, &str)]) -> Self {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), ((*value).to_owned(), "environment")));
        Self::new(values.collect(), BTreeMap::new())
    }

    pub(super) fn from_process(flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        // A variable that is not text is none of ours.
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let environment: BTreeMap<String, String> = variables.collect();
        let mut values = BTreeMap::new();
        let mut given: BTreeMap<_, _> = flags.iter().map(|(name, _)| ((*name).to_owned(), "a flag")).collect();
        if let Some(path) = environment.get("KIJKO_CONFIG") {
            for (name, value) in config_file(Path::new(path))? {
                given.insert(name.clone(), "the config file");
                values.insert(name, (value, "config file"));
            }
        }
        let in_file = values.get("KIJKO_ENV").map(|(value, _)| value);
        let name = environment.get("KIJKO_ENV").or(in_file).map_or("local", String::as_str);
        if matches!(name.to_ascii_lowercase().as_str(), "local" | "development") {
            values.extend(dot_env()?.into_iter().map(|(name, value)| (name, (value, ".env"))));
        }
        values.extend(environment.into_iter().map(|(name, value)| (name, (value, "environment"))));
        values.extend(flags.iter().map(|(name, value)| ((*name).to_owned(), (value.clone(), "flag"))));
        Ok(Self::new(values, given))
    }

    fn new(values: BTreeMap<String, (String, &'static str)>, given: BTreeMap<String, &'static str>) -> Self {
        let secrets_dir = values.get("SECRETS_DIR").map_or("/run/secrets", |(dir, _)| dir.as_str()).into();
        Self { values, given, secrets_dir, effective: Vec::new(), secret_files: Vec::new(), problems: Vec::new() }
    }

    /// Those read so far.
    pub(super) fn secret_files(&mut self) -> Vec<(&'static str, PathBuf)> {
        std::mem::take(&mut self.secret_files)
    }

    pub(super) fn finish(self) -> Result<Vec<Effective>, ConfigError> {
        let Self { mut problems, effective, given, .. } = self;
        let known: BTreeSet<&str> = effective.iter().map(|e| e.name).chain(["SECRETS_DIR"]).collect();
        problems.extend(
            given
                .iter()
                .filter(|(name, _)| !known.contains(name.strip_suffix("_FILE").unwrap_or(name)))
                .map(|(name, place)| format!("{name}: {place} sets it, but there is no such setting")),
        );
        if problems.is_empty() { Ok(effective) } else { Err(ConfigError(problems)) }
    }

    pub(super) fn refuse(&mut self, refused: bool, name: &str, why: &str) {
        if refused {
            self.problems.push(format!("{name} {why}"));
        }
    }

    fn show(&mut self, name: &'static str, value: &str, origin: &str) {
        self.effective.push(Effective { name, value: value.to_owned(), origin: origin.to_owned() });
    }

    /// An empty value counts as not set, as in a compose file that passes everything on.
    fn get(&self, name: &str) -> Option<(String, &'static str)> {
        self.values.get(name).filter(|(value, _)| !value.trim().is_empty()).cloned()
    }

    pub(super) fn text(&mut self, name: &'static str, default: &str) -> String {
        let (value, origin) = self.get(name).unwrap_or_else(|| (default.to_owned(), "default"));
        self.show(name, &value, origin);
        value
    }

    pub(super) fn optional(&mut self, name: &'static str) -> Option<String> {
        let value = self.get(name);
        let (shown, origin) = value.clone().unwrap_or_default();
        self.show(name, &shown, if value.is_some() { origin } else { "default" });
        value.map(|(value, _)| value)
    }

    /// The default must parse; it stands in where the value does not.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str, default: &str) -> T
    where
        T::Err: fmt::Display,
    {
        let text = self.text(name, default);
        text.trim().parse().unwrap_or_else(|problem: T::Err| {
            self.problems.push(format!("{name}: {text:?} is not valid: {problem}"));
            default.parse().unwrap_or_else(|_| unreachable!("the default of {name} is valid"))
        })
    }

    pub(super) fn seconds(&mut self, name: &'static str, default: &str) -> Duration {
        Duration::from_secs(self.parsed(name, default))
    }

    pub(super) fn milliseconds(&mut self, name: &'static str, default: &str) -> Duration {
        Duration::from_millis(self.parsed(name, default))
    }

    /// An http(s) URL, without a slash at its end.
    pub(super) fn url(&mut self, name: &'static str, default: &str) -> String {
        let text = self.text(name, default);
        self.checked_url(name, &text)
    }

    pub(super) fn optional_url(&mut self, name: &'static str) -> Option<String> {
        let text = self.optional(name)?;
        Some(self.checked_url(name, &text))
    }

    fn checked_url(&mut self, name: &'static str, text: &str) -> String {
        let parsed = url::Url::parse(text);
        self.refuse(
            !parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https")),
            name,
            "must be a URL with http or https",
        );
        text.trim_end_matches('/').to_owned()
    }

    /// A JSON list or a comma list.
    pub(super) fn list(&mut self, name: &'static str, default: &str) -> Vec<String> {
        let text = self.text(name, default);
        if let Ok(list) = serde_json::from_str(&text) {
            return list;
        }
        text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    }

    /// A list of networks such as 10.0.0.0/8; an address alone is a network of one.
    pub(super) fn networks(&mut self, name: &'static str, default: &str) -> Vec<IpNet> {
        let list = self.list(name, default);
        let network = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let networks: Result<_, _> = list.iter().map(network).collect();
        self.refuse(networks.is_err(), name, "must list networks such as 10.0.0.0/8; [] trusts nobody");
        networks.unwrap_or_default()
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let direct = self.get(name);
        let file = self.get(&format!("{name}_FILE"));
        self.refuse(direct.is_some() && file.is_some(), name, "is set both directly and by its _FILE; keep one");
        let secret = match (direct, file) {
            (Some((value, origin)), _) => Some((value, origin.to_owned())),
            (None, Some((path, _))) => match std::fs::read_to_string(&path) {
                Ok(content) => {
                    self.secret_files.push((name, PathBuf::from(&path)));
                    Some((content.trim().to_owned(), path))
                }
                Err(error) => {
                    self.problems.push(format!("{name}_FILE: cannot read {path}: {error}"));
                    None
                }
            },
            (None, None) => {
                let path = self.secrets_dir.join(name.to_lowercase());
                match std::fs::read_to_string(&path) {
                    Ok(content) => {
                        self.secret_files.push((name, path.clone()));
                        Some((content.trim().to_owned(), path.display().to_string()))
                    }
                    Err(error) => {
                        let absent = error.kind() == std::io::ErrorKind::NotFound;
                        self.refuse(!absent, name, &format!("cannot be read from {}: {error}", path.display()));
                        None
                    }
                }
            }
        };
        let secret = secret.filter(|(value, _)| !value.is_empty());
        match &secret {
            Some((_, origin)) => self.show(name, "••••••", origin),
            None => self.show(name, "", "default"),
        }
        secret.map(|(value, _)| value.into())
    }
}

/// What `.env` in the working directory sets, if there is one.
fn dot_env() -> Result<Vec<(String, String)>, ConfigError> {
    let problem = |error: dotenvy::Error| ConfigError(vec![format!(".env: {error}")]);
    match dotenvy::from_path_iter(".env") {
        Ok(lines) => lines.collect::<Result<_, _>>().map_err(problem),
        Err(error) if error.not_found() => Ok(Vec::new()),
        Err(error) => Err(problem(error)),
    }
}

/// A flat TOML table; names in any case.
fn config_file(path: &Path) -> Result<Vec<(String, String)>, ConfigError> {
    let problem = |what: String| ConfigError(vec![format!("KIJKO_CONFIG: {}: {what}", path.display())]);
    let text = std::fs::read_to_string(path).map_err(|e| problem(e.to_string()))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| problem(e.message().to_owned()))?;
    table
        .into_iter()
        .map(|(name, value)| {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Array(items) => serde_json::to_string(&items).unwrap_or_default(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                _ => return Err(problem(format!("{name} must be a text, a whole number, true, false or a list"))),
            };
            Ok((name.to_uppercase(), text))
        })
        .collect()
}
