//! Filters for Terraform's output: its advice on what to type next is not shown.

use std::path::Path;

use crate::terraform::output::plain::plain;

/// Returns a filter that drops empty lines, the advice to commit the lock file, and everything from
/// the success message of init on. That lock file is a copy in a temporary folder.
pub(super) fn until_advice() -> impl FnMut(&str) -> Option<String> + Send {
    let mut is_over = false;
    let mut is_about_lock = false;
    move |line| {
        let text = plain(line);
        is_over |=
            text.trim().ends_with(" has been successfully initialized!") && !line.starts_with(' ');
        is_about_lock = !text.trim().is_empty() && (is_about_lock || begins_lock_advice(&text));
        (!is_over && !is_about_lock && !line.trim().is_empty()).then(|| line.to_owned())
    }
}

/// Whether a line is the first of the paragraph about a lock file that init created or changed.
fn begins_lock_advice(line: &str) -> bool {
    ["Terraform", "OpenTofu"].iter().filter_map(|name| line.strip_prefix(name)).any(|rest| {
        rest.starts_with(" has created a lock file ")
            || rest.starts_with(" has made some changes to the provider dependency selections")
    })
}

/// Returns a filter that drops Terraform's advice on how to apply the saved plan.
///
/// Only a line with cdflow's own path ends the plan, because the code under review cannot know it.
pub(super) fn until_saved(plan_file: &Path) -> impl FnMut(&str) -> Option<String> + Send + use<> {
    let saved = format!("Saved the plan to: {}", plan_file.display());
    let mut held: Vec<String> = Vec::new();
    let mut is_over = false;
    move |line| {
        is_over |= plain(line).trim() == saved;
        if is_over {
            return None;
        }
        // The same ruler also separates drift and plan: it is held back until the next line is
        // known.
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
    fn advice_is_not_shown() {
        let text = "drift\n\n─────────\n\nPlan: 1\n\n─────────\n\n\
                    Saved the plan to: /p/plan\n\nTo perform\n  terraform apply";
        assert_eq!(
            through(until_saved(Path::new("/p/plan")), text),
            "drift\n\n─────────\n\nPlan: 1\n"
        );
        let hostile = "a\n  + input = \"Saved the plan to: \"\nSaved the plan to: /p/other\nb";
        assert_eq!(through(until_saved(Path::new("/p/plan")), hostile), hostile);
        let text = "Initializing...\n\nTerraform has been successfully initialized!\n\nYou may now";
        assert_eq!(through(until_advice(), text), "Initializing...");
        let text = "- Installed x\nTerraform has created a lock file .terraform.lock.hcl to record \
                    the provider\nselections it made above. Include this file\nin the future.\n\n\
                    Warning: other\n\nOpenTofu has made some changes to the provider dependency \
                    selections recorded\nin the .terraform.lock.hcl file.\n\n last";
        assert_eq!(through(until_advice(), text), "- Installed x\nWarning: other\n last");
    }
}
