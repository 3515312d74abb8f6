//! Guards of holds: a pull request keeps deploys from elsewhere away from an environment.

use jiff::Timestamp;

use crate::{
    base::error::{Error, Result},
    context::Context,
    deploy::{
        actor::actor,
        ledger::{Hold, HoldAction, Ledger, Start},
        order::Order,
    },
    report::Report,
    services::github::{Api, GitHubError},
    terraform::PlanMode,
};

/// How often an entry is tried that another run writes at the same time.
const TRIES: usize = 5;

/// What GitHub says of the pull request of a hold.
enum Holder {
    Open,
    /// Merged or closed: the hold counts no more.
    Ended,
    /// GitHub cannot be asked, for this reason.
    Unknown(String),
}

/// Refuses a run that is not for the pull request that holds the environment. A run that applies
/// nothing only warns.
pub(crate) async fn check(context: &Context, order: &Order<'_>, report: &mut Report) -> Result<()> {
    let plan_only = order.plan.plan_only;
    let is_look = plan_only && order.mode == PlanMode::RefreshOnly;
    if order.environment().is_preview() || is_look {
        return Ok(());
    }
    let ledger = &order.subject.target.ledger;
    let Some(hold) = read(context, ledger).await?.filter(|it| !is_own(context, it)) else {
        return Ok(());
    };
    let refused = match holder(context, &hold).await? {
        Holder::Ended => {
            return match plan_only || end(context, ledger, &hold).await {
                true => Ok(()),
                false => Err(taken(order.environment().as_str())),
            };
        }
        Holder::Open => refusal(order.environment().as_str(), &hold, None),
        Holder::Unknown(why) => refusal(order.environment().as_str(), &hold, Some(&why)),
    };
    if !plan_only {
        return Err(refused);
    }
    context.host.log.warning(&format!("a deploy would be refused: {refused}"));
    report.warnings.push(context.host.log.redactor.apply(&refused.story()).into_owned());
    Ok(())
}

/// Reads who holds an environment, whether or not that pull request is still open.
pub(crate) async fn read(context: &Context, ledger: &Ledger<'_>) -> Result<Option<Hold>> {
    context.host.interrupt.or_cancel("reading who holds the environment", ledger.held()).await
}

/// Holds the environment of `ledger` for a pull request of the run's repository. Returns false if
/// the pull request holds it already.
pub(crate) async fn take(
    context: &Context,
    environment: &str,
    ledger: &Ledger<'_>,
    pull_request: u64,
) -> Result<bool> {
    let repository = repository(context)?;
    for _ in 0..TRIES {
        let reading = ledger.newest_hold();
        let newest = context.host.interrupt.or_cancel("reading the holds", reading).await?;
        let held = newest.as_ref().filter(|it| it.action == HoldAction::Hold);
        if let Some(hold) = held {
            if hold.is_by(Some(repository), pull_request) {
                return Ok(false);
            }
            match holder(context, hold).await? {
                Holder::Ended => {}
                Holder::Open => return Err(refusal(environment, hold, None)),
                Holder::Unknown(why) => return Err(refusal(environment, hold, Some(&why))),
            }
        }
        let new = entry(context, HoldAction::Hold, repository, pull_request).await?;
        let writing = ledger.put_hold(new, newest.map_or(0, |it| it.number));
        if context.host.interrupt.or_last_answer("holding the environment", writing).await? {
            return Ok(true);
        }
    }
    Err(taken(environment))
}

/// Returns GitHub's ID of the run's repository.
pub(crate) fn repository(context: &Context) -> Result<u64> {
    context.host.github().and_then(|run| run.repository_id).ok_or_else(|| {
        Error::input("only a run of GitHub Actions can hold an environment")
            .why("the hold ends with a pull request on GitHub")
            .hint("write `/cdflow hold ENVIRONMENT` on the pull request (docs/comment-commands.md)")
    })
}

/// Holds the environment that a comment applies to, if cdflow.yml says so for it: until the merge,
/// the default branch does not have what is applied.
pub(crate) async fn take_on_apply(context: &Context, order: &Order<'_>) -> Result<()> {
    let Some((pull_request, _)) = context.host.commanded() else { return Ok(()) };
    let environment = order.environment();
    if !context.manifest.comments.hold.contains(environment) {
        return Ok(());
    }
    let (ledger, number) = (&order.subject.target.ledger, pull_request.number);
    if take(context, environment.as_str(), ledger, number).await? {
        context.host.log.note(&taken_by(environment.as_str(), number));
    }
    Ok(())
}

/// Says that a pull request has begun to hold an environment.
pub(crate) fn taken_by(environment: &str, number: u64) -> String {
    format!("{environment} is held by pull request #{number} until it is merged or closed")
}

