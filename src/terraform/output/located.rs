//! Errors of a release that name the place in the code, as in `infra/main.tf:3`.

use std::path::{Path, PathBuf};

use super::{
    diagnostics::{Diagnostic, location},
    plain::plain,
};
use crate::{
    base::error::{Error, Exit},
    terraform::code::modules::normalise,
};

/// The number of further errors that the error of a release has.
const MORE: usize = 4;

/// Names files of the copy that Terraform runs in as they are called in the checkout.
pub(crate) struct CodeNames<'a> {
    /// The folder in which Terraform runs.
    pub(crate) infra: &'a Path,
    /// The root of the copy, which has the layout of the checkout.
    pub(crate) root: &'a Path,
}

impl CodeNames<'_> {
    /// Returns the name of a file that Terraform names. Files in `infra/` are named as in the
    /// component, other files by their path in the checkout.
    pub(crate) fn of(&self, file: &str) -> String {
        let path = normalise(&self.infra.join(file));
        let named = match path.strip_prefix(self.infra) {
            Ok(inner) => Path::new("infra").join(inner),
            Err(_) => path.strip_prefix(self.root).map_or_else(|_| file.into(), PathBuf::from),
        };
        named.display().to_string()
    }

    /// Returns a line that Terraform printed with the name of a file in `on main.tf line 3`
    /// replaced.
    pub(crate) fn named(&self, line: &str) -> String {
        match location(plain(line).trim()) {
            Some((file, number)) => {
                let place = |file: &str| format!("on {file} line {number}");
                line.replacen(&place(&file), &place(&self.of(&file)), 1)
            }
            None => line.to_owned(),
        }
    }
}

/// Returns the error for the first problem that has a place, with others as hints.
pub(crate) fn error(diagnostics: &[Diagnostic], names: &CodeNames<'_>) -> Option<Error> {
    let errors = diagnostics.iter().enumerate();
    // Init says some things twice.
    let errors = errors.filter(|(at, it)| it.is_error && !diagnostics[..*at].contains(it));
    let mut errors = errors.map(|(_, it)| it);
    let first = errors.next()?;
    let error = Error::new(Exit::BuildFailed, problem(first, names));
    let error = match paragraph(&first.detail) {
        detail if detail.is_empty() => error,
        detail => error.why(detail),
    };
    let mut error = (errors.by_ref().take(MORE))
        .fold(error, |error, other| error.hint(format!("also fix {}", problem(other, names))));
    let left = errors.count();
    if left > 0 {
        error = error.hint(format!("also fix {left} more, which Terraform's output above shows"));
    }
    Some(error)
}

fn problem(found: &Diagnostic, names: &CodeNames<'_>) -> String {
    format!("{}:{}: {}", names.of(&found.file), found.line, found.title)
}

/// Returns the first paragraph of a text in one line. Examples and lists can follow it.
fn paragraph(text: &str) -> String {
    let first = text.trim().lines().take_while(|line| !line.trim().is_empty());
    first.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_in_the_checkout() {
        let names = CodeNames { infra: Path::new("/t/c/apps/web/infra"), root: Path::new("/t/c") };
        for (file, name) in [
            ("main.tf", "infra/main.tf"),
            ("modules/a/x.tf", "infra/modules/a/x.tf"),
            ("../../../lib/x.tf", "lib/x.tf"),
            ("../shared/x.tf", "apps/web/shared/x.tf"),
            ("/elsewhere/x.tf", "/elsewhere/x.tf"),
        ] {
            assert_eq!(names.of(file), name);
        }
    }

    #[test]
    fn some_of_many_errors_are_hints() {
        let names = CodeNames { infra: Path::new("/t/infra"), root: Path::new("/t") };
        let diagnostic = |line: u64| Diagnostic {
            is_error: line != 2,
            title: "Unsupported argument".to_owned(),
            detail: "Not expected\nhere.\n\nAn example".to_owned(),
            file: "main.tf".to_owned(),
            line,
            column: 1,
        };
        let error_of = |lines: std::ops::Range<u64>| {
            let all: Vec<Diagnostic> =
                lines.flat_map(|it| [diagnostic(it), diagnostic(it)]).collect();
            error(&all, &names).map(|error| error.to_string())
        };
        let first = "infra/main.tf:1: Unsupported argument: Not expected here.";
        assert_eq!(error_of(1..3).unwrap(), first);
        let all = error_of(1..10).unwrap();
        assert!(all.contains("\n  -> also fix infra/main.tf:6: Unsupported argument\n"), "{all}");
        assert!(
            all.ends_with(
                "6: Unsupported argument\n  -> also fix 3 more, which Terraform's \
                               output above shows"
            ),
            "{all}"
        );
        assert_eq!(error_of(2..3), None);
    }
}
