//! Text of others that cdflow prints: control characters could move the cursor, hide lines or add
//! some.

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
    fn lines_of_a_text_stay() {
        assert_eq!(lines("a\r\n\tb\rc\n\u{1b}[31md"), "a\n\tb\u{fffd}c\n\u{fffd}[31md");
    }
}
