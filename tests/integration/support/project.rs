//! A component's checkout: a git repository with a cdflow.yml, an infra/ and its configuration.

use super::sandbox::files_under;
use super::{Aws, Mirror, REGION, Runner, Sandbox, Scrub, git, tool};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const TEAM: &str = "platform";

/// Takes every variable that a project of the tests sets, and keeps them in one resource.
const MAIN: &str = r#"variable "env" {
  type = string
}

variable "release" {
  type = map(string)
}

variable "greeting" {
  type = string
}

variable "domain" {
  type = string
}

resource "terraform_data" "greeting" {
  input = "${var.greeting} from ${var.env}.${var.domain}, version ${var.release["version"]}"
}

output "greeting" {
  value = terraform_data.greeting.output
}
"#;

/// Instead of `MAIN`: a parameter in the account that is deployed to.
const MAIN_AWS: &str = r#"terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

variable "env" {
  type = string
}

variable "release" {
  type = map(string)
}

variable "greeting" {
  type = string
}

provider "aws" {}

resource "aws_ssm_parameter" "greeting" {
  name  = "/${var.release["component"]}/${var.env}/greeting"
  type  = "String"
  value = var.greeting
}
"#;

/// Committed on `main`, with the remote `https://github.com/acme/<name>.git`. Commits are the same
/// in every run as long as their content is.
pub(crate) struct Project {
    name: String,
    sandbox: Sandbox,
    environment: Vec<(String, String)>,
    scrub: Scrub,
    mirror: Option<Mirror>,
    scheme: Value,
}

impl Project {
    /// An infrastructure component under the local account scheme, with `terraform_data` alone: no
    /// AWS, no provider. Releases, Lambda zips and state are kept in `store/` beside the checkout.
    pub(crate) fn local(name: &str) -> Self {
        let scheme = json!({
            "accounts": { "local": {} },
            "release-account": "local",
            "default-region": REGION,
            "release-bucket": "file:../store/releases",
            "lambda-bucket": "file:../store/lambda",
            "terraform-backend": { "type": "local", "path": "file:../store/state" },
            "environments": { "ci": "local", "aslive": "local", "live": "local", "*": "local" },
        });
        let project = Self::bare(name, scheme);
        project.write("account-scheme.json", &pretty(&project.scheme));
        project.furnish("./account-scheme.json", &["local"]);
        project
    }

    /// The same component with its releases and state in moto's S3, and an account for each
    /// environment.
    pub(crate) fn aws(name: &str, aws: &Aws) -> Self {
        let mut project = Self::bare(name, aws.scheme());
        project.environment = aws
            .env()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        project.scrub = project.scrub.text(aws.endpoint(), "[AWS]").text(aws.name(), "[NAME]");
        project.furnish(&aws.scheme_url(), &["dev", "prod"]);
        project
    }

    /// Deploys an SSM parameter with the real AWS provider: slow, for the tests that are about it.
    pub(crate) fn with_aws_provider(mut self) -> Self {
        self.write("infra/main.tf", MAIN_AWS);
        self.commit("Use the AWS provider");
        self.mirror = Some(Mirror::aws());
        self
    }

    /// Requires this mirror's `hashicorp/tiny`: init works, validate and plan do not.
    pub(crate) fn with_tiny_provider(mut self, mirror: Mirror) -> Self {
        self.write(
            "infra/tiny.tf",
            "terraform {\n  required_providers {\n    tiny = {\n      source  = \
            \"hashicorp/tiny\"\n      version = \"1.0.0\"\n    \
             }\n  }\n}\n",
        );
        self.commit("Require the tiny provider");
        self.mirror = Some(mirror);
        self
    }

