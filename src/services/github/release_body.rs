//! The text of a tag's GitHub release: a section per component, which is found again and replaced,
//! and whatever people write around it.

use crate::config::names::Component;

/// GitHub takes 125,000 characters.
const LIMIT: usize = 125_000;

/// The facts about a component, in order: `("image", "repo@sha256:…")`.
pub(crate) struct Section<'a> {
    pub(crate) component: &'a Component,
    pub(crate) rows: Vec<(String, String)>,
}

impl Section<'_> {
    fn begin(&self) -> String {
        format!("<!-- cdflow {} -->", self.component)
    }

    fn end(&self) -> String {
        format!("<!-- /cdflow {} -->", self.component)
    }

    fn markdown(&self) -> String {
        let rows =
            self.rows.iter().map(|(name, value)| format!("| {} | {} |", cell(name), code(value)));
        let rows: Vec<String> = rows.collect();
        let head = format!("### {}\n\n| | |\n|---|---|", self.component);
        format!("{}\n{head}\n{}\n{}", self.begin(), rows.join("\n"), self.end())
    }

    /// The text of a new release. Notes that make it too long are left to GitHub's page of the
    /// changes.
    pub(crate) fn with_notes(&self, notes: &str) -> String {
        let text = format!("{}\n\n{}\n", self.markdown(), notes.trim());
        if text.chars().count() > LIMIT { format!("{}\n", self.markdown()) } else { text }
    }

    /// Returns the text with this section appended, or replaced if it exists.
    pub(crate) fn put_into(&self, text: &str) -> String {
        let found = text.find(&self.begin()).and_then(|start| {
            let end = start + text[start..].find(&self.end())? + self.end().len();
            Some((start, end))
        });
        match found {
            Some((start, end)) => format!("{}{}{}", &text[..start], self.markdown(), &text[end..]),
            None if text.trim().is_empty() => format!("{}\n", self.markdown()),
            None => format!("{}\n\n{}\n", text.trim_end(), self.markdown()),
        }
    }
}

fn cell(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

/// Formats code with any content. In a table, `|` is escaped even within code.
fn code(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ").replace('|', "\\|");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    if text.trim().is_empty() { String::new() } else { format!("{fence}{pad}{text}{pad}{fence}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section<'a>(component: &'a Component, digest: &str) -> Section<'a> {
        Section { component, rows: vec![("bundle digest".to_owned(), digest.to_owned())] }
    }

    #[test]
    fn a_section_is_found_again_and_the_rest_stays() {
        let (checkout, basket): (Component, Component) =
            ("checkout".parse().unwrap(), "basket".parse().unwrap());
        let first = section(&checkout, "aa").with_notes("## What's Changed\n* x\n");
        assert!(
            first.contains("### checkout\n\n| | |\n|---|---|\n| bundle digest | `aa` |\n"),
            "{first}"
        );
        assert!(first.ends_with("\n\n## What's Changed\n* x\n"), "{first}");
        assert_eq!(section(&checkout, "aa").put_into(&first), first);
        let second = section(&basket, "bb").put_into(&first);
        let third = section(&checkout, "cc").put_into(&second);
        assert_eq!(third, second.replace("`aa`", "`cc`"));
        assert_eq!(
            section(&checkout, "aa").put_into(" \n"),
            section(&checkout, "aa").markdown() + "\n"
        );
    }

    #[test]
    fn values_stay_in_their_cell() {
        assert_eq!(code("a|b\nc"), "`a\\|b c`");
        assert_eq!(code("x``y"), "``` x``y ```");
        assert_eq!(code(" "), "");
        assert_eq!(cell("<b>|\\"), "&lt;b>\\|\\\\");
        let component: Component = "checkout".parse().unwrap();
        let long = section(&component, "aa").with_notes(&"x".repeat(125_000));
        assert!(long.ends_with("-->\n"), "{}", long.len());
    }
}
