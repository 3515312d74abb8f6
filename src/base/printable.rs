//! Text of others that cdflow prints: control characters could move the cursor, hide lines or add
//! some.

use std::borrow::Cow;

use serde_json::Value;

/// Replaces everything that a terminal would act on, also the ends of lines.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { '\u{fffd}' }).collect()
}

/// Shows a text of others between backticks: escaped, and cut after about 80 characters.
pub(crate) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let is_cut = text.chars().nth(SHOWN).is_some();
    if is_cut {
        shown.push('…');
    }
    shown
}

/// Returns the first names of others, and how many more there are.
pub(crate) fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| excerpt(name)).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Replaces such characters in a text of several lines, which may be indented by tabs.
pub(crate) fn lines(text: &str) -> String {
    let plain = |c| if c == '\t' || is_plain(c) { c } else { '\u{fffd}' };
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    lines.map(|line| line.chars().map(plain).collect::<String>()).collect::<Vec<_>>().join("\n")
}

/// Returns a line of a program's output with its colours, which end with the line. What else a
/// terminal would act on, or what would hide text, is replaced.
pub(crate) fn colored_line(line: &str, has_colors: bool) -> Cow<'_, str> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.chars().all(|c| c == '\t' || is_plain(c)) {
        return Cow::Borrowed(line);
    }
    let (mut shown, mut rest, mut is_colored) = (String::new(), line, false);
    while let Some(first) = rest.chars().next() {
        if let Some((parameters, after)) = color(rest) {
            if has_colors {
                is_colored = !["", "0"].contains(&parameters);
                shown.push_str(&rest[..rest.len() - after.len()]);
            }
            rest = after;
            continue;
        }
        shown.push(if first == '\t' || is_plain(first) { first } else { '\u{fffd}' });
        rest = &rest[first.len_utf8()..];
    }
    if is_colored {
        shown.push_str("\u{1b}[0m");
    }
    Cow::Owned(shown)
}

/// Splits the colour at the start of a text into its parameters and the rest. None for a colour
/// that conceals.
fn color(text: &str) -> Option<(&str, &str)> {
    let (parameters, after) = text.strip_prefix("\u{1b}[")?.split_once('m')?;
    let is_number = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
    let is_shown = |it: &str| is_number(it) && it.trim_start_matches('0') != "8";
    parameters.split([';', ':']).all(is_shown).then_some((parameters, after))
}

/// Does the same for every string of a document, except for the ends of lines.
pub(crate) fn document(value: &mut Value) {
    match value {
        Value::String(text) if !text.chars().all(is_plain) => {
            *text = text.split('\n').map(line).collect::<Vec<_>>().join("\n");
        }
        Value::Array(items) => items.iter_mut().for_each(document),
        Value::Object(items) => items.values_mut().for_each(document),
        _ => {}
    }
}

/// Also false for characters that change the direction of text.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !('\u{202a}'..='\u{202e}').contains(&c)
        && !('\u{2066}'..='\u{2069}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on() {
        for (text, printed) in [
            ("ada [bot] é \u{1f600}", "ada [bot] é \u{1f600}"),
            ("\u{1b}[2Jada", "\u{fffd}[2Jada"),
            ("a\r\nb\tc", "a\u{fffd}\u{fffd}b\u{fffd}c"),
            ("\u{9b}31m\u{202e}x", "\u{fffd}31m\u{fffd}x"),
        ] {
            assert_eq!(line(text), printed);
        }
        let mut value = serde_json::json!({ "a": ["x\u{7}\ny", 1], "b": { "c": "\u{1b}" } });
        document(&mut value);
        let printed = serde_json::json!({ "a": ["x\u{fffd}\ny", 1], "b": { "c": "\u{fffd}" } });
        assert_eq!(value, printed);
    }

    #[test]
    fn an_excerpt_is_short() {
        assert_eq!(excerpt("1.9\u{1b}\0\""), "1.9\\u{1b}\\0\\\"");
        assert_eq!(excerpt(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(excerpt(&"é".repeat(2 << 20)), format!("{}…", "é".repeat(80)));
        // Escapes are counted too.
        assert!(excerpt(&"\0".repeat(81)).len() < 200);
    }

    #[test]
    fn colors_of_a_program_stay() {
        for (line, colored, plain) in [
            ("a\tb\r", "a\tb", "a\tb"),
            ("\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}[31mred", "\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[8mhid", "\u{fffd}[8mhid", "\u{fffd}[8mhid"),
            ("\u{1b}[0;08mhid", "\u{fffd}[0;08mhid", "\u{fffd}[0;08mhid"),
            ("\u{1b}[2J\u{1b}[Hx", "\u{fffd}[2J\u{fffd}[Hx", "\u{fffd}[2J\u{fffd}[Hx"),
            ("\u{1b}]0;title\u{7}x", "\u{fffd}]0;title\u{fffd}x", "\u{fffd}]0;title\u{fffd}x"),
            (
                "all of it\rnone\u{8}",
                "all of it\u{fffd}none\u{fffd}",
                "all of it\u{fffd}none\u{fffd}",
            ),
            ("\u{1b}[31", "\u{fffd}[31", "\u{fffd}[31"),
        ] {
            assert_eq!(colored_line(line, true), colored);
            assert_eq!(colored_line(line, false), plain);
        }
    }

    #[test]
    fn lines_of_a_text_stay() {
        assert_eq!(lines("a\r\n\tb\rc\n\u{1b}[31md"), "a\n\tb\u{fffd}c\n\u{fffd}[31md");
    }
}
