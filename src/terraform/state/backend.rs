//! The backend of the state, as a file that overrides any backend in the code.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::place::{S3Place, StatePlace};
use crate::{
    base::{
        error::{Error, Result},
        process_env::ProcessEnv,
    },
    config::scheme::Encryption,
    terraform::tool::Tool,
};

/// The AWS profile with the credentials of the S3 backend (see `aws::credentials`).
const PROFILE: &str = "cdflow-state";
/// The SDK of the backend doubles its pauses, up to 20 seconds: a minute of patience at least.
const MAX_RETRIES: u32 = 10;
/// The name of the file. Terraform reads `*_override.tf` files last.
pub(crate) const FILE: &str = "cdflow_backend_override.tf";

/// The backend of a component's states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    S3 {
        place: S3Place,
        locks: S3Locks,
        addressing: Addressing,
    },
    /// States are `<directory>/<environment>/terraform.tfstate`.
    Local {
        directory: PathBuf,
    },
}

/// How Terraform says which bucket it means: in the path, or in the name of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressing {
    Path,
    /// The host, unless it is an address.
    Automatic,
}

impl Addressing {
    /// Given an endpoint for S3 alone, Terraform would put the bucket into the host even if that
    /// is an address, or a name that only the endpoint itself has.
    fn of(environment: &ProcessEnv) -> Self {
        match environment.get("AWS_ENDPOINT_URL_S3") {
            Some(_) => Self::Path,
            None => Self::Automatic,
        }
    }
}

/// How Terraform locks a state in S3: by a lock file, a table or both, but never by neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Locks {
    pub(crate) use_lockfile: bool,
    pub(crate) dynamodb_table: Option<String>,
}

impl S3Locks {
    /// Returns the locks of the account scheme, or the best ones that `tool` supports.
    /// Fails if the state would not be locked.
    pub(crate) fn choose(
        use_lockfile: Option<bool>,
        dynamodb_table: Option<&String>,
        tool: &Tool,
    ) -> Result<Self> {
        let use_lockfile = match use_lockfile {
            Some(true) if !tool.has_s3_lockfile() => {
                return Err(Error::input(format!(
                    "{} {} does not support lock files in S3",
                    tool.flavor.name(),
                    tool.version
                ))
                .why("`terraform-backend-s3-use-lockfile` needs 1.10 or newer")
                .hint(
                    "install a newer version, \
                     or set `terraform-backend-s3-dynamodb-table` in the account scheme",
                ));
            }
            setting => setting.unwrap_or_else(|| tool.has_s3_lockfile()),
        };
        if !use_lockfile && dynamodb_table.is_none() {
            return Err(Error::input(
                "no state lock is configured: \
                 two deploys at the same time could destroy the state",
            )
            .why(format!(
                "no lock file (off, or not supported by {} {}) and no DynamoDB table",
                tool.flavor.name(),
                tool.version
            ))
            .hint(
                "set `terraform-backend-s3-use-lockfile: true` (Terraform 1.10 or newer) \
                     or `terraform-backend-s3-dynamodb-table` in the account scheme",
            ));
        }
        Ok(Self { use_lockfile, dynamodb_table: dynamodb_table.cloned() })
    }
}

impl Backend {
    pub(crate) fn choose(
        place: &StatePlace,
        tool: &Tool,
        environment: &ProcessEnv,
    ) -> Result<Self> {
        match place {
            StatePlace::Local { root, prefix, .. } => {
                Ok(Self::Local { directory: root.join(prefix) })
            }
            StatePlace::S3(place) => {
                let locks =
                    S3Locks::choose(place.use_lockfile, place.dynamodb_table.as_ref(), tool)?;
                let addressing = Addressing::of(environment);
                Ok(Self::S3 { place: place.clone(), locks, addressing })
            }
        }
    }

    /// Whether an environment is a workspace. If not, the backend has only the state at its key.
    pub(crate) fn has_workspaces(&self) -> bool {
        match self {
            Self::S3 { place, .. } => place.workspaces.is_some(),
            Self::Local { .. } => true,
        }
    }

    /// Returns the content of [`FILE`]. It must not differ between runs, because it is part of the
    /// plan.
    pub(crate) fn file(&self) -> String {
        let (kind, settings) = self.settings();
        let settings = settings.as_object().into_iter().flatten();
        let lines: String =
            settings.map(|(key, value)| format!("    {key} = {}\n", literal(value))).collect();
        format!("terraform {{\n  backend \"{kind}\" {{\n{lines}  }}\n}}\n")
    }

