//! What a workflow of GitHub Actions needs for cdflow's steps: a queue for deploys, permissions.

use std::borrow::Cow;

use serde_json::Value;

use super::workflow_scripts;

/// A defect of a job, and how to correct it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Concern {
    pub(super) job: String,
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

/// What was found in one workflow.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// How many jobs have a step that uses the Action or runs the program.
    pub(super) jobs: usize,
    pub(super) concerns: Vec<Concern>,
    /// Whether a job carries out commands in comments.
    pub(super) comments: bool,
}

/// The name that the path of the Action contains, wherever your copy is published.
pub(super) const ACTION: &str = "cdflow";
const DEPLOYS: [&str; 3] = ["deploy", "destroy", "rollback"];
const PREVIEW: &str = "preview ";
const COMMENT_RUN: &str = "comment run";
const OF_COMMENTS: [&str; 2] = ["comment check", COMMENT_RUN];
const UNAFFECTED: &str = "unaffected";
const QUEUE: &str = "set `cancel-in-progress: false` and `queue: max`";

/// What cdflow.yml makes a deploy ask GitHub for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// GitHub deployments are created.
    pub(super) records_deployments: bool,
    /// An approval of the run is accepted.
    pub(super) reads_approvals: bool,
}

/// Judges each job of a workflow that has a step of cdflow.
pub(super) fn judge(workflow: &Value, asked: Asked) -> Judged {
    let mut judged = Judged::default();
    for (name, job) in workflow["jobs"].as_object().into_iter().flatten() {
        let steps: Vec<Step> = steps_of(workflow, job).collect();
        if steps.is_empty() {
            continue;
        }
        judged.jobs += 1;
        let job = Job { workflow, job, steps };
        judged.comments |= job.steps.iter().any(|step| step.can_be(&[COMMENT_RUN]));
        let found = job.concurrency().into_iter().chain(job.permissions(asked));
        let found = found.chain(job.event());
        judged.concerns.extend(found.map(|(what, remedy)| Concern {
            job: name.chars().take(80).collect(),
            what,
            remedy,
        }));
    }
    judged
}

/// A step that uses the Action, or that runs the program.
struct Step<'w> {
    /// The inputs; for a program, the ones that its flags are.
    with: Cow<'w, Value>,
    /// Whether it can call GitHub: a program needs GITHUB_TOKEN for that.
    has_token: bool,
}

fn steps_of<'w>(workflow: &'w Value, job: &'w Value) -> impl Iterator<Item = Step<'w>> {
    let steps = job["steps"].as_array().into_iter().flatten();
    steps.flat_map(|step| {
        let action = step["uses"].as_str().unwrap_or_default();
        let name = action.split('@').next().unwrap_or_default();
        let is_ours = name.to_lowercase().contains(ACTION) && step["with"]["command"].is_string();
        let used = is_ours.then(|| Step { with: Cow::Borrowed(&step["with"]), has_token: true });
        let has_token = [step, job, workflow].iter().any(|it| !it["env"]["GITHUB_TOKEN"].is_null());
        let script = step["run"].as_str().unwrap_or_default();
        let runs = workflow_scripts::inputs(script).into_iter();
        used.into_iter().chain(runs.map(move |with| Step { with: Cow::Owned(with), has_token }))
    })
}

impl Step<'_> {
    fn input(&self, name: &str) -> Option<&str> {
        self.with[name].as_str()
    }

    fn is(&self, name: &str, wanted: bool) -> bool {
        match &self.with[name] {
            Value::Bool(found) => *found == wanted,
            Value::String(found) => found.eq_ignore_ascii_case(&wanted.to_string()),
            _ => false,
        }
    }

    /// Whether the command is one of `names`, or can be, if it is an expression.
    fn can_be(&self, names: &[&str]) -> bool {
        let command = self.input("command").unwrap_or_default().trim();
        match command.contains("${{") {
            true => names.iter().any(|name| command.contains(name)),
            false => names.contains(&command),
        }
    }

    fn changes_something(&self) -> bool {
        (self.can_be(&DEPLOYS) || self.can_be(&[COMMENT_RUN]) || self.is_preview())
            && !self.is("plan-only", true)
            && !self.is("dry-run", true)
    }

    fn is_preview(&self) -> bool {
        self.input("command").is_some_and(|it| it.contains(PREVIEW))
    }
}

