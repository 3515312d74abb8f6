//! Why there are no AWS credentials, in the words of the settings that a person can change.

use std::path::PathBuf;

use crate::base::{
    error::{Error, Exit},
    process_env::ProcessEnv,
    small_file,
    spelling::nearest,
};

/// The fix for a profile that only the AWS command line can use.
const EXPORT: &str = "export its credentials: eval \"$(aws configure export-credentials";

/// Returns the error for what the SDK says in `words`. `needed_by` is the setting that makes
/// credentials necessary.
pub(super) fn missing(words: &str, environment: &ProcessEnv, needed_by: &str) -> Error {
    let profile = environment.get("AWS_PROFILE");
    let profiles = Profiles::read(environment);
    if let Some((missing, named_by)) = missing_profile(words) {
        return no_profile(missing, named_by, &profiles, needed_by);
    }
    // The SDK does not say so if there are no files.
    if let Some(profile) = profile.filter(|it| !profiles.names.iter().any(|name| name == it)) {
        return no_profile(profile, None, &profiles, needed_by);
    }
    let shown = profile.map_or_else(|| "default".to_owned(), str::to_owned);
    if let Some(kind) = unsupported(words) {
        return Error::new(Exit::Credentials, format!("cannot use the AWS profile `{shown}`"))
            .why(format!("cdflow does not support {kind}; {needed_by}"))
            .hint(format!("{EXPORT} --profile {shown} --format env)\""));
    }
    let tried = match profile {
        Some(profile) => format!("the profile `{profile}` (AWS_PROFILE) has none"),
        None => "AWS_ACCESS_KEY_ID and AWS_PROFILE are not set, and no role is attached".to_owned(),
    };
    let trouble = trouble(words).map(|line| format!("; {line}")).unwrap_or_default();
    let error = Error::new(Exit::Credentials, "no AWS credentials were found")
        .why(format!("{tried}{trouble}; {needed_by}"));
    // The runner passes an input whose expression has no value like one that is not given.
    let error = match environment.get("GITHUB_ACTIONS") {
        Some(_) => error.hint(
            "set the input `aws-role-to-assume`; if it is set, its expression has no value: is \
             `vars.CDFLOW_ROLE`, or the variable that you use, set for this repository and \
             environment?",
        ),
        None => error,
    };
    error.hint(
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is \
         attached",
    )
}

/// Returns where the SDK finds the credentials, for messages about bad ones.
pub(super) fn source(environment: &ProcessEnv) -> String {
    match (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_PROFILE")) {
        (Some(_), _) => "the credentials in AWS_ACCESS_KEY_ID".to_owned(),
        (None, Some(profile)) => {
            format!("the credentials of the profile `{profile}` (AWS_PROFILE)")
        }
        (None, None) => {
            "the credentials of the profile `default` or of an attached role".to_owned()
        }
    }
}

/// Returns the profile that does not exist and the profile that names it; None: AWS_PROFILE does.
fn missing_profile(words: &str) -> Option<(&str, Option<&str>)> {
    let (_, rest) = words.split_once("could not find source profile ")?;
    let (missing, rest) = rest.split_once(" referenced from ")?;
    let named_by = rest.lines().next()?.trim();
    Some((missing, (named_by != "the root profile").then_some(named_by)))
}

fn no_profile(
    missing: &str,
    named_by: Option<&str>,
    profiles: &Profiles,
    needed_by: &str,
) -> Error {
    let Profiles { files, names } = profiles;
    let place = match named_by {
        Some(other) => format!("`source_profile` of the profile `{other}`"),
        None => "AWS_PROFILE".to_owned(),
    };
    let shown: Vec<String> = files.iter().map(|it| format!("`{}`", it.display())).collect();
    let error =
        Error::new(Exit::Credentials, format!("the AWS profile `{missing}` does not exist"))
            .why(format!("{place} names it, and it is not in {}; {needed_by}", shown.join(" or ")));
    match nearest(missing, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("set {place} to `{near}`, or add `{missing}`")),
        None if names.is_empty() => {
            error.hint(format!("add it: aws configure --profile {missing}"))
        }
        None => error.hint(format!("set {place} to one of: {}", names.join(", "))),
    }
}

/// The profiles of the user.
struct Profiles {
    files: [PathBuf; 2],
    /// Sorted.
    names: Vec<String>,
}

impl Profiles {
    fn read(environment: &ProcessEnv) -> Self {
        let files = files(environment);
        let texts = files.iter().filter_map(|file| small_file::text(file).ok());
        let names = texts
            .flat_map(|text| text.lines().filter_map(name).map(str::to_owned).collect::<Vec<_>>());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names.dedup();
        Self { files, names }
    }
}

