//! Text without what a printer adds to it: escapes, colours, invisible characters, whitespace. Each
//! byte knows where it came from.

use std::ops::Range;

/// A spelling inside a spelling inside a spelling: JSON in JSON in JSON.
const DEPTH: usize = 4;
/// Where an escape of JSON, Go, HCL or HTML can start.
const ESCAPES: &[u8] = b"\\$%&";

/// The bytes that remain of a text, each with its range in the original.
#[derive(Clone, Default)]
pub(super) struct Canonical {
    pub(super) bytes: Vec<u8>,
    from: Vec<(u32, u32)>,
    /// Where whitespace was left out, in order.
    gaps: Vec<usize>,
}

/// Reads one escape at the start of a text. Returns its meaning and its length.
type Resolve = fn(&[u8]) -> Option<(Vec<u8>, usize)>;

impl Canonical {
    /// Returns the readings of a text: as printed, with its escapes resolved once, twice and so on,
    /// and with the percent signs of a URL resolved.
    pub(super) fn readings(text: &[u8]) -> Vec<Self> {
        let printed = Self::visible(text);
        let url = printed.contains(b"%").then(|| printed.resolved(b"%+", percent));
        let mut readings = printed.unescaped();
        readings.extend(url);
        readings.iter().map(Self::squeezed).collect()
    }

    /// Returns what is left of a value that is looked for.
    pub(super) fn of_value(value: &str) -> Vec<u8> {
        Self::visible(value.as_bytes()).squeezed().bytes
    }

    /// Returns what is left of a value that looks escaped, such as `a&lt;b`. Where such a value is
    /// printed with escapes, its own are resolved as well.
    pub(super) fn of_escaped_value(value: &str) -> Option<Vec<u8>> {
        let readings = Self::visible(value.as_bytes()).unescaped();
        readings.iter().skip(1).next_back().map(|last| last.squeezed().bytes)
    }

    /// Returns the text, and with its escapes resolved once, twice and so on.
    fn unescaped(self) -> Vec<Self> {
        let mut readings = vec![self];
        while readings.len() <= DEPTH
            && let Some(last) = readings.last().filter(|last| last.contains(ESCAPES))
        {
            let next = last.resolved(ESCAPES, escape);
            if next.bytes.len() == last.bytes.len() {
                break;
            }
            readings.push(next);
        }
        readings
    }

    /// Where the bytes of `range` are in the original.
    pub(super) fn original(&self, range: &Range<usize>) -> Range<usize> {
        let at = |index: usize| self.from.get(index).copied().unwrap_or_default();
        at(range.start).0 as usize..at(range.end.saturating_sub(1)).1 as usize
    }

    /// Whether the byte at `index` directly follows the one before it in the original.
    pub(super) fn is_joined(&self, index: usize) -> bool {
        index > 0
            && matches!((self.from.get(index - 1), self.from.get(index)),
                (Some(before), Some(after)) if before.1 == after.0)
    }

    /// Whether no whitespace was before the byte at `index`.
    pub(super) fn is_gapless(&self, index: usize) -> bool {
        self.gaps.binary_search(&index).is_err()
    }

    fn contains(&self, any: &[u8]) -> bool {
        self.bytes.iter().any(|byte| any.contains(byte))
    }

    fn push(&mut self, bytes: &[u8], from: (u32, u32)) {
        self.bytes.extend_from_slice(bytes);
        self.from.extend(bytes.iter().map(|_| from));
    }

    /// Adds a part of another text.
    fn copy(&mut self, other: &Self, part: Range<usize>) {
        self.bytes.extend_from_slice(&other.bytes[part.clone()]);
        self.from.extend_from_slice(&other.from[part]);
    }

    /// Without colours and characters that have no width.
    fn visible(text: &[u8]) -> Self {
        let mut found = Self::default();
        let mut at = 0;
        while at < text.len() {
            let end = next(text, at, |byte| matches!(byte, 0x1b | 0xc2 | 0xe2 | 0xef));
            found.bytes.extend_from_slice(&text[at..end]);
            found.from.extend((at..end).map(|at| place(at, at + 1)));
            let skipped = invisible(&text[end..]);
            if skipped == 0 && end < text.len() {
                found.push(&text[end..=end], place(end, end + 1));
            }
            at = end + skipped.max(1);
        }
        found
    }

    /// With what `one` reads of the escapes, which begin with one of `starts`.
    fn resolved(&self, starts: &[u8], one: Resolve) -> Self {
        let mut found = Self::default();
        let mut at = 0;
        while at < self.bytes.len() {
            let end = next(&self.bytes, at, |byte| starts.contains(&byte));
            found.copy(self, at..end);
            at = end;
            match one(&self.bytes[at..]) {
                Some((bytes, length)) => {
                    let original = self.original(&(at..at + length));
                    found.push(&bytes, place(original.start, original.end));
                    at += length;
                }
                None if at < self.bytes.len() => {
                    found.copy(self, at..at + 1);
                    at += 1;
                }
                None => {}
            }
        }
        found
    }

