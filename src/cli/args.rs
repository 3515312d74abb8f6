//! What a run was asked to do. The command line (flags, by clap) and the Action (`INPUT_*`, by envy) become one value;
//! a flag and its input share one name.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{
    Args, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    base::{
        error::{Error, Result},
        process_env::ProcessEnv,
        redact::Secret,
        spelling::nearest,
    },
    config::{
        component::ComponentType,
        duration::HumanDuration,
        names::{Component, Environment, Image, Team, Version},
        version_constraint::Constraint,
    },
    services::registry::logins::RegistryLogin,
};

/// Build once, publish one immutable release, deploy it to any environment with Terraform.
#[derive(Debug, Parser)]
#[command(
    name = "cdflow",
    version,
    after_help = "A first component, without a cloud: cdflow init --type infrastructure NAME"
)]
pub(crate) struct Inputs {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The heading in the help; what is a command's own stands apart.
const EVERYWHERE: &str = "Options of every command";

/// By this name the program knows that it follows a step.
const POST: &str = "cdflow-post";

#[derive(Debug, Default, Args)]
#[command(next_help_heading = EVERYWHERE)]
pub(crate) struct Global {
    /// The component's name [default: from cdflow.yml, the git remote, or GITHUB_REPOSITORY]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) component: Option<Component>,
    /// The folder of cdflow.yml
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// A variable that Terraform gets from the environment (repeatable)
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) pass_environment: Vec<String>,
    /// The Terraform (or OpenTofu) that this run must find, in the place of cdflow.yml's `terraform-version`
    #[arg(long, global = true, value_name = "CONSTRAINT")]
    pub(crate) terraform_version: Option<Constraint>,
    /// Where the account scheme says that the component has moved to another: use the old one all the same
    #[arg(long, global = true)]
    pub(crate) old_account_scheme: bool,
    /// Tell more: what was chosen and why; twice: each program that is started
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// No colours
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
    #[command(flatten)]
    pub(crate) aws: AwsInputs,
    /// The Action's input alone: everybody on a machine can read its command lines.
    #[arg(skip)]
    pub(crate) github_token: Option<Secret>,
}

/// Where a release, deploy, destroy or rollback tells how it went.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What the run tells (release, deploy, destroy, rollback, preview)")]
pub(crate) struct ReportInputs {
    /// Write what was done as Markdown
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) report_markdown: Option<PathBuf>,
    /// Write what was done as JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) report_json: Option<PathBuf>,
    /// Write the plan into this folder, as plan.txt and plan.json
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) plan_out: Option<PathBuf>,
    /// The output of the code that is the environment's address [default: cdflow.yml's `deploy.url-output`]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) url_output: Option<String>,
    /// Comment on the pull request that the run is for: true, changes-only or false [default: true]
    #[arg(long, global = true, value_name = "WHEN", hide_possible_values = true)]
    pub(crate) comment: Option<Commenting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Commenting {
    #[value(name = "true")]
    Always,
    /// A plan without changes makes no comment; it still changes the row that is there.
    ChangesOnly,
    #[value(name = "false")]
    Never,
}

impl FromStr for Commenting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        clap::ValueEnum::from_str(text, false)
            .map_err(|_| "it is `true`, `changes-only` or `false`".to_owned())
    }
}

/// Who we are at AWS before any role of the account scheme.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = EVERYWHERE)]
pub(crate) struct AwsInputs {
    /// On GitHub Actions: start as this role, for which GitHub vouches; no other step is needed
    #[arg(long, global = true, value_name = "ARN")]
    pub(crate) aws_role_to_assume: Option<RoleArn>,
    /// Where the account scheme's bucket is [default: AWS_REGION]
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) aws_region: Option<String>,
}

/// `arn:aws:iam::111111111111:role/ci-runner`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleArn(String);

impl RoleArn {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let is_arn = match parts.as_slice() {
            ["arn", partition, "iam", "", account, role] => {
                partition.starts_with("aws")
                    && account.len() == 12
                    && account.bytes().all(|byte| byte.is_ascii_digit())
                    && role.strip_prefix("role/").is_some_and(|name| !name.is_empty())
                    && role.bytes().all(|byte| byte.is_ascii_graphic())
            }
            _ => false,
        };
        match is_arn {
            true => Ok(Self(text.to_owned())),
            false => Err("a role is written arn:aws:iam::<12 digits>:role/<name>".to_owned()),
        }
    }
}

