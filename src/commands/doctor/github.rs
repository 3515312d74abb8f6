//! What the token of a workflow may do, as far as it can be found out without writing.

use super::findings::{Level, Report};
use crate::{
    base::process_env::ProcessEnv,
    cli::args::Global,
    services::{
        ci::{GitHubRun, host::Host},
        github::{Api, GitHubError},
    },
};

const TOKEN: &str = "github token";
const COMMENT: &str = "pull request comment";
const VOUCHER: &str = "github oidc";

pub(crate) async fn token(report: &mut Report, global: &Global, host: &Host) {
    let Some(run) = host.github() else { return };
    vouching(report, global, &host.environment);
    let api = match Api::of(host, global.github_token.as_ref()) {
        Ok(api) => api,
        Err(trouble) => return told(report, TOKEN, trouble),
    };
    match api.me().await {
        Ok(login) => report.ok(TOKEN, format!("writes as {login}")),
        Err(trouble) => return told(report, TOKEN, trouble),
    }
    comment(report, &api, run).await;
}

async fn comment(report: &mut Report, api: &Api, run: &GitHubRun) {
    let Some(change) = &run.pull_request else { return };
    match api.comments(change.number).await {
        Ok(_) => report.ok(
            COMMENT,
            format!(
                "#{} can be read; to write, the job needs `pull-requests: write`",
                change.number
            ),
        ),
        Err(trouble) => told(report, COMMENT, trouble),
    }
}

/// Whether GitHub would vouch for the job, which is how a role is assumed without keys.
fn vouching(report: &mut Report, global: &Global, environment: &ProcessEnv) {
    let is_offered = environment.get("ACTIONS_ID_TOKEN_REQUEST_URL").is_some();
    match (is_offered, &global.aws.aws_role_to_assume) {
        (true, _) => report.ok(VOUCHER, "the job has `id-token: write`"),
        // Who assumes one has heard of it from the check of the identity.
        (false, Some(_)) => {}
        (false, None) => {
            report.ok(VOUCHER, "not used: the credentials are those of the job's environment")
        }
    }
}

/// A warning: without GitHub a deploy goes well all the same.
fn told(report: &mut Report, check: &str, trouble: GitHubError) {
    report.failed(check, Level::Warning, &trouble.into_error());
}
