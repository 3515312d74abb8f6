//! The text of `terraform plan`, without colours, and cut per resource.

use super::plain::without_colors;

/// In bytes. A plan of many thousand resources has a few megabytes.
const KEPT: usize = 32 << 20;

/// The starts of the plan's first line. Lines about refreshing come before it.
const FIRST_LINES: [&str; 6] = [
    "Terraform used the selected providers",
    "OpenTofu used the selected providers",
    "Note: Objects have changed outside of",
    "No changes.",
    "Changes to Outputs:",
    "You can apply this plan",
];
const ACTIONS: &str = " will perform the following actions:";
const OUTPUTS: &str = "Changes to Outputs:";

/// The text of a plan. Terraform replaces the values that it knows to be sensitive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlanText {
    text: String,
    is_cut: bool,
}

/// The lines about one resource, or about all outputs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlanSection<'a> {
    /// Without `#`: "aws_s3_bucket.data will be destroyed".
    pub(crate) title: &'a str,
    pub(crate) lines: Vec<&'a str>,
}

impl PlanText {
    /// Adds the next line of the output.
    pub(crate) fn push(&mut self, line: &str) {
        for line in line.lines().map(without_colors).chain(line.is_empty().then(String::new)) {
            if self.text.is_empty() && !FIRST_LINES.iter().any(|first| line.starts_with(first)) {
                continue;
            }
            self.is_cut |= self.text.len() + line.len() > KEPT;
            if !self.is_cut {
                self.text.push_str(&line);
                self.text.push('\n');
            }
        }
    }

    /// Returns the complete text.
    pub(crate) fn whole(&self) -> &str {
        self.text.trim_end()
    }

    /// Whether this is all that Terraform prints if it finds no difference at all: no drift, no
    /// changes, no warnings.
    pub(crate) fn is_plain_no_changes(&self) -> bool {
        let words: Vec<&str> = self.text.split_whitespace().collect();
        let (text, rest) = (
            words.join(" "),
            " has compared your real infrastructure against your \
             configuration and found no differences, so no changes are needed.",
        );
        ["Terraform", "OpenTofu"].iter().any(|name| {
            text.strip_prefix("No changes. Your infrastructure matches the configuration. ")
                .and_then(|text| text.strip_prefix(name))
                == Some(rest)
        })
    }

