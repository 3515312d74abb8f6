//! What was reviewed is what is applied: the plan of a pull request is recorded, and a deploy with
//! `--reviewed` applies only a plan that does the same.

mod approval;
mod record;

use jiff::Timestamp;

use self::{
    approval::Approved,
    record::{Place, PlanRecord, Records},
};
use super::{ledger::Reviewed, order::Order, prepare::Prepared};
use crate::{
    base::{
        digest::{Hasher, Sha256},
        error::{Error, Result},
    },
    config::guards::ReviewRule,
    context::Context,
    services::github::Approval,
    terraform::{
        Plan, PlanMode,
        output::effects::{Difference, Effects, Sealed, Sealer, Words, differences, is_only_words},
        state::summary::StateSummary,
    },
};

/// Differences that an error lists. The others are counted. With them, the comment has room for the
/// fixes.
const SHOWN: usize = 15;

/// Records the plan of a pull request. A failure is a warning, because the plan itself is good.
pub(super) async fn record(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    planned: &Plan,
    before: Option<&StateSummary>,
) {
    let Some(mut record) = new_record(context, order, prepared, before) else { return };
    let writing = async {
        let records = Records::open(context).await?;
        let words = record.words.clone();
        record.effects = sealed(context, &records, &words, planned);
        let place = records.put(&record).await?;
        context.host.log.detail(&format!("the plan is recorded for --reviewed in `{place}`"));
        Ok(())
    };
    let written = context.host.interrupt.or_cancel("recording the plan", writing).await;
    if let Err(error) = written {
        context.host.log.warning(&format!(
            "the plan was not recorded, so that it cannot be applied with --reviewed: {error}"
        ));
    }
}

/// Whether the plan changes nothing but the names of the release.
pub(super) fn is_only_release(order: &Order<'_>, prepared: &Prepared, planned: &Plan) -> bool {
    is_only_words(&planned.changes.effects, &words(order, prepared))
}

/// What a deploy needs of the review, found before anything of the release is executed.
struct Found<'c> {
    records: Records<'c>,
    record: PlanRecord,
    pull_request: u64,
    approvals: Vec<Approval>,
}

/// Refuses a release that was not reviewed, before its code is executed: a plan already runs its
/// providers and data sources.
pub(super) async fn check_approved(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
) -> Result<()> {
    match order.review.filter(|_| !order.plan.plan_only) {
        Some(rule) => found(context, order, prepared, rule).await.map(drop),
        None => Ok(()),
    }
}

/// Refuses a plan that does not do what was reviewed. Returns whose review it was. GitHub is asked
/// again, because an approval can be withdrawn during the plan.
pub(super) async fn check(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    planned: &Plan,
    before: Option<&StateSummary>,
) -> Result<Option<Reviewed>> {
    let Some(rule) = order.review else { return Ok(None) };
    let Found { records, record, pull_request, approvals } =
        found(context, order, prepared, rule).await?;
    check_place(&record, prepared, before, pull_request)?;
    let words = words(order, prepared);
    let now = sealed(context, &records, &words, planned);
    // A plan that does nothing needs no review: the job might run again after its apply.
    if !now.is_empty() {
        let found = differences((&record.effects, &record.words), (&now, &words));
        if !found.is_empty() {
            return Err(different(&record, &found));
        }
        if record.code != code(prepared) {
            return Err(other_code(&record));
        }
    }
    let approved_by: Vec<String> = approvals.into_iter().map(|it| it.login).collect();
    let reviewed = Reviewed { pull_request, approved_by };
    context.host.log.note(&summary(&reviewed));
    Ok(Some(reviewed))
}

/// Returns the pull request that brought the release, its approvals, and the plan that it showed.
async fn found<'c>(
    context: &'c Context,
    order: &Order<'_>,
    prepared: &Prepared,
    rule: ReviewRule,
) -> Result<Found<'c>> {
    let commit = prepared.facts.commit().ok_or_else(|| {
        Error::refused("the release was not reviewed")
            .why("it does not record its commit")
            .hint("make the release from a commit of the repository")
    })?;
    let approved = approval::of_commit(context, commit, rule).await?;
    let number = approved.pull_request.number;
    let opening = Records::existing(context);
    let opened = context.host.interrupt.or_cancel("reading the reviewed plan", opening).await?;
    let records = opened.ok_or_else(|| not_recorded(order, number))?;
    let finding = find(&records, order, &approved, rule);
    let (record, approvals) =
        context.host.interrupt.or_cancel("reading the reviewed plan", finding).await?;
    Ok(Found { records, record, pull_request: number, approvals })
}

