//! Where the state is, as a file of its own that overrides whatever backend the code names.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::place::{S3Place, StatePlace};
use crate::{
    base::error::{Error, Result},
    terraform::tool::Tool,
};

/// The profile under which the S3 backend finds its identity (see `aws::credentials`).
const PROFILE: &str = "cdflow-state";
/// Terraform reads `*_override` files last, whatever backend the code has.
pub(crate) const FILE: &str = "cdflow_backend_override.tf";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    S3 {
        place: S3Place,
        locks: S3Locks,
    },
    /// `<directory>/<environment>/terraform.tfstate`.
    Local {
        directory: PathBuf,
    },
}

/// What Terraform locks a state in S3 by: one of the two at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Locks {
    pub(crate) use_lockfile: bool,
    pub(crate) dynamodb_table: Option<String>,
}

impl S3Locks {
    /// What the scheme says, as far as this Terraform can. Refuses where nothing would lock the state.
    pub(crate) fn choose(
        use_lockfile: Option<bool>,
        dynamodb_table: Option<&String>,
        tool: &Tool,
    ) -> Result<Self> {
        let use_lockfile = match use_lockfile {
            Some(true) if !tool.has_s3_lockfile() => {
                return Err(Error::input(format!(
                    "{} {} can't lock a state in S3 by a lock file",
                    tool.flavor.name(),
                    tool.version
                ))
                .why("`terraform-backend-s3-use-lockfile` needs 1.10 or newer")
                .hint("install a newer one, or set `terraform-backend-s3-dynamodb-table` in the account scheme"));
            }
            said => said.unwrap_or_else(|| tool.has_s3_lockfile()),
        };
        if !use_lockfile && dynamodb_table.is_none() {
            return Err(Error::input("no state lock is configured: two deploys at once could destroy the state")
                .why(format!(
                    "lock file off or not to be had with {} {}, and no DynamoDB table",
                    tool.flavor.name(),
                    tool.version
                ))
                .hint(
                    "in the account scheme set `terraform-backend-s3-use-lockfile: true` (Terraform 1.10 or newer) \
                       or `terraform-backend-s3-dynamodb-table`",
                ));
        }
        Ok(Self { use_lockfile, dynamodb_table: dynamodb_table.cloned() })
    }
}

impl Backend {
    pub(crate) fn choose(place: &StatePlace, tool: &Tool) -> Result<Self> {
        match place {
            StatePlace::Local { root, prefix, .. } => {
                Ok(Self::Local { directory: root.join(prefix) })
            }
            StatePlace::S3(place) => {
                let locks =
                    S3Locks::choose(place.use_lockfile, place.dynamodb_table.as_ref(), tool)?;
                Ok(Self::S3 { place: place.clone(), locks })
            }
        }
    }

    /// Whether an environment is a workspace. If not, the backend's key is the one state that there is.
    pub(crate) fn has_workspaces(&self) -> bool {
        match self {
            Self::S3 { place, .. } => place.workspaces.is_some(),
            Self::Local { .. } => true,
        }
    }

    /// The content of `FILE`. Nothing of a single run is in it, because it becomes part of the plan.
    pub(crate) fn file(&self) -> String {
        let (kind, settings) = self.settings();
        let settings = settings.as_object().into_iter().flatten();
        let lines: String =
            settings.map(|(key, value)| format!("    {key} = {}\n", literal(value))).collect();
        format!("terraform {{\n  backend \"{kind}\" {{\n{lines}  }}\n}}\n")
    }

    fn settings(&self) -> (&'static str, Value) {
        match self {
            Self::S3 { place, locks } => {
                let key = match &place.workspaces {
                    Some(_) => place.key.rsplit('/').next().unwrap_or_default(),
                    None => &place.key,
                };
                let mut settings = json!({"bucket": place.bucket, "key": key});
                // Only what is set: an older Terraform does not know every key.
                if let Some(prefix) = &place.workspaces {
                    settings["workspace_key_prefix"] = json!(prefix);
                }
                settings["region"] = json!(place.region);
                settings["profile"] = json!(PROFILE);
                if locks.use_lockfile {
                    settings["use_lockfile"] = json!(true);
                }
                if let Some(table) = &locks.dynamodb_table {
                    settings["dynamodb_table"] = json!(table);
                }
                if let Some(id) = &place.account_id {
                    settings["allowed_account_ids"] = json!([id]);
                }
                ("s3", settings)
            }
            Self::Local { directory } => {
                let directory = directory.display().to_string();
                (
                    "local",
                    json!({"path": format!("{directory}/terraform.tfstate"), "workspace_dir": directory}),
                )
            }
        }
    }

    /// What init has really taken: nothing in the code may have put another backend in its place.
    pub(crate) fn check(&self, infra: &Path) -> Result<()> {
        let path = infra.join(".terraform/terraform.tfstate");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::io("can't read", &path, &error))?;
        let taken: Value = serde_json::from_str(&text).map_err(|error| {
            Error::internal("Terraform's record of the backend can't be read").why(error)
        })?;
        let (kind, settings) = self.settings();
        let backend = &taken["backend"];
        let differs = settings
            .as_object()
            .into_iter()
            .flatten()
            .find(|(key, value)| backend["config"][key.as_str()] != **value);
        if backend["type"] == kind && differs.is_none() {
            return Ok(());
        }
        let what = differs.map_or("type".to_owned(), |(key, _)| key.clone());
        Err(Error::refused("the code puts another backend in the place of cdflow's")
            .why(format!("its `{what}` is not the account scheme's"))
            .hint("remove `backend` and `cloud` blocks from override files in infra/"))
    }
}

