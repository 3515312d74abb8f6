//! What there is, as GitHub would show it: the examples of its description, with our values in
//! their place.

use super::world::{
    Asset, CheckRun, Comment, Deployment, PullRequest, Release, Review, Run, World,
};
use super::{REPOSITORY, REPOSITORY_ID, description_file};
use serde_json::{Value, json};
use std::io::Read;
use std::sync::OnceLock;

pub(super) fn time(seconds: i64) -> Value {
    jiff::Timestamp::from_second(seconds).unwrap().to_string().into()
}

/// An example of GitHub's description.
fn example(name: &str) -> Value {
    static EXAMPLES: OnceLock<Value> = OnceLock::new();
    let examples = EXAMPLES.get_or_init(|| {
        let file = std::fs::File::open(description_file()).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["components"]["examples"].take()
    });
    examples[name]["value"].clone()
}

fn with(mut example: Value, values: Value) -> Value {
    for (key, value) in values.as_object().unwrap() {
        example[key] = value.clone();
    }
    example
}

fn user(login: &str) -> Value {
    let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
    with(example("issue-comment")["user"].clone(), json!({ "login": login, "type": kind }))
}

fn routed(world: &World, rest: &str) -> String {
    format!("{}/repos/{REPOSITORY}{rest}", world.url)
}

pub(super) fn repository(id: u64) -> Value {
    let ours = id == REPOSITORY_ID;
    let (owner, name) = REPOSITORY.split_once('/').unwrap();
    let owner = if ours { owner } else { "mallory" };
    json!({
        "id": id, "name": name, "full_name": format!("{owner}/{name}"), "fork": !ours,
        "default_branch": "main",
        "owner": user(owner),
    })
}

pub(super) fn full_repository() -> Value {
    let mut answer = with(example("full-repository"), repository(REPOSITORY_ID));
    // The description demands it, and its example has it not.
    answer["has_discussions"] = false.into();
    for key in ["parent", "source", "template_repository"] {
        answer.as_object_mut().unwrap().remove(key);
    }
    answer
}

/// What `GET /user` says of the token's own account.
pub(super) fn own_account(login: &str) -> Value {
    let values = json!({ "login": login, "type": "User" });
    with(example("private-user-response-with-public-and-private-profile-information"), values)
}

pub(super) fn comment(world: &World, id: u64, comment: &Comment) -> Value {
    let values = json!({
        "id": id, "user": user(&comment.author), "body": comment.body,
        "url": routed(world, &format!("/issues/comments/{id}")),
        "html_url":
            format!("https://github.com/{REPOSITORY}/pull/{}#issuecomment-{id}", comment.issue),
        "issue_url": routed(world, &format!("/issues/{}", comment.issue)),
        "created_at": time(comment.created_at), "updated_at": time(comment.updated_at),
    });
    with(example("issue-comment"), values)
}

pub(super) fn reaction(login: &str, content: &str) -> Value {
    with(example("reaction"), json!({ "user": user(login), "content": content }))
}

/// The push by which the branch of a pull request got its newest commit. The example of GitHub's
/// description has the keys of an older one.
pub(super) fn push(it: &PullRequest) -> Option<Value> {
    let branch = example("pull-request")["head"]["ref"].as_str().unwrap().to_owned();
    Some(json!({
        "id": 1, "node_id": "", "before": "0".repeat(40), "after": it.head_sha,
        "ref": format!("refs/heads/{branch}"), "timestamp": time(it.pushed_at?),
        "activity_type": "push", "actor": user(&it.author),
    }))
}

pub(super) fn pull_request(number: u64, it: &PullRequest) -> Value {
    with(filled(example("pull-request"), number, it), json!({ "merged": it.is_merged }))
}

/// A list tells less of each.
pub(super) fn listed_pull_request(number: u64, it: &PullRequest) -> Value {
    filled(example("pull-request-simple-items")[0].clone(), number, it)
}

