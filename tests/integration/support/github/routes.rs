//! From a request to an answer, by GitHub's rules.

use super::world::{Asset, CheckRun, Comment, Deployment, PullRequest, Release, Run, Token, World};
use super::{Exchange, REPOSITORY, answers};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const COMMENT_LIMIT: usize = 65_536;
const DESCRIPTION_LIMIT: usize = 140;

/// What a request meets in the place of GitHub's answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This answer; nothing is done.
    Answer { status: u16, headers: Vec<(&'static str, String)>, message: &'static str },
    /// What was asked for is done, and the answer is lost on the way: 502.
    DoneBut502,
    /// The connection is closed without an answer; nothing is done.
    HangUp,
    /// GitHub's own answer, after so many milliseconds.
    Late(u64),
}

pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Bytes,
}

#[derive(Default)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Value,
    pub(super) pause: Option<u64>,
    pub(super) hangs_up: bool,
}

/// Who asks, and what, taken apart.
struct Wanted<'a> {
    login: &'a str,
    query: Vec<(String, String)>,
    json: &'a Value,
    asked: &'a Asked,
}

pub(super) fn answer(world: &mut World, asked: &Asked) -> Answered {
    let line = format!("{} {}", asked.method, asked.path);
    let hit = world
        .faults
        .iter_mut()
        .find(|(matching, left, _)| *left > 0 && line.contains(matching.as_str()));
    let fault = hit.map(|(_, left, fault)| {
        *left -= 1;
        fault.clone()
    });
    let fault = fault.or_else(|| world.weather.as_mut()?.fault(&line));
    let json: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let login = asked
        .token
        .as_ref()
        .and_then(|token| world.tokens.get(token))
        .map(|token| token.login.clone());
    let is_fault = !matches!(fault, None | Some(Fault::Late(_)));
    let answered = match fault {
        None => by_rules(world, asked, &json),
        Some(Fault::Late(milliseconds)) => {
            Answered { pause: Some(milliseconds), ..by_rules(world, asked, &json) }
        }
        Some(Fault::Answer { status, headers, message }) => Answered {
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..refusal(status, message)
        },
        Some(Fault::DoneBut502) => {
            by_rules(world, asked, &json);
            refusal(502, "Server Error")
        }
        Some(Fault::HangUp) => Answered { hangs_up: true, ..Answered::default() },
    };
    world.exchanges.push(Exchange {
        method: asked.method.clone(),
        path: asked.path.clone(),
        login,
        content_type: asked.content_type.clone(),
        body: json,
        status: answered.status,
        answer: answered.body.clone(),
        is_fault,
    });
    answered
}

