//! The files that `init` writes: a small, complete component of each type, deployable locally.

use std::{fs, io, path::Path};

use super::shared_scheme::SharedScheme;
use crate::config::{
    component::ComponentType,
    names::{Component, Team},
};

/// A path in the component's folder, and the template of its content.
type Template = (&'static str, &'static str);

const INFRASTRUCTURE: &[Template] = &[
    ("cdflow.yml", include_str!("templates/infrastructure/cdflow.yml")),
    ("account-scheme.json", include_str!("templates/both/account-scheme.json")),
    (".gitignore", include_str!("templates/infrastructure/gitignore")),
    ("config/common.json", include_str!("templates/infrastructure/config/common.json")),
    ("config/live.json", include_str!("templates/infrastructure/config/live.json")),
    ("infra/main.tf", include_str!("templates/infrastructure/infra/main.tf")),
    ("infra/outputs.tf", include_str!("templates/infrastructure/infra/outputs.tf")),
    ("infra/variables.tf", include_str!("templates/infrastructure/infra/variables.tf")),
];

const DOCKER: &[Template] = &[
    ("cdflow.yml", include_str!("templates/docker/cdflow.yml")),
    ("account-scheme.json", include_str!("templates/docker/account-scheme.json")),
    (".dockerignore", include_str!("templates/docker/dockerignore")),
    (".gitignore", include_str!("templates/infrastructure/gitignore")),
    ("Dockerfile", include_str!("templates/docker/Dockerfile")),
    ("config/common.json", include_str!("templates/docker/config/common.json")),
    ("config/live.json", include_str!("templates/docker/config/live.json")),
    ("infra/main.tf", include_str!("templates/docker/infra/main.tf")),
    ("infra/outputs.tf", include_str!("templates/docker/infra/outputs.tf")),
    ("infra/variables.tf", include_str!("templates/docker/infra/variables.tf")),
];

const LAMBDA: &[Template] = &[
    ("cdflow.yml", include_str!("templates/lambda/cdflow.yml")),
    ("account-scheme.json", include_str!("templates/both/account-scheme.json")),
    (".gitignore", include_str!("templates/lambda/gitignore")),
    ("config/common.json", include_str!("templates/lambda/config/common.json")),
    ("config/live.json", include_str!("templates/lambda/config/live.json")),
    ("infra/main.tf", include_str!("templates/lambda/infra/main.tf")),
    ("infra/outputs.tf", include_str!("templates/lambda/infra/outputs.tf")),
    ("infra/variables.tf", include_str!("templates/lambda/infra/variables.tf")),
    ("src/handler.py", include_str!("templates/lambda/src/handler.py")),
];

const FUNCTION: &[Template] = &[
    ("cdflow.yml", include_str!("templates/function/cdflow.yml")),
    ("account-scheme.json", include_str!("templates/docker/account-scheme.json")),
    (".gitignore", include_str!("templates/function/gitignore")),
    ("config/common.json", include_str!("templates/docker/config/common.json")),
    ("config/live.json", include_str!("templates/docker/config/live.json")),
    ("infra/main.tf", include_str!("templates/docker/infra/main.tf")),
    ("infra/outputs.tf", include_str!("templates/docker/infra/outputs.tf")),
    ("infra/variables.tf", include_str!("templates/docker/infra/variables.tf")),
    ("src/functions.rs", include_str!("templates/function/src/functions.rs")),
    ("src/lib.rs", include_str!("templates/function/src/lib.rs")),
];

/// Workflows, which GitHub reads only at the root of a repository. They fit the local account
/// scheme, whose folder only one job sees.
const WORKFLOWS: &[Template] = &[
    (".github/workflows/deploy.yml", include_str!("templates/both/deploy.yml")),
    (".github/workflows/plan.yml", include_str!("templates/both/plan.yml")),
];
/// The same for an account scheme on AWS, with a job and a role for each environment.
const WORKFLOWS_AWS: &[Template] = &[
    (".github/workflows/deploy.yml", include_str!("templates/aws/deploy.yml")),
    (".github/workflows/plan.yml", include_str!("templates/aws/plan.yml")),
];
/// The values of the environment that is deployed last, as the templates name it.
const LAST_CONFIG: &str = "config/live.json";
const LOCAL_SCHEME: &str = "account-scheme.json";
/// The first word of the line that names the account scheme.
const SCHEME_KEY: &str = "account-scheme-url: ";
/// The Action in a container, and the one on the runner, which reaches a registry on localhost.
const ACTIONS: [&str; 2] = ["org/cdflow-action@v1", "org/cdflow-action/runner@v1"];
/// The line of a workflow before which the services of its job are added.
const STEPS: &str = "    steps:\n";
/// The `image-registry` of the template's account scheme.
const REGISTRY: &str = "    services:
      registry: # for images, until the account scheme names a registry that remains
        image: registry:2
        ports: [\"5000:5000\"]
";

/// A component that does not exist yet.
pub(crate) struct Scaffold<'a> {
    /// Whether its folder will be a repository of its own.
    pub(crate) is_repository: bool,
    pub(crate) kind: ComponentType,
    pub(crate) name: &'a Component,
    pub(crate) team: &'a Team,
    /// None: the component gets a local account scheme.
    pub(crate) shared: Option<&'a SharedScheme>,
}

