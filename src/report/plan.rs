//! A plan as reviewers see it: counted, most dangerous changes first, Terraform's text cut per
//! resource.

use std::collections::{BTreeMap, VecDeque};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Outcome,
    diff::as_diff,
    markdown::grouped,
    reasons::{Reason, reasons},
};
use crate::{
    base::redact::Redactor,
    config::guards::Protected,
    terraform::{
        Plan,
        output::{
            changes::{self, ChangeAction, Changes, ResourceChange, label},
            plan_text::{PlanSection, PlanText},
            results::{ResourceOutcome, ResourceResult},
            risk::holds,
        },
    },
};

/// What a plan says that changes nothing else.
const ONLY_RELEASE: &str =
    "Only the version, the commit or the build number of the release changes";

/// A redacted plan. It is also the `plan.json` of `--plan-out`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "plan")]
pub(crate) struct PlanReport {
    /// Whether an apply would change anything.
    pub(crate) has_changes: bool,
    /// The counts of the plan.
    pub(crate) counts: PlanCounts,
    /// The changes, most dangerous first: replaced, destroyed, then the others.
    pub(crate) resources: Vec<PlannedResource>,
    /// Terraform's text about the outputs, as a diff.
    pub(crate) outputs: String,
    /// The complete text of Terraform.
    pub(crate) text: String,
    /// Terraform's own JSON, masked; None if it was not wanted.
    #[serde(skip)]
    pub(crate) document: Option<String>,
    /// Whether only the version, the commit and the build number of the release change.
    pub(crate) only_release: bool,
}

/// Numbers of resources. As in Terraform, a replacement is one to add and one to destroy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[schemars(rename = "counts")]
pub(crate) struct PlanCounts {
    /// Resources to add.
    pub(crate) add: usize,
    /// Resources to change.
    pub(crate) change: usize,
    /// Resources to destroy.
    pub(crate) destroy: usize,
    /// Resources to replace, which also count as to add and to destroy.
    pub(crate) replace: usize,
    /// Resources to import.
    pub(crate) import: usize,
    /// Resources whose address changes.
    #[serde(rename = "move")]
    pub(crate) moved: usize,
    /// Resources to remove from the state only.
    pub(crate) forget: usize,
}

/// The ledger records only three counts.
impl From<changes::Counts> for PlanCounts {
    fn from(counts: changes::Counts) -> Self {
        let changes::Counts { add, change, destroy } = counts;
        Self { add, change, destroy, ..Self::default() }
    }
}

/// The planned change of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "resource")]
pub(crate) struct PlannedResource {
    /// The address.
    pub(crate) address: String,
    /// The address before. Absent if it stays the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moved_from: Option<String>,
    /// The key of a deposed object. The current object of the address is not affected. Absent for
    /// a current object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deposed: Option<String>,
    /// What would be done.
    pub(crate) action: ChangeAction,
    /// Terraform's reason for the action, such as `replace_because_tainted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Why it is changed, in words.
    pub(crate) reasons: Vec<Reason>,
    /// What is lost with the resource, such as `database`. Absent if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stateful: Option<String>,
    /// What protects a destroyed object, by the values of the plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) protected_by: Vec<String>,
    /// The protection that a destroyed object could have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unprotected: Vec<String>,
    /// What the change does to security, by rules that are not complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) security: Vec<String>,
    /// What an apply did. Absent before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<ResourceResult>,
    /// The position in Terraform's plan.
    #[serde(skip)]
    at: usize,
    /// The change in Terraform's words, such as `aws_s3_bucket.data must be replaced`.
    pub(crate) title: String,
    /// Terraform's text as a diff: `+`, `-` or `!` (a change) is in the first column.
    pub(crate) diff: String,
}

impl PlanReport {
    /// Returns the redacted plan. `redactor` must know the values that the plan marks as sensitive.
    /// `stateful` extends the list of resources whose loss is a loss of data.
    pub(crate) fn new(plan: &Plan, stateful: &[Protected], redactor: &Redactor) -> Self {
        let (document, has_changes) = (plan.json.clone(), plan.has_changes);
        Self { document, ..Self::of(&plan.changes, &plan.text, has_changes, stateful, redactor) }
    }

