//! Makes an output comparable as a whole: what differs from run to run gets a name in brackets.

use std::path::Path;

/// Replaces given texts (longest first), then times, durations, SHA-256 sums and UUIDs wherever
/// they stand.
#[derive(Clone, Default)]
pub(crate) struct Scrub {
    texts: Vec<(String, String)>,
}

impl Scrub {
    pub(crate) fn text(mut self, found: impl Into<String>, shown: impl Into<String>) -> Self {
        let found = found.into();
        assert!(!found.is_empty(), "an empty text stands everywhere");
        self.texts.push((found, shown.into()));
        self.texts.sort_by_key(|(found, _)| std::cmp::Reverse(found.len()));
        self
    }

    /// Also in the form without symbolic links.
    pub(crate) fn path(self, path: &Path, shown: &str) -> Self {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let scrub = self.text(path.to_str().unwrap(), shown);
        if real == path { scrub } else { scrub.text(real.to_str().unwrap(), shown) }
    }

    pub(crate) fn apply(&self, output: &str) -> String {
        let named = self
            .texts
            .iter()
            .fold(output.to_owned(), |output, (found, shown)| output.replace(found, shown));
        let mut scrubbed = String::with_capacity(named.len());
        let mut rest = named.as_str();
        while let Some(next) = rest.chars().next() {
            let at_start = !scrubbed.ends_with(|before: char| before.is_ascii_alphanumeric());
            let (length, shown) =
                match SHAPES.iter().find_map(|shape| at_start.then(|| shape(rest)).flatten()) {
                    Some(found) => found,
                    None => (next.len_utf8(), &rest[..next.len_utf8()]),
                };
            scrubbed.push_str(shown);
            rest = &rest[length..];
        }
        scrubbed
    }
}

/// The length of what was recognised at the start of a text, and what is shown in its place.
type Shape = fn(&str) -> Option<(usize, &'static str)>;

const SHAPES: [Shape; 4] = [time, uuid, sha256, duration];

/// `2026-11-20T12:53:36.123Z`, `2026-11-20 12:53:36 UTC`, `2026-11-20 12:53`, `12:53:36`.
fn time(text: &str) -> Option<(usize, &'static str)> {
    const CLOCK: &str = "dd:dd:dd";
    let mut length = if let Some(date) = like(text, "dddd-dd-dd") {
        let separated = text[date..].strip_prefix(['T', ' '])?;
        date + 1 + like(separated, CLOCK).or_else(|| like(separated, "dd:dd"))?
    } else {
        like(text, CLOCK)?
    };
    if text[length..].starts_with('.') {
        length += 1 + digits(&text[length + 1..]);
    }
    for zone in ["Z", " UTC", "+00:00"] {
        if text[length..].starts_with(zone) {
            length += zone.len();
        }
    }
    ends(text, length).then_some((length, "[TIME]"))
}

fn uuid(text: &str) -> Option<(usize, &'static str)> {
    let length = like(text, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh")?;
    ends(text, length).then_some((length, "[UUID]"))
}

fn sha256(text: &str) -> Option<(usize, &'static str)> {
    let length = like(text, &"h".repeat(64))?;
    ends(text, length).then_some((length, "[SHA256]"))
}

/// `340ms`, `1.2s`, `4m`, `1m 3s`.
fn duration(text: &str) -> Option<(usize, &'static str)> {
    let one = |text: &str| {
        let mut length = digits(text);
        if length > 0 && text[length..].starts_with('.') {
            length += 1 + digits(&text[length + 1..]);
        }
        let unit = ["ms", "m", "s"].into_iter().find(|unit| text[length..].starts_with(unit))?;
        (length > 0 && ends(text, length + unit.len())).then_some(length + unit.len())
    };
    let first = one(text)?;
    let second = text[first..].strip_prefix(' ').and_then(one).map_or(0, |second| second + 1);
    Some((first + second, "[ELAPSED]"))
}

/// The length of `pattern` when `text` starts like it: `d` is a digit, `h` a lower-case hexadecimal
/// digit.
fn like(text: &str, pattern: &str) -> Option<usize> {
    let bytes = text.as_bytes().get(..pattern.len())?;
    let fits = |(byte, wanted): (&u8, u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        b'h' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        wanted => *byte == wanted,
    };
    bytes.iter().zip(pattern.bytes()).all(fits).then_some(pattern.len())
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn ends(text: &str, length: usize) -> bool {
    !text[length..].starts_with(|after: char| after.is_ascii_alphanumeric())
}