impl Scaffold<'_> {
    /// Returns the path and content of each file.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let templates = match self.kind {
            ComponentType::Infrastructure => INFRASTRUCTURE,
            ComponentType::Lambda => LAMBDA,
            ComponentType::Docker => DOCKER,
            ComponentType::Function => FUNCTION,
        };
        let workflows = if self.shared.is_some() { WORKFLOWS_AWS } else { WORKFLOWS };
        let workflows = workflows.iter().filter(|_| self.is_repository);
        let workflows = workflows.map(|(path, text)| ((*path).to_owned(), self.workflow(text)));
        let is_wanted = |path: &str| self.shared.is_none() || path != LOCAL_SCHEME;
        let files = templates.iter().filter(|(path, _)| is_wanted(path));
        workflows.chain(files.map(|(path, text)| (self.path(path), self.fill(text)))).collect()
    }

    /// Names contain no character that has a meaning in a quoted YAML string.
    fn fill(&self, text: &str) -> String {
        let text = text.replace("@NAME@", self.name.as_str()).replace("@TEAM@", self.team.as_str());
        let Some(shared) = self.shared else { return text };
        let of_scheme = |line: &str| line.starts_with(SCHEME_KEY);
        let line = |line: &str| match of_scheme(line) {
            // A string of JSON is one of YAML.
            true => format!("{SCHEME_KEY}{}\n", serde_json::Value::from(shared.url.as_str())),
            false => line.to_owned(),
        };
        text.split_inclusive('\n').map(line).collect()
    }

    fn path(&self, path: &str) -> String {
        match self.shared.and_then(|it| it.environments.last()) {
            Some(last) if path == LAST_CONFIG => format!("config/{last}.json"),
            _ => path.to_owned(),
        }
    }

    fn workflow(&self, text: &str) -> String {
        if let Some(shared) = self.shared {
            let last = shared.environments.last().map_or("", String::as_str);
            let text = text.replace("@ENVIRONMENTS@", &shared.environments.join(", "));
            return text.replace("@LAST@", last);
        }
        match self.kind.has_image() {
            true => {
                text.replace(ACTIONS[0], ACTIONS[1]).replace(STEPS, &format!("{REGISTRY}{STEPS}"))
            }
            false => text.to_owned(),
        }
    }

    /// Writes all files or none, and overwrites nothing: writes to `draft`, and renames it to
    /// `folder`. The rename fails if `folder` is a file, a link or not empty.
    pub(crate) fn write(&self, draft: &Path, folder: &Path) -> io::Result<()> {
        for (path, content) in self.files() {
            let path = draft.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, content)?;
        }
        fs::rename(draft, folder)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::config::{component::Manifest, scheme::AccountScheme};

    fn file<'f>(files: &'f [(String, String)], wanted: &str) -> &'f str {
        &files.iter().find(|(path, _)| path == wanted).unwrap().1
    }

    #[test]
    fn templates_load_with_any_names() {
        for kind in ComponentType::value_variants().iter().copied() {
            for (name, team) in
                [("hello", "platform"), ("1e3", "no"), ("0x1F", "null"), ("a._-", "123")]
            {
                let (name, team) = (name.parse().unwrap(), team.parse().unwrap());
                let (name, team) = (&name, &team);
                let scaffold = Scaffold { is_repository: true, kind, name, team, shared: None };
                let files = scaffold.files();
                let manifest = Manifest::parse("cdflow.yml", file(&files, "cdflow.yml")).unwrap();
                assert_eq!(
                    (manifest.kind, manifest.component.as_ref(), &manifest.team),
                    (kind, Some(name), team)
                );
                let scheme = file(&files, LOCAL_SCHEME);
                AccountScheme::parse(LOCAL_SCHEME, Some(Path::new("/")), scheme, team, name)
                    .unwrap();
                for unfilled in ["@NAME@", "@TEAM@", "platform-config"] {
                    assert!(files.iter().all(|(_, text)| !text.contains(unfilled)), "{unfilled}");
                }
            }
        }
    }

    #[test]
    fn templates_for_a_shared_scheme() {
        let (name, team) = ("hello".parse().unwrap(), "platform".parse().unwrap());
        let url = "s3://acme/a \"b\": {team}.json".to_owned();
        let shared = SharedScheme { url: url.clone(), environments: vec!["ci".into(), "x".into()] };
        for kind in ComponentType::value_variants().iter().copied() {
            let scaffold = Scaffold {
                is_repository: true,
                kind,
                name: &name,
                team: &team,
                shared: Some(&shared),
            };
            let files = scaffold.files();
            let manifest = Manifest::parse("cdflow.yml", file(&files, "cdflow.yml")).unwrap();
            assert_eq!(manifest.account_scheme_url.to_string(), url);
            assert!(files.iter().all(|(path, _)| path != LOCAL_SCHEME && path != LAST_CONFIG));
            file(&files, "config/x.json");
            let workflow = file(&files, ".github/workflows/deploy.yml");
            assert!(workflow.contains("environment: [ci, x]\n"), "{workflow}");
            assert!(files.iter().all(|(_, text)| !text.contains('@') || text.contains("@v")));
        }
    }
}