    pub(crate) fn of(
        changes: &Changes,
        text: &PlanText,
        has_changes: bool,
        stateful: &[Protected],
        redactor: &Redactor,
    ) -> Self {
        let masked = |text: &str| redactor.apply(text).into_owned();
        let mut sections = text.sections();
        let outputs = sections.iter().position(|section| section.title == "Changes to Outputs");
        let outputs = outputs
            .map(|at| as_diff(&masked(&sections.remove(at).lines.join("\n")), false, &masked))
            .unwrap_or_default();
        let mut sections = by_address(sections, changes);
        let mut resources: Vec<PlannedResource> = Vec::new();
        for (at, change) in changes.resources.iter().enumerate() {
            let label = change.label();
            let effect = changes.effects.resources.get(&label);
            let all = |texts: &[String]| texts.iter().map(|text| masked(text)).collect();
            let section = sections.get_mut(label.as_str()).and_then(VecDeque::pop_front);
            let title = section
                .as_ref()
                .map_or_else(|| default_title(&label, change.action), |it| it.title.to_owned());
            let why = reasons(change, effect, redactor);
            // Terraform's own words for the same reason would be a repetition.
            let repeats = ["# (because ", "# (imported from ", "# (moved from "];
            let is_new = |line: &&str| {
                why.is_empty() || !repeats.iter().any(|it| line.trim_start().starts_with(it))
            };
            let is_replaced = change.action == ChangeAction::Replace;
            let diff = section.map(|section| {
                let lines: Vec<&str> = section.lines.into_iter().filter(is_new).collect();
                as_diff(&masked(&lines.join("\n")), is_replaced, &masked)
            });
            resources.push(PlannedResource {
                address: masked(&change.address),
                moved_from: change.moved_from.as_deref().map(masked),
                deposed: change.deposed.clone(),
                action: change.action,
                reason: change.reason.clone(),
                reasons: why,
                stateful: held(change, stateful),
                protected_by: all(&change.risk.protects),
                unprotected: all(&change.risk.lacks),
                security: all(&change.risk.security),
                result: None,
                at,
                title: masked(&title),
                diff: diff.unwrap_or_default(),
            });
        }
        resources.sort_by_key(|resource| rank(resource.action));
        Self {
            has_changes,
            counts: PlanCounts::of(changes),
            resources,
            outputs,
            text: masked(text.whole()),
            document: None,
            only_release: false,
        }
    }

    /// Returns what to say about a plan that changes only the names of the release. They can force
    /// a replacement.
    pub(crate) fn said_of_release(&self) -> Option<String> {
        let replaced = match self.counts.replace {
            0 => String::new(),
            count => format!(" ({} replaced)", grouped(count)),
        };
        self.only_release.then(|| format!("{ONLY_RELEASE}{replaced}"))
    }

    /// Returns the resources that the plan destroys or replaces.
    pub(crate) fn losses(&self) -> impl Iterator<Item = &PlannedResource> {
        self.resources.iter().filter(|it| it.is_loss())
    }

    /// Whether an apply began.
    pub(super) fn was_applied(&self, outcome: Outcome) -> bool {
        outcome.is_past() || self.resources.iter().any(|it| it.result.is_some())
    }

    /// Sets what an apply did. `results` are in the order of Terraform's plan.
    pub(crate) fn set_results(&mut self, results: &[ResourceResult], redactor: &Redactor) {
        for resource in &mut self.resources {
            let masked = |error: &String| redactor.apply(error).into_owned();
            resource.result = results.get(resource.at).map(|result| ResourceResult {
                outcome: result.outcome,
                error: result.error.as_ref().map(masked),
            });
        }
    }
}

impl PlannedResource {
    /// Returns the address, with the key of a deposed object.
    pub(crate) fn label(&self) -> String {
        label(&self.address, self.deposed.as_deref())
    }

