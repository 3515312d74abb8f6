//! Checks of the workflow's token, as far as they are possible without writing.

use super::report::{DoctorReport, Level};
use crate::{
    base::process_env::ProcessEnv,
    cli::args::Global,
    services::{
        ci::{GitHubRun, host::Host},
        github::{Api, GitHubError, Server},
    },
};

const SERVER: &str = "github server";
const TOKEN: &str = "github token";
const COMMENT: &str = "pull request comment";
const OIDC: &str = "github oidc";

pub(crate) async fn token(report: &mut DoctorReport, global: &Global, host: &Host) {
    let Some(run) = host.github() else { return };
    server(report, &host.environment);
    oidc(report, global, &host.environment);
    let api = match Api::of(host, global.github_token.as_ref()) {
        Ok(api) => api,
        Err(trouble) => return warn(report, TOKEN, trouble),
    };
    match api.me().await {
        Ok(login) => report.ok(TOKEN, format!("authenticated as {login}")),
        Err(trouble) => return warn(report, TOKEN, trouble),
    }
    comment(report, &api, run).await;
}

/// Reports the addresses of a server other than github.com.
fn server(report: &mut DoctorReport, environment: &ProcessEnv) {
    let server = Server::of(environment);
    if server == Server::Public {
        return;
    }
    let api = environment.text("GITHUB_API_URL").unwrap_or_else(|| server.api());
    report.ok(SERVER, format!("{server}, API {api}, issuer https://{}", server.issuer()));
}

async fn comment(report: &mut DoctorReport, api: &Api, run: &GitHubRun) {
    let Some(change) = &run.pull_request else { return };
    match api.comments(change.number).await {
        Ok(_) => report.ok(
            COMMENT,
            format!(
                "can read #{}; to comment, the job also needs `pull-requests: write`",
                change.number
            ),
        ),
        Err(trouble) => warn(report, COMMENT, trouble),
    }
}

/// Checks whether the job can get an OIDC token, with which it assumes a role without keys.
fn oidc(report: &mut DoctorReport, global: &Global, environment: &ProcessEnv) {
    let is_offered = environment.get("ACTIONS_ID_TOKEN_REQUEST_URL").is_some();
    match (is_offered, &global.aws.aws_role_to_assume) {
        (true, _) => report.ok(OIDC, "the job has `id-token: write`"),
        // The check of the identity reports this.
        (false, Some(_)) => {}
        (false, None) => {
            report.ok(OIDC, "not used: the credentials come from the job's environment")
        }
    }
}

/// Adds a warning, not a problem: a deploy succeeds without GitHub.
fn warn(report: &mut DoctorReport, check: &str, trouble: GitHubError) {
    report.error(check, Level::Warning, &trouble.into_error());
}
