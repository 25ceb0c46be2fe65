//! `kijko users`.

use kijko_core::App;
use kijko_core::domain::administration::{NewPerson, UserRecord, WayIn};
use kijko_core::domain::page::Page;
use kijko_core::services::administration;

use super::operator::{confirm, operator, password_from_stdin};
use crate::args::Users;
use crate::exit::Failure;
use crate::output::{Output, table};

pub async fn run(app: &App, command: Users, output: &Output) -> Result<(), Failure> {
    match command {
        Users::List { search, paging } => {
            let page = Page::numbered(Some(paging.page), Some(paging.page_size))?;
            let listed = administration::list_users(app, &search, page).await?;
            output.page(listed, page, &["ID", "E-MAIL", "NAME", "STATE", "SINCE"], row);
        }
        Users::Show { user, why } => {
            let details = administration::show_user(app, &operator(&why), &user).await?;
            output.answer(&details, || {
                let mut lines = table(&["ID", "E-MAIL", "NAME", "STATE", "SINCE"], vec![row(&details.user)]);
                let memberships = details.memberships.iter().map(|m| {
                    vec![
                        m.organization_id.to_string(),
                        m.organization_name.clone(),
                        m.role.as_str().into(),
                        m.status.clone(),
                    ]
                });
                lines.push(String::new());
                lines.extend(table(&["ORGANISATION", "NAME", "ROLE", "STATUS"], memberships.collect()));
                lines
            });
        }
        Users::Create { email, first_name, last_name, password, why } => {
            let password = if password.password_stdin { Some(password_from_stdin()?) } else { None };
            let new = NewPerson { email, first_name, last_name };
            let created = administration::create_user(app, &operator(&why), new, password).await?;
            output.answer(&created, || told("Created", &created));
        }
        Users::ResetPassword { user, password, why, sure } => {
            confirm(&sure, "takes their password away and signs them out everywhere")?;
            let password = if password.password_stdin { Some(password_from_stdin()?) } else { None };
            let reset = administration::reset_password(app, &operator(&why), &user, password).await?;
            output.answer(&reset, || told("Reset the password of", &reset));
        }
        Users::Disable { user, why, sure } => {
            confirm(&sure, "locks them out at once and ends all their sessions")?;
            let user = administration::set_disabled(app, &operator(&why), &user, true).await?;
            output.answer(&user, || vec![format!("Disabled {}", user.email)]);
        }
        Users::Enable { user, why } => {
            let user = administration::set_disabled(app, &operator(&why), &user, false).await?;
            output.answer(&user, || vec![format!("Enabled {}", user.email)]);
        }
        Users::GrantPlatformAdmin { user, why, sure } => {
            confirm(&sure, "opens every organisation to them")?;
            let user = administration::set_platform_admin(app, &operator(&why), &user, true).await?;
            output.answer(&user, || vec![format!("{} is a platform administrator", user.email)]);
        }
        Users::RevokePlatformAdmin { user, why } => {
            let user = administration::set_platform_admin(app, &operator(&why), &user, false).await?;
            output.answer(&user, || vec![format!("{} is no platform administrator", user.email)]);
        }
    }
    Ok(())
}

fn row(user: &UserRecord) -> Vec<String> {
    let state = match (user.disabled_at, user.is_platform_admin) {
        (Some(_), _) => "disabled",
        (None, true) => "platform admin",
        (None, false) => "active",
    };
    let name = format!("{} {}", user.first_name, user.last_name);
    vec![
        user.id.to_string(),
        user.email.clone(),
        name,
        state.to_owned(),
        user.created_at.format("%Y-%m-%d").to_string(),
    ]
}

fn told(what: &str, way_in: &WayIn) -> Vec<String> {
    let mut lines = vec![format!("{what} {} ({})", way_in.user.email, way_in.user.id)];
    if let Some(link) = &way_in.reset_link {
        lines.push("Give them this link to set a password; it works once, for an hour:".to_owned());
        lines.push(link.clone());
    }
    lines
}
