//! The GitHub release of a tag: made once, completed when it is there, and never in the way of the
//! release itself.

use crate::support::github::{Fault, GitHub, TOKEN};
use crate::support::{Output, Project, Runner, in_repository, python, tool};

fn step(project: &Project, github: &GitHub, version: &str) -> Runner {
    let inputs = [
        ("COMMAND", "release"),
        ("VERSION", version),
        ("PLATFORM-CONFIG", "platform-config"),
        ("CREATE-GITHUB-RELEASE", "true"),
        ("GITHUB-TOKEN", TOKEN),
    ];
    let inputs = inputs.map(|(name, value)| (format!("INPUT_{name}"), value));
    project
        .cdflow([] as [&str; 0])
        .envs(inputs)
        .envs(github.env())
        .env("NO_COLOR", "1")
        .env("GITHUB_REF_TYPE", "tag")
        .env("GITHUB_REF_NAME", "v1.2.3")
}

fn digest(output: &Output) -> String {
    let after = output.stdout.split("bundle digest ").nth(1).unwrap();
    after[..64].to_owned()
}

#[test]
fn a_tag_gets_its_release_once() {
    let project = Project::local("greeting");
    // Uploads are not below the API's path on GitHub Enterprise Server.
    let github = GitHub::with_prefix("/api/v3");
    let output = step(&project, &github, "").run();
    output.success().stdout_has("GitHub release v1.2.3").lacks(TOKEN).lacks("::warning::");
    output.stdout_has("https://github.com/acme/checkout/releases/tag/v1.2.3");
    let world = github.world().releases.clone();
    let (id, release) = world.first_key_value().unwrap();
    let bundle = project.bundle("1.2.3");
    for row in [
        "| version | `1.2.3` |".to_owned(),
        format!("| commit | `{}` |", project.head()),
        format!("| bundle | `{}` |", project.release_key("1.2.3")),
        format!("| bundle digest | `{}` |", digest(&output)),
        format!("| made with | `{} ", tool::name()),
    ] {
        assert!(release.body.contains(&row), "{row}\n{}", release.body);
    }
    assert!(
        release.body.ends_with("## What's Changed\n* A change by @ada in #7\n"),
        "{}",
        release.body
    );
    assert_eq!((release.tag.as_str(), release.is_prerelease), ("v1.2.3", false));
    let asset = release.assets.values().next().unwrap();
    assert_eq!(
        (asset.name.as_str(), asset.content_type.as_str()),
        ("greeting-1.2.3.manifest.json", "application/json")
    );
    assert_eq!(asset.bytes, crate::support::entries(&bundle)["manifest.json"].bytes);

    // Again: nothing is written, and what people wrote around it stays.
    github.world().releases.get_mut(id).unwrap().body += "\nThanks, everybody!\n";
    let written = github.exchanges("POST").len() + github.exchanges("PATCH").len();
    step(&project, &github, "").run().success().stdout_has("Already released").lacks("::warning::");
    assert_eq!(github.exchanges("POST").len() + github.exchanges("PATCH").len(), written);
    assert!(github.world().releases[id].body.ends_with("\nThanks, everybody!\n"));
    // A file that another wrote in its place is replaced.
    github.world().releases.get_mut(id).unwrap().assets.values_mut().next().unwrap().bytes =
        b"{}".to_vec();
    step(&project, &github, "").run().success();
    let assets = github.world().releases[id].assets.clone();
    assert_eq!(assets.values().map(|it| &it.bytes).collect::<Vec<_>>(), [&asset.bytes]);
}

#[test]
fn a_release_that_is_there_is_completed() {
    let project = Project::local("greeting");
    let github = GitHub::start();
    let other = Project::local("basket");
    step(&other, &github, "1.2.3-rc.1").run().success();
    github.fault("PATCH", 1, Fault::DoneBut502);
    step(&project, &github, "").run().success().lacks("::warning::");
    let world = github.world().releases.clone();
    assert_eq!(world.len(), 1);
    let release = world.values().next().unwrap();
    assert!(release.is_prerelease && release.assets.len() == 2, "{release:?}");
    let sections = [
        "<!-- cdflow basket -->",
        "<!-- /cdflow basket -->",
        "What's Changed",
        "<!-- cdflow greeting -->",
    ];
    let places: Vec<_> = sections.iter().map(|it| release.body.find(it).unwrap()).collect();
    assert!(places.is_sorted(), "{}", release.body);
}

#[test]
fn trouble_with_it_is_a_warning() {
    let project = Project::local("greeting");
    let github = GitHub::start();
    github.world().token("ghs_readOnly", "github-actions[bot]", &[("contents", "read")]);
    let may_not = step(&project, &github, "").env("INPUT_GITHUB-TOKEN", "ghs_readOnly").run();
    may_not
        .success()
        .stdout_has("Released greeting 1.2.3")
        .stdout_has("::warning::1.2.3 is released, but");
    may_not.stdout_has("permissions:%0A       contents: write");
    github.fault("", 99, Fault::HangUp);
    step(&project, &github, "2")
        .run()
        .success()
        .stdout_has("Released greeting 2")
        .stdout_has("::warning::2 is released");
    let asked = github.exchanges("").len();
    let branch = step(&project, &github, "3").env("GITHUB_REF_TYPE", "branch").run();
    branch.success().stdout_has("no GitHub release: the run is not for a tag").lacks("::warning::");
    let without = step(&project, &github, "4").env_remove("INPUT_GITHUB-TOKEN").run();
    without.success().stdout_has("::warning::").stdout_has("github-token: ${{ github.token }}");
    assert_eq!(github.exchanges("").len(), asked);
    assert!(github.world().releases.is_empty());
}

/// GitHub Enterprise Server in a company: behind a proxy, with a certificate of the company's own
/// authority.
#[test]
fn a_proxy_and_an_authority_of_ones_own() {
    let project = Project::local("greeting");
    let github = GitHub::with_prefix("/api/v3");
    let port = github.url().split([':', '/']).nth(4).unwrap().to_owned();
    github.world().seen_at("https://ghes.test/api/v3");
    let folder = project.sandbox().root().to_owned();
    let script = in_repository("tests/integration/support/tls.py");
    let mut tls =
        python(project.sandbox(), [script.as_os_str(), port.as_ref(), folder.as_os_str()]).spawn();
    tls.wait_until("a port", |running| running.said().contains('\n'));
    let proxy = format!("http://127.0.0.1:{}", tls.said().lines().next().unwrap());
    let behind = |version: &str| {
        step(&project, &github, version)
            .env("GITHUB_API_URL", "https://ghes.test/api/v3")
            .env("GITHUB_GRAPHQL_URL", "https://ghes.test/api/graphql")
            .env("HTTPS_PROXY", &proxy)
            .env("SSL_CERT_FILE", folder.join("ca.pem"))
    };
    behind("").run().success().lacks("::warning::");
    assert_eq!(github.world().releases.len(), 1);
    assert!(tls.said().lines().skip(1).all(|host| host == "ghes.test:443"), "{}", tls.said());
    let asked = github.exchanges("").len();
    let stranger = behind("2").env_remove("SSL_CERT_FILE").run();
    stranger.success().stdout_has("::warning::2 is released").stdout_has("certificate");
    assert_eq!(github.exchanges("").len(), asked);
}
