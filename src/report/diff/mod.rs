//! Terraform's text about a resource as a diff, with the marks in the first column. What does not
//! change in long values is left out.

mod elements;
mod line;
mod strings;
#[cfg(test)]
mod tests;
mod values;

use self::line::{Line, Mask};

/// Returns Terraform's text, which is masked, as a diff. `is_replaced`: the resource is destroyed
/// and created, so that its values are shown as removed and added.
pub(super) fn as_diff(text: &str, is_replaced: bool, mask: Mask<'_>) -> String {
    let lines = elements::without_unchanged(marked(text));
    let lines = lines.into_iter().flat_map(|line| values::compared(line, is_replaced, mask));
    let lines = strings::without_context(lines.collect());
    lines.iter().map(Line::render).collect::<Vec<_>>().join("\n")
}

/// Moves Terraform's marks to the first column, where a diff has them; `~` becomes `!`.
///
/// In a heredoc, a line is marked only if Terraform marked it, or if the whole attribute is added
/// or removed: a line of YAML that starts with `-` is not a removed line.
fn marked(text: &str) -> Vec<Line> {
    let mut heredoc: Option<Heredoc> = None;
    let mut out = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix("  ").unwrap_or(line);
        let indent = line.len() - line.trim_start().len();
        let content = &line[indent..];
        let (mark, rest) = split_mark(content);
        out.push(match &heredoc {
            Some(open) if content.starts_with(&open.end) => {
                heredoc = None;
                Line::new(None, indent, content)
            }
            Some(open) if open.mark.is_some() => Line::of_string(open.mark, indent, content),
            Some(open) if indent == open.marks_at => Line::of_string(mark, indent + 2, rest),
            Some(_) => Line::of_string(None, indent, content),
            None => {
                heredoc = Heredoc::start(content, indent, mark);
                match mark {
                    Some(_) => Line::new(mark, indent + 2, rest),
                    None => Line::new(None, indent, content),
                }
            }
        });
    }
    out
}

/// A heredoc whose end has not been reached.
struct Heredoc {
    /// The delimiter, such as `EOT`.
    end: String,
    /// The column of Terraform's marks in it.
    marks_at: usize,
    /// `+` or `-` if the whole attribute is added or removed.
    mark: Option<char>,
}

impl Heredoc {
    fn start(text: &str, indent: usize, mark: Option<char>) -> Option<Self> {
        let (_, end) = text.rsplit_once("<<-")?;
        let is_name =
            !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        is_name.then(|| Self {
            end: end.to_owned(),
            marks_at: indent + 4,
            mark: mark.filter(|mark| *mark != '!'),
        })
    }
}

/// Splits a line into the mark of a diff and the rest. A replacement keeps its `-/+`.
fn split_mark(text: &str) -> (Option<char>, &str) {
    match text.split_once(' ') {
        Some(("+", rest)) => (Some('+'), rest),
        Some(("-", rest)) => (Some('-'), rest),
        Some(("~", rest)) => (Some('!'), rest),
        Some(("-/+" | "+/-", _)) => (Some('!'), text),
        _ => (None, text),
    }
}