fn by_rules(world: &mut World, asked: &Asked, json: &Value) -> Answered {
    let Some(token) = asked.token.as_ref().and_then(|token| world.tokens.get(token)).cloned()
    else {
        return refusal(401, "Bad credentials");
    };
    let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (decoded(name), decoded(value))).collect();
    let wanted = Wanted { login: &token.login, query, json, asked };
    if path == "/graphql" {
        return ok(200, json!({ "data": { "viewer": { "login": token.login } } }));
    }
    if path == "/user" {
        return match token.login.ends_with("[bot]") {
            true => refusal(403, "Resource not accessible by integration"),
            false => ok(200, answers::own_account(&token.login)),
        };
    }
    if let Some(rest) = path.strip_prefix("/orgs/") {
        return team(world, &token, rest);
    }
    let path = path.strip_prefix("/uploads").unwrap_or(path);
    let rest = path.strip_prefix(&format!("/repos/{REPOSITORY}"));
    let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
        return refusal(404, "Not Found");
    };
    let parts: Vec<String> = rest.split('/').skip(1).map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let is_read = asked.method == "GET";
    let accepted: &[&str] = match parts.as_slice() {
        ["issues", ..] => &["issues", "pull_requests"],
        ["pulls", ..] | ["commits", _, "pulls"] => &["pull_requests"],
        ["releases" | "git" | "compare" | "activity" | "contents", ..] => &["contents"],
        ["actions", ..] => &["actions"],
        ["check-runs", ..] | ["commits", _, "check-runs"] => &["checks"],
        ["deployments", ..] => &["deployments"],
        ["environments", ..] => &["administration"],
        _ => &[],
    };
    let level = if is_read { "read" } else { "write" };
    let has = |name: &&str| {
        token
            .permissions
            .as_ref()
            .is_none_or(|given| given.get(*name).is_some_and(|it| it == level || it == "write"))
    };
    if !accepted.is_empty() && !accepted.iter().any(has) {
        let accepted: Vec<String> = accepted.iter().map(|name| format!("{name}={level}")).collect();
        let mut refused = refusal(403, "Resource not accessible by integration");
        refused.headers.push(("x-accepted-github-permissions".to_owned(), accepted.join("; ")));
        return refused;
    }
    match (asked.method.as_str(), parts.as_slice()) {
        ("GET", []) => ok(200, answers::full_repository()),
        ("GET", ["pulls"]) => {
            let state = wanted
                .query
                .iter()
                .find(|(key, _)| key == "state")
                .map_or("open", |(_, value)| value.as_str());
            let shown = |it: &&PullRequest| state == "all" || it.is_open == (state == "open");
            let mut found: Vec<_> =
                world.pull_requests.iter().filter(|(_, it)| shown(it)).collect();
            // By default the newest comes first.
            if !wanted.query.iter().any(|(key, value)| key == "direction" && value == "asc") {
                found.reverse();
            }
            let found = found
                .iter()
                .map(|(number, it)| answers::listed_pull_request(**number, it))
                .collect();
            page(world, &wanted, found)
        }
        ("GET", ["pulls", number]) => {
            match number.parse().ok().and_then(|it| Some((it, world.pull_requests.get(&it)?))) {
                Some((number, found)) => ok(200, answers::pull_request(number, found)),
                None => refusal(404, "Not Found"),
            }
        }
        ("GET", ["pulls", number, "files"]) => {
            match number.parse().ok().and_then(|it| world.pull_requests.get(&it)) {
                Some(found) => {
                    // GitHub lists no more.
                    let names = found.files.iter().take(3000);
                    page_of(world, &wanted, names, |name| {
                        answers::changed_file(name, found.renamed.get(name))
                    })
                }
                None => refusal(404, "Not Found"),
            }
        }
        ("GET", ["pulls", number, "reviews"]) => {
            match number.parse().ok().and_then(|it| Some((it, world.pull_requests.get(&it)?))) {
                Some((number, found)) => {
                    let reviews = found.reviews.iter().enumerate();
                    let shown = reviews.map(|(id, it)| answers::review(number, id + 80, it));
                    page(world, &wanted, shown.collect())
                }
                None => refusal(404, "Not Found"),
            }
        }
        ("GET", ["collaborators", login, "permission"]) => {
            let role = world.roles.get(*login).map_or("write", String::as_str);
            ok(200, answers::permission(login, role))
        }
        ("GET", ["commits", sha, "pulls"]) => {
            let came_with = |it: &PullRequest| {
                let own = it.merge_commit_sha.iter().chain(&it.other_commits).chain([&it.head_sha]);
                (it.is_open || it.is_merged) && own.into_iter().any(|commit| commit == sha)
            };
            let found = world.pull_requests.iter().filter(|(_, it)| came_with(it));
            page(
                world,
                &wanted,
                found.map(|(number, it)| answers::listed_pull_request(*number, it)).collect(),
            )
        }
        ("GET", ["activity"]) => {
            let name = wanted.query.iter().find(|(key, _)| key == "ref").map(|(_, it)| it.clone());
            let pushes = world.pull_requests.values().filter_map(answers::push);
            ok(
                200,
                pushes.filter(|it| name.as_ref().is_none_or(|name| it["ref"] == **name)).collect(),
            )
        }
        ("GET", ["contents", path @ ..]) => contents(world, &wanted, &path.join("/")),
        ("GET", ["git", "blobs", sha]) => {
            match world.files.values().find(|content| answers::blob_sha(content) == *sha) {
                Some(content) => ok(200, answers::blob(content)),
                None => refusal(404, "Not Found"),
            }
        }
        ("GET", ["actions", "runs", id, rest @ ..]) => {
            let id = id.parse().unwrap_or_default();
            match world.runs.get(&id) {
                Some(run) => workflow_run(id, run, rest),
                None => refusal(404, "Not Found"),
            }
        }
        ("GET", ["git", "matching-refs", prefix @ ..]) => {
            let prefix = prefix.join("/");
            let found = world.branches.iter().filter_map(|(name, commits)| {
                let is_it = format!("heads/{name}").starts_with(&prefix);
                Some(answers::reference(name, commits.last().filter(|_| is_it)?))
            });
            ok(200, found.collect())
        }
        ("GET", ["compare", pair]) => {
            let (base, head) = pair.split_once("...").unwrap_or_default();
            match compared(world, base, head) {
                Some(status) => ok(200, answers::comparison(status)),
                None => refusal(404, "Not Found"),
            }
        }
        (_, ["check-runs", ..]) | ("GET", ["commits", _, "check-runs"]) => {
            check_runs(world, &wanted, &parts)
        }
        (_, ["issues", ..]) => issues(world, &wanted, &parts[1..]),
        (_, ["releases", ..]) => releases(world, &wanted, &parts[1..]),
        (_, ["deployments", ..]) => deployments(world, &wanted, &parts[1..]),
        ("DELETE", ["environments", name]) => {
            match world.environments.iter().position(|it| it == name) {
                Some(at) => {
                    world.environments.remove(at);
                    ok(204, Value::Null)
                }
                None => refusal(404, "Not Found"),
            }
        }
        _ => refusal(404, "Not Found"),
    }
}

