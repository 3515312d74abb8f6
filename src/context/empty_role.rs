//! A step of GitHub Actions whose `aws-role-to-assume` has no value, although its workflow sets it.
//! The runner passes such an input like one that the step does not have.

use std::path::Path;

use serde_json::Value;

use crate::{
    base::{document, printable, process_env::ProcessEnv, small_file},
    config::settings::AwsInputs,
    services::ci::host::Host,
};

const INPUT: &str = "aws-role-to-assume";
/// The name that the path of the Action contains, wherever your copy is published.
const ACTION: &str = "cdflow";

/// Warns if the run uses other credentials than the ones of the role that its workflow names.
pub(super) fn warn(aws: &AwsInputs, host: &Host) {
    if aws.aws_role_to_assume.is_some() || host.github().is_none() {
        return;
    }
    if let Some(expression) = in_workflow(&host.environment) {
        host.log.warning(&format!(
            "`{INPUT}: {}` of this step has no value, so the run uses the other AWS credentials \
             of the job\n  -> set the variable that the expression names for this repository and \
             environment, or remove the input",
            printable::excerpt(&expression)
        ));
    }
}

/// Returns what the workflow in the checkout sets the input to. None if it has several such steps
/// in the job, and one of them leaves the input out.
fn in_workflow(environment: &ProcessEnv) -> Option<String> {
    let get = |name: &str| environment.get(name);
    // `acme/checkout/.github/workflows/deploy.yml@refs/heads/main`
    let (path, _) = get("GITHUB_WORKFLOW_REF")?.split_once('@')?;
    let name = path.rsplit('/').next().filter(|name| !name.starts_with('.'))?;
    let file = Path::new(get("GITHUB_WORKSPACE")?).join(".github/workflows").join(name);
    let text = small_file::text(&file).ok()?;
    let workflow: Value = document::from_yaml(name, &text).ok()?;
    let steps = workflow["jobs"].get(get("GITHUB_JOB")?)?["steps"].as_array()?;
    let is_meant = |step: &&Value| {
        let action = step["uses"].as_str().unwrap_or_default().to_lowercase();
        let command = step["with"]["command"].as_str();
        let is_same = |it: &str| it.contains("${{") || Some(it.trim()) == get("INPUT_COMMAND");
        action.contains(ACTION) && command.is_some_and(is_same)
    };
    let set = |step: &Value| step["with"][INPUT].as_str().map(str::to_owned);
    let found: Option<Vec<String>> = steps.iter().filter(is_meant).map(set).collect();
    found?.into_iter().find(|it| it.contains("${{"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(steps: &str, variables: &[(&str, &str)]) -> Option<String> {
        let checkout = tempfile::tempdir().unwrap();
        let folder = checkout.path().join(".github/workflows");
        fs::create_dir_all(&folder).unwrap();
        let text = format!("jobs:\n  live:\n    steps:\n{steps}");
        fs::write(folder.join("deploy.yml"), text).unwrap();
        let place = checkout.path().to_str().unwrap();
        let given = [
            ("GITHUB_WORKSPACE", place),
            ("GITHUB_WORKFLOW_REF", "acme/x/.github/workflows/deploy.yml@refs/heads/main"),
            ("GITHUB_JOB", "live"),
            ("INPUT_COMMAND", "deploy"),
        ];
        let pairs = given.iter().chain(variables);
        let pairs = pairs.map(|(name, value)| ((*name).into(), (*value).into()));
        in_workflow(&ProcessEnv::new(pairs))
    }

    #[test]
    fn the_step_of_the_run() {
        let step = |command: &str, role: &str| {
            format!(
                "      - uses: org/cdflow-action@v1\n        with: {{ command: {command}{role} }}\n"
            )
        };
        let role = ", aws-role-to-assume: \"${{ vars.ROLE }}\"";
        let is = Some("${{ vars.ROLE }}".to_owned());
        let (with, without) = (step("deploy", role), step("deploy", ""));
        assert_eq!(found(&with, &[]), is);
        assert_eq!(found(&(step("release", "") + &with), &[]), is);
        assert_eq!(found(&step("\"${{ inputs.command }}\"", role), &[]), is);
        for other in [&without, &(without.clone() + &with), &step("release", role), "      []\n"] {
            assert_eq!(found(other, &[]), None, "{other}");
        }
        // A role that is given as text is not empty.
        let text = ", aws-role-to-assume: \"arn:aws:iam::111111111111:role/x\"";
        assert_eq!(found(&step("deploy", text), &[]), None);
        for missing in [("GITHUB_JOB", "ci"), ("GITHUB_WORKFLOW_REF", "a/../..@x")] {
            assert_eq!(found(&with, &[missing]), None, "{missing:?}");
        }
    }
}
