//! What a preview has beside its environment: images, Lambda zips and secrets. They come and go
//! with it.

use crate::support::github::{Fault, GitHub, TOKEN};
use crate::support::{Aws, DEV, Lab, Output, Project, RELEASE, Runner, pull_request_event};
use serde_json::{Value, json};
use std::fs;

const NUMBER: u64 = 7;
const PREVIEW: &str = "preview: {account-environment: ci, delete-releases: true}\n";

/// `release` as Terraform gets it.
const SHOW_RELEASE: &str = r#"variable "release" {
  type = map(string)
}

resource "terraform_data" "release" {
  input = var.release
}
"#;

/// A step of a run for a pull request.
fn step(project: &Project, github: &GitHub, arguments: &[&str]) -> Runner {
    let work = project.sandbox().work();
    for name in ["summary", "outputs"] {
        fs::write(work.join(name), "").unwrap();
    }
    let event = pull_request_event(NUMBER, &project.head(), "open", &[]);
    let runner = project.for_pull_request(github, &event, 1, arguments);
    runner
        .env("GITHUB_STEP_SUMMARY", work.join("summary"))
        .env("GITHUB_OUTPUT", work.join("outputs"))
}

fn up(project: &Project, github: &GitHub) -> Runner {
    step(project, github, &["preview", "up", "--platform-config", "platform-config"])
}

fn down(project: &Project, github: &GitHub) -> Runner {
    step(project, github, &["preview", "down"])
}

/// Open, at the commit that is checked out.
fn opened(project: &Project) -> GitHub {
    let github = GitHub::start();
    github.world().pull_request(NUMBER, &project.head());
    github
}

fn pushed(project: &Project, github: &GitHub, file: &str, content: &str) {
    project.write(file, content).commit("Pushed");
    github.world().pull_requests.get_mut(&NUMBER).unwrap().head_sha = project.head();
}

fn version(project: &Project) -> String {
    format!("pr-{NUMBER}-{}", &project.head()[..7])
}

fn bundles(aws: &Aws) -> Vec<String> {
    let keys = aws.keys(&aws.release_bucket()).into_iter();
    keys.filter(|key| key.ends_with(".zip"))
        .map(|key| key.rsplit('/').next().unwrap().to_owned())
        .collect()
}

/// The tags of the component's repository, by ECR's word.
fn tags(aws: &Aws, repository: &str) -> Vec<String> {
    let images = aws.list(
        RELEASE,
        "ecr",
        "list_images",
        "imageIds",
        json!({ "repositoryName": repository }),
    );
    let mut tags: Vec<String> =
        images.iter().filter_map(|image| Some(image["imageTag"].as_str()?.to_owned())).collect();
    tags.sort();
    tags
}

fn docker(name: &str, aws: &Aws) -> Project {
    let project = Project::aws(name, aws);
    project
        .edit("cdflow.yml", "type: infrastructure", "type: docker")
        .append("cdflow.yml", PREVIEW);
    project.write("infra/main.tf", SHOW_RELEASE);
    project
        .write("Dockerfile", "FROM scratch\nCOPY message /\n")
        .write("message", "hello\n")
        .commit("An image");
    project
}

