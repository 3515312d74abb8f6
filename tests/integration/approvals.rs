//! Who must have approved what is applied: owners of files, members of teams, or the people who
//! protect an environment of GitHub.

use crate::reviewed::{Change, NUMBER, refuses};
use crate::support::Runner;
use crate::support::github::{GitHub, TOKEN, World};
use serde_json::{Value, json};

/// Of a GitHub App, which can read the members of teams.
const APP: &str = "ghs_theTokenOfAnAppOfTheTests00000000001";

/// A planned change of a component with this `deploy` in its cdflow.yml.
fn change(deploy: &str) -> Change {
    let mut change = Change::new();
    change.project.append("cdflow.yml", &format!("deploy: {deploy}\n"));
    change.push("Rules");
    change.plan();
    change.github.world().token(
        APP,
        "acme-cdflow[bot]",
        &[
            ("actions", "read"),
            ("contents", "read"),
            ("deployments", "write"),
            ("members", "read"),
            ("pull_requests", "write"),
        ],
    );
    change
}

fn released(change: &Change) {
    change.merge();
    change.release_main();
}

fn deploy(change: &Change, token: &str) -> Runner {
    change.on_main(&["deploy", "live", "2-bbbbbbb"]).env("GITHUB_TOKEN", token)
}

fn with_policy(change: &Change, policy: Value) {
    change.project.edit_json("account-scheme.json", |scheme| scheme["policy"] = policy);
}

fn team(github: &GitHub, name: &str, members: &[&str]) {
    let members = members.iter().map(|it| (*it).to_owned()).collect();
    github.world().teams.insert(name.to_owned(), members);
}

/// What GitHub shows of the reviewers of a run: login, decision, environment.
fn decide(world: &mut World, run: u64, decisions: &[(&str, &str, &str)]) {
    let owned = decisions.iter().map(|(login, state, environment)| {
        ((*login).to_owned(), (*state).to_owned(), (*environment).to_owned())
    });
    world.run(run).decisions = owned.collect();
}

#[test]
fn the_owners_of_changed_files_must_have_approved() {
    let change = change("{ require-review: true, approvals: { code-owners: true } }");
    change.review("grace", "APPROVED");
    change.review("", "APPROVED");
    released(&change);
    let refuses =
        |token: &str, code: i32, says: &[&str]| refuses(deploy(&change, token), code, says);
    let owners = |text: &str| {
        let mut world = change.github.world();
        world.base_file(NUMBER, ".github/CODEOWNERS", text.as_bytes());
    };
    let missing = "of the base branch has no CODEOWNERS";
    refuses(TOKEN, 3, &["the owners of the files of pull request #7 are unknown", missing]);
    {
        let mut world = change.github.world();
        let found = world.pull_requests.get_mut(&NUMBER).unwrap();
        found.files =
            ["infra/main.tf", "README.md", "moved.tf", "other.txt"].map(str::to_owned).into();
        found.renamed.insert("moved.tf".to_owned(), "secret/old.tf".to_owned());
        world.base_file(NUMBER, "docs/CODEOWNERS", b"* @somebody-else\n");
        let large = "# A comment\n".repeat(300_000);
        world.base_file(NUMBER, ".github/CODEOWNERS", large.as_bytes());
    }
    refuses(TOKEN, 3, &["`.github/CODEOWNERS` has 3600000 bytes, and GitHub ignores it"]);
    owners(
        "/infra/ @Linus @acme/platform\n*.md docs@example.com\n/secret/ @ada @renovate[bot]\n\
         [x]\n",
    );
    // The token of the workflow cannot be given the permission.
    let says = ["failed to read the team acme/platform: HTTP 403", "\"Members: read\""];
    refuses(TOKEN, 4, &says);
    team(&change.github, "acme/platform", &["barbara"]);
    refuses(
        APP,
        3,
        &[
            "pull request #7 was not approved",
            "the approval of ghost does not count, because ghost is a deleted account",
            "these files need the approval of an owner (`deploy.approvals.code-owners` in \
             cdflow.yml):",
            "- `infra/main.tf`: @Linus, @acme/platform",
            "- `README.md`: docs@example.com (an e-mail address, not a login)",
            "- `secret/old.tf`: @ada (the author), @renovate[bot] (a bot)",
            "line 4: `[` and `]` need a backslash",
        ],
    )
    .lacks("::group::Plan")
    .lacks("other.txt");
    owners("/infra/ @Linus @acme/platform\n*.md @GRACE\n/secret/ @grace\n[x] @x\n");
    refuses(APP, 3, &["- `infra/main.tf`: @Linus, @acme/platform"]).lacks("README.md");
    change.review("barbara", "APPROVED");
    let deployed = deploy(&change, APP).run();
    deployed
        .success()
        .stdout_has("approved by barbara, grace")
        .stdout_has("`.github/CODEOWNERS` has lines that GitHub ignores")
        .stdout_has("line 4: `[` and `]` need a backslash");
    // Everybody who can push can have a branch with other owners.
    let into = |branch: &str| {
        let mut world = change.github.world();
        world.pull_requests.get_mut(&NUMBER).unwrap().base_branch = branch.to_owned();
    };
    into("of-ada");
    refuses(
        APP,
        3,
        &["pull request #7 is for the branch `of-ada`", "`deploy.approvals.code-owners`"],
    );
    into("main");
    // GitHub lists no more files, and those that it leaves out might have owners.
    let files = (0..3000).map(|number| format!("x/{number}.txt")).collect();
    change.github.world().pull_requests.get_mut(&NUMBER).unwrap().files = files;
    refuses(APP, 3, &["pull request #7 changes too many files", "at most 3000"]);
}

