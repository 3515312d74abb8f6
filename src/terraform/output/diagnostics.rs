//! What Terraform says of a line of code, as annotations of the file in the checkout.

use std::path::{Path, PathBuf};

use crate::{
    base::{error::Place, log::Log},
    terraform::code::modules::FROM_CHECKOUT,
};

/// One of Terraform's diagnostics that names a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) is_error: bool,
    pub(crate) title: String,
    pub(crate) detail: String,
    /// As Terraform names it, relative to the folder it ran in.
    pub(crate) file: String,
    pub(crate) line: u64,
    /// 0: not known.
    pub(crate) column: u64,
}

/// From words for people: a title, `on main.tf line 3, in …`, the code, and what is wrong with it.
pub(crate) fn in_words(lines: &[String]) -> Vec<Diagnostic> {
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
            .map(|it| it.trim())
            .collect();
        let Some((on, (file, number))) =
            rest.iter().enumerate().find_map(|(on, line)| Some((on, place(line)?)))
        else {
            continue;
        };
        // The code in question ends with an empty line; after it stands what is wrong.
        let detail = rest[on..]
            .iter()
            .skip_while(|line| !line.is_empty())
            .skip(1)
            .take_while(|line| !line.is_empty());
        found.push(Diagnostic {
            is_error,
            title: title_text,
            detail: detail.copied().collect::<Vec<_>>().join(" "),
            file,
            line: number,
            column: 0,
        });
    }
    found
}

fn place(line: &str) -> Option<(String, u64)> {
    let (file, rest) = line.strip_prefix("on ")?.split_once(" line ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((file.to_owned(), digits.parse().ok()?))
}

/// `infra` is the folder in the checkout whose copy Terraform ran in.
pub(crate) fn annotate(log: &Log, infra: &Path, findings: &[Diagnostic]) {
    for Diagnostic { is_error, title, detail, file, line, column } in findings {
        if let Some(file) = in_checkout(infra, file) {
            log.annotate(*is_error, title, detail, &Place { file, line: *line, column: *column });
        }
    }
}

/// None for what init has fetched from elsewhere. A module of the checkout is carried at its path from the checkout's root,
/// which is a folder above `infra`.
fn in_checkout(infra: &Path, file: &str) -> Option<PathBuf> {
    match file.split_once(&format!("/{FROM_CHECKOUT}/")) {
        Some((_, carried)) => {
            infra.ancestors().map(|folder| folder.join(carried)).find(|path| path.is_file())
        }
        None if file.starts_with(".terraform/") || file.starts_with('/') => None,
        None => Some(infra.join(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people_are_read() {
        let text = "x\nError: Invalid function argument\n\n  on main.tf line 23, in resource \"a\" \"b\":\n  23:   input = file(\"x\")\n    ├────\n\nInvalid value: no file\nexists.\n\nWarning: Deprecated\n\n  with a.b,\n  on lib/x.tf line 4:\n   4: y\n\nUse z.\nError: No place\n\nat all";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let found = in_words(&lines);
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
    fn files_of_the_checkout_alone() {
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
