//! Plain text in columns.

use std::fmt::Write;

/// A heading and rows; each column is as wide as its widest cell.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([heading[column].chars().count()])
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in [heading.map(str::to_owned)].iter().chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:width$}  ").expect("text can always be written to");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Names and what they stand for, one pair a line.
pub(super) fn pairs(pairs: &[(&str, &str)]) -> String {
    let width = pairs
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {value}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [
            ["alice".to_owned(), "now".to_owned()],
            ["ö".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["NAME", "SINCE"], &rows),
            "NAME   SINCE\nalice  now\nö\n"
        );
        assert_eq!(table(["NAME"], &[]), "NAME\n");
        assert_eq!(pairs(&[("id", "1"), ("key", "2")]), "id   1\nkey  2\n");
    }
}