impl std::fmt::Display for RoleArn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one value in a run")]
pub(crate) enum Command {
    #[command(flatten)]
    Component(ComponentCommand),
    /// Print the Dockerfile of a function component, or write it
    Dockerfile(DockerfileInputs),
    /// Check everything that a release or a deploy needs
    Doctor(DoctorInputs),
    /// Scaffold a component in a new folder
    Init(InitInputs),
    /// Used by Terraform's state backend
    #[command(hide = true)]
    CredentialProcess { socket: PathBuf },
    /// Waits for a step of the Action that was cancelled; `post-entrypoint` of action.yml
    #[command(hide = true)]
    Post,
}

/// The commands for a component.
#[derive(Debug, Subcommand)]
pub(crate) enum ComponentCommand {
    /// Build, initialise, bundle and publish a version
    Release(ReleaseInputs),
    /// Show what a published release contains
    Inspect(InspectInputs),
    /// Deploy a release to an environment
    Deploy(DeployInputs),
    /// Destroy what is deployed in an environment
    Destroy(DestroyInputs),
    /// An environment per pull request
    #[command(subcommand)]
    Preview(PreviewCommand),
    /// Show which version is deployed where
    Status(StatusInputs),
    /// Show what was deployed to an environment, and how that went
    History(HistoryInputs),
    /// Deploy once more what was deployed before
    Rollback(RollbackInputs),
    /// Open a shell, or run a command, with Terraform set up for an environment
    Shell(ShellInputs),
    /// Delete old releases that were never deployed
    Prune(PruneInputs),
    /// Show who holds the lock of a state; release it with --force
    Unlock(UnlockInputs),
    /// Take over a state that another tool made
    Adopt(AdoptInputs),
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseInputs {
    /// The version to publish, such as 42-a1b2c3d [default in a CI: by tag, pull request or run number]
    pub(crate) version: Option<Version>,
    #[command(flatten)]
    pub(crate) build: BuildInputs,
    /// On GitHub Actions, in a run for a tag: make or complete the tag's GitHub release
    #[arg(long)]
    pub(crate) create_github_release: bool,
    /// Show what the release would contain; build and publish nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only build a function's image, for this machine: no release, no account scheme, nothing is pushed
    #[arg(long, conflicts_with_all = ["version", "platform_config", "release_data"])]
    pub(crate) local: bool,
    /// Compiled for debugging, with the environment files, for --local
    #[arg(long, requires = "local")]
    pub(crate) dev: bool,
    /// What the image is called, for --local [default: <login of the Docker Hub>/<folder>]
    #[arg(short, long, requires = "local", value_name = "NAME")]
    pub(crate) tag: Option<Image>,
}

/// What a release is made with, besides the checkout.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BuildInputs {
    /// A folder of <account>/<region>.json files (repeatable, later ones win)
    #[arg(long, value_name = "DIR")]
    pub(crate) platform_config: Vec<PathBuf>,
    /// A value for Terraform's `release` variable (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) release_data: Vec<Datum>,
    /// A login for an image registry: VARIABLE is an environment variable that holds USER:PASSWORD (repeatable)
    #[arg(long, value_name = "HOST=VARIABLE")]
    pub(crate) registries: Vec<RegistryLogin>,
    #[command(flatten)]
    pub(crate) fetch: FetchInputs,
    #[command(flatten)]
    pub(crate) images: FunctionImages,
}

/// The environment of a pull request.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one value in a run")]
pub(crate) enum PreviewCommand {
    /// Release a pull request's commit and deploy it to `pr-<number>`
    Up(PreviewUpInputs),
    /// Destroy a pull request's preview
    Down(PreviewDownInputs),
    /// Destroy the previews whose pull request is closed, merged or too old
    Reap(PreviewReapInputs),
}

#[derive(Debug, Args)]
pub(crate) struct PreviewUpInputs {
    /// The pull request [default: the one that the run is for]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pull_request: Option<PullRequestNumber>,
    #[command(flatten)]
    pub(crate) build: BuildInputs,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
}

