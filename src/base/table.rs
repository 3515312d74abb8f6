//! Tables of plain text, and how they fit a terminal.

use std::fmt;

use super::printable;

/// Between two columns.
const GAP: &str = "  ";
/// Before the columns that do not fit next to the others.
const INDENT: &str = "    ";

/// The terminal that a table is printed on. The default is a file or a pipe.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Screen {
    /// In characters; None if the output is not a terminal.
    pub(crate) width: Option<usize>,
    /// Whether the terminal shows text as a link (OSC 8).
    pub(crate) has_links: bool,
}

impl Screen {
    /// Returns a digest as a line shows it: on a terminal its first digits, elsewhere all of it.
    pub(crate) fn digest(self, digest: impl fmt::Display) -> String {
        const SHOWN: usize = 16;
        let digest = digest.to_string();
        match self.width.and(digest.get(..SHOWN)) {
            Some(first) => format!("{first}…"),
            None => digest,
        }
    }
}

/// A cell is one line. On a terminal with links, its text leads to `link`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) link: Option<String>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, link: None }
    }
}

/// Returns the lines of a table: each column is as wide as its widest cell, the last as it comes.
/// On a terminal, the last columns that do not fit are on a line of their own, and a long line is
/// wrapped between words.
pub(crate) fn fitted<const N: usize>(rows: &[[Cell; N]], screen: Screen) -> Vec<String> {
    let rows: Vec<[Cell; N]> = rows.iter().map(|row| row.each_ref().map(printable_cell)).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| width(&row[column].text)).max().unwrap_or(0)
    });
    let kept = match screen.width {
        None => N,
        Some(limit) => (1..=N).rev().find(|count| total(&widths[..*count]) <= limit).unwrap_or(1),
    };
    let mut lines = Vec::new();
    for row in &rows {
        let (first, rest) = row.split_at(kept);
        lines.push(line(first, &widths, screen));
        let rest: Vec<&Cell> = rest.iter().filter(|cell| !cell.text.is_empty()).collect();
        lines.extend(below(&rest, screen));
    }
    lines
}

/// Returns `text` after `label`, wrapped between words on a terminal. Further lines begin below the
/// text. A word that does not fit there is on a line of its own.
pub(crate) fn labelled(label: &str, text: &str, screen: Screen) -> Vec<String> {
    let Some(limit) = screen.width else { return vec![format!("{label}{text}")] };
    let start = width(label);
    let mut lines: Vec<String> = vec![label.to_owned()];
    let (mut used, mut is_first) = (start, true);
    for word in text.split_whitespace() {
        let length = width(word);
        let gap = usize::from(!is_first);
        match lines.last_mut() {
            Some(line) if used + gap + length <= limit => {
                line.push_str(&" ".repeat(gap));
                line.push_str(word);
                used += gap + length;
            }
            _ => {
                let indent = if start + length <= limit { start } else { INDENT.len().min(start) };
                lines.push(format!("{}{word}", " ".repeat(indent)));
                used = indent + length;
            }
        }
        is_first = false;
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

fn printable_cell(cell: &Cell) -> Cell {
    let link = cell.link.as_deref().map(printable::line);
    Cell { text: printable::line(&cell.text), link }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)
}

fn line(cells: &[Cell], widths: &[usize], screen: Screen) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, wanted)| {
        let padding = " ".repeat(wanted.saturating_sub(width(&cell.text)));
        format!("{}{padding}", shown(cell, screen))
    });
    padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
}

