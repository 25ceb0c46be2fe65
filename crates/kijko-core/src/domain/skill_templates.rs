//! Built-in templates: starting points for skills of one's own.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::domain::input_schema::InputSchemaField;
use crate::domain::skills::{OutputFormat, SkillCategory};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SkillTemplate {
    /// In kebab-case; never changes.
    pub id: String,
    pub name: String,
    pub description: String,
    pub category: SkillCategory,
    pub prompt_template: String,
    pub input_schema: Vec<InputSchemaField>,
    pub output_format: OutputFormat,
    pub suggested_model: String,
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    pub suggested_temperature: Number,
    pub suggested_max_tokens: u32,
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
}

/// Which templates a list shows.
#[derive(Clone, Debug, Default)]
pub struct TemplateFilter {
    pub category: Option<SkillCategory>,
    /// Part of the name, the description or a tag, ignoring case.
    pub search: Option<String>,
}

impl SkillTemplate {
    /// All there are, in the order in which they are shown.
    pub fn all() -> &'static [Self] {
        &BUILT_IN
    }

    pub fn find(id: &str) -> Option<&'static Self> {
        Self::all().iter().find(|template| template.id == id)
    }

    /// The tags of all of them, each once, sorted.
    pub fn tags() -> Vec<&'static str> {
        let mut tags: Vec<&str> = Self::all().iter().flat_map(|template| &template.tags).map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    pub fn matches(&self, filter: &TemplateFilter) -> bool {
        let wanted = filter.search.as_deref().unwrap_or_default().trim().to_lowercase();
        let has = |text: &String| text.to_lowercase().contains(&wanted);
        filter.category.is_none_or(|category| category == self.category)
            && (has(&self.name) || has(&self.description) || self.tags.iter().any(has))
    }
}

static BUILT_IN: LazyLock<Vec<SkillTemplate>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct File {
        templates: Vec<SkillTemplate>,
    }
    let file: File = toml::from_str(include_str!("../../skill_templates.toml")).expect("the tests read it as well");
    file.templates
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{SkillId, UserId};
    use crate::domain::skills::{NewSkill, Parameters};
    use crate::domain::templates::variables;
    use crate::domain::time::Timestamp;

    /// As a client would make a skill of it.
    fn skill(template: &SkillTemplate) -> NewSkill {
        NewSkill {
            name: template.name.clone(),
            description: Some(template.description.clone()),
            category: Some(template.category),
            prompt_template: template.prompt_template.clone(),
            model: Some(template.suggested_model.clone()),
            fallback_model: None,
            parameters: Some(Parameters {
                temperature: Some(template.suggested_temperature.clone()),
                max_tokens: Some(template.suggested_max_tokens),
                ..Parameters::default()
            }),
            input_schema: Some(template.input_schema.clone()),
            output_format: Some(template.output_format),
            is_active: None,
        }
    }

    #[test]
    fn every_template_makes_a_valid_skill_and_uses_exactly_its_variables() {
        for template in SkillTemplate::all() {
            let made = skill(template).into_skill(
                SkillId(uuid::Uuid::nil()),
                UserId(uuid::Uuid::nil()),
                Timestamp::UNIX_EPOCH,
            );
            made.unwrap_or_else(|error| panic!("{} is no valid skill: {error}", template.id));
            let mut used = variables(&template.prompt_template);
            used.sort_unstable();
            let mut named: Vec<&str> = template.input_schema.iter().map(|field| field.name.as_str()).collect();
            named.sort_unstable();
            assert_eq!(used, named, "the variables of {} and its inputSchema", template.id);
        }
    }

    /// Field names, an asterisk behind those that are required, and their defaults.
    fn asked(template: &SkillTemplate) -> String {
        let field = |field: &InputSchemaField| {
            let required = if field.required == Some(true) { "*" } else { "" };
            let default = field.default.as_ref().map_or_else(String::new, |value| format!("={value}"));
            format!("{}{required}{default}", field.name)
        };
        template.input_schema.iter().map(field).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_set_is_the_documented_one() {
        let set: Vec<String> = SkillTemplate::all()
            .iter()
            .map(|t| {
                let (category, format) = (t.category.as_str(), t.output_format.as_str());
                let limits = format!("{} {}", t.suggested_temperature, t.suggested_max_tokens);
                format!("{} | {} | {category} | {} | {format} {limits} | {}", t.id, t.name, asked(t), t.tags.join(" "))
            })
            .collect();
        assert_eq!(
            set,
            [
                "marketing-copy-generator | Marketing Copy Generator | generation | product_name* target_audience* \
                 tone=\"professional\" key_benefits* | markdown 0.7 2048 | marketing copywriting content",
                "code-reviewer | Code Reviewer | analysis | code* language* context | markdown 0.3 4096 | engineering \
                 code-review development",
                "documentation-generator | Documentation Generator | generation | doc_type* content* \
                 audience=\"developers\" | markdown 0.4 4096 | documentation technical-writing development",
                "sql-query-builder | SQL Query Builder | transformation | request* schema* | code 0.2 2048 | sql database \
                 data",
                "email-composer | Professional Email Composer | communication | purpose* recipient* key_points* \
                 tone=\"professional\" | text 0.6 1024 | email communication business",
                "data-analyzer | Data Analyzer | analysis | data* focus | markdown 0.4 4096 | analytics data insights",
                "task-breakdown | Task Breakdown Assistant | automation | task* context constraints | markdown 0.5 2048 | \
                 planning project-management productivity",
                "content-summarizer | Content Summarizer | transformation | content* length=\"moderate\" | markdown 0.3 \
                 1024 | summary content productivity",
            ]
        );
        assert!(SkillTemplate::all().iter().all(|t| t.suggested_model == crate::domain::skills::DEFAULT_MODEL));
    }
}