#[derive(Debug, Args)]
pub(crate) struct PreviewDownInputs {
    /// The pull request [default: the one that the run is for]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pull_request: Option<PullRequestNumber>,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PullRequestNumber(pub(crate) u64);

impl FromStr for PullRequestNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(format!(
                "`{}` is no number of a pull request, such as `7`",
                text.escape_debug()
            )),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PreviewReapInputs {
    /// List what would be destroyed; destroy nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DockerfileInputs {
    #[command(flatten)]
    pub(crate) images: FunctionImages,
    /// Write it beside functions.rs, where none may be yet
    #[arg(long)]
    pub(crate) write: bool,
}

/// Of components of type `function`. The other spellings are roche's.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FunctionImages {
    /// The image a function is compiled in [default: by .rocherc or cdflow.yml, else roche's]
    #[arg(short, long, visible_alias = "buildimage", value_name = "IMAGE")]
    pub(crate) build_image: Option<Image>,
    /// The image a function runs in [default: by .rocherc or cdflow.yml, else roche's]
    #[arg(short, long, visible_alias = "runtime", value_name = "IMAGE")]
    pub(crate) runtime_image: Option<Image>,
}

/// What Terraform's init at release needs to fetch modules and providers.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FetchInputs {
    /// The file of a private key for modules by git over ssh (the Action's input takes the key itself)
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_key: Option<FileInput>,
    /// A file of ssh's host keys beside GitHub's, `HOST TYPE KEY` (the input takes its content)
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_known_hosts: Option<FileInput>,
    /// A file of logins for modules over https, `machine HOST login USER password PASSWORD` (the input takes its content)
    #[arg(long, value_name = "FILE")]
    pub(crate) netrc: Option<FileInput>,
    /// A folder that keeps downloaded providers from release to release
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// Something that is, or may be, secret: on a command line only its file can be named.
#[derive(Clone, Debug)]
pub(crate) enum FileInput {
    File(PathBuf),
    /// An input of the Action.
    Content(Secret),
}

impl FromStr for FileInput {
    type Err = std::convert::Infallible;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        Ok(Self::File(path.into()))
    }
}