struct Job<'w> {
    workflow: &'w Value,
    job: &'w Value,
    steps: Vec<Step<'w>>,
}

type Found = (String, &'static str);

impl Job<'_> {
    /// The concurrency of the workflow and that of the job both apply.
    fn concurrency(&self) -> Vec<Found> {
        if !self.steps.iter().any(Step::changes_something) {
            return Vec::new();
        }
        let both = [&self.workflow["concurrency"], &self.job["concurrency"]];
        both.into_iter().filter_map(concern_about).collect()
    }

    fn permissions(&self, asked: Asked) -> Vec<Found> {
        let mut found = Vec::new();
        let mut need = |name: &str, purpose: &str, remedy: &'static str| {
            found.push((format!("{purpose} needs `{name}: write`"), remedy));
        };
        let assumes =
            |step: &Step| step.input("aws-role-to-assume").is_some_and(|it| !it.is_empty());
        if self.steps.iter().any(assumes) && self.access("id-token") != Access::Write {
            need(
                "id-token",
                "`aws-role-to-assume`",
                "add `id-token: write` to the `permissions:` of the job",
            );
        }
        let comments = |step: &Step| {
            step.has_token
                && !step.is("comment", false)
                && (step.is_preview() || (step.can_be(&DEPLOYS) && self.is_for_pull_requests()))
        };
        if self.steps.iter().any(comments) && self.access("pull-requests").is_missing() {
            need(
                "pull-requests",
                "the pull request comment",
                "add `pull-requests: write` to the `permissions:` of the job, or set `comment: \
                 false`",
            );
        }
        let reacts = |step: &Step| step.can_be(&OF_COMMENTS);
        if self.steps.iter().any(reacts) && self.access("pull-requests").is_missing() {
            need(
                "pull-requests",
                "the reaction to a comment",
                "add `pull-requests: write` to the `permissions:` of the job",
            );
        }
        let checks = |step: &Step| step.has_token && !step.with["check"].is_null();
        if self.steps.iter().any(checks) && self.access("checks").is_missing() {
            need(
                "checks",
                "the check run of the input `check`",
                "add `checks: write` to the `permissions:` of the job, or remove `check`",
            );
        }
        let completes = |step: &Step| step.has_token && step.can_be(&[UNAFFECTED]);
        if self.steps.iter().any(completes) && self.access("checks").is_missing() {
            need(
                "checks",
                "the check run of `unaffected`",
                "add `checks: write` to the `permissions:` of the job",
            );
        }
        let records = |step: &Step| {
            let is_shown_by_github = !self.job["environment"].is_null();
            step.has_token
                && !step.can_be(&OF_COMMENTS)
                && (step.is_preview() || (step.changes_something() && !is_shown_by_github))
        };
        if asked.records_deployments
            && self.steps.iter().any(records)
            && self.access("deployments").is_missing()
        {
            need(
                "deployments",
                "a GitHub deployment",
                "add `deployments: write` to the `permissions:` of the job, or set \
                 `deploy.github-deployments: false` in cdflow.yml",
            );
        }
        let applies = |step: &Step| {
            step.has_token && step.changes_something() && step.can_be(&["deploy", COMMENT_RUN])
        };
        if asked.reads_approvals && self.steps.iter().any(applies) && !self.can_read("actions") {
            found.push((
                "`approvals.environment` needs `actions: read`".to_owned(),
                "add `actions: read` to the `permissions:` of the job",
            ));
        }
        found
    }

    /// Only one event has the comment that a step for comments reads. A called workflow has that of
    /// its caller.
    fn event(&self) -> Option<Found> {
        let reads = self.steps.iter().any(|step| step.can_be(&OF_COMMENTS));
        let lacks =
            reads && !self.is_for(|event| ["issue_comment", "workflow_call"].contains(&event));
        lacks.then(|| {
            let what = "commands in comments need the event `issue_comment`";
            (what.to_owned(), "copy examples/workflows/comment.yml (docs/comment-commands.md)")
        })
    }

    fn is_for_pull_requests(&self) -> bool {
        self.is_for(|event| event.starts_with("pull_request"))
    }

    fn is_for(&self, wanted: impl Fn(&str) -> bool) -> bool {
        match &self.workflow["on"] {
            Value::String(event) => wanted(event),
            Value::Array(events) => events.iter().filter_map(Value::as_str).any(wanted),
            Value::Object(events) => events.keys().any(|event| wanted(event)),
            _ => false,
        }
    }

    /// The permissions of a job replace those of its workflow.
    fn permissions_given(&self) -> Option<&Value> {
        let both = [&self.job["permissions"], &self.workflow["permissions"]];
        both.into_iter().find(|it| !it.is_null())
    }

    fn can_read(&self, name: &str) -> bool {
        let is_enough = |given: &Value, enough: [&str; 2]| {
            given.as_str().is_some_and(|given| enough.contains(&given))
        };
        self.permissions_given().is_none_or(|given| {
            is_enough(given, ["read-all", "write-all"])
                || is_enough(&given[name], ["read", "write"])
        })
    }

    fn access(&self, name: &str) -> Access {
        match self.permissions_given() {
            None => Access::Unknown,
            Some(Value::String(all)) if all == "write-all" => Access::Write,
            Some(Value::Object(given)) => match given.get(name).and_then(Value::as_str) {
                Some("write") => Access::Write,
                _ => Access::Less,
            },
            Some(_) => Access::Less,
        }
    }
}

