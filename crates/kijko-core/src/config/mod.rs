//! Every setting, read once.
//!
//! Order: built-in default < config file (`KIJKO_CONFIG`, TOML) < `.env` (local only) < environment < flag.
//! A secret `X` may be given as `X_FILE`, a path, or as a file named `x` in `SECRETS_DIR`.
//! `load` fails with every problem at once; secrets never print.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

mod models;
mod source;

pub use models::{ModelConfig, PlanModelPolicy};
use source::Source;
pub use source::{ConfigError, Effective};

/// Where this installation stands, and so how strict it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// One machine: embedded database, readable logs, offline models.
    Local,
    /// Shared development host.
    Cfy,
    /// Staging.
    Ntf,
    /// Production: refuses to start with anything that is only good for trying.
    Ai,
}

impl Environment {
    pub fn as_str(self) -> &'static str {
        match self {
            Environment::Local => "local",
            Environment::Cfy => "cfy",
            Environment::Ntf => "ntf",
            Environment::Ai => "ai",
        }
    }
}

impl std::str::FromStr for Environment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "local" | "development" => Ok(Environment::Local),
            "cfy" | "dev" => Ok(Environment::Cfy),
            "ntf" | "staging" => Ok(Environment::Ntf),
            "ai" | "production" => Ok(Environment::Ai),
            _ => Err("must be local, cfy, ntf or ai".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(LogFormat::Json),
            "text" => Ok(LogFormat::Text),
            _ => Err("must be json or text".into()),
        }
    }
}

/// Who signs people in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Kijko itself.
    Builtin,
    /// A realm of Keycloak.
    Keycloak,
}

impl AuthMode {
    pub fn as_str(self) -> &'static str {
        match self {
            AuthMode::Builtin => "builtin",
            AuthMode::Keycloak => "keycloak",
        }
    }
}

impl std::str::FromStr for AuthMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "builtin" => Ok(AuthMode::Builtin),
            "keycloak" => Ok(AuthMode::Keycloak),
            _ => Err("must be builtin or keycloak".into()),
        }
    }
}

/// How mail leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailProvider {
    /// Not at all: in `local` it is shown in the log, elsewhere dropped.
    Log,
    Smtp,
}

impl std::str::FromStr for MailProvider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "log" => Ok(MailProvider::Log),
            "smtp" => Ok(MailProvider::Smtp),
            _ => Err("must be log or smtp".into()),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub environment: Environment,
    pub http: HttpConfig,
    pub database: DatabaseConfig,
    pub identity: IdentityConfig,
    pub keycloak: KeycloakConfig,
    pub social: SocialConfig,
    pub mail: MailConfig,
    pub models: ModelConfig,
    pub runs: RunConfig,
    pub limits: LimitConfig,
    pub log_level: String,
    pub log_format: LogFormat,
    /// The secrets that were read from files, and the files.
    pub secret_files: Vec<(&'static str, PathBuf)>,
    /// Every setting with its value, secrets masked, for `kijko config check`.
    pub effective: Vec<Effective>,
}

#[derive(Clone, Debug)]
pub struct HttpConfig {
    pub host: IpAddr,
    pub port: u16,
    /// Our own origin; also the issuer of access tokens.
    pub public_url: String,
    /// The front end's origin, where the links in mails lead.
    pub app_url: String,
    /// Origins that browsers may call from, exactly.
    pub cors_origins: Vec<String>,
    /// Origins that a browser may be sent to after signing in elsewhere, exactly.
    pub redirect_allowlist: Vec<String>,
    /// Proxies whose word about the client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks that addresses which users supply may lead to, although they are not public.
    pub outbound_allowlist: Vec<IpNet>,
    pub docs_enabled: bool,
    pub request_timeout: Duration,
    pub body_limit_bytes: usize,
    /// How long readiness says no before the listener closes, so that proxies send nobody any more.
    pub drain_notice: Duration,
    /// How long open requests and running calls may take to finish when the server stops.
    pub shutdown_grace: Duration,
}

