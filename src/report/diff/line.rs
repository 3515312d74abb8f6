//! A line of a diff.

/// Masks what is secret in text.
pub(super) type Mask<'m> = &'m dyn Fn(&str) -> String;

/// A line of a diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `+`, `-` or `!`.
    pub(super) mark: Option<char>,
    /// Of the text, counted from 0. The first two columns are for marks.
    pub(super) column: usize,
    pub(super) text: String,
    /// A line of a string of several lines.
    pub(super) is_string: bool,
}

impl Line {
    pub(super) fn new(mark: Option<char>, column: usize, text: impl Into<String>) -> Self {
        Self { mark, column, text: text.into(), is_string: false }
    }

    pub(super) fn of_string(mark: Option<char>, column: usize, text: impl Into<String>) -> Self {
        Self { is_string: true, ..Self::new(mark, column, text) }
    }

    pub(super) fn render(&self) -> String {
        let indent = " ".repeat(self.column.max(2) - 1);
        format!("{}{indent}{}", self.mark.unwrap_or(' '), self.text).trim_end().to_owned()
    }
}