    /// Cuts the plan into sections, in Terraform's order: resources, then outputs.
    ///
    /// Only the title of a resource is indented by two spaces, starts with `#` and follows an empty
    /// line: values are indented more. If the resource will no longer be managed, Terraform indents
    /// the title and the lines below it that have a mark by one space only.
    pub(crate) fn sections(&self) -> Vec<PlanSection<'_>> {
        let mut sections: Vec<PlanSection<'_>> = Vec::new();
        let lines = self
            .text
            .lines()
            .skip_while(|line| !line.ends_with(ACTIONS) && !line.starts_with(OUTPUTS));
        let mut is_after_blank = false;
        let mut is_open = false;
        for line in lines {
            let title = line.strip_prefix("  # ").or_else(|| line.strip_prefix(" # "));
            let title = title.filter(|_| is_after_blank);
            let outputs = line.starts_with(OUTPUTS).then_some(OUTPUTS);
            match title.or(outputs) {
                Some(title) => {
                    sections.push(PlanSection {
                        title: title.trim_end_matches(':'),
                        lines: Vec::new(),
                    });
                    is_open = true;
                }
                None if !line.is_empty() && !line.starts_with([' ', '+', '-', '~', '<']) => {
                    is_open = false
                }
                None => sections
                    .last_mut()
                    .filter(|_| is_open)
                    .into_iter()
                    .for_each(|section| section.lines.push(line)),
            }
            is_after_blank = line.is_empty();
        }
        for section in &mut sections {
            let end =
                section.lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
            section.lines.truncate(end);
        }
        sections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\u{1b}[0ma.b: Refreshing state... [id=1]

Terraform used the selected providers to generate the following execution
plan. Resource actions are indicated with the following symbols:
  ~ update in-place

Terraform will perform the following actions:

\u{1b}[1m  # a.b\u{1b}[0m will be updated in-place
  ~ resource \"a\" \"b\" {
      ~ t = <<-EOT
                one

              # a.d will be destroyed
            EOT
    }

  # a.c will be destroyed
  # (because a.c is not in configuration)
  - resource \"a\" \"c\" {
    }

Plan: 0 to add, 1 to change, 1 to destroy.

Changes to Outputs:
  ~ o = \"one\" -> \"two\"
\u{1b}[33m╷
│ Warning: x";

    #[test]
    fn no_changes_and_nothing_else() {
        let text = |lines: &str| {
            let mut text = PlanText::default();
            lines.split('\n').for_each(|line| text.push(line));
            text
        };
        let plain = "a.b: Refreshing state...\n\n\u{1b}[0m\u{1b}[1mNo changes.\u{1b}[0m Your \
            infrastructure matches the configuration.\n\nTerraform has compared your real \
            infrastructure against your configuration\nand found no differences, so no changes are \
            needed.";
        assert!(text(plain).is_plain_no_changes());
        assert!(text(&plain.replace("\nTerraform", "\nOpenTofu")).is_plain_no_changes());
        let drift = format!("Note: Objects have changed outside of Terraform\n\n{plain}");
        let warning = format!("{plain}\n╷\n│ Warning: x");
        let destroy = "No changes. No objects need to be destroyed.";
        for other in [&drift, &warning, destroy, PRINTED, ""] {
            assert!(!text(other).is_plain_no_changes(), "{other}");
        }
    }

    #[test]
    fn a_plan_is_cut_per_resource() {
        let mut text = PlanText::default();
        PRINTED.split('\n').for_each(|line| text.push(line));
        assert!(text.whole().starts_with("Terraform used") && !text.whole().contains('\u{1b}'));
        let sections = text.sections();
        let titles: Vec<&str> = sections.iter().map(|section| section.title).collect();
        assert_eq!(
            titles,
            ["a.b will be updated in-place", "a.c will be destroyed", "Changes to Outputs"]
        );
        assert_eq!(sections[0].lines.len(), 7);
        assert_eq!(sections[0].lines[4], "              # a.d will be destroyed");
        assert_eq!(sections[1].lines[0], "  # (because a.c is not in configuration)");
        assert_eq!(sections[2].lines, ["  ~ o = \"one\" -> \"two\""]);
    }

    /// As Terraform 1.11.4 prints it.
    #[test]
    fn a_resource_that_is_no_longer_managed_has_its_own_section() {
        let printed = "Terraform will perform the following actions:

  # a.b will be updated in-place
  ~ resource \"a\" \"b\" {
      ~ input  = \"x\" -> \"y\"
    }

 # a.c[0] will no longer be managed by Terraform, but will not be destroyed
 # (destroy = false is set in the configuration)
 . resource \"a\" \"c\" {
        id     = \"1\"
        # (2 unchanged attributes hidden)
    }

Plan: 0 to add, 1 to change, 0 to destroy.

Warning: Some objects will no longer be managed by Terraform

 - a.c[0]
";
        let mut text = PlanText::default();
        text.push("Terraform used the selected providers to generate the following execution");
        text.push(printed);
        let sections = text.sections();
        let titles: Vec<&str> = sections.iter().map(|section| section.title).collect();
        let forgotten = "a.c[0] will no longer be managed by Terraform, but will not be destroyed";
        assert_eq!(titles, ["a.b will be updated in-place", forgotten]);
        assert_eq!(sections[0].lines.len(), 3, "{sections:?}");
        assert_eq!(sections[1].lines[0], " # (destroy = false is set in the configuration)");
        assert_eq!(sections[1].lines.len(), 5, "{sections:?}");
    }
}