fn check_runs(world: &mut World, wanted: &Wanted<'_>, parts: &[&str]) -> Answered {
    let sent = wanted.json.clone();
    match (wanted.asked.method.as_str(), parts) {
        ("GET", ["commits", sha, _]) => {
            let name = wanted.query.iter().find(|(key, _)| key == "check_name");
            let is_it = |run: &CheckRun| {
                run.head_sha == *sha && name.is_none_or(|(_, name)| run.sent["name"] == **name)
            };
            // The newest comes first.
            let found = world.check_runs.iter().rev().filter(|(_, run)| is_it(run));
            let found: Vec<Value> =
                found.map(|(id, run)| answers::check_run(world, *id, run)).collect();
            ok(200, json!({ "total_count": found.len(), "check_runs": found }))
        }
        ("POST", ["check-runs"]) => {
            let Some(head_sha) = sent["head_sha"].as_str().map(str::to_owned) else {
                return invalid("CheckRun", "head_sha", "missing");
            };
            let id = world.id();
            world.check_runs.insert(id, CheckRun { head_sha, sent });
            ok(201, answers::check_run(world, id, &world.check_runs[&id]))
        }
        ("PATCH", ["check-runs", id]) => {
            let id: u64 = id.parse().unwrap_or_default();
            let Some(run) = world.check_runs.get_mut(&id) else {
                return refusal(404, "Not Found");
            };
            run.sent = sent;
            ok(200, answers::check_run(world, id, &world.check_runs[&id]))
        }
        _ => refusal(404, "Not Found"),
    }
}

/// `rest` is `acme/teams/platform` and what follows. The token of a workflow may not see it.
fn team(world: &World, token: &Token, rest: &str) -> Answered {
    let parts: Vec<String> = rest.split('/').map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let has = |given: &BTreeMap<String, String>| given.contains_key("members");
    if token.login == "github-actions[bot]" || !token.permissions.as_ref().is_none_or(has) {
        let mut refused = refusal(403, "Resource not accessible by integration");
        refused
            .headers
            .push(("x-accepted-github-permissions".to_owned(), "members=read".to_owned()));
        return refused;
    }
    let [organization, "teams", slug, rest @ ..] = parts.as_slice() else {
        return refusal(404, "Not Found");
    };
    let Some(members) = world.teams.get(&format!("{organization}/{slug}")) else {
        return refusal(404, "Not Found");
    };
    let Some(login) = rest.get(1) else { return ok(200, answers::team(organization, slug)) };
    match members.iter().find(|it| it.trim_end_matches('?') == *login) {
        Some(found) => ok(200, answers::membership(!found.ends_with('?'))),
        None => refusal(404, "Not Found"),
    }
}