    /// Whether it is destroyed: before an apply, by the plan; after it, by the result. One with an
    /// unknown result counts.
    pub(super) fn is_lost(&self) -> bool {
        let outcome = self.result.as_ref().map(|result| result.outcome);
        let is_kept = matches!(
            outcome,
            Some(
                ResourceOutcome::NotStarted
                    | ResourceOutcome::Failed
                    | ResourceOutcome::OldNotDeleted
            )
        );
        self.is_loss() && !is_kept
    }

    /// Whether the plan destroys or replaces it.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self.action, ChangeAction::Replace | ChangeAction::Delete)
    }
}

/// Returns what is lost with a resource, by the built-in list and `report.stateful`.
fn held(change: &ResourceChange, more: &[Protected]) -> Option<String> {
    let is_named = || more.iter().any(|it| it.covers(&change.address, &change.kind));
    let named = || is_named().then(|| "stateful resource".to_owned());
    holds(&change.kind).map(str::to_owned).or_else(named)
}

impl PlanCounts {
    fn of(changes: &Changes) -> Self {
        let plain = changes.counts();
        let of = |action| changes.resources.iter().filter(|change| change.action == action).count();
        Self {
            add: plain.add,
            change: plain.change,
            destroy: plain.destroy,
            replace: of(ChangeAction::Replace),
            import: changes.resources.iter().filter(|change| change.is_import).count(),
            moved: changes.resources.iter().filter(|change| change.moved_from.is_some()).count(),
            forget: of(ChangeAction::Forget),
        }
    }
}

/// Returns the sort order: most dangerous changes first.
fn rank(action: ChangeAction) -> u8 {
    match action {
        ChangeAction::Replace => 0,
        ChangeAction::Delete => 1,
        ChangeAction::Forget => 2,
        ChangeAction::Update => 3,
        ChangeAction::Create => 4,
        ChangeAction::Import => 5,
        ChangeAction::Move => 6,
    }
}

fn default_title(address: &str, action: ChangeAction) -> String {
    let what = match action {
        ChangeAction::Create => "will be created",
        ChangeAction::Update => "will be updated in-place",
        ChangeAction::Replace => "must be replaced",
        ChangeAction::Delete => "will be destroyed",
        ChangeAction::Forget => "will no longer be managed",
        ChangeAction::Import => "will be imported",
        ChangeAction::Move => "has moved",
    };
    format!("{address} {what}")
}

