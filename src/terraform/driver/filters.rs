//! Which lines of Terraform's output are shown: its advice on what to type next is not.

use std::path::Path;

use crate::terraform::output::failure::plain;

/// After its success, init advises what to type next; here nobody types.
pub(super) fn until_advice() -> impl FnMut(&str) -> Option<String> + Send {
    let mut is_over = false;
    move |line| {
        is_over |= plain(line).trim().ends_with(" has been successfully initialized!")
            && !line.starts_with(' ');
        (!is_over && !line.trim().is_empty()).then(|| line.to_owned())
    }
}

/// Below a saved plan Terraform draws a line and advises how to apply the file, which is in our private folder.
/// Only the line with our own path ends the plan: the code under review can't know it.
pub(super) fn until_saved(plan_file: &Path) -> impl FnMut(&str) -> Option<String> + Send + use<> {
    let saved = format!("Saved the plan to: {}", plan_file.display());
    let mut held: Vec<String> = Vec::new();
    let mut is_over = false;
    move |line| {
        is_over |= plain(line).trim() == saved;
        if is_over {
            return None;
        }
        // The same line also stands between drift and plan: it is held until what follows is known.
        if line.contains("────") || (!held.is_empty() && line.trim().is_empty()) {
            held.push(line.to_owned());
            return None;
        }
        let mut lines = std::mem::take(&mut held);
        lines.push(line.to_owned());
        Some(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(filter: impl FnMut(&str) -> Option<String>, text: &str) -> String {
        text.lines().filter_map(filter).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_advice_below_a_plan_is_left_out() {
        let text = "drift\n\n─────────\n\nPlan: 1\n\n─────────\n\nSaved the plan to: /p/plan\n\nTo perform\n  terraform apply";
        assert_eq!(
            through(until_saved(Path::new("/p/plan")), text),
            "drift\n\n─────────\n\nPlan: 1\n"
        );
        let hostile = "a\n  + input = \"Saved the plan to: \"\nSaved the plan to: /p/other\nb";
        assert_eq!(through(until_saved(Path::new("/p/plan")), hostile), hostile);
        let text = "Initializing...\n\nTerraform has been successfully initialized!\n\nYou may now";
        assert_eq!(through(until_advice(), text), "Initializing...");
    }
}