fn filled(mut answer: Value, number: u64, it: &PullRequest) -> Value {
    let of_example = answer["head"]["repo"].clone();
    let full = |id: u64| with(of_example.clone(), repository(id));
    answer["head"]["sha"] = it.head_sha.clone().into();
    answer["head"]["repo"] = it.head_repository.map_or(Value::Null, full);
    answer["base"]["repo"] = full(it.base_repository);
    answer["base"]["sha"] = it.base_sha.clone().into();
    answer["base"]["ref"] = it.base_branch.clone().into();
    let label = answer["labels"][0].clone();
    let labels: Vec<Value> =
        it.labels.iter().map(|name| with(label.clone(), json!({ "name": name }))).collect();
    let closed = if it.is_open { Value::Null } else { time(it.updated_at) };
    with(
        answer,
        json!({
            "number": number, "state": if it.is_open { "open" } else { "closed" },
            // The example's team lacks what the description demands of one.
            "requested_teams": [],
            "draft": it.is_draft, "labels": labels, "user": user(&it.author),
            "updated_at": time(it.updated_at),
            "closed_at": closed,
            "merged_at": if it.is_merged { time(it.updated_at) } else { Value::Null },
            "merge_commit_sha": it.merge_commit_sha,
        }),
    )
}

pub(super) fn review(number: u64, id: usize, review: &Review) -> Value {
    let values = json!({
        "id": id, "state": review.state, "commit_id": review.commit,
        "user": if review.login.is_empty() { Value::Null } else { user(&review.login) },
        "submitted_at": time(review.at),
        "html_url":
            format!("https://github.com/{REPOSITORY}/pull/{number}#pullrequestreview-{id}"),
    });
    with(example("pull-request-review-items")[0].clone(), values)
}

pub(super) fn permission(login: &str, role: &str) -> Value {
    let name = "repository-collaborator-permission-response-if-user-has-admin-permissions";
    let mut answer = with(example(name), json!({ "permission": role, "role_name": role }));
    answer["user"]["login"] = login.into();
    // The description demands it, and its example has it not.
    answer["user"]["role_name"] = role.into();
    answer
}

pub(super) fn check_run(world: &World, id: u64, run: &CheckRun) -> Value {
    let mut answer = example("check-run-example-of-in-progress-conclusion");
    for key in ["name", "status", "details_url"] {
        if !run.sent[key].is_null() {
            answer[key] = run.sent[key].clone();
        }
    }
    answer["id"] = id.into();
    answer["head_sha"] = run.head_sha.clone().into();
    answer["conclusion"] = run.sent["conclusion"].clone();
    for key in ["title", "summary", "text"] {
        answer["output"][key] = run.sent["output"][key].clone();
    }
    answer["url"] = routed(world, &format!("/check-runs/{id}")).into();
    answer
}

pub(super) fn reference(branch: &str, commit: &str) -> Value {
    let mut answer = example("git-ref-items")[0].clone();
    answer["ref"] = format!("refs/heads/{branch}").into();
    answer["object"]["sha"] = commit.into();
    answer
}

/// How `head` relates to `base`: `identical`, `behind` (it is an older one) or `diverged`.
pub(super) fn comparison(status: &str) -> Value {
    with(example("commit-comparison"), json!({ "status": status, "files": [], "commits": [] }))
}

pub(super) fn changed_file(name: &str, previous: Option<&String>) -> Value {
    let mut answer = with(example("diff-entry-items")[0].clone(), json!({ "filename": name }));
    if let Some(previous) = previous {
        answer["status"] = "renamed".into();
        answer["previous_filename"] = previous.as_str().into();
    }
    answer
}