#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// The login role's database. Without it the embedded PostgreSQL is used.
    pub url: Option<SecretString>,
    /// For migrations; `url` when absent.
    pub owner_url: Option<SecretString>,
    /// For system work and jobs; `url` when absent.
    pub worker_url: Option<SecretString>,
    pub data_dir: PathBuf,
    /// Where the server binaries of the embedded PostgreSQL are; found by itself when absent.
    pub postgres_bin_dir: Option<PathBuf>,
    pub max_connections: u32,
    pub statement_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct IdentityConfig {
    pub mode: AuthMode,
    pub signup_enabled: bool,
    /// Whether nobody signs in before their address is confirmed.
    pub require_email_verification: bool,
    /// RSA key in PEM; generated and kept encrypted in the database when absent.
    pub signing_key: Option<SecretString>,
    /// The one before it, which still verifies.
    pub signing_key_previous: Option<SecretString>,
    /// 32 bytes in base64; generated in the data directory in `local`.
    pub encryption_key: Option<SecretString>,
    /// The key of the hashes that are stored of API keys and links; derived from the encryption key in `local`.
    pub api_key_pepper: Option<SecretString>,
    pub access_token_ttl: Duration,
    pub refresh_token_ttl: Duration,
    /// For how long a rotated refresh token still yields the same successor.
    pub refresh_grace: Duration,
}

/// The realm that signs people in, when `identity.mode` says so.
#[derive(Clone, Debug)]
pub struct KeycloakConfig {
    pub url: String,
    pub realm: String,
    pub client_id: String,
    pub client_secret: Option<SecretString>,
    /// Role of the realm whose holders are our staff.
    pub admin_role: String,
    /// Whether the front end's form may send passwords through us to the realm; RFC 9700 forbids it.
    pub direct_grant: bool,
}

/// Who vouches for people when `identity.mode` is built-in. A realm asks them itself.
#[derive(Clone, Debug)]
pub struct SocialConfig {
    pub google: Option<SocialClient>,
    /// Whose discovery document and ID tokens are believed.
    pub google_issuer: String,
    pub github: Option<SocialClient>,
    /// Where people sign in; another one for GitHub Enterprise.
    pub github_url: String,
    pub github_api_url: String,
}

/// Our registration at a provider.
#[derive(Clone, Debug)]
pub struct SocialClient {
    pub id: String,
    pub secret: SecretString,
}

#[derive(Clone, Debug)]
pub struct MailConfig {
    pub provider: MailProvider,
    /// The sender's address, bare or as `Name <address>`.
    pub from: String,
    /// With its credentials: `smtps://user:password@host`, or `smtp://…?tls=required` for STARTTLS.
    pub smtp_url: Option<SecretString>,
    /// How long handing over one mail may take.
    pub time_limit: Duration,
}

#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Runs at a time in one process.
    pub concurrency: usize,
    /// Waiting and running runs that one user may have.
    pub max_active: i64,
    /// Executions older than this are deleted, once a day.
    pub kept: TimeDelta,
    /// A worker that does not renew the lease of a run for this long is taken for dead.
    pub lease: Duration,
    /// After this much run time no further attempt is started.
    pub soft_limit: Duration,
    /// After this much run time the run is stopped.
    pub hard_limit: Duration,
    /// Waits between attempts are multiples of this.
    pub backoff: Duration,
}

#[derive(Clone, Debug)]
pub struct LimitConfig {
    /// Off for load tests; the lock of an account after wrong passwords stays.
    pub enabled: bool,
    /// Where all processes count together; each for itself when absent.
    pub redis_url: Option<SecretString>,
    /// How many processes serve this installation.
    pub replicas: u32,
}

impl Config {
    /// From the process environment and these flags, by the names of the settings.
    pub fn load(flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        Self::read(Source::from_process(flags)?)
    }

    /// From these values alone, as if they were the whole environment.
    pub fn from_values(values: &[(&str, &str)]) -> Result<Self, ConfigError> {
        Self::read(Source::from_values(values))
    }