#[test]
fn the_images_of_a_preview_go_with_it_and_no_others() {
    let (lab, aws) = (Lab::get(), Aws::new("docker-preview"));
    let project = docker("docker-preview", &aws);
    let release = ["release", "1", "--platform-config", "platform-config"];
    project.cdflow(release).in_lab(lab).run().success();
    project.cdflow(["deploy", "live", "1"]).in_lab(lab).run().success();
    let github = opened(&project);
    lab.relay(github.url().rsplit(':').next().unwrap().parse().unwrap());
    let in_lab = |runner: Runner| runner.in_lab(lab).run();
    // Its image is called "keep" as well: by hand, as another release's might be.
    in_lab(up(&project, &github)).success();
    let first = version(&project);
    let image = json!({ "repositoryName": project.name(), "imageIds": [{ "imageTag": first }] });
    let shared = aws.call(RELEASE, "ecr", "batch_get_image", image)["images"][0].clone();
    let digest = shared["imageId"]["imageDigest"].as_str().unwrap().to_owned();
    let again = json!({
        "repositoryName": project.name(), "imageTag": "keep", "imageDigest": digest,
        "imageManifest": shared["imageManifest"],
        "imageManifestMediaType": shared["imageManifestMediaType"],
    });
    aws.call(RELEASE, "ecr", "put_image", again);
    pushed(&project, &github, "message", "second\n");
    in_lab(up(&project, &github)).success();
    let second = version(&project);
    // A third was promoted by hand: it is another environment's too.
    pushed(&project, &github, "message", "third\n");
    in_lab(up(&project, &github)).success();
    let third = version(&project);
    project.cdflow(["deploy", "aslive", &third]).in_lab(lab).run().success();
    let mut all = vec!["1".to_owned(), "keep".to_owned(), "latest".to_owned()];
    all.extend([&first, &second, &third].map(String::clone));
    all.sort();
    assert_eq!((tags(&aws, project.name()), bundles(&aws).len()), (all, 4));

    // ECR fails half way: the bundle is gone, its image is not. The next run ends it.
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_open = false;
    let deletion = "BatchDeleteImage {\"repositoryName\":\"docker-preview\"";
    aws.rule(json!({ "matching": deletion, "times": 1, "status": 400,
        "body": "{\"__type\": \"AccessDeniedException\", \"message\": \"said the test\"}" }));
    in_lab(down(&project, &github)).fails(4).stdout_has("`ecr:BatchDeleteImage`");
    for _ in 0..2 {
        in_lab(down(&project, &github)).success().stdout_has("pr-7 is already destroyed");
        assert_eq!(tags(&aws, project.name()), ["1", "keep", "latest", &third]);
        assert_eq!(
            bundles(&aws),
            ["docker-preview-1.zip".to_owned(), format!("docker-preview-{third}.zip")]
        );
    }
    // What others share is whole.
    assert_eq!(lab.manifest(project.name(), &digest).unwrap().digest, digest);
    let by_digest =
        json!({ "repositoryName": project.name(), "imageIds": [{ "imageDigest": digest }] });
    let kept = aws.call(RELEASE, "ecr", "describe_images", by_digest);
    assert_eq!(kept["imageDetails"][0]["imageTags"], json!(["keep"]));
    for (environment, version) in [("aslive", third.as_str()), ("live", "1")] {
        project.cdflow(["deploy", environment, version]).in_lab(lab).run().success();
    }
    let gone = json!({ "repositoryName": project.name(), "imageIds": [{ "imageTag": second }] });
    let gone = aws.try_call(RELEASE, "ecr", "describe_images", gone).unwrap_err();
    assert!(gone.starts_with("ImageNotFoundException"), "{gone}");
}

#[test]
fn the_zips_of_a_preview_go_with_it_and_no_others() {
    let aws = Aws::new("lambda-preview");
    let project = Project::aws("hello", &aws);
    project
        .edit("cdflow.yml", "type: infrastructure", "type: lambda")
        .append("cdflow.yml", PREVIEW);
    project.write("infra/main.tf", SHOW_RELEASE);
    project
        .write("src/handler.py", "def handle(event, context):\n    return 'hello'\n")
        .commit("A function");
    project.release("1");
    let github = opened(&project);
    up(&project, &github).run().success();
    let first = version(&project);
    pushed(
        &project,
        &github,
        "src/handler.py",
        "def handle(event, context):\n    return 'other'\n",
    );
    up(&project, &github).run().success();
    let all = [
        project.release_key("1"),
        project.release_key(&first),
        project.release_key(&version(&project)),
    ];
    let sorted = |keys: &[String]| {
        let mut keys = keys.to_vec();
        keys.sort();
        keys
    };
    assert_eq!(aws.keys(&aws.lambda_bucket()), sorted(&all));
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_open = false;
    // S3 fails half way: a bundle is gone, its zip is not.
    let deletion = format!("DELETE /{}/", aws.lambda_bucket());
    let denied = "<Error><Code>AccessDenied</Code><Message>said the test</Message></Error>";
    aws.rule(json!({ "matching": deletion, "times": 1, "status": 403, "body": denied }));
    down(&project, &github).run().fails(4);
    assert_eq!(aws.keys(&aws.lambda_bucket()).len(), 3);
    for _ in 0..2 {
        down(&project, &github).run().success().stdout_has("pr-7 is already destroyed");
        assert_eq!(
            (aws.keys(&aws.lambda_bucket()), bundles(&aws).len()),
            (vec![project.release_key("1")], 1)
        );
    }
    assert!(aws.keys(&aws.state_bucket()).iter().all(|key| !key.contains("pr-7")));
}