/// The sentence of the report.
pub(super) fn summary(reviewed: &Reviewed) -> String {
    let Reviewed { pull_request, approved_by } = reviewed;
    format!(
        "The plan does what pull request #{pull_request} showed, approved by {}",
        approved_by.join(", ")
    )
}

/// Returns the newest record that enough people saw when they approved.
async fn find(
    records: &Records<'_>,
    order: &Order<'_>,
    approved: &Approved,
    rule: ReviewRule,
) -> Result<(PlanRecord, Vec<Approval>)> {
    let number = approved.pull_request.number;
    let place = Place {
        environment: order.environment(),
        pull_request: number,
        head: &approved.pull_request.head.sha,
    };
    let names = records.names(&place).await?;
    if names.is_empty() {
        return Err(not_recorded(order, number));
    }
    let mut newest = None;
    let mut seen: Option<(PlanRecord, Vec<Approval>)> = None;
    for name in names {
        let record = records.get(&name, &place).await?;
        if record.repository != approved.repository {
            return Err(Error::integrity(format!(
                "the plan of pull request #{number} was recorded for another repository"
            ))
            .why(format!("its repository has the ID {}", record.repository))
            .hint("give each repository its own `component` or `team`"));
        }
        // An approval is for the plan that was the newest one at that time.
        let before_next = seen.as_ref().map(|(later, _)| later.made);
        newest = newest.or(Some(record.made));
        let is_for =
            |it: &&Approval| it.at >= record.made && before_next.is_none_or(|next| it.at < next);
        let own: Vec<Approval> = approved.approvals.iter().filter(is_for).cloned().collect();
        let (record, approvals) = match seen.take() {
            Some((later, approvals)) if is_same(&later, &record) => {
                (record, [approvals, own].concat())
            }
            _ => (record, own),
        };
        if approvals.len() >= rule.approvals {
            return Ok((record, approvals));
        }
        seen = Some((record, approvals));
    }
    let made = newest.map_or_else(String::new, |made| format!(" at {made:.0}"));
    Err(Error::refused(format!(
        "pull request #{number} was approved before it showed a plan for `{}`",
        order.environment()
    ))
    .why(format!("the plan was made{made}, after the approval"))
    .hint("look at the plan in the pull request, approve it again, and run this job again"))
}

/// Whether two records of one commit do the same.
fn is_same(one: &PlanRecord, other: &PlanRecord) -> bool {
    one.code == other.code
        && differences((&one.effects, &one.words), (&other.effects, &other.words)).is_empty()
}

fn not_recorded(order: &Order<'_>, number: u64) -> Error {
    let environment = order.environment();
    Error::refused(format!(
        "the newest commit of pull request #{number} has no recorded plan for `{environment}`"
    ))
    .why("only what was reviewed is applied")
    .hint(format!(
        "in the pull request's workflow, run `deploy` with `environment: {environment}` and \
         `plan-only: true` (docs/reviewed.md)"
    ))
}

/// Refuses a record of another account, region or state.
fn check_place(
    record: &PlanRecord,
    prepared: &Prepared,
    before: Option<&StateSummary>,
    number: u64,
) -> Result<()> {
    let lineage = before.filter(|it| !it.is_pristine()).map(|it| it.lineage.clone());
    let moved = [
        ("account", record.account.clone(), prepared.account_id.clone(), true),
        ("region", Some(record.region.clone()), Some(prepared.account.region.clone()), true),
        // A state might have been created since.
        ("state", record.state_lineage.clone(), lineage, record.state_lineage.is_some()),
    ];
    let found = moved.into_iter().find(|(_, reviewed, now, counts)| *counts && reviewed != now);
    let Some((what, reviewed, now, _)) = found else { return Ok(()) };
    let said = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    Err(Error::refused(format!("pull request #{number} showed a plan for another {what}"))
        .why(format!("reviewed: {}; now: {}", said(reviewed), said(now)))
        .hint("open a pull request with the same change, and have its plan approved"))
}

