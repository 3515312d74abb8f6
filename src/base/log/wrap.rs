//! Breaks messages for a terminal between words. A terminal breaks a long line anywhere.

/// What begins advice.
const ADVICE: &str = "  -> ";
/// A command, up to the end of its line.
const COMMAND: &str = "cdflow ";

/// Returns the text with no line wider than `width`, as far as its words allow that. `label` is how
/// much of the first line is taken. Further lines of a paragraph begin below its text.
///
/// What people copy is not broken: text in backticks, a command at the end of a line, and lines
/// that begin with spaces.
pub(super) fn wrapped(text: &str, label: usize, width: usize) -> String {
    let lines = text.lines().enumerate().map(|(number, line)| {
        let label = if number == 0 { label } else { 0 };
        let indent = if line.starts_with(ADVICE) { ADVICE.len() } else { label };
        let fits = label + line.chars().count() <= width;
        match fits || (indent == label && line.starts_with(' ')) {
            true => line.to_owned(),
            false => paragraph(line, label, indent, width),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn paragraph(line: &str, label: usize, indent: usize, width: usize) -> String {
    let start = if line.starts_with(ADVICE) { ADVICE } else { "" };
    let mut made = start.to_owned();
    let mut used = label + start.len();
    let mut is_first = true;
    for word in words(&line[start.len()..]) {
        let length = word.chars().count();
        if !is_first && used + 1 + length > width {
            made.push('\n');
            made.push_str(&" ".repeat(indent));
            used = indent;
        } else if !is_first {
            made.push(' ');
            used += 1;
        }
        made.push_str(&word);
        used += length;
        is_first = false;
    }
    made
}

/// Returns what stays together.
fn words(text: &str) -> Vec<String> {
    let command = text.find(&format!(": {COMMAND}")).map(|at| at + 2);
    let (prose, command) = text.split_at(command.unwrap_or(text.len()));
    let mut found: Vec<String> = Vec::new();
    for word in prose.split(' ').filter(|word| !word.is_empty()) {
        match found.last_mut() {
            Some(last) if last.matches('`').count() % 2 == 1 => {
                last.push(' ');
                last.push_str(word);
            }
            _ => found.push(word.to_owned()),
        }
    }
    found.extend(Some(command.to_owned()).filter(|command| !command.is_empty()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        for (text, label, shown) in [
            ("one two three four", 0, "one two three four"),
            ("one two three four five", 0, "one two three four\nfive"),
            ("one two three four", 7, "one two three\n       four"),
            ("one\n  -> one two three four", 0, "one\n  -> one two three\n     four"),
            ("one two `three four five`", 0, "one two\n`three four five`"),
            ("to see all of them: cdflow history", 0, "to see all of them:\ncdflow history"),
            ("    code of more than twenty", 0, "    code of more than twenty"),
            ("a-name-of-more-than-twenty one", 7, "a-name-of-more-than-twenty\n       one"),
            ("an `open one two three four", 0, "an\n`open one two three four"),
            ("éééééééé ééééééééééé", 0, "éééééééé ééééééééééé"),
            ("", 7, ""),
        ] {
            assert_eq!(wrapped(text, label, 20), shown);
        }
        assert_eq!(wrapped("one two", 7, 1), "one\n       two");
    }
}
