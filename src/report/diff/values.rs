//! A changed value on one line: an old and a new one.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    line::{Line, Mask},
    strings,
};

/// In bytes. A longer value is compared.
const LONG: usize = 100;
/// In characters. What is shown of a long value before and after its difference.
const AROUND: usize = 24;
/// In bytes. Shorter text could be base64 by chance.
const MIN_BASE64: usize = 24;

/// `name = "old" -> "new" # forces replacement`
struct Changed<'t> {
    /// `name = `; empty for an element of a list.
    head: &'t str,
    old: &'t str,
    new: &'t str,
    /// A comma or a comment.
    tail: &'t str,
}

/// Returns the lines that show a changed value. Any other line stays as it is.
pub(super) fn compared(line: Line, is_replaced: bool, mask: Mask<'_>) -> Vec<Line> {
    let changed = Changed::of(&line.text).filter(|_| line.mark == Some('!') && !line.is_string);
    let Some(changed) = changed else { return vec![line] };
    if let Some(lines) = changed.texts(line.column, mask) {
        return lines;
    }
    let forces = changed.tail.contains("forces replacement");
    let is_known = changed.new != "(known after apply)";
    let (old, new) = match changed.windows() {
        Some(windows) => windows,
        None if forces || (is_replaced && is_known) => {
            (changed.old.to_owned(), changed.new.to_owned())
        }
        None => return vec![line],
    };
    let Changed { head, tail, .. } = changed;
    let comma = if tail.starts_with(',') { "," } else { "" };
    vec![
        Line::new(Some('-'), line.column, format!("{head}{old}{comma}")),
        Line::new(Some('+'), line.column, format!("{head}{new}{tail}")),
    ]
}

impl<'t> Changed<'t> {
    /// Returns None if the text is not a change of one simple value.
    fn of(text: &'t str) -> Option<Self> {
        let arrow = outside_quotes(text, " -> ")?;
        let (before, new) = (&text[..arrow], &text[arrow + 4..]);
        let start = outside_quotes(before, " = ").map_or(0, |at| at + 3);
        let (head, old) = before.split_at(start);
        let end = outside_quotes(new, " # ").unwrap_or(new.len());
        let end = if new[..end].ends_with(',') { end - 1 } else { end };
        let (new, tail) = new.split_at(end);
        let opens = |value: &str| value.is_empty() || value.ends_with(['(', '[', '{']);
        let is_simple = !opens(old) && !opens(new) && !old.contains("<<-") && !new.contains("<<-");
        is_simple.then_some(Self { head, old, new, tail })
    }

    /// Compares the texts that both values are the base64 of.
    fn texts(&self, column: usize, mask: Mask<'_>) -> Option<Vec<Line>> {
        let (old, new) = (decoded(self.old)?, decoded(self.new)?);
        // What was not visible in base64 is now.
        let lines = strings::compared(&mask(&old), &mask(&new), column + 4);
        let head = Line::new(Some('!'), column, format!("{}base64 of this text:", self.head));
        let tail = self.tail.trim_start_matches(',').trim_start();
        let tail = (!tail.is_empty()).then(|| Line::new(None, column, tail));
        Some([head].into_iter().chain(lines).chain(tail).collect())
    }

    /// Returns the parts of two long strings around their difference.
    fn windows(&self) -> Option<(String, String)> {
        let is_string =
            |value: &str| value.len() > 1 && value.starts_with('"') && value.ends_with('"');
        if !is_string(self.old) || !is_string(self.new) || self.old.len().max(self.new.len()) < LONG
        {
            return None;
        }
        let inside = |value: &str| value[1..value.len() - 1].chars().collect::<Vec<char>>();
        let (old, new) = (inside(self.old), inside(self.new));
        let first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let last = old[first..].iter().rev().zip(new[first..].iter().rev());
        let last = last.take_while(|(old, new)| old == new).count();
        let (start, end) = (first.saturating_sub(AROUND), last.saturating_sub(AROUND));
        // Otherwise almost nothing would be left out.
        if start + end < AROUND {
            return None;
        }
        let window = |value: &[char]| {
            let shown: String = value[start..value.len() - end].iter().collect();
            let dots = |cut: usize| if cut > 0 { "…" } else { "" };
            format!("\"{}{shown}{}\"", dots(start), dots(end))
        };
        Some((window(&old), window(&new)))
    }
}

/// Returns where `part` is in the text, if it is not in quotes.
fn outside_quotes(text: &str, part: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if !is_quoted && text[at..].starts_with(part) => return Some(at),
            _ => {}
        }
    }
    None
}

/// Returns the text that a quoted value is the base64 of.
fn decoded(value: &str) -> Option<String> {
    let inside = value.strip_prefix('"')?.strip_suffix('"')?;
    let bytes = STANDARD.decode(inside).ok().filter(|_| inside.len() >= MIN_BASE64)?;
    let text = String::from_utf8(bytes).ok()?;
    let is_text = text.chars().all(|char| !char.is_control() || "\n\t\r".contains(char));
    (is_text && text.trim().len() > 1).then_some(text)
}