fn different(record: &PlanRecord, found: &[Difference]) -> Error {
    let shown = found.iter().take(SHOWN).map(|it| format!("\n  - {it}"));
    let mut list: String = shown.collect();
    if found.len() > SHOWN {
        list += &format!("\n  - and {} more", found.len() - SHOWN);
    }
    Error::refused(format!(
        "the plan is not the one that pull request #{} showed for `{}`",
        record.pull_request, record.environment
    ))
    .why(format!("nothing was applied, because these changes differ:{list}"))
    .hint(
        "something has changed since the review: another deploy, the real resources, or the code. \
         Open a pull request with what is still to do, and have its plan approved",
    )
    .hint("or deploy without --reviewed, if the rules of the environment allow it")
}

/// The plan does not show everything that the code does: the commands of provisioners, the settings
/// of providers, and how a value that is known after the apply is made.
fn other_code(record: &PlanRecord) -> Error {
    Error::refused(format!(
        "the code is not the one that pull request #{} showed a plan of",
        record.pull_request
    ))
    .why(
        "the plans are the same, but files in `infra/`, its modules or the configuration differ, \
         and a plan does not show all that they do",
    )
    .hint("update the branch before the merge, so that the plan is made from what is merged")
}

/// Returns the digest of the files that decide what a plan and its apply do.
fn code(prepared: &Prepared) -> Option<Sha256> {
    let manifest = prepared.bundle.manifest.as_ref()?;
    let is_code = |name: &str| {
        ["infra/", "modules/", "config/", "platform-config/", "hooks/", "hooks.json"]
            .iter()
            .any(|folder| name.starts_with(folder))
    };
    let mut hasher = Hasher::default();
    for (name, file) in manifest.files.iter().filter(|(name, _)| is_code(name)) {
        hasher.update(format!("{} {name}\n", file.sha256).as_bytes());
    }
    Some(hasher.finish())
}

/// Returns the record without its effects; None if the run's plan is not for a review.
fn new_record(
    context: &Context,
    order: &Order<'_>,
    prepared: &Prepared,
    before: Option<&StateSummary>,
) -> Option<PlanRecord> {
    let is_whole = order.targets.is_empty() && order.replace.is_empty();
    let is_wanted = context.manifest.deploy.store_plans.unwrap_or(true);
    let is_for_review = order.plan.plan_only && order.mode == PlanMode::Deploy && is_whole;
    let github = context.host.github().filter(|it| it.outsider.is_none())?;
    let pull_request = github.pull_request.as_ref().filter(|it| !it.is_fork())?;
    if !is_wanted || !is_for_review || order.environment().is_preview() {
        return None;
    }
    let before = before.filter(|state| !state.is_pristine());
    Some(PlanRecord {
        component: context.identity.prefix(),
        environment: order.environment().clone(),
        repository: github.repository_id?,
        pull_request: pull_request.number,
        head: pull_request.head.sha.clone(),
        run: github.run_id?,
        attempt: github.attempt,
        run_url: context.host.run.as_ref().and_then(|run| run.url.clone()),
        made: Timestamp::now(),
        version: order.version().clone(),
        bundle_digest: prepared.bundle.digest,
        source_digest: prepared.bundle.manifest.as_ref().map(|it| it.source_digest),
        code: code(prepared),
        account: prepared.account_id.clone(),
        region: prepared.account.region.clone(),
        state_lineage: before.map(|state| state.lineage.clone()),
        state_serial: before.map(|state| state.serial),
        terraform: prepared.tool.label(),
        words: words(order, prepared),
        effects: Effects::default(),
    })
}

fn sealed(
    context: &Context,
    records: &Records<'_>,
    words: &Words,
    planned: &Plan,
) -> Effects<Sealed> {
    let redactor = &context.host.log.redactor;
    Sealer { key: &records.key, words, redactor }.seal(&planned.changes.effects)
}

/// Returns what two releases of the same content differ in.
fn words(order: &Order<'_>, prepared: &Prepared) -> Words {
    let facts = &prepared.facts;
    let own = names(facts.text("version"), facts.commit());
    let deployed = order.subject.recorded.as_ref();
    let deployed =
        deployed.map(|start| names(Some(start.version.as_str()), start.commit.as_deref()));
    Words::new(own, deployed.unwrap_or_default())
}

/// Returns the version, the build number in it, and the commit in full and in usual lengths.
fn names(version: Option<&str>, commit: Option<&str>) -> Vec<String> {
    let number = version.and_then(|version| version.split_once('-')).map(|(number, _)| number);
    let number = number.filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
    let short = [7, 8, 10, 12].map(|length| commit.and_then(|commit| commit.get(..length)));
    let names = [version, number, commit].into_iter().chain(short);
    names.flatten().map(str::to_owned).collect()
}