fn contents(world: &World, wanted: &Wanted<'_>, path: &str) -> Answered {
    let commit = wanted.query.iter().find(|(key, _)| key == "ref").map(|(_, it)| it.clone());
    match world.files.get(&(commit.unwrap_or_default(), path.to_owned())) {
        Some(content) => ok(200, answers::content_file(path, content)),
        None => refusal(404, "Not Found"),
    }
}

fn workflow_run(id: u64, run: &Run, rest: &[&str]) -> Answered {
    match rest {
        ["approvals"] => {
            let decisions = run.decisions.iter();
            let shown = decisions
                .map(|(login, state, environment)| answers::run_review(login, state, environment));
            ok(200, shown.collect())
        }
        ["attempts", attempt] => match attempt.parse() {
            Ok(attempt) if (1..=run.started_at.len()).contains(&attempt) => {
                ok(200, answers::run_attempt(id, attempt, run))
            }
            _ => refusal(404, "Not Found"),
        },
        _ => refusal(404, "Not Found"),
    }
}

/// None: one of the commits is unknown.
fn compared(world: &World, base: &str, head: &str) -> Option<&'static str> {
    let has = |commits: &&Vec<String>, commit: &str| commits.iter().any(|it| it == commit);
    let with_base = world.branches.values().find(|it| has(it, base))?;
    world.branches.values().find(|it| has(it, head))?;
    let at = |commit: &str| with_base.iter().position(|it| it == commit);
    Some(match (at(base)?, at(head)) {
        (base, Some(head)) if head == base => "identical",
        (base, Some(head)) if head < base => "behind",
        (_, Some(_)) => "ahead",
        (_, None) => "diverged",
    })
}

fn issues(world: &mut World, wanted: &Wanted<'_>, parts: &[&str]) -> Answered {
    if let ("POST", ["comments", id, "reactions"]) = (wanted.asked.method.as_str(), parts) {
        return react(world, wanted, id.parse().unwrap_or_default());
    }
    let body = wanted.json["body"].as_str().unwrap_or_default();
    let is_write = ["POST", "PATCH"].contains(&wanted.asked.method.as_str());
    if is_write && (body.is_empty() || body.chars().count() > COMMENT_LIMIT) {
        return invalid("IssueComment", "body", "body is too long or missing");
    }
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    match (wanted.asked.method.as_str(), parts) {
        ("GET", [issue, "comments"]) => {
            let is_listed =
                |id| world.created.get(id).is_none_or(|at| at.elapsed() >= world.list_lag);
            let of_issue =
                world.comments.iter().filter(|(id, it)| it.issue == number(issue) && is_listed(id));
            page(world, wanted, of_issue.map(|(id, it)| answers::comment(world, *id, it)).collect())
        }
        ("POST", [issue, "comments"]) => {
            if !world.pull_requests.contains_key(&number(issue)) {
                return refusal(404, "Not Found");
            }
            let id = world.comment(number(issue), wanted.login, body);
            ok(201, answers::comment(world, id, &world.comments[&id]))
        }
        (method, ["comments", id]) => {
            let (id, now) = (number(id), world.tick());
            let Some(comment) = world.comments.get_mut(&id) else {
                return refusal(404, "Not Found");
            };
            match method {
                "GET" => ok(200, answers::comment(world, id, &world.comments[&id])),
                "PATCH" => {
                    *comment =
                        Comment { body: body.to_owned(), updated_at: now, ..comment.clone() };
                    ok(200, answers::comment(world, id, &world.comments[&id]))
                }
                "DELETE" => {
                    world.comments.remove(&id);
                    ok(204, Value::Null)
                }
                _ => refusal(405, "Method Not Allowed"),
            }
        }
        _ => refusal(404, "Not Found"),
    }
}

