//! The identity of a run of GitHub Actions, for which GitHub vouches: no key anywhere, and renewed
//! as long as the run lasts.

use crate::support::{Aws, Issuer, Project, RELEASE, RIGHT_TO_ASK, Runner, id_token};
use serde_json::json;

fn role(aws: &Aws) -> String {
    format!("arn:aws:iam::{RELEASE}:role/{}-ci-runner", aws.name())
}

/// A step without any key of AWS.
fn step(project: &Project, aws: &Aws, issuer: &Issuer, inputs: &[(&str, &str)]) -> Runner {
    let role = role(aws);
    let inputs = inputs.iter().copied().chain([("AWS-ROLE-TO-ASSUME", role.as_str())]);
    let runner = project
        .cdflow([] as [&str; 0])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_RUN_ID", "77")
        .env("NO_COLOR", "1");
    runner
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .envs(issuer.env())
        .envs(inputs.map(|(name, value)| (format!("INPUT_{name}"), value.to_owned())))
}

/// The runner passes `${{ vars.CDFLOW_ROLE }}` without a value as an empty input.
#[test]
fn an_empty_role_names_the_variable() {
    let (aws, issuer) = (Aws::new("no-role"), Issuer::start());
    let project = Project::aws("vouched", &aws);
    let inputs = [("COMMAND", "status"), ("AWS-REGION", "eu-west-1")];
    step(&project, &aws, &issuer, &inputs)
        .env("INPUT_AWS-ROLE-TO-ASSUME", "")
        .run()
        .fails(4)
        .stdout_has("no AWS credentials were found")
        .stdout_has("set the input `aws-role-to-assume`; if it is set, its expression has no value")
        .stdout_has("`vars.CDFLOW_ROLE`");
    let output = project
        .cdflow(["status"])
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .run();
    output.fails(4).stderr_has("no AWS credentials were found").lacks("aws-role-to-assume");
}

/// The job has other credentials, which may be those of another account.
#[test]
fn an_empty_role_and_other_credentials_are_a_warning() {
    let aws = Aws::new("other-keys");
    let project = Project::aws("vouched", &aws);
    let workflow = |role: &str| {
        let with = format!("command: status, aws-role-to-assume: \"{role}\"");
        let text = format!(
            "jobs:\n  show:\n    steps:\n      - uses: org/cdflow-action@v1\n        with: {{ \
             {with} }}\n"
        );
        project.write(".github/workflows/show.yml", &text);
    };
    let status = || {
        let runner = project.cdflow([] as [&str; 0]).env("GITHUB_ACTIONS", "true");
        let reference = "acme/vouched/.github/workflows/show.yml@refs/heads/main";
        let runner = runner.env("GITHUB_JOB", "show").env("GITHUB_WORKFLOW_REF", reference);
        let runner = runner.env("GITHUB_WORKSPACE", project.dir()).env("INPUT_COMMAND", "status");
        runner.env("INPUT_AWS-ROLE-TO-ASSUME", "").run()
    };
    status().success().lacks("::warning::");
    workflow("${{ vars.CDFLOW_ROLE }}");
    status().success().stdout_has(
        "::warning::`aws-role-to-assume: ${{ vars.CDFLOW_ROLE }}` of this step has no value, so \
         the run uses the other AWS credentials of the job",
    );
    // Without an expression, the other credentials are meant.
    workflow("");
    status().success().lacks("::warning::");
}

#[test]
fn a_run_without_keys_releases_and_deploys() {
    let (aws, issuer) = (Aws::new("oidc"), Issuer::start());
    let project = Project::aws("vouched", &aws);
    // The role's sessions end in a minute: each use renews them.
    aws.rule(json!({
        "matching": format!("{}-ci-runner", aws.name()),
        "response": ["<Expiration>.*</Expiration>", "<Expiration>{now+60}</Expiration>"],
    }));
    // A busy issuer is asked again.
    issuer.failures.lock().unwrap().push(503);
    let release = [
        ("COMMAND", "release"),
        ("VERSION", "1"),
        ("PLATFORM-CONFIG", "platform-config"),
        ("AWS-REGION", "eu-west-1"),
    ];
    let output = step(&project, &aws, &issuer, &release).env_remove("AWS_REGION").run();
    output
        .success()
        .stdout_has("Released vouched 1")
        .lacks(RIGHT_TO_ASK)
        .lacks("payloadOfTheIdToken");
    let asked = issuer.asked();
    assert!(asked.len() > 2, "{asked:?}");
    assert!(
        asked
            .iter()
            .all(|line| line
                == "GET /idtoken/run?api-version=2.0&audience=sts.amazonaws.com HTTP/1.1"),
        "{asked:?}"
    );
    let calls = aws.calls(&format!("{}-ci-runner", aws.name()));
    let lines: Vec<&str> = calls.iter().map(|call| call["line"].as_str().unwrap()).collect();
    assert!(
        lines[0].contains("AssumeRoleWithWebIdentity") && lines[0].contains(&id_token(2)),
        "{lines:?}"
    );
    assert!(
        lines[0].contains("RoleSessionName=cdflow-77")
            && lines.last().unwrap().contains(&id_token(asked.len())),
        "{lines:?}"
    );
    step(
        &project,
        &aws,
        &issuer,
        &[("COMMAND", "deploy"), ("ENVIRONMENT", "ci"), ("VERSION", "1")],
    )
    .run()
    .success();
    step(&project, &aws, &issuer, &[("COMMAND", "doctor")])
        .run()
        .success()
        .stdout_has("-ci-runner/cdflow-77");
}

