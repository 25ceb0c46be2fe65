//! The command line.

use clap::{Parser, Subcommand};
use kijko_core::domain::administration::UserRef;
use kijko_core::domain::api_keys::Scope;
use kijko_core::domain::ids::{ApiKeyId, OrganizationId};
use kijko_core::domain::plans::Plan;

/// Administers a Kijko installation. Settings are environment variables; see docs/operations.md.
#[derive(Parser)]
#[command(name = "kijko", version)]
pub struct Args {
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Look at the database schema, or bring it up to date
    #[command(subcommand)]
    Migrate(Migrate),
    /// Run jobs without serving requests, until interrupted
    Worker,
    /// Look at the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say in plain words what is wrong with this installation
    Doctor,
    /// Look after people
    #[command(subcommand)]
    Users(Users),
    /// Look after organisations
    #[command(subcommand)]
    Orgs(Orgs),
    /// Look after API keys, and the keys that sign access tokens
    #[command(subcommand)]
    Keys(Keys),
}

#[derive(Subcommand)]
pub enum Migrate {
    /// Bring the schema up to date, as the role of DATABASE_OWNER_URL
    Up,
    /// Say whether the schema is the one of this program
    Status,
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Print every setting in force, secrets masked; exit 1 if one is not valid
    Check,
}

/// For the audit log.
#[derive(clap::Args)]
pub struct Why {
    /// Why you do this; it is kept in the audit log, beside your name
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// For what cannot be taken back.
#[derive(clap::Args)]
pub struct Sure {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(clap::Args)]
pub struct Paging {
    /// Counted from 1
    #[arg(long, default_value_t = 1)]
    pub page: u32,
    /// 1 to 100
    #[arg(long, default_value_t = 20)]
    pub page_size: u32,
}

#[derive(clap::Args)]
pub struct Password {
    /// Set the password that is the first line of standard input, instead of making a link
    #[arg(long)]
    pub password_stdin: bool,
}

/// Whose keys.
#[derive(clap::Args)]
pub struct KeyOwner {
    /// Id or e-mail address
    #[arg(long, value_parser = user)]
    pub user: UserRef,
    /// In which organisation; the one they joined first when absent
    #[arg(long)]
    pub org: Option<OrganizationId>,
}

#[derive(Subcommand)]
pub enum Users {
    /// Everybody, newest first
    List {
        /// Part of a name or an address
        #[arg(long, default_value = "")]
        search: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// One person, and where they belong
    Show {
        /// Id or e-mail address
        #[arg(value_parser = user)]
        user: UserRef,
        #[command(flatten)]
        why: Why,
    },
    /// Add a person with an organisation of their own; prints a link to set a password with
    Create {
        email: String,
        #[arg(long)]
        first_name: String,
        #[arg(long)]
        last_name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        why: Why,
    },
    /// Take a password away and end all sessions; prints a link to set another with
    ResetPassword {
        /// Id or e-mail address
        #[arg(value_parser = user)]
        user: UserRef,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        sure: Sure,
    },
    /// Lock somebody out at once, sessions and API keys alike
    Disable {
        /// Id or e-mail address
        #[arg(value_parser = user)]
        user: UserRef,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        sure: Sure,
    },
    /// Let somebody in again
    Enable {
        /// Id or e-mail address
        #[arg(value_parser = user)]
        user: UserRef,
        #[command(flatten)]
        why: Why,
    },
    /// Make somebody staff
    GrantPlatformAdmin {
        /// Id or e-mail address
        #[arg(value_parser = user)]
        user: UserRef,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        sure: Sure,
    },
    /// Make somebody no longer staff
    RevokePlatformAdmin {
        /// Id or e-mail address
        #[arg(value_parser = user)]
        user: UserRef,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Subcommand)]
pub enum Orgs {
    /// Every organisation, newest first
    List {
        /// Part of the name
        #[arg(long, default_value = "")]
        search: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// One organisation
    Show {
        organization: OrganizationId,
        #[command(flatten)]
        why: Why,
    },
    /// Everybody who belongs to it
    Members {
        organization: OrganizationId,
        #[command(flatten)]
        why: Why,
    },
    /// What it has used of its plan and its budget, this month and today
    Usage {
        organization: OrganizationId,
        #[command(flatten)]
        why: Why,
    },
    /// Add an organisation
    Create {
        name: String,
        /// Id or e-mail address
        #[arg(long, value_parser = user)]
        owner: UserRef,
        #[arg(long, value_parser = plan, default_value = "free")]
        plan: Plan,
        #[command(flatten)]
        why: Why,
    },
    /// Put an organisation on another plan
    SetPlan {
        organization: OrganizationId,
        /// free, pro, teams or enterprise
        #[arg(value_parser = plan)]
        plan: Plan,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        sure: Sure,
    },
}

#[derive(Subcommand)]
pub enum Keys {
    /// The API keys of a person
    List {
        #[command(flatten)]
        owner: KeyOwner,
        /// Those of everybody in the organisation
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Make an API key; it is shown this once
    Create {
        #[command(flatten)]
        owner: KeyOwner,
        #[arg(long)]
        name: String,
        /// read, write or admin; may be given several times
        #[arg(long, value_parser = scope, required = true)]
        scope: Vec<Scope>,
        /// 1 to 365; never when absent
        #[arg(long)]
        expires_in_days: Option<i64>,
        #[command(flatten)]
        why: Why,
    },
    /// End an API key at once
    Revoke {
        key: ApiKeyId,
        #[command(flatten)]
        owner: KeyOwner,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        sure: Sure,
    },
    /// Sign access tokens with a new key, in every running server; the old one verifies what it signed
    RotateSigning {
        /// Accept nothing that an earlier key signed, for when somebody may have got hold of one
        #[arg(long)]
        at_once: bool,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        sure: Sure,
    },
}

#[expect(clippy::unnecessary_wraps, reason = "the form of a value parser")]
fn user(text: &str) -> Result<UserRef, String> {
    Ok(UserRef::parse(text))
}

fn plan(text: &str) -> Result<Plan, String> {
    Plan::parse(text).ok_or_else(|| "must be free, pro, teams or enterprise".to_owned())
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "must be read, write or admin".to_owned())
}