    /// Without whitespace, control characters and the bar of Terraform's diagnostics: where a line
    /// was wrapped no longer matters.
    fn squeezed(&self) -> Self {
        let mut found = Self::default();
        let mut at = 0;
        while at < self.bytes.len() {
            let end = next(&self.bytes, at, |byte| matches!(byte, 0..=0x20 | 0x7f | 0xc2 | 0xe2));
            found.copy(self, at..end);
            at = end;
            let length = match &self.bytes[at..] {
                [0..=0x20 | 0x7f, ..] => 1,
                [0xc2, 0xa0 | 0x85, ..] => 2,
                [0xe2, 0x80, 0xa8 | 0xa9, ..] | [0xe2, 0x94, 0x82, ..] => 3,
                [] => break,
                _ => {
                    found.copy(self, at..at + 1);
                    at += 1;
                    continue;
                }
            };
            if found.gaps.last() != Some(&found.bytes.len()) {
                found.gaps.push(found.bytes.len());
            }
            at += length;
        }
        found
    }
}

/// Returns where the next byte of interest is, or the end.
fn next(text: &[u8], at: usize, is_of_interest: impl Fn(u8) -> bool) -> usize {
    let rest = &text[at..];
    at + rest.iter().position(|byte| is_of_interest(*byte)).unwrap_or(rest.len())
}

/// A window has far less than 4 GiB.
fn place(start: usize, end: usize) -> (u32, u32) {
    let short = |n| u32::try_from(n).unwrap_or(u32::MAX);
    (short(start), short(end))
}

/// Returns the length of the colour code or the character without width at the start.
fn invisible(text: &[u8]) -> usize {
    match text {
        [0x1b, b'[', rest @ ..] => {
            2 + rest.iter().position(|byte| (0x40..0x7f).contains(byte)).map_or(0, |end| end + 1)
        }
        [0x1b, b']', rest @ ..] => {
            2 + rest.iter().position(|byte| matches!(byte, 7 | b'\\')).map_or(0, |end| end + 1)
        }
        [0xc2, 0xad, ..] => 2,
        [0xe2, 0x80, 0x8b..=0x8f | 0xaa..=0xae, ..]
        | [0xe2, 0x81, 0xa0..=0xa4, ..]
        | [0xef, 0xbb, 0xbf, ..] => 3,
        _ => 0,
    }
}

/// Resolves an escape of JSON, Go, HCL or HTML.
fn escape(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    const HTML: [(&[u8], u8); 5] =
        [(b"&lt;", b'<'), (b"&gt;", b'>'), (b"&amp;", b'&'), (b"&quot;", b'"'), (b"&#39;", b'\'')];
    match text {
        [b'\\', b'u', ..] => unicode(text),
        [b'\\', b'U', ..] => char::from_u32(number(text.get(2..10)?, 16)?).map(|it| (utf8(it), 10)),
        [b'\\', b'x', ..] => number(text.get(2..4)?, 16).map(|it| (vec![it.to_le_bytes()[0]], 4)),
        [b'\\', b'0'..=b'7', b'0'..=b'7', b'0'..=b'7', ..] => {
            number(text.get(1..4)?, 8).map(|it| (vec![it.to_le_bytes()[0]], 4))
        }
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f' | b'v' | b'a', ..] => Some((vec![b' '], 2)),
        [b'\\', plain @ (b'"' | b'\'' | b'\\' | b'/' | b'`'), ..] => Some((vec![*plain], 2)),
        [b'$', b'$', b'{', ..] => Some((b"${".to_vec(), 3)),
        [b'%', b'%', b'{', ..] => Some((b"%{".to_vec(), 3)),
        [b'&', ..] => HTML
            .iter()
            .find(|(name, _)| text.starts_with(name))
            .map(|(name, plain)| (vec![*plain], name.len())),
        _ => None,
    }
}

fn unicode(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let first = number(text.get(2..6)?, 16)?;
    if let Some(one) = char::from_u32(first) {
        return Some((utf8(one), 6));
    }
    let second = text.get(6..8).filter(|it| it == b"\\u").and(text.get(8..12))?;
    let second = number(second, 16)?;
    let both = 0x1_0000 + (first.checked_sub(0xd800)? << 10) + second.checked_sub(0xdc00)?;
    char::from_u32(both).map(|it| (utf8(it), 12))
}

fn percent(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    match text {
        [b'%', ..] => number(text.get(1..3)?, 16).map(|it| (vec![it.to_le_bytes()[0]], 3)),
        [b'+', ..] => Some((vec![b' '], 1)),
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok().filter(|it| !it.starts_with('+'))?;
    u32::from_str_radix(digits, radix).ok()
}

fn utf8(one: char) -> Vec<u8> {
    one.to_string().into_bytes()
}