/// Ends the hold of an environment. Returns it; None if the environment is not held.
pub(crate) async fn release(
    context: &Context,
    environment: &str,
    ledger: &Ledger<'_>,
) -> Result<Option<Hold>> {
    for _ in 0..TRIES {
        let Some(hold) = read(context, ledger).await? else { return Ok(None) };
        let commanded = context.host.commanded();
        if let Some((pull_request, _)) = commanded.filter(|_| !is_own(context, &hold)) {
            return Err(refusal(environment, &hold, None)
                .why(format!("this comment is on pull request #{}", pull_request.number)));
        }
        let writing = async {
            let new = entry(context, HoldAction::Release, hold.repository, hold.pull_request);
            ledger.put_hold(new.await?, hold.number).await
        };
        if context.host.interrupt.or_last_answer("releasing the hold", writing).await? {
            return Ok(Some(hold));
        }
    }
    Err(taken(environment))
}

/// Returns who holds an environment since when, for people.
pub(crate) fn describe(hold: &Hold) -> String {
    let by = hold.by.as_deref().map_or_else(String::new, |by| format!(" by {by}"));
    format!("held by pull request #{} since {:.0}{by}", hold.pull_request, hold.at)
}

/// Whether the run is for the pull request that holds the environment.
fn is_own(context: &Context, hold: &Hold) -> bool {
    let Some(run) = context.host.github() else { return false };
    let pull_request = run.pull_request.as_ref().filter(|it| !it.is_fork());
    pull_request.is_some_and(|it| hold.is_by(run.repository_id, it.number))
}

async fn holder(context: &Context, hold: &Hold) -> Result<Holder> {
    let github = context.host.github();
    if github.and_then(|run| run.repository_id) != Some(hold.repository) {
        let why = match github {
            Some(_) => "it is in another repository",
            None => "only a run of GitHub Actions can ask whether it is open",
        };
        return Ok(Holder::Unknown(why.to_owned()));
    }
    let asking = async {
        let asked: Result<_, GitHubError> = async {
            let api = Api::of(&context.host, context.github_token.as_ref())?;
            api.pull_request(hold.pull_request).await
        }
        .await;
        Ok(asked)
    };
    let asked = context.host.interrupt.or_cancel("asking GitHub", asking).await?;
    Ok(match asked {
        Ok(found) if found.is_open() => Holder::Open,
        Ok(_) => Holder::Ended,
        Err(error) => Holder::Unknown(format!("GitHub did not answer whether it is open: {error}")),
    })
}

/// Records that a hold has ended, so that `status` shows it. A failure only delays that. False if
/// another pull request has held the environment meanwhile.
async fn end(context: &Context, ledger: &Ledger<'_>, hold: &Hold) -> bool {
    let number = hold.pull_request;
    let log = &context.host.log;
    log.note(&format!("pull request #{number} is merged or closed, so its hold has ended"));
    let writing = async {
        let new = entry(context, HoldAction::Release, hold.repository, number).await?;
        ledger.put_hold(new, hold.number).await
    };
    match context.host.interrupt.or_last_answer("recording the end of a hold", writing).await {
        Ok(is_newest) => is_newest,
        Err(error) => {
            log.detail(&format!("the end of the hold is not recorded: {error}"));
            true
        }
    }
}

async fn entry(
    context: &Context,
    action: HoldAction,
    repository: u64,
    pull_request: u64,
) -> Result<Hold> {
    Ok(Hold {
        format: Hold::FORMAT,
        number: 0,
        action,
        repository,
        pull_request,
        by: actor(context).await,
        at: Timestamp::now(),
        run_url: context.host.run.as_ref().and_then(|run| run.url.clone()),
        token: Start::new_token()?,
    })
}

fn refusal(environment: &str, hold: &Hold, unknown: Option<&str>) -> Error {
    let number = hold.pull_request;
    let address = hold.run_url.as_deref().and_then(|url| url.split_once("/actions/runs/"));
    let address = address
        .map_or_else(String::new, |(repository, _)| format!(" ({repository}/pull/{number})"));
    let by = hold.by.as_deref().unwrap_or("an unknown user");
    let since = format!("{by} has held it since {:.0}", hold.at);
    let why = match unknown {
        Some(unknown) => format!("{since}; {unknown}"),
        None => format!("{since}, until the pull request is merged or closed"),
    };
    Error::refused(format!("`{environment}` is held by pull request #{number}{address}"))
        .why(why)
        .hint("wait until it is merged or closed")
        .hint(format!(
            "or release it: write `/cdflow unhold {environment}` on pull request #{number}, or run \
             cdflow unhold {environment}"
        ))
}

fn taken(environment: &str) -> Error {
    Error::refused(format!(
        "cannot change the hold of `{environment}`: other runs changed it at the same time"
    ))
    .hint("run it again")
}
