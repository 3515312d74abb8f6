//! The whole life of a pull request: images in ECR, releases and state in S3, and what GitHub
//! shows, looked at after each step.

use crate::support::github::{GitHub, TOKEN};
use crate::support::{Aws, Lab, Output, Project, RELEASE, Runner, pull_request_event};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

const NAME: &str = "pull-request-life";
const NUMBER: u64 = 7;
const FORGOTTEN: u64 = 8;

const MAIN: &str = r#"variable "release" {
  type = map(string)
}

variable "env" {
  type = string
}

resource "terraform_data" "service" {
  input = var.release.image_id
}

output "url" {
  value = "https://${var.env}.example"
}
"#;

/// Everything that a preview leaves traces in.
struct World {
    aws: Aws,
    github: GitHub,
    project: Project,
}

impl World {
    fn new() -> Self {
        let aws = Aws::new(NAME);
        let project = Project::aws(NAME, &aws);
        project.edit("cdflow.yml", "type: infrastructure", "type: docker").append(
            "cdflow.yml",
            "deploy: { url-output: url }\npreview: { label: preview, account-environment: ci, ttl: \
            72h, delete-releases: true }\n",
        );
        project.write("infra/main.tf", MAIN).write("Dockerfile", "FROM scratch\nCOPY message /\n");
        project.write("message", "first\n").commit("A service");
        let github = GitHub::start();
        Lab::get().relay(github.url().rsplit(':').next().unwrap().parse().unwrap());
        Self { aws, github, project }
    }

    /// A step of the workflow that an event of the pull request starts, as its checkout then is.
    fn event(&self, action: &str, number: u64, run: u64) -> Runner {
        let (command, state) = if action == "closed" { ("down", "closed") } else { ("up", "open") };
        let mut event = pull_request_event(number, &self.project.head(), state, &[]);
        event["action"] = action.into();
        self.project
            .for_pull_request(&self.github, &event, run, &["preview", command])
            .in_lab(Lab::get())
    }

    fn run(&self, action: &str, run: u64) -> Output {
        self.event(action, NUMBER, run).run()
    }

    /// Pushes to the branch; the version that a preview of it has.
    fn push(&self, message: &str) -> String {
        self.project.write("message", message).commit(message);
        let head = self.project.head();
        self.github.world().pull_requests.get_mut(&NUMBER).unwrap().head_sha = head.clone();
        format!("pr-{NUMBER}-{}", &head[..7])
    }

    fn close(&self, number: u64, is_merged: bool) {
        let mut world = self.github.world();
        let pull_request = world.pull_requests.get_mut(&number).unwrap();
        (pull_request.is_open, pull_request.is_merged) = (false, is_merged);
    }

    fn releases(&self) -> BTreeSet<String> {
        let keys = self.aws.keys(&self.aws.release_bucket());
        keys.iter()
            .filter_map(|key| Some(key.rsplit('/').next()?.strip_suffix(".zip")?.to_owned()))
            .collect()
    }

    /// The tags in ECR.
    fn images(&self) -> BTreeSet<String> {
        let images = self.aws.list(
            RELEASE,
            "ecr",
            "list_images",
            "imageIds",
            json!({ "repositoryName": NAME }),
        );
        images.iter().map(|image| image["imageTag"].as_str().unwrap().to_owned()).collect()
    }

    /// The preview's objects in the state bucket: its workspace, its lock.
    fn states(&self, number: u64) -> Vec<String> {
        let keys = self.aws.keys(&self.aws.state_bucket());
        keys.into_iter().filter(|key| key.contains(&format!("pr-{number}"))).collect()
    }