/// What the token of a job may do.
#[derive(PartialEq, Eq)]
enum Access {
    Write,
    Less,
    /// The repository's settings decide; they never give `id-token`.
    Unknown,
}

impl Access {
    fn is_missing(&self) -> bool {
        *self == Self::Less
    }
}

fn concern_about(concurrency: &Value) -> Option<Found> {
    let is_true = |value: &Value| *value == Value::Bool(true) || value.as_str() == Some("true");
    if concurrency.is_null() {
        return None;
    }
    if is_true(&concurrency["cancel-in-progress"]) {
        return Some(("`cancel-in-progress: true` cancels a running deploy".to_owned(), QUEUE));
    }
    match concurrency["queue"].as_str() {
        Some("max") => None,
        _ => Some((
            "its concurrency group has no `queue: max`: GitHub keeps one waiting run, and cancels \
             the others"
                .to_owned(),
            QUEUE,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::document::from_yaml;

    /// Returns the concerns about a workflow whose one job has these lines, and this step.
    fn said(top: &str, job: &str, with: &str) -> Vec<String> {
        said_if(ASKED, top, job, with)
    }

    fn said_if(asked: Asked, top: &str, job: &str, with: &str) -> Vec<String> {
        let text = format!(
            "{top}\njobs:\n  run:\n    runs-on: ubuntu-24.04\n    {job}\n    steps:\n      - uses: \
             actions/checkout@v5\n      - uses: org/cdflow-action/runner@v1\n        with: {with}\n"
        );
        let workflow: Value = from_yaml("x.yml", &text).unwrap();
        let judged = judge(&workflow, asked);
        assert_eq!(judged.jobs, 1, "{text}");
        judged.concerns.into_iter().map(|it| it.what).collect()
    }

    const ALL: &str = "permissions: write-all";
    const ASKED: Asked = Asked { records_deployments: true, reads_approvals: false };

    #[test]
    fn deploys_are_queued() {
        let deploy = "{ command: deploy, environment: live }";
        for (concurrency, expected) in [
            ("{ group: a, queue: max, cancel-in-progress: false }", None),
            ("{ group: a, queue: max }", None),
            ("{ group: a, cancel-in-progress: \"${{ inputs.x }}\", queue: max }", None),
            ("live", Some("no `queue: max`")),
            ("{ group: a, cancel-in-progress: false }", Some("no `queue: max`")),
            ("{ group: a, queue: single }", Some("no `queue: max`")),
            ("{ group: a, cancel-in-progress: true }", Some("cancels a running deploy")),
        ] {
            let concurrency = format!("concurrency: {concurrency}");
            for found in [said(ALL, &concurrency, deploy), {
                said(&format!("{ALL}\n{concurrency}"), "name: x", deploy)
            }] {
                assert_eq!(found.len(), usize::from(expected.is_some()), "{concurrency}");
                assert!(found.iter().all(|it| it.contains(expected.unwrap())), "{found:?}");
            }
        }
        let cancels = "concurrency: { group: a, cancel-in-progress: true }";
        for harmless in [
            "{ command: release }",
            "{ command: doctor }",
            "{ command: deploy, plan-only: true }",
            "{ command: preview reap, dry-run: 'true' }",
        ] {
            assert_eq!(said(ALL, cancels, harmless), [""; 0], "{harmless}");
        }
        for either in ["${{ x && 'preview down' || 'preview up' }}", "preview ${{ x }}"] {
            let with = format!("{{ command: \"{either}\" }}");
            assert_eq!(said(ALL, cancels, &with).len(), 1, "{either}");
        }
        assert_eq!(said(ALL, "name: x", deploy), [""; 0]);
    }

    #[test]
    fn permissions_are_those_that_the_steps_use() {
        let role = "{ command: release, aws-role-to-assume: \"${{ vars.CDFLOW_ROLE }}\" }";
        let needed = ["`aws-role-to-assume` needs `id-token: write`"];
        assert_eq!(said("on: push", "permissions: { contents: read }", role), needed);
        assert_eq!(said("on: push", "name: x", role), needed);
        assert_eq!(
            said("permissions: read-all", "permissions: { id-token: write }", role),
            [""; 0]
        );
        let plan = "{ command: deploy, plan-only: true }";
        for on in ["on: pull_request", "on: [push, pull_request]", "on: { pull_request: {} }"] {
            let found = said(on, "permissions: {}", plan);
            assert_eq!(found, ["the pull request comment needs `pull-requests: write`"]);
        }
        assert_eq!(said("on: push", "permissions: {}", plan), [""; 0]);
        assert_eq!(said("on: pull_request", "name: x", plan), [""; 0]);
        let quiet = "{ command: deploy, plan-only: true, comment: false }";
        assert_eq!(said("on: pull_request", "permissions: {}", quiet), [""; 0]);
        let checked = "{ command: deploy, plan-only: true, check: 1 }";
        let needed = ["the check run of the input `check` needs `checks: write`"];
        assert_eq!(said("on: push", "permissions: {}", checked), needed);
        assert_eq!(said("on: push", "permissions: { checks: write }", checked), [""; 0]);
        let unaffected = "{ command: unaffected }";
        let needed = ["the check run of `unaffected` needs `checks: write`"];
        assert_eq!(said("on: pull_request", "permissions: {}", unaffected), needed);
        assert_eq!(said("on: merge_group", "permissions: { checks: write }", unaffected), [""; 0]);
        let deploy = "{ command: deploy }";
        let needed = ["a GitHub deployment needs `deployments: write`"];
        assert_eq!(said("on: push", "permissions: {}", deploy), needed);
        let by_github = "permissions: {}\n    environment: live";
        assert_eq!(said("on: push", by_github, deploy), [""; 0]);
        assert_eq!(said("on: push", "permissions: {}", "{ command: preview reap }").len(), 2);
    }

    #[test]
    fn the_approval_of_a_run_is_read_with_a_permission() {
        let said = |job: &str, command: &str| {
            let asked = Asked { reads_approvals: true, ..ASKED };
            said_if(asked, "on: push", job, &format!("{{ command: {command} }}"))
        };
        let needed = ["`approvals.environment` needs `actions: read`"];
        let other = "deployments: write";
        for (permissions, expected) in [
            (format!("{{ {other} }}"), &needed[..]),
            (format!("{{ {other}, actions: none }}"), &needed[..]),
            (format!("{{ {other}, actions: read }}"), &[]),
            ("write-all".to_owned(), &[]),
        ] {
            let found = said(&format!("permissions: {permissions}"), "deploy");
            assert_eq!(found, expected, "{permissions}");
        }
        assert_eq!(said("name: x", "deploy"), [""; 0]);
        assert_eq!(said("permissions: {}", "deploy, plan-only: true"), [""; 0]);
        assert_eq!(said("permissions: {}", "release"), [""; 0]);
    }

    #[test]
    fn commands_in_comments_need_their_event() {
        let run = "{ command: comment run }";
        let on = "on: { issue_comment: { types: [created] } }";
        let queued = "concurrency: { group: a, queue: max }";
        assert_eq!(said(&format!("{on}\n{ALL}"), queued, run), [""; 0]);
        let said_of = |on: &str, job: &str| said(on, job, run);
        assert_eq!(
            said_of(on, "permissions: {}"),
            ["the reaction to a comment needs `pull-requests: write`"]
        );
        assert_eq!(
            said_of(&format!("on: push\n{ALL}"), "name: x"),
            ["commands in comments need the event `issue_comment`"]
        );
        let cancels = "concurrency: { group: a, cancel-in-progress: true }";
        assert!(said_of(&format!("{on}\n{ALL}"), cancels)[0].contains("cancels a running deploy"));
    }

    #[test]
    fn programs_are_judged_as_the_action_is() {
        let said = |top: &str, script: &str| {
            let text = format!(
                "{top}\njobs:\n  run:\n    concurrency: live\n    steps:\n      - run: |\n\
                 {:10}{script}\n",
                ""
            );
            let workflow: Value = from_yaml("x.yml", &text).unwrap();
            let judged = judge(&workflow, ASKED);
            (judged.jobs, judged.concerns.into_iter().map(|it| it.what).collect::<Vec<_>>())
        };
        let (jobs, found) = said("permissions: {}", "cdflow deploy live 42");
        assert_eq!((jobs, found.len()), (1, 1), "{found:?}");
        assert!(found[0].contains("no `queue: max`"), "{found:?}");
        let role = "cdflow release --aws-role-to-assume=arn:aws:iam::1:role/x";
        let (_, found) = said("permissions: {}", role);
        assert_eq!(found, ["`aws-role-to-assume` needs `id-token: write`"]);
        let with_token = "permissions: {}\nenv: { GITHUB_TOKEN: x }";
        let (_, found) = said(with_token, "cdflow deploy live 42");
        assert!(found[1].contains("`deployments: write`"), "{found:?}");
        assert_eq!(said(with_token, "cdflow deploy live 42 --plan-only"), (1, vec![]));
        assert_eq!(said(with_token, "echo cdflow deploy"), (0, vec![]));
    }

    #[test]
    fn odd_workflows() {
        for text in [
            "jobs: []",
            "jobs: { a: 1 }",
            "jobs: { a: { steps: { uses: cdflow } } }",
            "[]",
            "jobs: { a: { steps: [ 1, { uses: 2 }, { uses: cdflow@v1, with: [] } ] } }",
            "jobs: { a: { steps: [ { uses: cdflow@v1, with: { command: {} } } ] } }",
            "jobs: { a: { uses: org/cdflow-action/.github/workflows/x.yml@v1 } }",
        ] {
            let workflow: Value = from_yaml("x.yml", text).unwrap();
            assert_eq!(judge(&workflow, ASKED), Judged::default(), "{text}");
        }
    }
}