/// The content of an AWS config file with the backend's profile: `program` fetches its credentials from `socket`.
pub(crate) fn profile(program: &Path, socket: &Path) -> String {
    // Without `exec` the line would begin and end with a quote, and such a pair the SDK takes for its own.
    format!(
        "[profile {PROFILE}]\ncredential_process = exec {} credential-process {}\n",
        shell_word(&program.to_string_lossy()),
        shell_word(&socket.to_string_lossy())
    )
}

/// One word for the shell by which the SDK starts the process. ` #` and ` ;` would begin a comment for the SDK.
fn shell_word(text: &str) -> String {
    let escaped =
        text.chars().map(|c| if "'#;".contains(c) { format!("'\\{c}'") } else { c.to_string() });
    format!("'{}'", escaped.collect::<String>())
}

/// In Terraform's own language, where a string is a template. (In its JSON, Terraform takes a backend's strings as they are and
/// OpenTofu takes them as templates.)
fn literal(value: &Value) -> String {
    value.to_string().replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use semver::Version;

    use super::*;
    use crate::{
        config::{
            identity::{Identity, Layout},
            scheme::{Account, AccountScheme},
        },
        terraform::tool::Flavor,
    };

    fn choose(version: Version, lockfile: Option<bool>, table: Option<&str>) -> Result<Backend> {
        let mut scheme = serde_json::json!({
            "accounts": {"a": {"id": "123456789012", "role": "r"}}, "release-account": "a", "release-bucket": "rel",
            "default-region": "eu-west-1", "environments": {"*": "a"}, "terraform-backend-s3-bucket": "state",
        });
        if let Some(lockfile) = lockfile {
            scheme["terraform-backend-s3-use-lockfile"] = json!(lockfile);
        }
        if let Some(table) = table {
            scheme["terraform-backend-s3-dynamodb-table"] = json!(table);
        }
        let identity = Identity {
            team: "t".parse().unwrap(),
            component: "c".parse().unwrap(),
            layout: Layout::ByTeam,
        };
        let scheme = AccountScheme::parse(
            "s",
            None,
            &scheme.to_string(),
            &identity.team,
            &identity.component,
        )
        .unwrap();
        let filename = "terraform.tfstate".parse().unwrap();
        let place = StatePlace::of(&scheme, &identity, &"ci".parse().unwrap(), &filename).unwrap();
        Backend::choose(&place, &tool(version))
    }

    fn tool(version: Version) -> Tool {
        Tool { program: "terraform".into(), flavor: Flavor::Terraform, version }
    }

    #[test]
    fn never_without_a_lock() {
        let (new, old) = (Version::new(1, 11, 4), Version::new(1, 9, 0));
        for (version, lockfile, table, chosen) in [
            (&new, None, None, Some((true, false))),
            (&new, None, Some("locks"), Some((true, true))),
            (&new, Some(false), Some("locks"), Some((false, true))),
            (&new, Some(false), None, None),
            (&old, None, None, None),
            (&old, None, Some("locks"), Some((false, true))),
            (&old, Some(true), Some("locks"), None),
        ] {
            let got = choose(version.clone(), lockfile, table).ok().map(|backend| match backend {
                Backend::S3 { locks, .. } => (locks.use_lockfile, locks.dynamodb_table.is_some()),
                Backend::Local { .. } => unreachable!(),
            });
            assert_eq!(got, chosen, "{version} {lockfile:?} {table:?}");
        }
    }

    #[test]
    fn the_profile() {
        assert_eq!(
            profile(Path::new("/bin/it's"), Path::new("/tmp/a #1/s")),
            "[profile cdflow-state]\ncredential_process = exec '/bin/it'\\''s' credential-process '/tmp/a '\\#'1/s'\n"
        );
    }

    #[test]
    fn the_file() {
        let file = choose(Version::new(1, 11, 4), None, None).unwrap().file();
        assert_eq!(
            file,
            r#"terraform {
  backend "s3" {
    bucket = "state"
    key = "terraform.tfstate"
    workspace_key_prefix = "t/c"
    region = "eu-west-1"
    profile = "cdflow-state"
    use_lockfile = true
    allowed_account_ids = ["123456789012"]
  }
}
"#
        );
        let account = Account {
            alias: "dev".into(),
            id: Some("123456789012".into()),
            role: Some("r".into()),
            plan_role: None,
            region: "eu-west-1".into(),
        };
        let identity = Identity {
            team: "t".parse().unwrap(),
            component: "c".parse().unwrap(),
            layout: Layout::Classic,
        };
        let filename = "terraform.tfstate".parse().unwrap();
        let place = StatePlace::classic(
            "state".into(),
            true,
            &account,
            None,
            &identity,
            &"ci".parse().unwrap(),
            &filename,
        );
        let classic = Backend::choose(&place, &tool(Version::new(1, 11, 4))).unwrap();
        assert!(!classic.has_workspaces());
        assert_eq!(
            classic.file(),
            r#"terraform {
  backend "s3" {
    bucket = "state"
    key = "ci/c/terraform.tfstate"
    region = "eu-west-1"
    profile = "cdflow-state"
    use_lockfile = true
    dynamodb_table = "terraform_locks"
    allowed_account_ids = ["123456789012"]
  }
}
"#
        );
        let local = Backend::Local { directory: "/a/${b} \"c\"".into() }.file();
        assert_eq!(
            local,
            r#"terraform {
  backend "local" {
    path = "/a/$${b} \"c\"/terraform.tfstate"
    workspace_dir = "/a/$${b} \"c\""
  }
}
"#
        );
    }
}