/// Returns the files with the profiles of the user.
fn files(environment: &ProcessEnv) -> [PathBuf; 2] {
    let home = environment.get("HOME").unwrap_or_default();
    [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")].map(
        |(variable, name)| match environment.get(variable) {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(home).join(".aws").join(name),
        },
    )
}

/// Returns the name of the profile whose section begins on the line.
fn name(line: &str) -> Option<&str> {
    let section = line.trim().strip_prefix('[')?.split(']').next()?.trim();
    match section.split_once(char::is_whitespace) {
        Some(("profile", name)) => Some(name.trim()),
        Some(_) => None,
        None => Some(section),
    }
}

/// Returns the kind of profile for which cdflow's SDK has no code.
fn unsupported(words: &str) -> Option<&'static str> {
    let (_, feature) = words.split_once("cargo feature(s) enabled: ")?;
    Some(match feature.starts_with("sso") {
        true => "profiles of IAM Identity Center (SSO)",
        false => "profiles whose credentials a program provides (`credential_process`)",
    })
}

/// Returns what the SDK says of a place that might have had credentials, without its words for the
/// places that are not set up.
fn trouble(words: &str) -> Option<String> {
    const NOT_SET_UP: &str = "the credential provider was not enabled";
    let lines = words.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.contains(NOT_SET_UP));
    lines.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NEEDED: &str = "`account-scheme-url` of cdflow.yml is s3://a/s.json";
    const CHAIN: &str = "the credential provider was not enabled: no credentials found in chain. \
                         Attempted:\n  Environment: the credential provider was not enabled: \
                         environment variable not set\n  Profile: the credential provider was not \
                         enabled";

    fn said(words: &str, environment: &ProcessEnv) -> String {
        missing(words, environment, NEEDED).to_string()
    }

    #[test]
    fn no_credentials_at_all() {
        let none = said(CHAIN, &ProcessEnv::default());
        let says = "no AWS credentials were found: AWS_ACCESS_KEY_ID and AWS_PROFILE are not set, \
                    and no role is attached; `account-scheme-url` of cdflow.yml is s3://a/s.json\n";
        assert!(none.starts_with(says), "{none}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "[profile dev]\n").unwrap();
        let with_profile = |name| {
            let environment = ProcessEnv::default().with("AWS_PROFILE", name);
            said(CHAIN, &environment.with("AWS_CONFIG_FILE", file.path()))
        };
        let says = "found: the profile `dev` (AWS_PROFILE) has none; `account-scheme-url`";
        assert!(with_profile("dev").contains(says));
        assert!(
            with_profile("live").starts_with("the AWS profile `live` does not exist: AWS_PROF")
        );
        let late = format!("{CHAIN}\n  Ec2InstanceMetadata: no answer within 1 s");
        let late = said(&late, &ProcessEnv::default());
        assert!(
            late.contains("attached; Ec2InstanceMetadata: no answer within 1 s; `acc"),
            "{late}"
        );
    }

    #[test]
    fn a_missing_profile_has_its_place_and_neighbours() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".aws");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config"), "[profile dev]\nx = 1\n[sso-session a]\n[chain]\n")
            .unwrap();
        let environment = ProcessEnv::default().with("HOME", home.path());
        let words = |name: &str, by: &str| {
            format!(
                "{CHAIN}: profile `{name}` was not defined: could not find source profile {name} \
                 referenced from {by}\n  WebIdentityToken: the credential provider was not enabled"
            )
        };
        let error = said(&words("nope", "the root profile"), &environment);
        let (config, keys) = (folder.join("config"), folder.join("credentials"));
        assert_eq!(
            error,
            format!(
                "the AWS profile `nope` does not exist: AWS_PROFILE names it, and it is not in \
                 `{}` or `{}`; {NEEDED}\n  -> set AWS_PROFILE to one of: chain, dev",
                config.display(),
                keys.display()
            )
        );
        let error = said(&words("dve", "chain"), &environment);
        assert!(error.contains("`source_profile` of the profile `chain` names it"), "{error}");
        assert!(error.ends_with("to `dev`, or add `dve`"), "{error}");
    }

    #[test]
    fn a_profile_of_another_kind_is_exported() {
        let words = "ProfileFile provider could not be built: This behavior requires following \
                     cargo feature(s) enabled: sso. ";
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "[profile work]\n").unwrap();
        let environment = ProcessEnv::default().with("AWS_PROFILE", "work");
        let environment = environment.with("AWS_CONFIG_FILE", file.path());
        assert_eq!(
            said(words, &environment),
            format!(
                "cannot use the AWS profile `work`: cdflow does not support profiles of IAM \
                 Identity Center (SSO); {NEEDED}\n  -> export its credentials: eval \"$(aws \
                 configure export-credentials --profile work --format env)\""
            )
        );
    }
}
