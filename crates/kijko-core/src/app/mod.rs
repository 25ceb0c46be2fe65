//! The composition root: every port, wired once. The only dependency injection there is.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex, Semaphore};

use crate::adapters::access_tokens::JwtAccessTokens;
use crate::adapters::jobs::GraphileEngine;
use crate::adapters::keycloak::Keycloak;
use crate::adapters::mail::{LogMailer, SmtpMailer};
use crate::adapters::passwords::Argon2Passwords;
use crate::adapters::postgres::PgStore;
use crate::adapters::postgres::connect::Database;
use crate::adapters::postgres::embedded::EmbeddedPostgres;
use crate::adapters::postgres::events::PgEvents;
use crate::adapters::rate_limits::{LocalLimits, RedisLimits};
use crate::adapters::sealing::{self, MasterKey, Sealing};
use crate::adapters::system::{SystemClock, SystemRandom};
use crate::config::{AuthMode, Config, Environment, MailProvider};
use crate::ports::Store;
use crate::ports::clock::{Clock, Random};
use crate::ports::events::Events;
use crate::ports::identity::{AccessTokens, Passwords};
use crate::ports::jobs::JobEngine;
use crate::ports::mails::Mailer;
use crate::ports::models::Models;
use crate::ports::oauth::SocialProviders;
use crate::ports::rate_limits::RateLimits;
use crate::ports::realms::Realm;
use crate::ports::secrets::Secrets;
use crate::services::api_keys::{self, KeyUses};
use crate::services::identity::Identities;
use crate::services::programs;
use crate::services::signing_keys::{self, Keyring, LastLook};

mod models;
pub mod operations;
mod social;
mod start_error;

pub use start_error::StartError;

const EXPORTS_AT_A_TIME: usize = 2;

/// Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct App(Arc<Ports>);

/// What the services work with.
pub struct Ports {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) jobs: Arc<dyn JobEngine>,
    pub(crate) models: Models,
    pub(crate) passwords: Arc<dyn Passwords>,
    pub(crate) tokens: Arc<dyn AccessTokens>,
    pub(crate) mailer: Arc<dyn Mailer>,
    pub(crate) secrets: Arc<dyn Secrets>,
    /// Who signs people in instead of us.
    pub(crate) realm: Option<Realm>,
    /// Who vouches for people where there is no realm.
    pub(crate) social: SocialProviders,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) limits: Arc<dyn RateLimits>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) key_uses: KeyUses,
    /// Turns to write a file, each of which takes much memory.
    pub(crate) exports: Semaphore,
    pub(crate) last_look_at_keys: LastLook,
    pub(crate) config: Arc<Config>,
    pub(crate) started: Instant,
    draining: AtomicBool,
    embedded: Mutex<Option<EmbeddedPostgres>>,
}

impl Deref for App {
    type Target = Ports;

    fn deref(&self) -> &Ports {
        &self.0
    }
}

impl App {
    /// Opens the database, checks that its schema is the one of this program, and wires everything.
    /// Only the embedded database is migrated here; any other must be up to date.
    pub async fn connect(config: Config) -> Result<Self, StartError> {
        let mailer = mailer(&config)?;
        Self::connect_with(config, Arc::new(SystemClock), mailer).await
    }

    pub(crate) async fn connect_with(
        config: Config,
        clock: Arc<dyn Clock>,
        mailer: Arc<dyn Mailer>,
    ) -> Result<Self, StartError> {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let database = Database::open(&config.database).await?;
        database.ensure_current().await?;
        let store = PgStore::new(database.tenant, database.system.clone(), config.database.max_connections);
        let bypasses_policies = store.bypasses_policies().await.map_err(StartError::database)?;
        if config.environment == Environment::Ai && bypasses_policies {
            return Err(StartError::BypassesPolicies);
        }
        let master = Arc::new(master_key(&config, &*random)?);
        let tokens = access_tokens(&config, &master, &store, &*clock, random.clone()).await?;
        let pepper = config.identity.api_key_pepper.as_ref().map(|pepper| pepper.expose_secret().as_bytes());
        let secrets = Sealing::new(master, pepper, random.clone());
        let events = Arc::new(PgEvents::listen(store.system_pool().clone()));
        let jobs = GraphileEngine::new(database.system, config.runs.concurrency, config.http.shutdown_grace);
        let identities = Arc::new(Identities::new(config.identity.access_token_ttl));
        identities.clone().follow(events.subscribe());
        let app = Self(Arc::new(Ports {
            models: models::connect(&config, &clock)?,
            limits: rate_limits(&config).await?,
            realm: realm(&config, &clock)?,
            social: social::connect(&config)?,
            store: Arc::new(store),
            jobs: Arc::new(jobs),
            passwords: Arc::new(Argon2Passwords::new(random.clone())),
            tokens: Arc::new(tokens),
            mailer,
            secrets: Arc::new(secrets),
            events,
            clock,
            random,
            identities,
            key_uses: KeyUses::default(),
            exports: Semaphore::new(EXPORTS_AT_A_TIME),
            last_look_at_keys: LastLook::default(),
            config: Arc::new(config),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            embedded: Mutex::new(database.embedded),
        }));
        tokio::spawn(api_keys::record_use_regularly(Arc::downgrade(&app.0)));
        tokio::spawn(programs::announce_regularly(Arc::downgrade(&app.0)));
        tokio::spawn(signing_keys::follow(Arc::downgrade(&app.0), app.events.subscribe()));
        Ok(app)
    }