    /// A checkout copied from the repository, for instance `examples/lambda-component`.
    pub(crate) fn copied(name: &str, from: &Path) -> Self {
        let project = Self::bare(name, Value::Null);
        for file in files_under(from) {
            let target = project.path(&file);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(from.join(&file), target).unwrap();
        }
        project.commit("First");
        project
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The checkout.
    pub(crate) fn dir(&self) -> PathBuf {
        self.sandbox.work().join(&self.name)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir().join(file)
    }

    /// The folder of the local scheme's `releases`, `lambda` and `state`.
    pub(crate) fn store(&self) -> PathBuf {
        self.sandbox.work().join("store")
    }

    /// Everything in `store()`, relative to it and sorted.
    pub(crate) fn stored(&self) -> Vec<String> {
        files_under(&self.store())
    }

    /// `<team>/<component>/<component>-<version>.zip`
    pub(crate) fn release_key(&self, version: &str) -> String {
        format!("{TEAM}/{0}/{0}-{version}.zip", self.name)
    }

    /// A release of the local scheme.
    pub(crate) fn bundle(&self, version: &str) -> PathBuf {
        self.store().join("releases").join(self.release_key(version))
    }

    pub(crate) fn scheme(&self) -> &Value {
        &self.scheme
    }

    pub(crate) fn write(&self, file: &str, content: &str) -> &Self {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub(crate) fn remove(&self, file: &str) -> &Self {
        fs::remove_file(self.path(file)).unwrap();
        self
    }

    pub(crate) fn append(&self, file: &str, content: &str) -> &Self {
        self.write(file, &(self.read(file) + content))
    }

    /// Replaces a text that must be there.
    #[track_caller]
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) -> &Self {
        let content = self.read(file);
        assert!(content.contains(from), "`{file}` has no `{from}`:\n{content}");
        self.write(file, &content.replace(from, to))
    }

    /// Changes a JSON file in place.
    pub(crate) fn edit_json(&self, file: &str, change: impl FnOnce(&mut Value)) -> &Self {
        let mut value = serde_json::from_str(&self.read(file)).unwrap();
        change(&mut value);
        self.write(file, &pretty(&value))
    }

    /// Commits everything and says which commit it is.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "--message", message]);
        self.head()
    }

    /// The commit that is checked out.
    pub(crate) fn head(&self) -> String {
        self.git(["rev-parse", "HEAD"])
    }

    /// Runs git in the checkout; its output without the last newline.
    #[track_caller]
    pub(crate) fn git(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        let output = git(&self.sandbox, self.dir(), arguments).run();
        output.success().stdout.trim_end().to_owned()
    }

    /// cdflow in the checkout, with what the project needs of the environment.
    pub(crate) fn cdflow(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Runner {
        let runner = Runner::new(env!("CARGO_BIN_EXE_cdflow"), arguments, &self.sandbox)
            .cwd(self.dir())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .scrubber(self.scrub.clone());
        match &self.mirror {
            Some(mirror) => runner.providers(mirror),
            None => runner,
        }
    }

    /// `cdflow release VERSION` with the project's platform config, which must succeed.
    #[track_caller]
    pub(crate) fn release(&self, version: &str) -> super::Output {
        let output = self.releasing(version).run();
        output.success();
        output
    }

    /// A release that its checks would stop, or whose checks, which start the provider, are those
    /// of another test.
    #[track_caller]
    pub(crate) fn release_unchecked(&self, version: &str) {
        self.releasing(version).arg("--no-validate").run().success();
    }

    /// `cdflow deploy ENV VERSION`, which must succeed.
    #[track_caller]
    pub(crate) fn deploy(&self, environment: &str, version: &str) -> super::Output {
        let output = self.cdflow(["deploy", environment, version]).run();
        output.success();
        output
    }

    /// Whether `terraform validate` can work: the tiny provider is no program.
    pub(super) fn is_valid(&self) -> bool {
        let code = ["infra/main.tf", "infra/tiny.tf"].map(|file| self.path(file));
        let mut texts = code.iter().filter_map(|file| fs::read_to_string(file).ok());
        texts.all(|text| !text.contains("hashicorp/tiny"))
    }

    pub(super) fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_ref()
    }

    fn bare(name: &str, scheme: Value) -> Self {
        let sandbox = Sandbox::new();
        let dir = sandbox.work().join(name);
        fs::create_dir(&dir).unwrap();
        let scrub = sandbox.scrub().path(&dir, "[PROJECT]");
        let project = Self {
            name: name.to_owned(),
            sandbox,
            environment: Vec::new(),
            scrub,
            mirror: None,
            scheme,
        };
        project.git(["init", "--quiet", "--initial-branch", "main"]);
        project.git(["remote", "add", "origin", &format!("https://github.com/acme/{name}.git")]);
        project
    }

    fn furnish(&self, scheme_url: &str, accounts: &[&str]) {
        self.write(
            "cdflow.yml",
            &format!(
                "account-scheme-url: {scheme_url}\nteam: {TEAM}\ntype: infrastructure\n{}",
                tool::setting()
            ),
        )
        .write("infra/main.tf", MAIN)
        .write("config/common.json", &pretty(&json!({ "greeting": "Hello" })))
        .write("config/live.json", &pretty(&json!({ "greeting": "Good day" })));
        for account in accounts {
            let domain = json!({ "domain": format!("{account}.example") });
            self.write(&format!("platform-config/{account}/{REGION}.json"), &pretty(&domain));
        }
        self.commit("First");
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}