/// A second reaction of the same kind changes nothing.
fn react(world: &mut World, wanted: &Wanted<'_>, comment: u64) -> Answered {
    if !world.comments.contains_key(&comment) {
        return refusal(404, "Not Found");
    }
    let content = wanted.json["content"].as_str().unwrap_or_default();
    let reaction = (comment, wanted.login.to_owned(), content.to_owned());
    let answer = answers::reaction(wanted.login, content);
    if world.reactions.contains(&reaction) {
        return ok(200, answer);
    }
    world.reactions.push(reaction);
    ok(201, answer)
}

fn releases(world: &mut World, wanted: &Wanted<'_>, parts: &[&str]) -> Answered {
    let text = |key: &str| wanted.json[key].as_str().map(str::to_owned);
    let id = parts.first().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
    let shown = |world: &World, id: u64| answers::release(world, id, &world.releases[&id]);
    match (wanted.asked.method.as_str(), parts) {
        ("GET", ["tags", tag]) => match world.releases.iter().find(|(_, it)| it.tag == *tag) {
            Some((id, _)) => ok(200, shown(world, *id)),
            None => refusal(404, "Not Found"),
        },
        ("POST", ["generate-notes"]) => {
            ok(200, json!({ "name": text("tag_name"), "body": world.notes }))
        }
        ("POST", []) => {
            let Some(tag) = text("tag_name") else {
                return invalid("Release", "tag_name", "missing");
            };
            if world.releases.values().any(|it| it.tag == tag) {
                return invalid("Release", "tag_name", "already_exists");
            }
            let (id, now) = (world.id(), world.tick());
            let release = Release {
                name: text("name").unwrap_or_default(),
                body: text("body").unwrap_or_default(),
                is_prerelease: wanted.json["prerelease"] == true,
                author: wanted.login.to_owned(),
                created_at: now,
                assets: Default::default(),
                tag,
            };
            world.releases.insert(id, release);
            ok(201, shown(world, id))
        }
        ("DELETE", ["assets", asset]) => {
            let asset: u64 = asset.parse().unwrap_or_default();
            let removed =
                world.releases.values_mut().find_map(|release| release.assets.remove(&asset));
            removed.map_or_else(|| refusal(404, "Not Found"), |_| ok(204, Value::Null))
        }
        _ if !world.releases.contains_key(&id) => refusal(404, "Not Found"),
        ("PATCH", [_]) => {
            let release = world.releases.get_mut(&id).unwrap();
            release.body = text("body").unwrap_or_else(|| release.body.clone());
            release.name = text("name").unwrap_or_else(|| release.name.clone());
            ok(200, shown(world, id))
        }
        ("GET", [_, "assets"]) => {
            let assets = world.releases[&id].assets.iter();
            page(world, wanted, assets.map(|(id, it)| answers::asset(world, *id, it)).collect())
        }
        ("POST", [_, "assets"]) => {
            let name =
                wanted.query.iter().find(|(key, _)| key == "name").map(|(_, value)| value.clone());
            let Some(name) = name else { return invalid("ReleaseAsset", "name", "missing") };
            if world.releases[&id].assets.values().any(|it| it.name == name) {
                return invalid("ReleaseAsset", "name", "already_exists");
            }
            let number = world.id();
            let asset = Asset {
                name,
                content_type: wanted.asked.content_type.clone().unwrap_or_default(),
                bytes: wanted.asked.body.to_vec(),
            };
            let answer = answers::asset(world, number, &asset);
            world.releases.get_mut(&id).unwrap().assets.insert(number, asset);
            ok(201, answer)
        }
        _ => refusal(404, "Not Found"),
    }
}