    fn read(mut s: Source) -> Result<Self, ConfigError> {
        let environment = s.parsed("KIJKO_ENV", "local");
        let local = environment == Environment::Local;
        let cors_origins = s.list("CORS_ORIGINS", "http://localhost:3000,https://app.kijko.nl");
        let config = Config {
            environment,
            http: HttpConfig {
                host: s.parsed("HOST", "0.0.0.0"),
                port: s.parsed("PORT", "8000"),
                public_url: s.url("PUBLIC_URL", "http://localhost:8000"),
                app_url: s.url("APP_URL", "http://localhost:3000"),
                redirect_allowlist: s.list("REDIRECT_ALLOWLIST", &cors_origins.join(",")),
                cors_origins,
                trusted_proxies: s.networks("TRUSTED_PROXIES", "127.0.0.1/32,::1/128"),
                outbound_allowlist: s.networks("OUTBOUND_ALLOWLIST", ""),
                docs_enabled: s.parsed("DOCS_ENABLED", "true"),
                request_timeout: s.seconds("REQUEST_TIMEOUT_SECS", "30"),
                body_limit_bytes: s.parsed("BODY_LIMIT_BYTES", "1048576"),
                drain_notice: s.seconds("DRAIN_NOTICE_SECS", if local { "0" } else { "5" }),
                shutdown_grace: s.seconds("SHUTDOWN_GRACE_SECS", "30"),
            },
            database: DatabaseConfig {
                url: s.secret("DATABASE_URL"),
                owner_url: s.secret("DATABASE_OWNER_URL"),
                worker_url: s.secret("DATABASE_WORKER_URL"),
                data_dir: s
                    .optional("KIJKO_DATA_DIR")
                    .map_or_else(crate::adapters::postgres::embedded::default_data_dir, PathBuf::from),
                postgres_bin_dir: s.optional("POSTGRES_BIN_DIR").map(PathBuf::from),
                max_connections: s.parsed("DB_MAX_CONNECTIONS", "20"),
                statement_timeout: s.milliseconds("DB_STATEMENT_TIMEOUT_MS", "15000"),
            },
            identity: IdentityConfig {
                mode: s.parsed("KIJKO_AUTH_MODE", "builtin"),
                signup_enabled: s.parsed("SIGNUP_ENABLED", "true"),
                require_email_verification: s.parsed("REQUIRE_EMAIL_VERIFICATION", "false"),
                signing_key: s.secret("JWT_SIGNING_KEY"),
                signing_key_previous: s.secret("JWT_SIGNING_KEY_PREVIOUS"),
                encryption_key: s.secret("ENCRYPTION_KEY"),
                api_key_pepper: s.secret("API_KEY_PEPPER"),
                access_token_ttl: s.seconds("ACCESS_TOKEN_TTL_SECS", "1800"),
                refresh_token_ttl: s.seconds("REFRESH_TOKEN_TTL_SECS", "604800"),
                refresh_grace: s.seconds("REFRESH_GRACE_SECS", "30"),
            },
            keycloak: KeycloakConfig {
                url: s.url("KEYCLOAK_URL", "https://auth.kijko.nl"),
                realm: s.text("KEYCLOAK_REALM", "kijko"),
                client_id: s.text("KEYCLOAK_CLIENT_ID", "kijko-backend"),
                client_secret: s.secret("KEYCLOAK_CLIENT_SECRET"),
                admin_role: s.text("KEYCLOAK_ADMIN_ROLE", "admin"),
                direct_grant: s.parsed("KEYCLOAK_DIRECT_GRANT", "false"),
            },
            social: SocialConfig {
                google: social_client(&mut s, "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"),
                google_issuer: s.url("GOOGLE_ISSUER", "https://accounts.google.com"),
                github: social_client(&mut s, "GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET"),
                github_url: s.url("GITHUB_URL", "https://github.com"),
                github_api_url: s.url("GITHUB_API_URL", "https://api.github.com"),
            },
            mail: MailConfig {
                provider: s.parsed("MAIL_PROVIDER", "log"),
                from: s.text("MAIL_FROM", "no-reply@kijko.nl"),
                smtp_url: s.secret("SMTP_URL"),
                time_limit: s.seconds("SMTP_TIMEOUT_SECS", "30"),
            },
            models: ModelConfig::read(&mut s),
            runs: RunConfig {
                concurrency: s.parsed("JOB_CONCURRENCY", "4"),
                max_active: s.parsed("MAX_ACTIVE_EXECUTIONS", "20"),
                kept: TimeDelta::days(s.parsed::<u32>("EXECUTION_RETENTION_DAYS", "90").into()),
                lease: s.seconds("EXECUTION_LEASE_SECS", "60"),
                soft_limit: s.seconds("EXECUTION_SOFT_LIMIT_SECS", "240"),
                hard_limit: s.seconds("EXECUTION_HARD_LIMIT_SECS", "300"),
                backoff: s.milliseconds("MODEL_BACKOFF_MS", "1000"),
            },
            limits: LimitConfig {
                enabled: s.parsed("RATE_LIMITS_ENABLED", "true"),
                redis_url: s.secret("REDIS_URL"),
                replicas: s.parsed("REPLICAS", "1"),
            },
            log_level: s.text("LOG_LEVEL", "info"),
            log_format: s.parsed("LOG_FORMAT", if local { "text" } else { "json" }),
            secret_files: s.secret_files(),
            effective: Vec::new(),
        };
        config.check(&mut s);
        let effective = s.finish()?;
        Ok(Config { effective, ..config })
    }