    /// For work that goes on for as long as somebody else uses the app.
    pub(crate) fn from_weak(ports: &Weak<Ports>) -> Option<Self> {
        ports.upgrade().map(Self)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Names a request that came without a name of its own.
    pub fn new_request_id(&self) -> String {
        self.random.uuid().to_string()
    }

    /// From now on the server says that it is not ready, so that nobody sends it new work.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Writes what waits to be written, closes every connection, then stops the embedded database if this was its last user.
    pub async fn close(&self) {
        // Nobody is told any more that they are served here.
        self.models.withdraw_all();
        if let Err(error) = api_keys::record_use(self).await {
            tracing::warn!(error = error.internal_text(), "the last uses of API keys could not be written");
        }
        self.jobs.close().await;
        self.store.close().await;
        if let Some(embedded) = self.embedded.lock().await.take()
            && let Err(error) = embedded.stop().await
        {
            tracing::warn!(error = %error, "the embedded database did not stop as it should");
        }
    }
}

/// Whoever sends mail, as the settings say.
pub(crate) fn mailer(config: &Config) -> Result<Arc<dyn Mailer>, StartError> {
    let mail = &config.mail;
    match (mail.provider, &mail.smtp_url) {
        (MailProvider::Smtp, Some(url)) => {
            let mailer = SmtpMailer::new(url, &mail.from, mail.time_limit);
            Ok(Arc::new(mailer.map_err(|problem| StartError::secret("SMTP_URL", problem))?))
        }
        (MailProvider::Smtp, None) => Err(StartError::secret("SMTP_URL", "is required when MAIL_PROVIDER is smtp")),
        (MailProvider::Log, _) => Ok(Arc::new(LogMailer { shows_text: config.environment == Environment::Local })),
    }
}

/// From the setting, or in `local` from a file in the data directory that is made on the first start.
fn master_key(config: &Config, random: &dyn Random) -> Result<MasterKey, StartError> {
    let invalid = |problem: String| StartError::secret("ENCRYPTION_KEY", problem);
    if let Some(key) = &config.identity.encryption_key {
        return MasterKey::from_base64(key.expose_secret()).map_err(invalid);
    }
    let path = config.database.data_dir.join("encryption.key");
    let text = local_secret(&path, || sealing::generate(random)).map_err(|e| StartError::file(&path, e))?;
    MasterKey::from_base64(text.expose_secret()).map_err(invalid)
}

/// Reads the file, or writes it once, readable by its owner alone.
fn local_secret(path: &std::path::Path, make: impl FnOnce() -> String) -> std::io::Result<SecretString> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    // Written beside and linked into place, so that nobody can read half of it and the first one wins.
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    if !path.exists() {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(make().as_bytes())?;
        file.sync_all()?;
        let linked = std::fs::hard_link(&draft, path);
        std::fs::remove_file(&draft)?;
        linked.or_else(|e| if path.exists() { Ok(()) } else { Err(e) })?;
    }
    Ok(std::fs::read_to_string(path)?.into())
}

/// What signs access tokens, with its keys: from the settings, or generated on the first start and kept encrypted in
/// the database.
async fn access_tokens(
    config: &Config,
    master: &Arc<MasterKey>,
    store: &dyn Store,
    clock: &dyn Clock,
    random: Arc<dyn Random>,
) -> Result<JwtAccessTokens, StartError> {
    let tokens = JwtAccessTokens::new(config.http.public_url.clone(), master.clone());
    let secrets = Sealing::new(master.clone(), None, random.clone());
    let keyring =
        Keyring { config: &config.identity, store, secrets: &secrets, tokens: &tokens, clock, random: &*random };
    let loaded = keyring.load().await.map_err(StartError::database)?;
    let pems = loaded.ok_or_else(|| {
        StartError::secret("ENCRYPTION_KEY", "does not open the signing key in the database; it was made with another")
    })?;
    tokens.use_keys(&pems).map_err(|e| StartError::secret("JWT_SIGNING_KEY", e))?;
    Ok(tokens)
}

/// Counted by Redis for all processes where there is one, else by this process alone.
async fn rate_limits(config: &Config) -> Result<Arc<dyn RateLimits>, StartError> {
    if !config.limits.enabled {
        tracing::warn!("RATE_LIMITS_ENABLED is false: nobody is held to any rate");
    }
    let Some(url) = &config.limits.redis_url else {
        if config.limits.replicas > 1 {
            tracing::warn!(
                replicas = config.limits.replicas,
                "REPLICAS says that there are several processes, and there is no REDIS_URL: each counts for itself, \
                 so that the rate limits of all together are that many times higher"
            );
        }
        return Ok(Arc::new(LocalLimits::new()));
    };
    let redis = RedisLimits::connect(url.expose_secret()).await;
    // What the library says could repeat the URL, and so the password.
    let redis = redis.map_err(|_| StartError::secret("REDIS_URL", "is not the URL of a Redis"))?;
    Ok(Arc::new(redis))
}

/// The realm that signs people in, where that is not we ourselves.
fn realm(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Realm>, StartError> {
    let missing = || StartError::secret("KEYCLOAK_CLIENT_SECRET", "is not set");
    match config.identity.mode {
        AuthMode::Builtin => Ok(None),
        AuthMode::Keycloak => {
            let secret = config.keycloak.client_secret.clone().ok_or_else(missing)?;
            let keycloak = Keycloak::connect(&config.keycloak, secret, clock.clone());
            let keycloak = keycloak.map_err(|e| StartError::secret("KEYCLOAK_URL", e))?;
            Ok(Some(Realm { verifier: keycloak.clone(), client: keycloak }))
        }
    }
}
