//! Secrets, and the filter that every line passes on its way out.

mod canonical;
#[cfg(test)]
mod corpus;
mod parts;
#[cfg(test)]
mod tests;
mod words;

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    ops::Range,
    sync::{Arc, PoisonError, RwLock},
};

use aho_corasick::{AhoCorasick, Match};

use self::{canonical::Canonical, parts::Pattern};
use super::error::Error;

const MASK: &str = "***";
/// Text is searched in windows, so that the memory has a bound.
const WINDOW: usize = 1 << 20;
/// More than the longest piece of a secret with all its escapes.
const OVERLAP: usize = 16 << 10;

/// A value that must not be shown. `Debug` doesn't show it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// 256 random bits, in hex.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// For the place that needs the value itself: a request, a private file.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Masks every known secret in every form in which it may be printed. Clones share their secrets.
///
/// Text and secrets are compared without escapes, colours, invisible characters and whitespace.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    known: Arc<RwLock<Known>>,
}

#[derive(Default)]
struct Known {
    patterns: BTreeSet<Pattern>,
    /// Names that are never masked: the environment, the component and so on.
    names: BTreeSet<Vec<u8>>,
    matcher: Option<Arc<Matcher>>,
}

struct Matcher {
    automaton: AhoCorasick,
    patterns: Vec<Pattern>,
}

impl Redactor {
    /// From now on `secret` is masked, with the values in it. False if it is too short or an
    /// ordinary word, and so cannot be masked.
    pub(crate) fn add(&self, secret: &Secret) -> bool {
        self.register(parts::patterns(secret.expose()))
    }

    /// From now on a value that is perhaps a secret is masked, unless it could be a word or a name.
    pub(crate) fn add_guess(&self, value: &Secret) {
        self.register(parts::guessed(value.expose()));
    }

    /// Registers an environment variable that a program gets: its name says what it is.
    pub(crate) fn add_variable(&self, name: &str, value: &str) {
        if words::names_a_secret(name) {
            self.add(&Secret::new(value));
        } else if !value.contains('/') {
            self.add_guess(&Secret::new(value));
        }
    }

    /// `name` is never masked, even if it is also the value of a secret.
    pub(crate) fn never_mask(&self, name: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.names.insert(Canonical::of_value(name));
        known.matcher = None;
    }

    /// Whether `text` shows a secret.
    pub(crate) fn finds(&self, text: &str) -> bool {
        self.matcher().is_some_and(|matcher| !matcher.ranges(text).is_empty())
    }

    pub(crate) fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(matcher) = self.matcher() else { return Cow::Borrowed(text) };
        let ranges = matcher.ranges(text);
        if ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut masked, mut end) = (String::with_capacity(text.len()), 0);
        for range in ranges {
            masked.push_str(text.get(end..range.start).unwrap_or_default());
            masked.push_str(MASK);
            end = range.end;
        }
        masked.push_str(text.get(end..).unwrap_or_default());
        Cow::Owned(masked)
    }

    /// The last look at a text that leaves: the masked text, or an error that names where it was
    /// going if a secret still shows.
    pub(crate) fn leaving(&self, to: &str, text: &str) -> Result<String, Error> {
        let masked = self.apply(text).into_owned();
        match self.finds(&masked) {
            false => Ok(masked),
            true => Err(Error::internal(format!("{to} was not written"))
                .why("it still shows a secret after masking")
                .hint("report this as a bug of cdflow, without the secret")),
        }
    }

    /// Returns how many bytes of the beginning of an endless line can be passed on without cutting
    /// a secret in two.
    ///
    /// A cut after whitespace separates no escape, and no word from what is next to it.
    pub(crate) fn safe_cut(&self, line: &str) -> usize {
        let ranges = self.matcher().map(|matcher| matcher.ranges(line)).unwrap_or_default();
        let mut end = line.floor_char_boundary(line.len().saturating_sub(OVERLAP));
        loop {
            let near = line.floor_char_boundary(end.saturating_sub(OVERLAP));
            let cut = line[near..end].rfind([' ', '\t']).map_or(end, |at| near + at + 1);
            match ranges.iter().find(|range| range.start < cut && cut < range.end) {
                None => return cut,
                Some(crossing) if crossing.start == 0 => return crossing.end,
                Some(crossing) => end = crossing.start,
            }
        }
    }

    fn register(&self, patterns: Vec<Pattern>) -> bool {
        let is_masked = !patterns.is_empty();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.patterns.len();
        known.patterns.extend(patterns);
        if known.patterns.len() > before {
            known.matcher = None;
        }
        is_masked
    }

    fn matcher(&self) -> Option<Arc<Matcher>> {
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.patterns.is_empty() || known.matcher.is_some() {
                return known.matcher.clone();
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let patterns: Vec<Pattern> = known
            .patterns
            .iter()
            .filter(|pattern| !known.names.contains(&pattern.text))
            .cloned()
            .collect();
        // It fails only with billions of patterns.
        let automaton = AhoCorasick::new(patterns.iter().map(|pattern| &pattern.text)).ok()?;
        known.matcher = Some(Arc::new(Matcher { automaton, patterns }));
        known.matcher.clone()
    }
}

impl Matcher {
    /// Returns where secrets are, in order and apart.
    fn ranges(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut start = 0;
        loop {
            let end = text.floor_char_boundary(start + WINDOW);
            let window = &text[start..end];
            for reading in Canonical::readings(window.as_bytes()) {
                let hits = self.automaton.find_overlapping_iter(&reading.bytes);
                let hits = hits.filter(|hit| self.counts(hit, &reading));
                found.extend(hits.map(|hit| {
                    let range = reading.original(&hit.range());
                    text.floor_char_boundary(start + range.start)
                        ..text.ceil_char_boundary(start + range.end)
                }));
            }
            if end == text.len() {
                break;
            }
            start = text.floor_char_boundary(end - OVERLAP);
        }
        found.sort_by_key(|range| range.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in found {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        apart
    }

    /// A word counts only as a whole.
    fn counts(&self, hit: &Match, reading: &Canonical) -> bool {
        let Some(pattern) = self.patterns.get(hit.pattern().as_usize()) else { return false };
        let goes_on = |index: usize| {
            let is_part = |at: usize| reading.bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
            reading.is_joined(index) && is_part(index - 1) && is_part(index)
        };
        let is_split = || (hit.start() + 1..hit.end()).any(|index| !reading.is_gapless(index));
        !pattern.is_word
            || !(goes_on(hit.start()) || goes_on(hit.end()) || (pattern.is_solid && is_split()))
    }
}
