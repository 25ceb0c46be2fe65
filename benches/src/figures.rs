//! Median and spread of a few measurements.

use std::fmt;

pub struct Figures(Vec<f64>);

/// One figure of every run.
pub fn each<T>(runs: &[T], figure: impl Fn(&T) -> f64) -> Figures {
    let mut values: Vec<f64> = runs.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    Figures(values)
}

/// Median, least and most, as the cells of a table.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(least), Some(most)) = (self.0.first(), self.0.last()) else { return Ok(()) };
        let middle = self.0.len() / 2;
        let median = if self.0.len() % 2 == 1 { self.0[middle] } else { (self.0[middle - 1] + self.0[middle]) / 2.0 };
        let digits = if *most >= 1000.0 {
            0
        } else if *most >= 10.0 {
            1
        } else {
            2
        };
        write!(f, "{median:.digits$} | {least:.digits$} | {most:.digits$}")
    }
}