#[test]
fn a_member_of_each_team_must_have_approved() {
    let change = change("{ approvals: { teams: [data] } }");
    with_policy(
        &change,
        json!({ "environments": { "live": {
            "require-review": true, "approvals": { "count": 2, "teams": ["acme/platform"] },
        } } }),
    );
    change.review("grace", "APPROVED");
    released(&change);
    let refuses = |code: i32, says: &[&str]| refuses(deploy(&change, APP), code, says);
    team(&change.github, "acme/data", &["linus", "grace?"]);
    let says = ["failed to read the team acme/platform: HTTP 404", "check the name of the team"];
    refuses(4, &says);
    team(&change.github, "acme/platform", &["grace", "ada"]);
    refuses(
        3,
        &[
            "needs 2 approvals and has 1 (`policy.environments.live.approvals` in \
             ./account-scheme.json)",
            "no member of the team acme/data has approved its newest commit \
             (`deploy.approvals.teams` in cdflow.yml)",
        ],
    )
    .lacks("acme/platform");
    change.review("barbara", "APPROVED");
    refuses(3, &["was not approved: no member of the team acme/data"]).lacks("needs 2");
    change.review("linus", "APPROVED");
    deploy(&change, APP).run().success().stdout_has("approved by barbara, grace, linus");
}

#[test]
fn the_approval_of_the_run_is_enough_where_it_is_offered() {
    let change = change("{ require-review: true, approvals: { environment: production } }");
    released(&change);
    let run = |id: u64| deploy(&change, TOKEN).env("GITHUB_RUN_ID", id.to_string());
    let refuses = |id: u64, says: &[&str]| refuses(run(id), 3, says);
    {
        let mut world = change.github.world();
        decide(&mut world, 900, &[]);
        decide(
            &mut world,
            901,
            &[
                ("ada", "approved", "production"),
                ("robot[bot]", "approved", "production"),
                ("grace", "approved", "other"),
            ],
        );
        decide(
            &mut world,
            902,
            &[("grace", "approved", "production"), ("linus", "rejected", "production")],
        );
        // It began before the pull request showed its plan, and was then run again.
        decide(&mut world, 903, &[("grace", "approved", "production")]);
        let started = &mut world.run(903).started_at;
        *started = vec![started[0] - 3600, started[0]];
        decide(&mut world, 904, &[("grace", "approved", "Production")]);
    }
    let offer =
        "or start a new run of the job with `environment: production`, and have it approved";
    refuses(900, &["needs 1 approval and has 0", offer]);
    refuses(
        901,
        &[
            "the approval of the run by ada does not count, because ada is the author",
            "the approval of the run by robot[bot] does not count, because robot[bot] is a bot",
        ],
    )
    .lacks("grace");
    refuses(902, &["because grace approved a run that was also rejected"]);
    refuses(903, &["was approved before it showed a plan for `live`"]);
    // The policy demands a review, and only it could offer something else.
    with_policy(&change, json!({ "require-review": true }));
    let no_effect = "or remove `deploy.approvals.environment` in cdflow.yml, which has no effect";
    refuses(904, &["needs 1 approval and has 0", no_effect]).lacks(offer);
    with_policy(&change, json!({ "approvals": { "count": 2, "environment": "production" } }));
    let deployed = run(904).run();
    deployed.success().stdout_has("The plan does what pull request #7 showed, approved by grace");
    let entries = change.project.ledger_entries("live");
    let reviewed = json!({ "pull_request": 7, "approved_by": ["grace"] });
    assert_eq!(entries[1].0["reviewed"], reviewed, "{entries:?}");
}
