//! Names that are made of others: of copies, and of imported skills whose name is taken.

const MAX: usize = 100;

/// What a copy is called unless somebody says otherwise.
pub fn copy_name(name: &str) -> String {
    with_suffix(name, " (Copy)")
}

/// The name itself for 0, and then ` (1)`, ` (2)` and so on behind it.
pub fn numbered_name(name: &str, number: usize) -> String {
    if number == 0 { name.to_owned() } else { with_suffix(name, &format!(" ({number})")) }
}

/// The name gives way where both are too long.
fn with_suffix(name: &str, suffix: &str) -> String {
    let room = MAX - suffix.chars().count();
    let kept: String = name.chars().take(room).collect();
    format!("{}{suffix}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_name_fits_and_keeps_its_suffix() {
        let long = "x".repeat(100);
        assert_eq!(copy_name("Summary"), "Summary (Copy)");
        assert_eq!(copy_name(&long), format!("{} (Copy)", "x".repeat(93)));
        assert_eq!(numbered_name("Summary", 0), "Summary");
        assert_eq!(numbered_name("Summary", 12), "Summary (12)");
        assert_eq!(numbered_name(&long, 0), long);
        assert_eq!(numbered_name(&long, 100), format!("{} (100)", "x".repeat(94)));
        assert_eq!(numbered_name(&format!("{} y", "x".repeat(95)), 1), format!("{} (1)", "x".repeat(95)));
    }
}
