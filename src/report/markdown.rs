//! Escaping of untrusted text for Markdown: it is shown literally and has no effect.

use jiff::Timestamp;

/// An invisible character, which keeps GitHub from making a mention, a reference or a link.
const BREAK: char = '\u{200b}';
/// The start of cdflow's hidden lines.
pub(super) const MARKER: &str = "<!-- cdflow";

/// Returns a code block. Its fence is longer than any run of backticks in `text`, which so cannot
/// end it.
pub(super) fn fence(language: &str, text: &str) -> String {
    let shown = block(text);
    // Counted in the escaped text: a removed character might have separated two runs.
    let ticks = "`".repeat(longest_run(&shown).max(2) + 1);
    format!("{ticks}{language}\n{shown}\n{ticks}")
}

/// Returns text for a code block: without control characters, direction overrides and cdflow's
/// markers.
pub(super) fn block(text: &str) -> String {
    let mut shown: String =
        text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).map(visible).collect();
    if shown.contains(MARKER) {
        shown = shown.replace(MARKER, &MARKER.replacen("<!", &format!("<!{BREAK}"), 1));
    }
    shown
}

/// Returns a code span, on one line. Empty for empty text.
pub(super) fn code(text: &str) -> String {
    let text = block(&one_line(text));
    if text.is_empty() {
        return String::new();
    }
    let ticks = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// Returns a code span for a table, where a pipe ends the cell even in code.
pub(super) fn code_cell(text: &str) -> String {
    code(&text.replace('\\', "\u{ff3c}").replace('|', "\u{2502}"))
}

/// Escapes plain text for Markdown, including table cells.
pub(super) fn words(text: &str) -> String {
    let mut out = String::new();
    for c in one_line(text).chars().filter(|c| !c.is_control()).map(visible) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' | '#' | ':' | '.' => out.extend([c, BREAK]),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '~' | '!' | '|' | '$' | '-' | '+'
            | '=' => {
                out.extend(['\\', c]);
            }
            c => out.push(c),
        }
    }
    out
}

/// Escapes plain text for HTML, such as a `<summary>`.
pub(super) fn html(text: &str) -> String {
    let mut out = String::new();
    for c in one_line(text).chars().filter(|c| !c.is_control()).map(visible) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '@' | '#' => out.extend([c, BREAK]),
            c => out.push(c),
        }
    }
    out
}

/// Returns a link, or only the text without a plain HTTP(S) `url`.
pub(super) fn link(text: &str, url: Option<&str>) -> String {
    let is_plain = |url: &&str| {
        (url.starts_with("https://") || url.starts_with("http://"))
            && url.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>|`\"\\[]".contains(&byte))
    };
    match url.filter(is_plain) {
        Some(url) => format!("[{text}]({url})"),
        None => text.to_owned(),
    }
}

/// Cuts text between two lines to at most `limit` bytes, with a last line that says how many are
/// missing.
pub(super) fn cut_lines(text: &str, limit: usize) -> String {
    const NOTE: usize = 40;
    if text.len() <= limit {
        return text.to_owned();
    }
    let room = limit.saturating_sub(NOTE);
    let end = text[..floor(text, room)].rfind('\n').unwrap_or_else(|| floor(text, room));
    let missing = text[end..].trim_start_matches('\n').lines().count();
    format!("{}\n    … {}", &text[..end], counted(missing, "more line"))
}

/// Returns the last character boundary that is not after `at`.
pub(super) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Formats a count with its noun: `1 line`, `12,345 lines`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Formats a number with thousands separators: `12,345`.
pub(super) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns `word` with its first letter in upper case.
pub(super) fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Formats a time in UTC, to the minute: GitHub cannot show a comment in the reader's time zone.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn one_line(text: &str) -> String {
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Replaces characters that change the writing direction: with them, text can look like other text.
fn visible(c: char) -> char {
    match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        c => c,
    }
}

fn longest_run(text: &str) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text of an attacker who wants to escape from the code block.
    fn hostile() -> impl Strategy<Value = String> {
        let pieces = [
            "`",
            "```",
            "~~~",
            "\n",
            "\r",
            "@team",
            "<!--",
            "-->",
            "<!-- cdflow {} -->",
            "|",
            "\\",
            "](http://x)",
            "<script>",
            "</details>",
            "#1",
            "\u{1b}[31m",
            "::error::x",
            "\u{202e}",
            "ä",
            "漢",
            "https://x.y",
            "a b",
            "*",
            "_",
            "&lt;",
            "$x$",
            "\u{0}",
        ];
        let piece = prop_oneof![
            proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned),
            ".{0,8}"
        ];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_fence_can_not_be_ended_from_inside(text in hostile()) {
            let fenced = fence("diff", &text);
            let lines: Vec<&str> = fenced.split('\n').collect();
            let (first, last) = (lines[0].trim_end_matches("diff"), lines[lines.len() - 1]);
            prop_assert_eq!(first, last);
            prop_assert!(lines[1..lines.len() - 1].iter().all(|line| !line.contains(last)));
            let forbidden = ['\u{1b}', '\r', '\u{202e}', '\u{0}'];
            prop_assert!(!fenced.contains(MARKER) && !fenced.contains(forbidden));
        }

        #[test]
        fn code_stays_code(text in hostile()) {
            for shown in [code(&text), code_cell(&text)] {
                prop_assert!(!shown.contains(['\n', '\r']));
                let ticks = shown.chars().take_while(|c| *c == '`').count();
                let inside = shown.trim_matches('`');
                prop_assert!(shown.is_empty() || ticks > longest_run(inside.trim()));
            }
            prop_assert!(!code_cell(&text).contains('|'));
        }

        #[test]
        fn words_mean_nothing(text in hostile()) {
            let shown = words(&text);
            prop_assert!(!shown.contains(['\n', '\r', '<', '>']));
            let chars: Vec<char> = shown.chars().collect();
            for (at, c) in chars.iter().enumerate() {
                match c {
                    '@' | '#' | ':' | '.' => prop_assert_eq!(chars.get(at + 1), Some(&BREAK)),
                    '|' | '`' | '[' | ']' => prop_assert_eq!(chars[at - 1], '\\'),
                    _ => {}
                }
            }
            let shown = html(&text);
            prop_assert!(!shown.contains(['\n', '\r', '<', '>', '"']));
        }

        #[test]
        fn a_cut_keeps_the_limit_and_whole_characters(text in hostile(), limit in 60_usize..200) {
            prop_assert!(cut_lines(&text, limit).len() <= limit.max(text.len().min(limit)));
        }
    }

    #[test]
    fn a_control_character_between_backticks_hides_no_fence() {
        assert_eq!(fence("", "``\u{7f}``"), "`````\n````\n`````");
        assert_eq!(code("`\u{7f}`"), "``` `` ```");
    }

    #[test]
    fn only_plain_urls_become_links() {
        assert_eq!(link("run", Some("https://github.com/a/b")), "[run](https://github.com/a/b)");
        for hostile in ["javascript:x", "https://x) [y](z", "https://x y", "https://x|"] {
            assert_eq!(link("run", Some(hostile)), "run");
        }
        assert_eq!(link("run", None), "run");
    }

    #[test]
    fn numbers_have_separators() {
        assert_eq!([grouped(7), grouped(1_000), grouped(1_234_567)], ["7", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "line"), counted(5_000, "line")], ["1 line", "5,000 lines"]);
    }
}