    /// The states of the deployments of a preview, oldest first.
    fn deployments(&self, number: u64) -> Vec<String> {
        let (world, environment) = (self.github.world(), format!("pr-{number}"));
        let of_preview = world.deployments.values().filter(|it| it.environment == environment);
        of_preview
            .map(|it| it.statuses.last().unwrap()["state"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The one comment of a pull request.
    fn comment(&self, number: u64) -> String {
        let world = self.github.world();
        let bodies: Vec<&str> = world
            .comments
            .values()
            .filter(|it| it.issue == number)
            .map(|it| it.body.as_str())
            .collect();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        bodies[0].to_owned()
    }

    /// A preview of `version` alone, and everything that says so.
    #[track_caller]
    fn is_up(&self, number: u64, version: &str, versions: &[&str]) {
        let of =
            |versions: &[&str]| versions.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
        let mine = |all: BTreeSet<String>| -> BTreeSet<String> {
            all.into_iter().filter(|it| it.contains(&format!("pr-{number}-"))).collect()
        };
        let zips: Vec<String> = versions.iter().map(|it| format!("{NAME}-{it}")).collect();
        let zips: Vec<&str> = zips.iter().map(String::as_str).collect();
        assert_eq!(mine(self.releases()), of(&zips));
        assert_eq!(mine(self.images()), of(versions));
        let [state] = &self.states(number)[..] else { panic!("{:?}", self.states(number)) };
        let state = self.aws.get_json(&self.aws.state_bucket(), state);
        let image =
            state["resources"][0]["instances"][0]["attributes"]["input"]["value"].as_str().unwrap();
        let digest = Lab::get().manifest(NAME, version).unwrap().digest;
        assert_eq!(image, format!("{}/{NAME}@{digest}", Lab::ecr()));
        assert_eq!(self.deployments(number).last().unwrap(), "success");
        assert!(self.deployments(number).iter().rev().skip(1).all(|state| state == "inactive"));
        assert!(self.github.world().environments.contains(&format!("pr-{number}")));
        let comment = self.comment(number);
        for said in [version, &format!("https://pr-{number}.example"), "keep-preview"] {
            assert!(comment.contains(said), "nothing of {said} in {comment}");
        }
    }

    /// Nothing is left of it but what says that it was there.
    #[track_caller]
    fn is_gone(&self, number: u64) {
        assert!(
            !self.releases().iter().any(|it| it.contains(&format!("pr-{number}-"))),
            "{:?}",
            self.releases()
        );
        assert!(
            !self.images().iter().any(|it| it.starts_with(&format!("pr-{number}-"))),
            "{:?}",
            self.images()
        );
        assert!(self.states(number).is_empty(), "{:?}", self.states(number));
        assert!(
            self.deployments(number).iter().all(|state| state == "inactive"),
            "{:?}",
            self.deployments(number)
        );
        assert!(!self.github.world().environments.contains(&format!("pr-{number}")));
        let comment = self.comment(number);
        assert!(comment.contains("destroyed"), "{comment}");
    }
}

#[test]
fn from_the_first_push_to_the_merge() {
    let world = World::new();
    let (project, github) = (&world.project, &world.github);

    // Opened, without the label that asks for a preview.
    let first = project.head();
    github.world().pull_request(NUMBER, &first);
    world.run("opened", 1).success().stdout_has("it has no label `preview`");
    assert!(
        world.releases().is_empty()
            && github.world().comments.is_empty()
            && github.world().deployments.is_empty()
    );

    // Labelled.
    github.world().pull_requests.get_mut(&NUMBER).unwrap().labels = vec!["preview".to_owned()];
    world.run("labeled", 2).success();
    let first = format!("pr-{NUMBER}-{}", &first[..7]);
    world.is_up(NUMBER, &first, &[&first]);

    // Pushed to.
    let second = world.push("second");
    world.run("synchronize", 3).success();
    world.is_up(NUMBER, &second, &[&first, &second]);

    // Twice more, the later one while the earlier one plans.
    let third = world.push("third");
    let planning = project.sandbox().root().join("planning");
    let wait = format!(
        "plan) case \"$*\" in *-out=*) touch {0}; while [ -e {0} ]; do sleep 0.1; done ;; esac ;;",
        planning.display()
    );
    let mut overtaken =
        world.event("synchronize", NUMBER, 4).env("PATH", project.terraform_but(&wait)).spawn();
    overtaken.wait_until("Terraform plans", |_| planning.exists());
    let fourth = world.push("fourth");
    world.run("synchronize", 5).success();
    fs::remove_file(planning).unwrap();
    overtaken.wait().success().stdout_has("Stopped before the apply");
    world.is_up(NUMBER, &fourth, &[&first, &second, &third, &fourth]);

    // Closed, and once more.
    world.close(NUMBER, false);
    world.run("closed", 6).success();
    world.is_gone(NUMBER);
    world.run("closed", 7).success().stdout_has("pr-7 is already destroyed");
    world.is_gone(NUMBER);

    // Reopened.
    github.world().pull_requests.get_mut(&NUMBER).unwrap().is_open = true;
    world.run("reopened", 8).success();
    world.is_up(NUMBER, &fourth, &[&fourth]);

    // Another one, whose `closed` event never comes; then this one is merged.
    let head = project.head();
    github.world().pull_request(FORGOTTEN, &head).labels = vec!["preview".to_owned()];
    world.event("labeled", FORGOTTEN, 9).run().success();
    let other = format!("pr-{FORGOTTEN}-{}", &head[..7]);
    world.is_up(FORGOTTEN, &other, &[&other]);
    world.close(NUMBER, true);
    world.run("closed", 10).success();
    world.is_gone(NUMBER);
    world.is_up(FORGOTTEN, &other, &[&other]);

    let reap = || {
        let runner =
            project.cdflow(["preview", "reap"]).envs(github.env()).env("GITHUB_TOKEN", TOKEN);
        runner
            .env("GITHUB_EVENT_NAME", "schedule")
            .env("GITHUB_SHA", &head)
            .env("GITHUB_RUN_ID", "11")
            .in_lab(Lab::get())
    };
    reap().run().success().stdout_has("kept: its pull request is open");
    world.is_up(FORGOTTEN, &other, &[&other]);
    world.close(FORGOTTEN, false);
    reap().run().success().stdout_has("destroyed: its pull request is closed");
    world.is_gone(FORGOTTEN);

    // What is left says what was: the ledger. That a run on a schedule did it doesn't make it
    // nobody's.
    let entries = world.aws.keys(&world.aws.release_bucket());
    let newest = entries
        .iter()
        .find(|key| key.contains("/ledger/pr-8/") && key.ends_with(".start.json"))
        .unwrap();
    let newest = world.aws.get_json(&world.aws.release_bucket(), newest);
    assert_eq!(
        (&newest["action"], &newest["pull_request"]["number"]),
        (&json!("destroy"), &json!(FORGOTTEN))
    );
    let history = |environment: &str| -> Value {
        project.cdflow(["history", environment, "--json"]).run().success().json()
    };
    assert!(
        history("pr-7").to_string().contains(&fourth)
            && history("pr-8").to_string().contains(&other)
    );
    assert!(world.aws.unfinished_uploads(&world.aws.release_bucket()).is_empty());
}
