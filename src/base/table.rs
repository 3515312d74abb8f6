//! Tables of plain text.

use super::printable;

/// Each column as wide as its widest cell, the last as it comes. A cell is one line.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let rows = rows.iter().map(|row| row.each_ref().map(|cell| printable::line(cell)));
    let rows = rows.collect::<Vec<_>>();
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