    /// The names of secrets that came from a file which cannot be read any more: the next start would fail. Those that
    /// this environment requires are there, or it would not have started.
    pub fn missing_secrets(&self) -> Vec<&'static str> {
        let is_there = |path| std::fs::read_to_string(path).is_ok_and(|content| !content.trim().is_empty());
        self.secret_files.iter().filter(|(_, path)| !is_there(path)).map(|(name, _)| *name).collect()
    }

    fn check(&self, s: &mut Source) {
        let local = self.environment == Environment::Local;
        s.refuse(!local && self.database.url.is_none(), "DATABASE_URL", "is required outside local");
        s.refuse(!local && self.identity.encryption_key.is_none(), "ENCRYPTION_KEY", "is required outside local");
        s.refuse(
            self.identity.signing_key_previous.is_some() && self.identity.signing_key.is_none(),
            "JWT_SIGNING_KEY_PREVIOUS",
            "needs JWT_SIGNING_KEY, the key that signs now",
        );
        let pepper = self.identity.api_key_pepper.as_ref().map(secrecy::ExposeSecret::expose_secret);
        s.refuse(!local && pepper.is_none(), "API_KEY_PEPPER", "is required outside local");
        s.refuse(pepper.is_some_and(|p| p.len() < 32), "API_KEY_PEPPER", "must have at least 32 characters");
        s.refuse(
            self.http.redirect_allowlist.iter().any(|o| o == "*"),
            "REDIRECT_ALLOWLIST",
            "must list exact origins",
        );
        s.refuse(self.http.cors_origins.iter().any(|o| o == "*"), "CORS_ORIGINS", "must list exact origins, not *");
        let realm = self.identity.mode == AuthMode::Keycloak;
        s.refuse(
            realm && self.keycloak.client_secret.is_none(),
            "KEYCLOAK_CLIENT_SECRET",
            "is required when KIJKO_AUTH_MODE is keycloak",
        );
        s.refuse(
            realm && !local && !self.keycloak.url.starts_with("https:"),
            "KEYCLOAK_URL",
            "must be https outside local",
        );
        s.refuse(
            self.keycloak.realm.is_empty() || self.keycloak.realm.contains(['/', '?', '#', '%', ' ']),
            "KEYCLOAK_REALM",
            "must be the name of a realm",
        );
        for (name, url) in [
            ("GOOGLE_ISSUER", &self.social.google_issuer),
            ("GITHUB_URL", &self.social.github_url),
            ("GITHUB_API_URL", &self.social.github_api_url),
        ] {
            s.refuse(!local && !url.starts_with("https:"), name, "must be https outside local");
        }
        let only_localhost = self.http.cors_origins.iter().all(|o| o.contains("//localhost"));
        let production = self.environment == Environment::Ai;
        s.refuse(production && only_localhost, "CORS_ORIGINS", "must name the front end's origin in ai");
        s.refuse(
            production && self.http.public_url.contains("//localhost"),
            "PUBLIC_URL",
            "must be the public origin in ai",
        );
        s.refuse(production && !self.limits.enabled, "RATE_LIMITS_ENABLED", "must be true in ai");
        let redis_url = self.limits.redis_url.as_ref().map(ExposeSecret::expose_secret);
        s.refuse(
            redis_url.is_some_and(|url| !crate::adapters::rate_limits::is_redis_url(url)),
            "REDIS_URL",
            "must be a URL such as redis://:password@host:6379/0, rediss://… or unix:///path",
        );
        s.refuse(
            production && self.http.app_url.contains("//localhost"),
            "APP_URL",
            "must be the front end's origin in ai",
        );
        s.refuse(
            production && self.mail.provider == MailProvider::Log,
            "MAIL_PROVIDER",
            "must not be log in ai: nobody would get a mail",
        );
        self.mail.check(s, local);
        s.refuse(!local && self.log_format == LogFormat::Text, "LOG_FORMAT", "must be json outside local");
        let level = tracing_subscriber::EnvFilter::try_new(&self.log_level);
        s.refuse(level.is_err(), "LOG_LEVEL", "must be error, warn, info, debug, trace, or a list of directives");
        for (name, duration) in [
            ("ACCESS_TOKEN_TTL_SECS", self.identity.access_token_ttl),
            ("REFRESH_TOKEN_TTL_SECS", self.identity.refresh_token_ttl),
            ("EXECUTION_LEASE_SECS", self.runs.lease),
            ("EXECUTION_HARD_LIMIT_SECS", self.runs.hard_limit),
        ] {
            s.refuse(duration > Duration::from_secs(366 * 86_400), name, "must be at most a year");
        }
        self.models.check(s);
        let kept = TimeDelta::days(1)..=TimeDelta::days(3650);
        s.refuse(!kept.contains(&self.runs.kept), "EXECUTION_RETENTION_DAYS", "must be between 1 and 3650");
        s.refuse(self.runs.concurrency == 0, "JOB_CONCURRENCY", "must be at least 1");
        s.refuse(self.database.max_connections == 0, "DB_MAX_CONNECTIONS", "must be at least 1");
        s.refuse(self.runs.lease < Duration::from_secs(4), "EXECUTION_LEASE_SECS", "must be at least 4");
    }
}