/// The name of a blob: a digest of what is in it.
pub(super) fn blob_sha(content: &[u8]) -> String {
    use sha1::Digest;
    let mut hash = sha1::Sha1::new();
    hash.update(format!("blob {}\0", content.len()));
    hash.update(content);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn content_file(path: &str, content: &[u8]) -> Value {
    let name = path.rsplit('/').next().unwrap();
    // GitHub shows a larger one only as a blob.
    let (encoding, shown) = match content.len() > 1 << 20 {
        true => ("none", String::new()),
        false => ("base64", base64_lines(content)),
    };
    with(
        example("content-file"),
        json!({ "name": name, "path": path, "size": content.len(), "sha": blob_sha(content),
            "encoding": encoding, "content": shown }),
    )
}

pub(super) fn blob(content: &[u8]) -> Value {
    let values = json!({ "content": base64_lines(content), "size": content.len(),
        "sha": blob_sha(content) });
    with(example("blob"), values)
}

/// GitHub breaks lines after 60 characters.
fn base64_lines(content: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(content);
    let lines = text.as_bytes().chunks(60).map(|line| String::from_utf8_lossy(line) + "\n");
    lines.collect()
}

pub(super) fn team(organization: &str, slug: &str) -> Value {
    // The description demands the type and `archived_at`, and its example does not have them.
    let values = json!({ "slug": slug, "name": slug, "type": "organization" });
    let mut answer = with(example("team-full"), values);
    answer["organization"]["login"] = organization.into();
    answer["organization"]["archived_at"] = Value::Null;
    answer
}

pub(super) fn membership(is_active: bool) -> Value {
    let values = json!({ "state": if is_active { "active" } else { "pending" }, "role": "member" });
    with(example("team-membership-response-if-user-is-a-team-maintainer"), values)
}

pub(super) fn run_review(login: &str, state: &str, environment: &str) -> Value {
    let mut answer = example("environment-approvals-items")[0].clone();
    answer["environments"][0]["name"] = environment.into();
    with(answer, json!({ "user": user(login), "state": state }))
}

pub(super) fn run_attempt(id: u64, attempt: usize, run: &Run) -> Value {
    let at = time(run.started_at[attempt - 1]);
    let values = json!({ "id": id, "run_attempt": attempt, "created_at": time(run.started_at[0]),
        "run_started_at": at, "updated_at": at });
    with(example("workflow-run"), values)
}

pub(super) fn release(world: &World, id: u64, release: &Release) -> Value {
    let assets: Vec<Value> =
        release.assets.iter().map(|(id, asset)| self::asset(world, *id, asset)).collect();
    // On GitHub Enterprise Server uploads go to the API's host, beside the API.
    let uploads = match world.url.strip_suffix("/v3") {
        Some(api) => format!("{api}/uploads/repos/{REPOSITORY}"),
        None => routed(world, ""),
    };
    with(
        example("release"),
        json!({
            "id": id, "tag_name": release.tag, "name": release.name, "body": release.body,
            "prerelease": release.is_prerelease, "draft": false, "author": user(&release.author),
            "assets": assets,
            "url": routed(world, &format!("/releases/{id}")),
            "html_url": format!("https://github.com/{REPOSITORY}/releases/tag/{}", release.tag),
            "upload_url": format!("{uploads}/releases/{id}/assets{{?name,label}}"),
            "created_at": time(release.created_at), "published_at": time(release.created_at),
        }),
    )
}

pub(super) fn asset(world: &World, id: u64, asset: &Asset) -> Value {
    use sha2::Digest;
    let digest: String =
        sha2::Sha256::digest(&asset.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    with(
        example("release-asset"),
        json!({
            "id": id, "name": asset.name, "content_type": asset.content_type,
            "size": asset.bytes.len(),
            "state": "uploaded", "label": null, "digest": format!("sha256:{digest}"),
            "url": routed(world, &format!("/releases/assets/{id}")),
        }),
    )
}

pub(super) fn deployment(world: &World, id: u64, deployment: &Deployment) -> Value {
    with(
        example("deployment"),
        json!({
            "id": id, "ref": deployment.git_ref, "environment": deployment.environment,
            "payload": deployment.payload,
            "transient_environment": deployment.is_transient,
            "created_at": time(deployment.created_at),
            "url": routed(world, &format!("/deployments/{id}")),
        }),
    )
}

pub(super) fn status(id: u64, environment: &str, sent: &Value) -> Value {
    let text = |key: &str| sent[key].as_str().unwrap_or_default().to_owned();
    with(
        example("deployment-status"),
        json!({
            "id": id, "environment": environment, "state": sent["state"],
            "description": text("description"),
            "log_url": text("log_url"), "environment_url": text("environment_url"),
        }),
    )
}
