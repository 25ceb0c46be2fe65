//! A page of a list. Every list is bounded.

use crate::domain::check::Check;
use crate::error::Result;

/// The part of a list that is asked for: at most 100 rows from `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    limit: u32,
    offset: u64,
}

impl Page {
    pub const MAX: u32 = 100;
    pub const DEFAULT: u32 = 20;

    /// By number, counted from 1. Refuses with `VALIDATION_ERROR`.
    pub fn numbered(page: Option<u32>, page_size: Option<u32>) -> Result<Self> {
        let (page, limit) = (page.unwrap_or(1), page_size.unwrap_or(Self::DEFAULT));
        let mut check = Check::default();
        check.that(page >= 1, "page", "range", || "page must be at least 1".into());
        check.range("pageSize", limit, 1, Self::MAX);
        check.done()?;
        Ok(Self { limit, offset: u64::from(page - 1) * u64::from(limit) })
    }

    /// By offset. Refuses with `VALIDATION_ERROR`.
    pub fn from_offset(limit: Option<u32>, offset: Option<u64>) -> Result<Self> {
        let (limit, offset) = (limit.unwrap_or(Self::DEFAULT), offset.unwrap_or(0));
        let mut check = Check::default();
        check.range("limit", limit, 1, Self::MAX);
        check.range("offset", offset, 0, i64::MAX as u64);
        check.done()?;
        Ok(Self { limit, offset })
    }

    pub fn limit(self) -> u32 {
        self.limit
    }

    pub fn offset(self) -> u64 {
        self.offset
    }

    /// The number of this page, counted from 1.
    pub fn number(self) -> u64 {
        self.offset / u64::from(self.limit) + 1
    }

    pub fn has_more(self, total: u64) -> bool {
        self.offset.saturating_add(u64::from(self.limit)) < total
    }
}

/// Rows of one page, and how many there are in all.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    pub rows: Vec<T>,
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_its_number_and_whether_more_follow() {
        let page = Page::numbered(Some(3), Some(20)).expect("a valid page");
        assert_eq!((page.offset(), page.number()), (40, 3));
        assert!(page.has_more(61));
        assert!(!page.has_more(60));
        let page = Page::from_offset(Some(20), Some(45)).expect("a valid page");
        assert_eq!(page.number(), 3);
    }

    #[test]
    fn pages_outside_the_bounds_are_refused() {
        assert!(Page::numbered(Some(0), None).is_err());
        assert!(Page::numbered(None, Some(101)).is_err());
        assert!(Page::numbered(None, Some(0)).is_err());
        assert!(Page::from_offset(Some(0), None).is_err());
        assert!(Page::from_offset(None, Some(u64::MAX)).is_err());
    }
}
