//! Text that a person reads: aligned tables and short numbers, the same on a terminal and in a file.

use std::fmt;

/// A table whose first column holds names and whose other columns hold numbers.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

/// Widths that hold most names and numbers, so that tables which follow each other are aligned too.
const NAME_WIDTH: usize = 15;
const NUMBER_WIDTH: usize = 5;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let least = if column == 0 { NAME_WIDTH } else { NUMBER_WIDTH };
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(least)
        };
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                line += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Numbers as columns between the smallest and the largest.
pub fn columns(values: &[f64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
    let height = |&x: &f64| (((x - low) / (high - low) * HEIGHTS.len() as f64) as usize).min(HEIGHTS.len() - 1);
    values.iter().map(|x| HEIGHTS[height(x)]).collect()
}

/// What stands where there is no number.
pub const NONE: &str = "-";

/// A number with three significant digits, or all digits before the point.
pub fn short(x: f64) -> String {
    let digits = if x == 0.0 { 1 } else { x.abs().log10().floor() as i32 + 1 };
    format!("{x:.*}", usize::try_from(3 - digits.max(0)).unwrap_or(0))
}

/// A whole number with its thousands set apart.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// So many things: `1 thread`, `2 threads`.
pub fn counted(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// A share of one as a whole percentage.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["64x64x64", "GFLOP/s", "error"]);
        table.row(["naive".into(), "1.41".into(), "3.4".into()]);
        table.row(["a name that is long".into(), "169".into()]);
        assert_eq!(
            table.to_string(),
            "64x64x64             GFLOP/s  error\n\
             naive                   1.41    3.4\n\
             a name that is long      169\n"
        );
    }

    #[test]
    fn columns_reach_from_low_to_high() {
        assert_eq!(columns(&[0.0, 4.0, 8.0, 1.0]), "▁▅█▂");
        assert_eq!(columns(&[3.0]), "▁");
    }

    #[test]
    fn numbers_are_short() {
        for (x, text) in
            [(0.0, "0.00"), (0.0712, "0.071"), (1.414, "1.41"), (20.76, "20.8"), (169.2, "169"), (12345.0, "12345")]
        {
            assert_eq!(short(x), text);
        }
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1234567), "1 234 567");
        assert_eq!((counted(1, "core"), counted(2, "core")), ("1 core".to_owned(), "2 cores".to_owned()));
        assert_eq!(percent(0.876), "88%");
    }
}
