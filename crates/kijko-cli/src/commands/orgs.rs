//! `kijko orgs`.

use kijko_core::App;
use kijko_core::domain::administration::{OrganizationRecord, OrganizationUsage};
use kijko_core::domain::budgets::dollars;
use kijko_core::domain::page::Page;
use kijko_core::domain::usage::UNLIMITED;
use kijko_core::services::administration;

use super::operator::{confirm, operator};
use crate::args::Orgs;
use crate::exit::Failure;
use crate::output::{Output, table};

const HEAD: [&str; 6] = ["ID", "NAME", "PLAN", "OWNER", "MEMBERS", "SINCE"];

pub async fn run(app: &App, command: Orgs, output: &Output) -> Result<(), Failure> {
    match command {
        Orgs::List { search, paging } => {
            let page = Page::numbered(Some(paging.page), Some(paging.page_size))?;
            let listed = administration::list_organizations(app, &search, page).await?;
            output.page(listed, page, &HEAD, row);
        }
        Orgs::Show { organization, why } => {
            let found = administration::show_organization(app, &operator(&why), organization).await?;
            output.answer(&found, || table(&HEAD, vec![row(&found)]));
        }
        Orgs::Members { organization, why } => {
            let members = administration::list_members(app, &operator(&why), organization).await?;
            output.answer(&members, || {
                let rows = members.iter().map(|m| {
                    vec![m.user_id.to_string(), m.email.clone(), m.role.as_str().to_owned(), m.status.clone()]
                });
                table(&["USER", "E-MAIL", "ROLE", "STATUS"], rows.collect())
            });
        }
        Orgs::Usage { organization, why } => {
            let usage = administration::show_usage(app, &operator(&why), organization).await?;
            output.answer(&usage, || usage_lines(&usage));
        }
        Orgs::Create { name, owner, plan, why } => {
            let created = administration::create_organization(app, &operator(&why), &name, &owner, plan).await?;
            output.answer(&created, || vec![format!("Created {} ({})", created.name, created.id)]);
        }
        Orgs::SetPlan { organization, plan, why, sure } => {
            confirm(&sure, &format!("puts the organisation on the plan {}", plan.as_str()))?;
            let changed = administration::set_plan(app, &operator(&why), organization, plan).await?;
            output.answer(&changed, || vec![format!("{} is on the plan {}", changed.name, changed.plan.as_str())]);
        }
    }
    Ok(())
}

fn usage_lines(usage: &OrganizationUsage) -> Vec<String> {
    let rows = usage.metrics.iter().map(|line| {
        let limit = if line.limit == UNLIMITED { "unlimited".to_owned() } else { line.limit.to_string() };
        vec![line.metric.as_str().to_owned(), line.used.to_string(), limit]
    });
    let mut lines = table(&["METRIC", "USED", "LIMIT"], rows.collect());
    let budget = &usage.budget;
    let limit = budget.limit_usd.map_or_else(|| "no budget".to_owned(), |limit| format!("of {}", dollars(limit)));
    let (spent, reserved) = (dollars(budget.spent_usd), dollars(budget.reserved_usd));
    lines.push(format!("{}: {spent} US dollars spent, {reserved} held back, {limit}", budget.month));
    lines
}

fn row(organization: &OrganizationRecord) -> Vec<String> {
    vec![
        organization.id.to_string(),
        organization.name.clone(),
        organization.plan.as_str().to_owned(),
        organization.owner_email.clone().unwrap_or_default(),
        organization.members.to_string(),
        organization.created_at.format("%Y-%m-%d").to_string(),
    ]
}