/// None when neither is set.
fn social_client(s: &mut Source, id_name: &'static str, secret_name: &'static str) -> Option<SocialClient> {
    let (id, secret) = (s.optional(id_name), s.secret(secret_name));
    s.refuse(id.is_none() && secret.is_some(), id_name, &format!("is required beside {secret_name}"));
    s.refuse(id.is_some() && secret.is_none(), secret_name, &format!("is required beside {id_name}"));
    Some(SocialClient { id: id?, secret: secret? })
}

impl MailConfig {
    fn check(&self, s: &mut Source, local: bool) {
        s.refuse(!self.from.contains('@'), "MAIL_FROM", "must be an e-mail address");
        s.refuse(self.time_limit.is_zero(), "SMTP_TIMEOUT_SECS", "must be at least 1");
        let Some(url) = &self.smtp_url else {
            s.refuse(self.provider == MailProvider::Smtp, "SMTP_URL", "is required when MAIL_PROVIDER is smtp");
            return;
        };
        let url = url::Url::parse(url.expose_secret());
        let scheme = url.as_ref().map_or("", url::Url::scheme);
        s.refuse(!matches!(scheme, "smtp" | "smtps"), "SMTP_URL", "must begin with smtps:// or smtp://");
        let starttls =
            url.as_ref().is_ok_and(|url| url.query_pairs().any(|pair| pair == ("tls".into(), "required".into())));
        s.refuse(
            !local && scheme == "smtp" && !starttls,
            "SMTP_URL",
            "must be encrypted outside local: smtps://, or smtp:// with ?tls=required",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_needs_to_be_set() {
        let config = Config::from_values(&[]).expect("the defaults are enough");
        assert_eq!((config.environment, config.http.port), (Environment::Local, 8000));
        assert!(config.database.url.is_none());
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let error = Config::from_values(&[
            ("KIJKO_ENV", "ai"),
            ("PORT", "70000"),
            ("CORS_ORIGINS", "*"),
            ("JOB_CONCURRENCY", "many"),
        ])
        .expect_err("this cannot start");
        let text = error.to_string();
        for name in ["PORT", "CORS_ORIGINS", "JOB_CONCURRENCY", "DATABASE_URL", "ENCRYPTION_KEY", "PUBLIC_URL"] {
            assert!(text.contains(name), "{name} is missing in: {text}");
        }
    }

    #[test]
    fn a_provider_of_sign_in_needs_its_id_and_its_secret() {
        let config = Config::from_values(&[("GITHUB_CLIENT_ID", "id"), ("GITHUB_CLIENT_SECRET", "secret")]);
        let social = config.expect("both are there").social;
        assert!(social.github.is_some_and(|client| client.id == "id") && social.google.is_none());
        for half in ["GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET", "GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET"] {
            let error = Config::from_values(&[(half, "x")]).expect_err("half of it is missing").to_string();
            let other = if half.ends_with("ID") { half.replace("ID", "SECRET") } else { half.replace("SECRET", "ID") };
            assert!(error.contains(&format!("{other} is required beside {half}")), "{error}");
        }
    }

    #[test]
    fn secrets_never_print() {
        let config = Config::from_values(&[("ANTHROPIC_API_KEY", "sk-very-secret")]).expect("valid");
        assert!(!format!("{config:?}").contains("very-secret"));
        let shown = config.effective.iter().find(|e| e.name == "ANTHROPIC_API_KEY").expect("listed");
        assert_eq!(shown.value, "••••••");
    }

    #[test]
    fn a_secret_may_come_from_a_file_but_not_twice() {
        let path = std::env::temp_dir().join(format!("kijko-config-test-{}", std::process::id()));
        std::fs::write(&path, "from-a-file\n").expect("the temporary directory is writable");
        let file = path.to_str().expect("UTF-8");
        let config = Config::from_values(&[("ENCRYPTION_KEY_FILE", file)]).expect("valid");
        let key = config.identity.encryption_key.expect("read");
        assert_eq!(secrecy::ExposeSecret::expose_secret(&key), "from-a-file");
        assert!(Config::from_values(&[("ENCRYPTION_KEY_FILE", file), ("ENCRYPTION_KEY", "x")]).is_err());
        std::fs::remove_file(&path).expect("it was there");
    }
}