/// Faults that pass: GitHub limits requests, and AWS can't get GitHub's keys for a moment.
#[test]
fn passing_faults_are_waited_for() {
    let (aws, issuer) = (Aws::new("oidc-passing"), Issuer::start());
    let project = Project::aws("vouched", &aws);
    let status = || step(&project, &aws, &issuer, &[("COMMAND", "status")]);
    for failure in [429, 408, 502] {
        issuer.failures.lock().unwrap().push(failure);
        status().run().success();
    }
    let error = |code: &str, message: &str| {
        format!(
            "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>r1</RequestId></ErrorResponse>"
        )
    };
    let keys = error(
        "InvalidIdentityToken",
        "Couldn't retrieve verification key from your identity provider",
    );
    let matching = format!("{}-ci-runner", aws.name());
    for (status_code, body) in
        [(400, keys.clone()), (400, error("IDPCommunicationError", "Not verified in time"))]
    {
        aws.rule(json!({ "matching": matching, "times": 1, "status": status_code, "body": body }));
        status().run().success();
    }
    // For ever, it is AWS that is in trouble, and not a permission that is missing.
    aws.rule(json!({ "matching": matching, "status": 400, "body": keys }));
    status()
        .env("CDFLOW_LIMITS", "id-patience=2s")
        .run()
        .fails(10)
        .stdout_has("Couldn't retrieve verification key")
        .lacks("trust policy");
    // Another invalid token is not waited for.
    let invalid = error("InvalidIdentityToken", "No OpenIDConnect provider found");
    aws.rule(json!({ "matching": matching, "status": 400, "body": invalid }));
    status().run().fails(4).stdout_has("trust policy");
}

#[test]
fn what_can_go_wrong_with_it() {
    let (aws, issuer) = (Aws::new("oidc-trouble"), Issuer::start());
    let project = Project::aws("vouched", &aws);
    let status = || step(&project, &aws, &issuer, &[("COMMAND", "status")]);
    let not_allowed = status().env_remove("ACTIONS_ID_TOKEN_REQUEST_URL").run();
    not_allowed
        .fails(4)
        .stdout_has("permissions:%0A       contents: read%0A       id-token: write");
    status()
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "another-right")
        .run()
        .fails(4)
        .stdout_has("HTTP 401")
        .lacks("another-right");
    issuer.failures.lock().unwrap().extend([500; 9]);
    status()
        .env("CDFLOW_LIMITS", "id-patience=1s")
        .run()
        .fails(10)
        .stdout_has("failed to get an ID token from GitHub: HTTP 500");
    let refusal = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized \
        to perform sts:AssumeRoleWithWebIdentity</Message></Error><RequestId>r1</RequestId>\
        </ErrorResponse>";
    aws.rule(json!({ "matching": format!("{}-ci-runner", aws.name()), "times": 1, "status": 403,
        "body": refusal }));
    status()
        .run()
        .fails(4)
        .stdout_has("trust policy")
        .stdout_has("token.actions.githubusercontent.com")
        .lacks("payloadOfTheIdToken");
    let elsewhere = status().env("INPUT_AWS-ROLE-TO-ASSUME", "ci-runner").run();
    elsewhere.fails(2).stdout_has("arn:aws:iam::<12 digits>:role/<name>");
    let unset = status().env("INPUT_AWS-ROLE-TO-ASSUME", "-live").run();
    unset.fails(2).stdout_has("the expression before `-live` has no value");
}
