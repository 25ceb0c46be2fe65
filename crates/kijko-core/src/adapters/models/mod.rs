//! Language model providers.

pub(crate) mod anthropic;
pub(crate) mod offline;
