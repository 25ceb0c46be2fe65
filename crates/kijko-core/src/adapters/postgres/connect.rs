//! From the configuration to a database that is ready: a given one, or the embedded one.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::embedded::{EmbeddedOptions, EmbeddedPostgres};
use super::{errors, migrations};
use crate::app::StartError;
use crate::config::DatabaseConfig;
use crate::ports::MigrationState;

/// How to log in for each kind of work. The embedded server runs for as long as this lives.
pub(crate) struct Database {
    pub(crate) tenant: PgConnectOptions,
    pub(crate) system: PgConnectOptions,
    owner: PgConnectOptions,
    /// Whether `owner` is more than the login role again.
    owner_is_known: bool,
    pub(crate) embedded: Option<EmbeddedPostgres>,
}

const NAME: &str = "kijko";

impl Database {
    /// Starts or joins the embedded server where no URL is given. Changes no schema.
    pub(crate) async fn open(config: &DatabaseConfig) -> Result<Self, StartError> {
        let tune = |options: PgConnectOptions| {
            let timeout = config.statement_timeout.as_millis().to_string();
            options.options([("statement_timeout", timeout.as_str())])
        };
        if let Some(url) = &config.url {
            let tenant = parse("DATABASE_URL", url)?;
            let other = |name, url: &Option<SecretString>| url.as_ref().map(|url| parse(name, url)).transpose();
            let system = other("DATABASE_WORKER_URL", &config.worker_url)?.unwrap_or_else(|| tenant.clone());
            let owner = other("DATABASE_OWNER_URL", &config.owner_url)?;
            let owner_is_known = owner.is_some();
            let owner = owner.unwrap_or_else(|| tenant.clone());
            return Ok(Self { tenant: tune(tenant), system: tune(system), owner, owner_is_known, embedded: None });
        }
        let options = EmbeddedOptions {
            data_dir: config.data_dir.clone(),
            bin_dir: config.postgres_bin_dir.clone(),
            max_connections: 100,
            fast_unsafe: false,
        };
        let embedded = EmbeddedPostgres::start(&options).await?;
        let superuser = PgConnectOptions::new_without_pgpass()
            .host(&embedded.socket_dir().to_string_lossy())
            .port(embedded.port())
            .username(embedded.superuser())
            .database("postgres");
        prepare(&superuser).await.map_err(StartError::database)?;
        let login = |role: &str| superuser.clone().username(role).database(NAME);
        let (tenant, owner) = (tune(login("kijko_app")), login("kijko_owner"));
        Ok(Self { system: tenant.clone(), tenant, owner, owner_is_known: true, embedded: Some(embedded) })
    }

    /// Brings an embedded database up to date; a given one must be so already.
    pub(crate) async fn ensure_current(&self) -> Result<(), StartError> {
        let state = self.migration_state().await?;
        match state {
            MigrationState::Current => Ok(()),
            MigrationState::Behind(_) if self.embedded.is_some() => self.migrate().await,
            other => Err(StartError::Schema(other)),
        }
    }

    pub(crate) async fn migrate(&self) -> Result<(), StartError> {
        migrations::up(&self.owner).await.map_err(StartError::database)
    }

    /// A server that does not know the owner's password looks as the system role, which may.
    pub(crate) async fn migration_state(&self) -> Result<MigrationState, StartError> {
        let reader = match self.owner_is_known {
            true => self.owner.clone(),
            false => self.system.clone().options([("role", "kijko_system")]),
        };
        match reader.connect().await {
            Ok(mut conn) => migrations::state(&mut conn).await.map_err(StartError::database),
            Err(error) if errors::is_unknown_role(&error) => Ok(migrations::never_run()),
            Err(error) => Err(StartError::database(error)),
        }
    }
}

fn parse(name: &'static str, url: &SecretString) -> Result<PgConnectOptions, StartError> {
    let url = url.expose_secret();
    // The driver would take any scheme.
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(StartError::DatabaseUrl(name));
    }
    let options = PgConnectOptions::from_str(url).map_err(|_| StartError::DatabaseUrl(name))?;
    Ok(options.application_name("kijko"))
}

/// The owner and its database, once.
async fn prepare(superuser: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let mut conn = superuser.connect().await?;
    // Two processes may start at once on a fresh server.
    sqlx::query("SELECT pg_advisory_lock(7065870)").execute(&mut conn).await?;
    let exists = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'kijko')";
    if !sqlx::query_scalar::<_, bool>(exists).fetch_one(&mut conn).await? {
        sqlx::query("CREATE ROLE kijko_owner LOGIN CREATEROLE").execute(&mut conn).await.ok();
        sqlx::query("CREATE DATABASE kijko OWNER kijko_owner").execute(&mut conn).await?;
        // Nothing of ours needs temporary objects, and with them a name could be made to mean something else.
        sqlx::query("REVOKE TEMPORARY ON DATABASE kijko FROM PUBLIC").execute(&mut conn).await?;
    }
    Ok(())
}