/// Assigns sections to addresses. A title starts with an address, which might contain blanks and
/// name a deposed object; after a move, it ends with the address.
fn by_address<'a>(
    sections: Vec<PlanSection<'a>>,
    changes: &Changes,
) -> BTreeMap<String, VecDeque<PlanSection<'a>>> {
    let mut found: BTreeMap<String, VecDeque<PlanSection<'a>>> =
        changes.resources.iter().map(|change| (change.label(), VecDeque::new())).collect();
    for section in sections {
        let title = section.title;
        // The longest first: a deposed object has the address of the current one, and more.
        let begins = title.rmatch_indices(' ').map(|(at, _)| &title[..at]);
        let ends = title.split_once(" has moved to ").map(|(_, address)| address);
        if let Some(address) =
            ends.into_iter().chain(begins).find(|address| found.contains_key(*address))
            && let Some(of_address) = found.get_mut(address)
        {
            of_address.push_back(section);
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{base::redact::Secret, terraform::output::identity::Identity};

    pub(in crate::report) fn change(address: &str, action: ChangeAction) -> ResourceChange {
        ResourceChange {
            address: address.to_owned(),
            moved_from: None,
            is_import: false,
            kind: address.split(['.', '[']).next().unwrap_or_default().to_owned(),
            action,
            deposed: None,
            reason: None,
            identity: Identity::default(),
            risk: Default::default(),
        }
    }

    /// Returns the report of a plan with these resources and this text of Terraform.
    pub(in crate::report) fn plan(
        printed: &str,
        resources: Vec<ResourceChange>,
        redactor: &Redactor,
    ) -> PlanReport {
        let mut text = PlanText::default();
        printed.lines().for_each(|line| text.push(line));
        let changes = Changes { resources, ..Changes::default() };
        PlanReport::of(&changes, &text, true, &[], redactor)
    }

    const PRINTED: &str = r#"Terraform used the selected providers to generate the following

Terraform will perform the following actions:

  # a.b["x y"] will be updated in-place
  ~ resource "a" "b" {
        id  = "1"
      ~ in  = {
          ~ t = <<-EOT
                one
              - - two
              + - three
                - four
            EOT
            # (1 unchanged attribute hidden)
        }
      - gone = <<-EOT
            - hunter22
        EOT -> null
    }

  # a.c must be replaced
-/+ resource "a" "c" {
      + x = "y"
    }

  # a.d has moved to a.e
    resource "a" "e" {
    }

Plan: 1 to add, 1 to change, 1 to destroy.

Changes to Outputs:
  ~ o = "one" -> "two"
"#;

    #[test]
    fn a_changed_version_says_how_much_it_replaces() {
        let said = |replace: usize, only_release: bool| {
            let counts = PlanCounts { replace, ..PlanCounts::default() };
            PlanReport { counts, only_release, ..PlanReport::default() }.said_of_release()
        };
        assert_eq!(said(0, true).as_deref(), Some(ONLY_RELEASE));
        assert_eq!(said(1, true).unwrap(), format!("{ONLY_RELEASE} (1 replaced)"));
        assert_eq!(said(1200, true).unwrap(), format!("{ONLY_RELEASE} (1,200 replaced)"));
        assert_eq!(said(1, false), None);
    }

    #[test]
    fn a_deposed_object_has_its_own_section() {
        let printed = "Terraform used the selected providers.\n\n\
            Terraform will perform the following actions:\n\n  \
            # a.b (deposed object 0a1b2c3d) will be destroyed\n  - resource \"a\" \"b\" {\n    \
            }\n\n  # a.b will be updated in-place\n  ~ resource \"a\" \"b\" {\n      \
            ~ x = 1\n    }\n\nPlan: 0 to add, 1 to change, 1 to destroy.\n";
        let mut deposed = change("a.b", ChangeAction::Delete);
        deposed.deposed = Some("0a1b2c3d".to_owned());
        let changes = vec![change("a.b", ChangeAction::Update), deposed];
        let plan = plan(printed, changes, &Redactor::default());
        let shown: Vec<(String, &str)> =
            plan.resources.iter().map(|it| (it.label(), it.title.as_str())).collect();
        assert_eq!(
            shown,
            [
                (
                    "a.b (deposed object 0a1b2c3d)".to_owned(),
                    "a.b (deposed object 0a1b2c3d) will be destroyed"
                ),
                ("a.b".to_owned(), "a.b will be updated in-place"),
            ]
        );
        assert!(plan.resources[1].diff.contains("x = 1"), "{plan:?}");
    }

    #[test]
    fn text_is_cut_marked_masked_and_ordered() {
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter22"));
        let resources = vec![
            change("a.b[\"x y\"]", ChangeAction::Update),
            change("a.c", ChangeAction::Replace),
            change("a.e", ChangeAction::Move),
            change("a.unprinted", ChangeAction::Delete),
        ];
        let plan = plan(PRINTED, resources, &redactor);
        let titles: Vec<&str> = plan.resources.iter().map(|it| it.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "a.c must be replaced",
                "a.unprinted will be destroyed",
                "a.b[\"x y\"] will be updated in-place",
                "a.d has moved to a.e"
            ]
        );
        assert_eq!(plan.losses().count(), 2);
        assert_eq!(plan.resources[0].diff, "! -/+ resource \"a\" \"c\" {\n+     x = \"y\"\n  }");
        let expected = r#"! resource "a" "b" {
      id  = "1"
!     in  = {
!         t = <<-EOT
              one
-             - two
+             - three
              - four
          EOT
          # (1 unchanged attribute hidden)
      }
-     gone = <<-EOT
-         - ***
      EOT -> null
  }"#;
        assert_eq!(plan.resources[2].diff, expected);
        assert_eq!(plan.outputs, "! o = \"one\" -> \"two\"");
        assert!(!plan.text.contains("hunter22"));
    }
}