fn deployments(world: &mut World, wanted: &Wanted<'_>, parts: &[&str]) -> Answered {
    let id = parts.first().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
    match (wanted.asked.method.as_str(), parts) {
        ("GET", []) => {
            let environment = wanted
                .query
                .iter()
                .find(|(key, _)| key == "environment")
                .map(|(_, value)| value.clone());
            let of_it = world.deployments.iter().rev();
            let of_it = of_it
                .filter(|(_, it)| environment.as_ref().is_none_or(|name| it.environment == *name));
            page(world, wanted, of_it.map(|(id, it)| answers::deployment(world, *id, it)).collect())
        }
        ("POST", []) => {
            let Some(git_ref) = wanted.json["ref"].as_str() else {
                return invalid("Deployment", "ref", "missing");
            };
            let environment =
                wanted.json["environment"].as_str().unwrap_or("production").to_owned();
            if !world.environments.contains(&environment) {
                world.environments.push(environment.clone());
            }
            let (id, now) = (world.id(), world.tick());
            let deployment = Deployment {
                git_ref: git_ref.to_owned(),
                environment,
                is_transient: wanted.json["transient_environment"] == true,
                payload: wanted.json["payload"].clone(),
                created_at: now,
                statuses: Vec::new(),
            };
            world.deployments.insert(id, deployment);
            ok(201, answers::deployment(world, id, &world.deployments[&id]))
        }
        _ if !world.deployments.contains_key(&id) => refusal(404, "Not Found"),
        ("GET", [_, "statuses"]) => {
            let deployment = &world.deployments[&id];
            let said = deployment.statuses.iter().rev();
            page(
                world,
                wanted,
                said.map(|it| answers::status(id, &deployment.environment, it)).collect(),
            )
        }
        ("POST", [_, "statuses"]) => {
            let description = wanted.json["description"].as_str().unwrap_or_default();
            if description.chars().count() > DESCRIPTION_LIMIT {
                return invalid("DeploymentStatus", "description", "is too long");
            }
            let environment = world.deployments[&id].environment.clone();
            if wanted.json["state"] == "success" && wanted.json["auto_inactive"] != false {
                let others = world.deployments.iter_mut().filter(|(other, it)| {
                    **other < id
                        && it.environment == environment
                        && !it.is_transient
                        && !it.statuses.is_empty()
                });
                others.for_each(|(_, it)| it.statuses.push(json!({ "state": "inactive" })));
            }
            world.deployments.get_mut(&id).unwrap().statuses.push(wanted.json.clone());
            ok(201, answers::status(world.id(), &environment, wanted.json))
        }
        _ => refusal(404, "Not Found"),
    }
}

/// A page of a list, and where the next one is.
fn page(world: &World, wanted: &Wanted<'_>, items: Vec<Value>) -> Answered {
    page_of(world, wanted, items.iter(), Value::clone)
}

/// Only what is on the page is made into an answer.
fn page_of<T>(
    world: &World,
    wanted: &Wanted<'_>,
    items: impl ExactSizeIterator<Item = T>,
    shown: impl Fn(T) -> Value,
) -> Answered {
    let number = |name: &str, or| {
        wanted
            .query
            .iter()
            .find(|(key, _)| key == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(or)
    };
    let (size, page): (usize, usize) = (number("per_page", 30).min(100), number("page", 1));
    let has_more = items.len() > page * size;
    let mut answered = ok(200, items.skip((page - 1) * size).take(size).map(shown).collect());
    if has_more {
        let path = wanted.asked.path.split('?').next().unwrap_or_default();
        let same = wanted.asked.path.split_once('?').map_or("", |(_, query)| query).split('&');
        let same: Vec<&str> =
            same.filter(|pair| !pair.is_empty() && !pair.starts_with("page=")).collect();
        let query = [same.join("&"), format!("page={}", page + 1)].join("&");
        let link = format!("<{}{path}?{query}>; rel=\"next\"", world.url);
        answered.headers.push(("link".to_owned(), link));
    }
    answered
}

fn ok(status: u16, body: Value) -> Answered {
    Answered { status, body, ..Answered::default() }
}

fn refusal(status: u16, message: &str) -> Answered {
    let body = json!({ "message": message, "documentation_url": "https://docs.github.com/rest",
        "status": status.to_string() });
    Answered { status, body, ..Answered::default() }
}

fn invalid(resource: &str, field: &str, code: &str) -> Answered {
    let mut refused = refusal(422, "Validation Failed");
    refused.body["errors"] = json!([{ "resource": resource, "field": field, "code": code }]);
    refused
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex =
            after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
