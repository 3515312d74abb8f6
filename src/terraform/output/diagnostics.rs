//! Terraform's diagnostics about a line of code, as annotations of the file in the checkout.

use std::path::{Path, PathBuf};

use crate::{
    base::{error::FilePosition, log::Log},
    terraform::code::modules::FROM_CHECKOUT,
};

/// One of Terraform's diagnostics that names a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) is_error: bool,
    pub(crate) title: String,
    pub(crate) detail: String,
    /// The path relative to the folder in which Terraform ran.
    pub(crate) file: String,
    pub(crate) line: u64,
    /// 0 if unknown.
    pub(crate) column: u64,
}

/// Reads diagnostics from Terraform's text: a title, `on main.tf line 3, in …`, the code, the
/// problem.
pub(crate) fn parse_diagnostics(lines: &[String]) -> Vec<Diagnostic> {
    let title = |line: &str| {
        let line = line.trim();
        let of = |prefix: &str, is_error| Some((is_error, line.strip_prefix(prefix)?.to_owned()));
        of("Error: ", true).or_else(|| of("Warning: ", false))
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((is_error, title_text)) = title(line) else { continue };
        let rest: Vec<&str> = lines[at + 1..]
            .iter()
            .take_while(|line| title(line).is_none())
            .map(String::as_str)
            .collect();
        let Some((on, (file, number))) = place(line, &rest) else { continue };
        let rest: Vec<&str> = rest.iter().map(|line| line.trim()).collect();
        // Terraform wraps a long title.
        let wrapped = rest.iter().take_while(|line| !line.is_empty()).copied();
        let title_text = std::iter::once(title_text.as_str()).chain(wrapped).collect::<Vec<_>>();
        // An empty line separates the code from the problem.
        let detail = rest[on..]
            .iter()
            .skip_while(|line| !line.is_empty())
            .skip(1)
            .take_while(|line| !line.is_empty());
        found.push(Diagnostic {
            is_error,
            title: title_text.join(" "),
            detail: detail.copied().collect::<Vec<_>>().join(" "),
            file,
            line: number,
            column: 0,
        });
    }
    found
}

/// Returns the index of the line with the place of a diagnostic, and that place. It is in the
/// paragraph after the title and indented more. The text of the problem can have such words too.
fn place(title: &str, rest: &[&str]) -> Option<(usize, (String, u64))> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines = rest.iter().enumerate();
    // Terraform wraps a long title.
    let lines = lines.skip_while(|(_, line)| !line.trim().is_empty());
    let mut lines = lines.skip_while(|(_, line)| line.trim().is_empty());
    lines
        .by_ref()
        .take_while(|(_, line)| !line.trim().is_empty() && indent(line) > indent(title))
        .find_map(|(on, line)| Some((on, location(line.trim())?)))
}

/// Parses `on main.tf line 3, in …`.
pub(crate) fn location(line: &str) -> Option<(String, u64)> {
    let (file, rest) = line.strip_prefix("on ")?.split_once(" line ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((file.to_owned(), digits.parse().ok()?))
}

/// Annotates the files in the checkout. `infra` is the folder there of which Terraform used a copy.
pub(crate) fn annotate(log: &Log, infra: &Path, diagnostics: &[Diagnostic]) {
    for Diagnostic { is_error, title, detail, file, line, column } in diagnostics {
        if let Some(file) = in_checkout(infra, file) {
            log.annotate(
                *is_error,
                title,
                detail,
                &FilePosition { file, line: *line, column: *column },
            );
        }
    }
}

/// Returns the path in the checkout; None for a module that init fetched.
///
/// A bundle has a module from outside `infra/` at its path relative to the checkout's root, which
/// is one of the folders above `infra`.
fn in_checkout(infra: &Path, file: &str) -> Option<PathBuf> {
    match file.split_once(&format!("/{FROM_CHECKOUT}/")) {
        Some((_, relative)) => {
            infra.ancestors().map(|folder| folder.join(relative)).find(|path| path.is_file())
        }
        None if file.starts_with(".terraform/") || file.starts_with('/') => None,
        None => Some(infra.join(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_diagnostics_are_parsed() {
        let text = "\
x
Error: Invalid function argument

  on main.tf line 23, in resource \"a\" \"b\":
  23:   input = file(\"x\")
    ├────

Invalid value: no file
exists.

Warning: Deprecated

  with a.b,
  on lib/x.tf line 4:
   4: y

Use z.
Error: No place

at all";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let found = parse_diagnostics(&lines);
        let [error, warning] = found.as_slice() else { panic!("{found:?}") };
        assert!(error.is_error && !warning.is_error);
        assert_eq!(
            (error.title.as_str(), error.file.as_str(), error.line),
            ("Invalid function argument", "main.tf", 23)
        );
        assert_eq!(error.detail, "Invalid value: no file exists.");
        assert_eq!(
            (warning.file.as_str(), warning.line, warning.detail.as_str()),
            ("lib/x.tf", 4, "Use z.")
        );
    }

    #[test]
    fn the_words_of_a_problem_are_no_place() {
        let parsed = |text: &str| {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            parse_diagnostics(&lines)
        };
        let placed = [
            " Warning: Check failed, with a title",
            " that is wrapped",
            "",
            "   on main.tf line 14, in check \"x\":",
            "   14:  condition = (",
            "   15:  )",
            "",
            " first",
            "",
            " on other.tf line 3, second",
        ];
        let found = parsed(&placed.join("\n"));
        assert_eq!((found[0].file.as_str(), found[0].line), ("main.tf", 14));
        assert_eq!(found[0].title, "Check failed, with a title that is wrapped");
        for text in [
            "Warning: From a provider\n\nIt says several things:\n\n  on main.tf line 3, x",
            "Warning: From a provider\n\non main.tf line 3, x",
            "Warning: From a provider\non main.tf line 3, x\n\nDetail.",
        ] {
            assert_eq!(parsed(text), [], "{text}");
        }
    }

    #[test]
    fn only_files_of_the_checkout_are_annotated() {
        let checkout = tempfile::tempdir().unwrap();
        let infra = checkout.path().join("app/infra");
        std::fs::create_dir_all(checkout.path().join("lib")).unwrap();
        std::fs::write(checkout.path().join("lib/x.tf"), "").unwrap();
        assert_eq!(in_checkout(&infra, "main.tf"), Some(infra.join("main.tf")));
        assert_eq!(
            in_checkout(&infra, ".terraform/modules/@checkout/lib/x.tf"),
            Some(checkout.path().join("lib/x.tf"))
        );
        for fetched in [
            ".terraform/modules/vpc/main.tf",
            "/etc/passwd",
            ".terraform/modules/@checkout/gone.tf",
        ] {
            assert_eq!(in_checkout(&infra, fetched), None);
        }
    }
}