    fn settings(&self) -> (&'static str, Value) {
        match self {
            Self::S3 { place, locks, addressing } => {
                let key = match &place.workspaces {
                    Some(_) => place.key.rsplit('/').next().unwrap_or_default(),
                    None => &place.key,
                };
                let mut settings = json!({"bucket": place.bucket, "key": key});
                // Only keys that are set: an older Terraform rejects unknown ones.
                if let Some(prefix) = &place.workspaces {
                    settings["workspace_key_prefix"] = json!(prefix);
                }
                settings["region"] = json!(place.region);
                settings["max_retries"] = json!(MAX_RETRIES);
                settings["profile"] = json!(PROFILE);
                if locks.use_lockfile {
                    settings["use_lockfile"] = json!(true);
                }
                if let Some(table) = &locks.dynamodb_table {
                    settings["dynamodb_table"] = json!(table);
                }
                if let Some(encryption) = &place.encryption {
                    settings["encrypt"] = json!(true);
                    if let Encryption::Kms { key } = encryption {
                        settings["kms_key_id"] = json!(key);
                    }
                }
                if *addressing == Addressing::Path {
                    settings["use_path_style"] = json!(true);
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
                    json!({
                        "path": format!("{directory}/terraform.tfstate"),
                        "workspace_dir": directory,
                    }),
                )
            }
        }
    }

    /// Checks which backend init used: another override file in the code could have replaced it.
    pub(crate) fn check(&self, infra: &Path) -> Result<()> {
        let path = infra.join(".terraform/terraform.tfstate");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::io("cannot read", &path, &error))?;
        let used: Value = serde_json::from_str(&text).map_err(|error| {
            Error::internal("cannot read Terraform's record of the backend").why(error)
        })?;
        let (kind, settings) = self.settings();
        let backend = &used["backend"];
        let differs = settings
            .as_object()
            .into_iter()
            .flatten()
            .find(|(key, value)| backend["config"][key.as_str()] != **value);
        if backend["type"] == kind && differs.is_none() {
            return Ok(());
        }
        let what = differs.map_or("type".to_owned(), |(key, _)| key.clone());
        Err(Error::refused("the code overrides cdflow's backend")
            .why(format!("its `{what}` does not match the account scheme"))
            .hint("remove `backend` and `cloud` blocks from the override files in infra/"))
    }
}

/// Returns an AWS config file with the profile of the backend. `program` gets the credentials from
/// `socket`.
pub(crate) fn profile(program: &Path, socket: &Path) -> String {
    // The SDK removes a pair of quotes around the value: `exec` keeps the first word's quotes.
    format!(
        "[profile {PROFILE}]\ncredential_process = exec {} credential-process {}\n",
        shell_word(&program.to_string_lossy()),
        shell_word(&socket.to_string_lossy())
    )
}

/// Quotes a word for the shell that the SDK starts. To the SDK, ` #` and ` ;` would start a
/// comment.
fn shell_word(text: &str) -> String {
    let escaped =
        text.chars().map(|c| if "'#;".contains(c) { format!("'\\{c}'") } else { c.to_string() });
    format!("'{}'", escaped.collect::<String>())
}

/// Returns a literal in Terraform's language, where strings are templates.
///
/// JSON does not work: in a backend's strings, OpenTofu evaluates templates and Terraform does not.
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
            "accounts": {"a": {"id": "123456789012", "role": "r"}},
            "release-account": "a", "release-bucket": "rel",
            "default-region": "eu-west-1", "environments": {"*": "a"},
            "terraform-backend-s3-bucket": "state",
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
        Backend::choose(&place, &tool(version), &ProcessEnv::default())
    }

    fn tool(version: Version) -> Tool {
        Tool::installed("terraform".into(), Flavor::Terraform, version)
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
            "[profile cdflow-state]\ncredential_process = exec '/bin/it'\\''s' \
             credential-process '/tmp/a '\\#'1/s'\n"
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
    max_retries = 10
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
            region_key: "default-region".into(),
            file: "scheme.json".into(),
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
        let classic =
            Backend::choose(&place, &tool(Version::new(1, 11, 4)), &ProcessEnv::default()).unwrap();
        assert!(!classic.has_workspaces());
        assert_eq!(
            classic.file(),
            r#"terraform {
  backend "s3" {
    bucket = "state"
    key = "ci/c/terraform.tfstate"
    region = "eu-west-1"
    max_retries = 10
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

    #[test]
    fn encryption_and_a_path_only_where_asked_for() {
        let backend = choose(Version::new(1, 11, 4), None, None).unwrap();
        let Backend::S3 { mut place, .. } = backend else { unreachable!() };
        let file = |place: &S3Place, url: &str| {
            let environment = ProcessEnv::new([("AWS_ENDPOINT_URL_S3".into(), url.into())]);
            let tool = tool(Version::new(1, 6, 0));
            let place = S3Place { dynamodb_table: Some("locks".into()), ..place.clone() };
            Backend::choose(&StatePlace::S3(place), &tool, &environment).unwrap().file()
        };
        let plain = file(&place, "");
        assert!(!plain.contains("encrypt") && !plain.contains("path_style"), "{plain}");
        for url in ["http://127.0.0.1:5000", "https://minio.example"] {
            assert!(file(&place, url).contains("\n    use_path_style = true\n"), "{url}");
        }
        place.encryption = Some(Encryption::Aes256);
        let aes = file(&place, "");
        assert!(aes.contains("\n    encrypt = true\n") && !aes.contains("kms_key_id"), "{aes}");
        place.encryption = Some(Encryption::Kms { key: "arn:k".into() });
        let kms = file(&place, "");
        assert!(kms.contains("    encrypt = true\n    kms_key_id = \"arn:k\"\n"), "{kms}");
    }
}