#[test]
fn every_preview_has_the_secrets_of_preview() {
    let aws = Aws::new("secrets-preview");
    let project = Project::aws("with-secrets", &aws);
    let leaks = "variable \"secrets\" {\n  type = map(string)\n}\n\n\
        resource \"terraform_data\" \"secrets\" {\n  input = var.secrets\n}\n\n\
        resource \"terraform_data\" \"leak\" {\n  input = \
        \"<${nonsensitive(var.secrets[\"token\"])}>\"\n}\n\n\
        output \"leak\" {\n  value = terraform_data.leak.output\n}\n";
    project.write("infra/main.tf", leaks);
    project.append(
        "cdflow.yml",
        "secrets: [ssm, secrets-manager]\npreview: {account-environment: ci}\n",
    );
    project.commit("Secrets");
    let parameter = |environment: &str, name: &str, value: &str| {
        let name = format!("/cdflow/{environment}/with-secrets/{name}");
        let put = json!({ "Name": name, "Value": value, "Type": "SecureString" });
        aws.call(DEV, "ssm", "put_parameter", put);
    };
    parameter("preview", "token", "s3cret-token-of-previews");
    parameter("ci", "token", "s3cret-token-of-ci");
    parameter("pr-7", "extra", "s3cret-of-nobody");
    let object = json!({ "password": "s3cret-password-of-previews" }).to_string();
    let secret = json!({ "Name": "cdflow/preview/with-secrets", "SecretString": object });
    aws.call(DEV, "secretsmanager", "create_secret", secret);
    let github = opened(&project);
    let report = project.sandbox().work().join("report.md");
    for number in [7, 8] {
        github.world().pull_request(number, &project.head());
        let arguments = format!(
            "preview up --pull-request {number} --platform-config platform-config --report-markdown"
        );
        let arguments: Vec<&str> = arguments.split(' ').chain([report.to_str().unwrap()]).collect();
        let output: Output = step(&project, &github, &arguments).run();
        output.success().stdout_has("2 secret(s)");
        let state = aws.get_json(
            &aws.state_bucket(),
            &format!("platform/with-secrets/pr-{number}/terraform.tfstate"),
        );
        let received = state["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["name"] == "secrets")
            .unwrap();
        let received = &received["instances"][0]["attributes"]["input"]["value"];
        let expected = json!({ "token": "s3cret-token-of-previews",
            "password": "s3cret-password-of-previews" });
        assert_eq!(*received, expected, "{number}");

        let work = project.sandbox().work();
        let read = |name: &str| fs::read_to_string(work.join(name)).unwrap();
        let bodies: Vec<String> =
            github.world().comments.values().map(|comment| comment.body.clone()).collect();
        let told = [read("summary"), read("outputs"), read("report.md"), bodies.concat()];
        for shown in [&told[0], &told[2], &told[3], &output.stdout] {
            assert!(shown.contains("terraform_data.leak") && shown.contains("<***>"), "{shown}");
        }
        for text in told.iter().chain([&output.stdout, &output.stderr]) {
            let shown: Vec<&str> =
                text.lines().filter(|line| line.contains("s3cret") && !is_mask(line)).collect();
            assert!(shown.is_empty(), "{shown:?}");
        }
        let asked: Vec<Value> = github.exchanges("").into_iter().map(|it| it.body).collect();
        assert!(!json!(asked).to_string().contains("s3cret"));
    }
    let summary = fs::read_to_string(project.sandbox().work().join("summary")).unwrap();
    assert!(summary.contains("pr-8"), "{summary}");
}

/// What the runner is told to mask it must be told in clear.
fn is_mask(line: &str) -> bool {
    line.starts_with("::add-mask::")
}

#[test]
fn an_environment_that_may_not_be_deleted_on_github_stays_without_a_word() {
    let project = Project::local("greeting");
    project.append("cdflow.yml", "preview: {}\n").commit("Previews");
    let github = opened(&project);
    up(&project, &github).run().success();
    let weak = [("deployments", "write"), ("pull_requests", "write"), ("contents", "read")];
    github.world().token(TOKEN, "github-actions[bot]", &weak);
    let output = down(&project, &github).run();
    output.success().lacks("::warning").lacks("the GitHub environment stays");
    assert_eq!(github.exchanges("DELETE /repos/acme/checkout/environments/pr-7")[0].status, 403);
    assert_eq!(
        (project.state("pr-7"), github.world().environments.as_slice()),
        (None, &["pr-7".to_owned()][..])
    );

    // Whoever wants to know it is told; any other trouble is a warning, and no failure.
    up(&project, &github).run().success();
    let told = step(&project, &github, &["preview", "down", "-v"]).run();
    told.success().lacks("::warning").stdout_has(
        "the GitHub environment is kept: failed to delete the GitHub environment `pr-7`",
    );
    up(&project, &github).run().success();
    github.fault(
        "DELETE /repos",
        4,
        Fault::Answer { status: 500, headers: vec![], message: "a fault" },
    );
    down(&project, &github)
        .run()
        .success()
        .stdout_has("::warning::failed to delete the GitHub environment `pr-7`");
}