/// Returns the lines for what does not fit.
fn below(cells: &[&Cell], screen: Screen) -> Vec<String> {
    let limit = screen.width.unwrap_or(usize::MAX);
    let mut lines: Vec<(usize, String)> = Vec::new();
    for cell in cells {
        // A link is not cut.
        let words: Vec<String> = match cell.link {
            Some(_) => vec![shown(cell, screen)],
            None => cell.text.split_whitespace().map(str::to_owned).collect(),
        };
        for (index, word) in words.iter().enumerate() {
            let gap = if index == 0 { GAP } else { " " };
            let length = if cell.link.is_some() { width(&cell.text) } else { width(word) };
            match lines.last_mut() {
                Some((used, line)) if *used + gap.len() + length <= limit => {
                    line.push_str(gap);
                    line.push_str(word);
                    *used += gap.len() + length;
                }
                _ => lines.push((INDENT.len() + length, format!("{INDENT}{word}"))),
            }
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

fn shown(cell: &Cell, screen: Screen) -> String {
    match cell.link.as_ref().filter(|_| screen.has_links) {
        Some(link) => format!("\u{1b}]8;;{link}\u{1b}\\{}\u{1b}]8;;\u{1b}\\", cell.text),
        None => cell.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> [[Cell; 4]; 2] {
        let row = |cells: [&str; 4]| cells.map(|text| Cell::from(text.to_owned()));
        let mut rows = [
            row(["RUN", "WHEN", "BY", "REASON"]),
            row(["12", "2026-11-20 10:00Z", "ada #7", "terraform apply failed: no such thing"]),
        ];
        rows[1][2].link = Some("https://ci.example/runs/7".to_owned());
        rows
    }

    #[test]
    fn a_terminal_gets_the_first_digits() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(Screen::default().digest(&digest), digest);
        let terminal = Screen { width: Some(80), has_links: false };
        assert_eq!(terminal.digest(&digest), "0123456789abcdef…");
        assert_eq!(terminal.digest("12"), "12");
    }

    #[test]
    fn a_file_gets_every_column() {
        let lines = fitted(&rows(), Screen::default());
        assert_eq!(
            lines,
            [
                "RUN  WHEN               BY      REASON",
                "12   2026-11-20 10:00Z  ada #7  terraform apply failed: no such thing"
            ]
        );
    }

    #[test]
    fn a_terminal_gets_what_fits_and_the_rest_below() {
        let on = |width| fitted(&rows(), Screen { width: Some(width), has_links: false });
        assert_eq!(on(69).len(), 2);
        let narrow = [
            "RUN  WHEN               BY",
            "    REASON",
            "12   2026-11-20 10:00Z  ada #7",
            "    terraform apply failed: no",
            "    such thing",
        ];
        assert_eq!(on(30), narrow);
        for width in 10..80 {
            let lines = on(width);
            let fits = lines.iter().all(|line| line.chars().count() <= width.max(22));
            assert!(fits, "{width}: {lines:?}");
        }
    }

    #[test]
    fn text_is_wrapped_after_its_label() {
        let on = |width| {
            let screen = Screen { width, has_links: false };
            labelled("digest  ", "it is 0123456789abcdef or none", screen)
        };
        assert_eq!(on(None), ["digest  it is 0123456789abcdef or none"]);
        assert_eq!(on(Some(38)).len(), 1);
        assert_eq!(on(Some(24)), ["digest  it is", "        0123456789abcdef", "        or none"]);
        assert_eq!(on(Some(20)), ["digest  it is", "    0123456789abcdef", "        or none"]);
        let screen = Screen { width: Some(12), has_links: false };
        assert_eq!(labelled("digest  ", "0123456789", screen), ["digest", "    0123456789"]);
    }

    #[test]
    fn links_have_no_width() {
        let lines = fitted(&rows(), Screen { width: Some(69), has_links: true });
        let link = "\u{1b}]8;;https://ci.example/runs/7\u{1b}\\ada #7\u{1b}]8;;\u{1b}\\";
        assert_eq!(
            lines[1],
            format!("12   2026-11-20 10:00Z  {link}  terraform apply failed: no such thing")
        );
        let mut rows = rows();
        rows[1][2].link = Some("https://x/\u{1b}]8;;evil\u{1b}\\".to_owned());
        let lines = fitted(&rows, Screen { width: Some(69), has_links: true });
        assert_eq!(lines[1].matches('\u{1b}').count(), 4);
    }
}
