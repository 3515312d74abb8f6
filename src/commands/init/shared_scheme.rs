//! The account scheme of an organisation, which a new component is written for.

use std::path::Path;

use crate::{
    base::error::{Error, Result},
    cli::args::{Global, InitInputs},
    config::{component::SchemeUrl, scheme::AccountScheme},
    context,
    services::ci::host::Host,
};

/// Written if the scheme cannot be read or names no environment.
const ASSUMED: [&str; 2] = ["ci", "live"];
/// Names of the environment that is deployed last.
const LAST: [&str; 3] = ["live", "prod", "production"];

/// An account scheme in S3.
pub(crate) struct SharedScheme {
    pub(crate) url: String,
    /// In the order in which the workflow deploys to them; never empty.
    pub(crate) environments: Vec<String>,
}

impl SharedScheme {
    /// Reads the scheme at `url`. If that fails, warns and assumes the environments.
    pub(crate) async fn find(
        url: &SchemeUrl,
        global: &Global,
        inputs: &InitInputs,
        host: &Host,
    ) -> Result<Self> {
        if let SchemeUrl::Path(path) = url {
            return Err(Error::input(format!(
                "the account scheme of an organisation is in S3, not at `{}`",
                path.display()
            ))
            .hint(
                "set --account-scheme-url s3://BUCKET/KEY, or leave it out for a local account \
                 scheme, which you can replace later",
            ));
        }
        match read(url, global, inputs, host).await {
            Ok(found) => Ok(found),
            Err(error) => {
                host.log.warning(&format!(
                    "the account scheme cannot be read, so the environments `{}` are assumed\n\
                     {error}\n  -> correct `environment:` in .github/workflows and the names in \
                     config/, or remove the folder and run init again",
                    ASSUMED.join("` and `")
                ));
                Ok(Self { url: url.to_string(), environments: ASSUMED.map(str::to_owned).into() })
            }
        }
    }
}

async fn read(
    url: &SchemeUrl,
    global: &Global,
    inputs: &InitInputs,
    host: &Host,
) -> Result<SharedScheme> {
    // Only paths are relative to a folder.
    let folder = Path::new("/");
    let mut root = context::first_session(url, &global.aws, host).await?;
    let named = context::load(url, folder, &inputs.team, &inputs.name, root.as_ref()).await?;
    let (used, _) = context::follow_upgrade(named, global, folder, &mut root, host).await?;
    let environments = in_order(&used.scheme);
    match environments.is_empty() {
        true => Err(Error::input(format!("{} names no environment", used.url))),
        false => Ok(SharedScheme { url: used.url.to_string(), environments }),
    }
}

/// Returns the names of the environments. Those in the account of `"*"` come first, because
/// production is elsewhere.
fn in_order(scheme: &AccountScheme) -> Vec<String> {
    let default = scheme.environments().get("*");
    let mut named: Vec<_> = scheme.environments().iter().filter(|(name, _)| *name != "*").collect();
    named.sort_by_key(|(name, account)| {
        (Some(*account) != default, LAST.contains(&name.as_str()), *name)
    });
    named.into_iter().map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_is_last() {
        let order = |environments: &str| {
            let text = format!(
                r#"{{"accounts": {{"dev": {{"id": "111111111111", "role": "r"}},
                "prod": {{"id": "222222222222", "role": "r"}}}}, "release-account": "dev",
                "release-bucket": "releases", "default-region": "eu-west-1",
                "terraform-backend-s3-bucket": "states", "environments": {{{environments}}}}}"#
            );
            let (team, component) = ("a".parse().unwrap(), "b".parse().unwrap());
            let scheme = AccountScheme::parse("s.json", None, &text, &team, &component).unwrap();
            in_order(&scheme).join(" ")
        };
        let all = r#""live": "prod", "ci": "dev", "aslive": "prod""#;
        assert_eq!(order(&format!(r#"{all}, "*": "dev""#)), "ci aslive live");
        assert_eq!(order(all), "aslive ci live");
        assert_eq!(order(r#""prod": "prod", "zoo": "dev", "*": "dev""#), "zoo prod");
        assert_eq!(order(r#""*": "dev""#), "");
    }
}