#[derive(Debug, Args)]
pub(crate) struct InspectInputs {
    /// The release to look into
    pub(crate) version: Version,
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeployInputs {
    /// The environment to deploy to
    pub(crate) environment: Environment,
    /// The release to deploy [default in a CI: as for release]
    pub(crate) version: Option<Version>,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
    /// This environment has no state yet, and that is meant
    #[arg(long)]
    pub(crate) new_environment: bool,
    /// Only this resource or module (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) target: Vec<String>,
    /// Replace this resource (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) replace: Vec<String>,
    /// Only bring the state up to date with what is really there
    #[arg(long, conflicts_with = "replace")]
    pub(crate) refresh_only: bool,
    /// This resource may be destroyed or replaced, whatever protects it (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) allow_destroy: Vec<String>,
    /// This release may be older than the one that is deployed
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DestroyInputs {
    /// The environment to destroy
    pub(crate) environment: Environment,
    /// The release to destroy with [default: the one that is deployed]
    pub(crate) version: Option<Version>,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
    /// The environment's name once more: needed where the account scheme names it
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) confirm: Option<Environment>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlanInputs {
    /// Plan, show the plan, and change nothing
    #[arg(long, short)]
    pub(crate) plan_only: bool,
    /// How many resources Terraform works on at once [Terraform's default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) parallelism: Option<u32>,
    /// How long to wait for the state lock, such as 5m [default: cdflow.yml's `deploy.lock-timeout`, else not at all]
    #[arg(long, value_name = "TIME")]
    pub(crate) lock_timeout: Option<HumanDuration>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusInputs {
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryInputs {
    /// The environment to look at
    pub(crate) environment: Environment,
    /// All runs, not only the newest 20
    #[arg(long)]
    pub(crate) all: bool,
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorInputs {
    /// The environment whose roles and secrets to check [default: the roles of all]
    pub(crate) environment: Option<Environment>,
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackInputs {
    /// The environment to roll back
    pub(crate) environment: Environment,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
    /// This resource may be destroyed or replaced, whatever protects it (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) allow_destroy: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ShellInputs {
    /// The environment to work on
    pub(crate) environment: Environment,
    /// The release to work with [default: the one that is deployed]
    pub(crate) version: Option<Version>,
    /// Run this instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct PruneInputs {
    /// So many of the newest releases stay
    #[arg(long, value_name = "N", default_value_t = KEEP)]
    pub(crate) keep: usize,
    /// Only what is at least so old goes, such as 90d
    #[arg(long, value_name = "TIME", default_value = OLDER_THAN)]
    pub(crate) older_than: HumanDuration,
    /// List what would go; delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

const KEEP: usize = 50;
const OLDER_THAN: &str = "90d";

#[derive(Debug, Args)]
pub(crate) struct UnlockInputs {
    /// The environment whose state is locked
    pub(crate) environment: Environment,
    /// Release the lock of this ID; only if the run that holds it is dead
    #[arg(long, value_name = "ID")]
    pub(crate) force: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AdoptInputs {
    /// The environment whose state it becomes
    pub(crate) environment: Environment,
    /// The release to plan with afterwards
    pub(crate) version: Option<Version>,
    /// Where the state is: s3://bucket/key or file:path; it stays there
    #[arg(long, value_name = "PLACE")]
    pub(crate) from: StateUrl,
    /// The DynamoDB table by which the state in S3 is locked, besides a lock file
    #[arg(long, value_name = "TABLE")]
    pub(crate) from_lock_table: Option<String>,
    /// This environment, which only "*" of the account scheme matches, is meant
    #[arg(long)]
    pub(crate) new_environment: bool,
}

/// Where a state is that another tool made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateUrl {
    S3 { bucket: String, key: String },
    File(PathBuf),
}

impl FromStr for StateUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "`{}` is no place of a state: s3://bucket/key or file:path",
                text.escape_debug()
            )
        };
        if let Some(path) = text.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(refused()) } else { Ok(Self::File(path.into())) };
        }
        match text.strip_prefix("s3://").and_then(|rest| rest.split_once('/')) {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            _ => Err(refused()),
        }
    }
}

impl std::fmt::Display for StateUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct InitInputs {
    /// What the component is
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: ComponentType,
    /// The component's name, and the folder's, which must not exist or be empty
    pub(crate) name: Component,
    /// The component's owner
    #[arg(long, default_value = "platform")]
    pub(crate) team: Team,
}

/// `key=value`; the value may contain `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datum {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Datum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err("release data is written KEY=VALUE".to_owned()),
        }
    }
}

/// What reading the inputs led to.
pub(crate) enum Parsed {
    Run(Box<Inputs>),
    /// `--help`, `--version`, or a misuse of the command line: clap's own words and exit code.
    Said {
        exit: u8,
        said: Box<clap::Error>,
    },
}

/// From the arguments; or, without any, from the Action's inputs.
pub(crate) fn parse(args: Vec<OsString>, environment: &ProcessEnv) -> Result<Parsed> {
    if args.first().and_then(|name| Path::new(name).file_name()).is_some_and(|name| name == POST) {
        // The step's own inputs are there as well, and none of its business.
        return Ok(Parsed::Run(Box::new(Inputs {
            global: Global::default(),
            command: Command::Post,
        })));
    }
    let action = ActionInputs::read(environment)?;
    if args.len() <= 1 && (action.is_given() || environment.get("GITHUB_ACTIONS").is_some()) {
        return action.inputs().map(|inputs| Parsed::Run(Box::new(inputs)));
    }
    Ok(match Inputs::try_parse_from(args) {
        Ok(inputs) => Parsed::Run(Box::new(inputs)),
        Err(mut said) => {
            correct_tip(&mut said);
            Parsed::Said { exit: u8::try_from(said.exit_code()).unwrap_or(2), said: Box::new(said) }
        }
    })
}

/// The inputs `environment` and `version` are no flags. clap's guess at a flag that looks alike would change what is done.
fn correct_tip(said: &mut clap::Error) {
    let Some(ContextValue::String(flag)) = said.get(ContextKind::InvalidArg) else { return };
    let name = flag.split('=').next().unwrap_or_default().trim_start_matches('-').to_owned();
    if said.kind() != ErrorKind::UnknownArgument
        || !matches!(name.as_str(), "environment" | "version")
    {
        return;
    }
    for guess in [ContextKind::SuggestedArg, ContextKind::Suggested, ContextKind::Usage] {
        said.remove(guess);
    }
    let tip = format!(
        "{} is no flag: it stands after the command, such as `cdflow deploy live 42`",
        name.to_uppercase()
    );
    said.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
}

