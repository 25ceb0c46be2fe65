//! Which skills a list shows.

use serde::Deserialize;

use super::SkillCategory;
use crate::domain::check::Check;
use crate::error::Result;

/// Which skills a list shows, and in which order.
#[derive(Clone, Debug, Default)]
pub struct SkillFilter {
    /// Any of these; all when empty.
    pub categories: Vec<SkillCategory>,
    pub is_active: Option<bool>,
    /// Part of name or description, ignoring case.
    pub search: Option<String>,
    pub sort: SkillSort,
}

impl SkillFilter {
    /// A search for nothing but spaces is none. Refuses with `VALIDATION_ERROR`.
    pub fn searching(search: Option<String>) -> Result<Self> {
        let search = search.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let mut check = Check::default();
        if let Some(text) = &search {
            check.text("search", text, 1, 500);
        }
        check.done()?;
        Ok(Self { search, ..Self::default() })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SkillSort {
    #[default]
    Updated,
    Created,
    Name,
    MostUsed,
    Popular,
}