/// What clap says of a wrong command line, for where it is not printed as it is.
pub(crate) fn as_error(said: &clap::Error) -> Error {
    let said = said.to_string();
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default();
    lines.fold(Error::input(what.trim_start_matches("error: ")), Error::hint)
}

/// The inputs of a step that uses the Action, by name; each is taken once, and none may be left.
struct ActionInputs(BTreeMap<String, String>);

impl ActionInputs {
    /// The runner sets every declared input, and empty ones for those that the step does not give.
    fn read(environment: &ProcessEnv) -> Result<Self> {
        let mut given = Vec::new();
        for (name, value) in
            environment.all().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"INPUT_"))
        {
            let name = name.to_string_lossy().into_owned();
            let value = value
                .to_str()
                .ok_or_else(|| Error::input(format!("the input {name} is not UTF-8")))?
                .trim();
            if !value.is_empty() {
                given.push((name, value.to_owned()));
            }
        }
        let count = given.len();
        // envy strips the prefix and lowercases; hyphens stay.
        let inputs: BTreeMap<_, _> = envy::prefixed("INPUT_")
            .from_iter(given)
            .map_err(|_| Error::internal("the inputs can't be read from the environment"))?;
        if inputs.len() < count {
            return Err(Error::input("an input is given twice, in different cases")
                .hint("keep one of the two"));
        }
        Ok(Self(inputs))
    }

    fn is_given(&self) -> bool {
        self.0.contains_key("command")
    }

    fn inputs(mut self) -> Result<Inputs> {
        let name: String = self.required("command")?;
        let global = Global {
            component: self.optional("component")?,
            directory: self.optional("working-directory")?.unwrap_or_else(|| PathBuf::from(".")),
            pass_environment: self.list("pass-environment")?,
            terraform_version: self.optional("terraform-version")?,
            old_account_scheme: self.flag("old-account-scheme")?,
            verbose: u8::from(self.flag("verbose")?),
            no_color: self.flag("no-color")?,
            report: ReportInputs {
                report_markdown: self.optional("report-markdown")?,
                report_json: self.optional("report-json")?,
                plan_out: self.optional("plan-out")?,
                url_output: self.optional("url-output")?,
                comment: self.optional("comment")?,
            },
            aws: AwsInputs {
                aws_role_to_assume: self.optional("aws-role-to-assume")?,
                aws_region: self.optional("aws-region")?,
            },
            github_token: self.0.remove("github-token").map(Secret::new),
        };
        if name == "doctor" {
            let inputs = DoctorInputs { environment: self.optional("environment")?, json: false };
            self.finish(&name)?;
            return Ok(Inputs { global, command: Command::Doctor(inputs) });
        }
        let command = match name.as_str() {
            "release" => ComponentCommand::Release(ReleaseInputs {
                version: self.optional("version")?,
                build: self.build()?,
                create_github_release: self.flag("create-github-release")?,
                dry_run: self.flag("dry-run")?,
                local: false,
                dev: false,
                tag: None,
            }),
            "inspect" => ComponentCommand::Inspect(InspectInputs {
                version: self.required("version")?,
                json: self.flag("json")?,
            }),
            "deploy" => ComponentCommand::Deploy(DeployInputs {
                environment: self.required("environment")?,
                version: self.optional("version")?,
                plan: self.plan()?,
                new_environment: self.flag("new-environment")?,
                target: self.list("target")?,
                replace: self.list("replace")?,
                refresh_only: self.flag("refresh-only")?,
                allow_destroy: self.list("allow-destroy")?,
                allow_downgrade: self.flag("allow-downgrade")?,
            }),
            "destroy" => ComponentCommand::Destroy(DestroyInputs {
                environment: self.required("environment")?,
                version: self.optional("version")?,
                plan: self.plan()?,
                confirm: self.optional("confirm")?,
            }),
            "preview up" => ComponentCommand::Preview(PreviewCommand::Up(PreviewUpInputs {
                pull_request: self.optional("pull-request")?,
                build: self.build()?,
                plan: self.plan()?,
            })),
            "preview down" => {
                // One step, whose command depends on the event, may give the inputs of `preview up` to both.
                self.build()?;
                ComponentCommand::Preview(PreviewCommand::Down(PreviewDownInputs {
                    pull_request: self.optional("pull-request")?,
                    plan: self.plan()?,
                }))
            }
            "preview reap" => ComponentCommand::Preview(PreviewCommand::Reap(PreviewReapInputs {
                dry_run: self.flag("dry-run")?,
            })),
            "status" => ComponentCommand::Status(StatusInputs { json: self.flag("json")? }),
            "history" => ComponentCommand::History(HistoryInputs {
                environment: self.required("environment")?,
                all: self.flag("all")?,
                json: self.flag("json")?,
            }),
            "rollback" => ComponentCommand::Rollback(RollbackInputs {
                environment: self.required("environment")?,
                plan: self.plan()?,
                allow_destroy: self.list("allow-destroy")?,
            }),
            "prune" => ComponentCommand::Prune(PruneInputs {
                keep: self.optional("keep")?.unwrap_or(KEEP),
                older_than: match self.optional("older-than")? {
                    Some(age) => age,
                    None => OLDER_THAN.parse().map_err(Error::internal)?,
                },
                dry_run: self.flag("dry-run")?,
            }),
            "unlock" => ComponentCommand::Unlock(UnlockInputs {
                environment: self.required("environment")?,
                force: self.optional("lock-id")?,
            }),
            "shell" => {
                return Err(Error::input(
                    "the command `shell` is not for a step: it needs a terminal, a script or arguments",
                )
                .hint("run it at a terminal: cdflow shell ENVIRONMENT"));
            }
            "adopt" => ComponentCommand::Adopt(AdoptInputs {
                environment: self.required("environment")?,
                version: self.optional("version")?,
                from: self.required("from")?,
                from_lock_table: self.optional("from-lock-table")?,
                new_environment: self.flag("new-environment")?,
            }),
            unknown => {
                let known = [
                    "release",
                    "inspect",
                    "deploy",
                    "destroy",
                    "status",
                    "history",
                    "rollback",
                    "prune",
                    "unlock",
                    "adopt",
                    "doctor",
                    "preview up",
                    "preview down",
                    "preview reap",
                ];
                let error =
                    Error::input(format!("the input `command` is `{}`", unknown.escape_debug()));
                return Err(match nearest(unknown, known) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(format!("commands are {}", known.join(", "))),
                });
            }
        };
        self.finish(&name)?;
        Ok(Inputs { global, command: Command::Component(command) })
    }

    fn build(&mut self) -> Result<BuildInputs> {
        Ok(BuildInputs {
            platform_config: self.list("platform-config")?,
            release_data: self.list("release-data")?,
            registries: self.list("registries")?,
            fetch: FetchInputs {
                ssh_key: self.content("ssh-key"),
                ssh_known_hosts: self.content("ssh-known-hosts"),
                netrc: self.content("netrc"),
                cache_dir: self.optional("cache-dir")?,
            },
            images: FunctionImages {
                build_image: self.optional("build-image")?,
                runtime_image: self.optional("runtime-image")?,
            },
        })
    }

    fn plan(&mut self) -> Result<PlanInputs> {
        let parallelism: Option<u32> = self.optional("parallelism")?;
        if parallelism.is_some_and(|n| !(1..=256).contains(&n)) {
            return Err(Error::input("the input `parallelism` is a number from 1 to 256"));
        }
        Ok(PlanInputs {
            plan_only: self.flag("plan-only")?,
            parallelism,
            lock_timeout: self.optional("lock-timeout")?,
        })
    }

    fn required<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Result<T> {
        let given = self.optional(name)?;
        given.ok_or_else(|| {
            let error = Error::input(format!("the input `{name}` is missing"));
            match nearest(name, self.0.keys().map(String::as_str)) {
                Some(other) => {
                    error.hint(format!("there is an input `{}`: is that it?", other.escape_debug()))
                }
                None => error.hint(format!("add `{name}:` to the step's `with:`")),
            }
        })
    }

    fn optional<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|error| Error::input(format!("the input `{name}` can't be used")).why(error))
    }

    fn content(&mut self, name: &str) -> Option<FileInput> {
        self.0.remove(name).map(|content| FileInput::Content(Secret::new(content)))
    }

    /// One item per line.
    fn list<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Result<Vec<T>> {
        let text = self.0.remove(name).unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let items = lines.map(|line| {
            line.parse().map_err(|error| {
                Error::input(format!("the input `{name}` can't be used: `{}`", line.escape_debug()))
                    .why(error)
            })
        });
        items.collect()
    }

    /// YAML's own booleans, which is what the toolkit of the Actions takes.
    fn flag(&mut self, name: &str) -> Result<bool> {
        match self.0.remove(name).as_deref() {
            None | Some("false" | "False" | "FALSE") => Ok(false),
            Some("true" | "True" | "TRUE") => Ok(true),
            Some(other) => {
                Err(Error::input(format!("the input `{name}` is `{}`", other.escape_debug()))
                    .hint("it may be `true` or `false`"))
            }
        }
    }

    /// What nobody took is a typing error or belongs to another command.
    fn finish(self, command: &str) -> Result<()> {
        const KNOWN: &[&str] = &[
            "report-markdown",
            "report-json",
            "plan-out",
            "url-output",
            "comment",
            "create-github-release",
            "github-token",
            "aws-role-to-assume",
            "aws-region",
            "json",
            "command",
            "component",
            "working-directory",
            "pass-environment",
            "verbose",
            "no-color",
            "version",
            "platform-config",
            "release-data",
            "registries",
            "ssh-key",
            "ssh-known-hosts",
            "netrc",
            "cache-dir",
            "terraform-version",
            "dry-run",
            "build-image",
            "runtime-image",
            "environment",
            "plan-only",
            "new-environment",
            "lock-timeout",
            "parallelism",
            "confirm",
            "refresh-only",
            "allow-destroy",
            "allow-downgrade",
            "target",
            "replace",
            "lock-id",
            "from",
            "from-lock-table",
            "old-account-scheme",
            "all",
            "keep",
            "older-than",
            "pull-request",
        ];
        let Some(left) = self.0.into_keys().next() else { return Ok(()) };
        if KNOWN.contains(&left.as_str()) {
            return Err(Error::input(format!(
                "the input `{left}` is not for the command `{command}`"
            ))
            .hint("remove it from the step"));
        }
        let error = Error::input(format!("there is no input `{}`", left.escape_debug()));
        Err(match nearest(&left, KNOWN.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("remove it from the step"),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn action(inputs: &[(&str, &str)]) -> Result<Inputs> {
        let variables = inputs
            .iter()
            .map(|(name, value)| (format!("INPUT_{name}").into(), OsString::from(value)));
        match parse(vec!["cdflow".into()], &ProcessEnv::new(variables))? {
            Parsed::Run(inputs) => Ok(*inputs),
            Parsed::Said { .. } => unreachable!(),
        }
    }

    fn refused(inputs: &[(&str, &str)]) -> String {
        action(inputs).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_sound() {
        Inputs::command().debug_assert();
    }

    #[test]
    fn flags_and_inputs_become_one_value() {
        let by_input = action(&[
            ("COMMAND", "deploy"),
            ("ENVIRONMENT", "live"),
            ("VERSION", " 42 "),
            ("PLAN-ONLY", "True"),
            ("TARGET", "a.b\n\n c.d \n"),
            ("LOCK-TIMEOUT", "5m"),
            ("PARALLELISM", ""),
            ("WORKING-DIRECTORY", "app"),
        ]);
        let args = [
            "cdflow",
            "-C",
            "app",
            "deploy",
            "live",
            "42",
            "--plan-only",
            "--target",
            "a.b",
            "--target=c.d",
            "--lock-timeout",
            "5m",
        ];
        let by_flag = Inputs::try_parse_from(args).unwrap();
        assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
        let by_input = action(&[
            ("COMMAND", "release"),
            ("VERSION", "1"),
            ("RELEASE-DATA", "a=b=c\nd=e"),
            ("PLATFORM-CONFIG", "p q"),
        ]);
        let args = [
            "cdflow",
            "release",
            "1",
            "--release-data",
            "a=b=c",
            "--release-data",
            "d=e",
            "--platform-config",
            "p q",
        ];
        let by_flag = Inputs::try_parse_from(args).unwrap();
        assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
        let by_input =
            action(&[("COMMAND", "preview up"), ("PULL-REQUEST", "7"), ("PLATFORM-CONFIG", "p")]);
        let args = ["cdflow", "preview", "up", "--pull-request", "7", "--platform-config", "p"];
        let by_flag = Inputs::try_parse_from(args).unwrap();
        assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
        let by_input =
            action(&[("COMMAND", "preview down"), ("PLATFORM-CONFIG", "p"), ("PLAN-ONLY", "true")]);
        let by_flag = Inputs::try_parse_from(["cdflow", "preview", "down", "--plan-only"]).unwrap();
        assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
        let by_input = action(&[("COMMAND", "doctor"), ("ENVIRONMENT", "live")]);
        let by_flag = Inputs::try_parse_from(["cdflow", "doctor", "live"]).unwrap();
        assert_eq!(format!("{:?}", by_input.unwrap()), format!("{by_flag:?}"));
    }

    #[test]
    fn mistakes_in_a_step() {
        assert!(
            refused(&[("VERSION", "1"), ("COMMAND", "depoly")]).contains("did you mean `deploy`?")
        );
        assert!(refused(&[("COMMAND", "shell"), ("ENVIRONMENT", "ci")]).contains("not for a step"));
        assert!(refused(&[("COMMAND", "preview"), ("PULL-REQUEST", "7")]).contains("preview up"));
        assert!(
            refused(&[("COMMAND", "preview up"), ("PULL-REQUEST", "#7")])
                .contains("`pull-request` can't be used")
        );
        assert!(
            refused(&[("COMMAND", "inspect")])
                .contains("`version` is missing\n  -> add `version:` to the step")
        );
        assert!(
            refused(&[("COMMAND", "deploy"), ("ENVIROMENT", "ci")])
                .contains("an input `enviroment`: is that it?")
        );
        assert!(
            refused(&[("COMMAND", "release"), ("VERSION", "1"), ("PLATFROM-CONFIG", "x")])
                .contains("did you mean `platform-config`?")
        );
        assert!(
            refused(&[("COMMAND", "release"), ("VERSION", "1"), ("ENVIRONMENT", "x")])
                .contains("not for the command `release`")
        );
        assert!(
            refused(&[("COMMAND", "release"), ("VERSION", "1"), ("DRY-RUN", "yes")])
                .contains("`true` or `false`")
        );
        assert!(
            refused(&[("COMMAND", "release"), ("VERSION", "1"), ("RELEASE-DATA", "novalue")])
                .contains("KEY=VALUE")
        );
        assert!(refused(&[("COMMAND", "release"), ("VERSION", "v/1")]).contains("Docker tag"));
        assert!(
            refused(&[("COMMAND", "destroy"), ("ENVIRONMENT", "ci"), ("PARALLELISM", "0")])
                .contains("1 to 256")
        );
        assert!(refused(&[("COMMAND", "status"), ("command", "status")]).contains("twice"));
        assert!(
            refused(&[("COMMAND", "status"), ("COMMENT", "changes")])
                .contains("`changes-only` or `false`")
        );
        for arn in [
            "ci-runner",
            "arn:aws:iam::1:role/a",
            "arn:aws:iam::111111111111:user/a",
            "arn:aws:iam::111111111111:role/",
        ] {
            assert!(
                refused(&[("COMMAND", "status"), ("AWS-ROLE-TO-ASSUME", arn)])
                    .contains("12 digits"),
                "{arn}"
            );
        }
    }

    #[test]
    fn other_variables_need_not_be_utf8() {
        use std::os::unix::ffi::OsStringExt;
        let variables = [
            ("OTHER".into(), OsString::from_vec(vec![0xff])),
            ("INPUT_COMMAND".into(), "status".into()),
        ];
        assert!(parse(vec!["cdflow".into()], &ProcessEnv::new(variables)).is_ok());
        let variables = [("INPUT_COMMAND".into(), OsString::from_vec(vec![0xff]))];
        assert!(parse(vec!["cdflow".into()], &ProcessEnv::new(variables)).is_err());
    }
}
