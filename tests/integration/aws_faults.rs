//! What goes wrong with AWS: which exit code, what is said, and that nothing is left behind.

use crate::support::{Aws, DEV, Output, Project, RELEASE, Runner};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::time::Duration;

const RELEASE_1: [&str; 4] = ["release", "1", "--platform-config", "platform-config"];

fn new(name: &str) -> (Aws, Project) {
    let aws = Aws::new(name);
    let project = Project::aws("shop", &aws);
    (aws, project)
}

/// Release and deploy alike end with this code and say these things.
#[track_caller]
fn both_fail(project: &Project, change: impl Fn(Runner) -> Runner, code: i32, says: &[&str]) {
    for command in [RELEASE_1.to_vec(), vec!["deploy", "ci", "1"]] {
        let output = change(project.cdflow(command)).run();
        output.fails(code);
        for text in says {
            output.stderr_has(text);
        }
        tidy(project, &output);
    }
}

#[track_caller]
fn tidy(project: &Project, output: &Output) {
    assert_eq!(project.sandbox().left_behind(), [""; 0], "{output}");
    output.lacks("panicked").lacks("backtrace");
}

#[test]
fn the_account_scheme_is_missing() {
    let (aws, project) = new("noscheme");
    aws.delete(&aws.scheme_bucket(), "account-scheme.json");
    let says = [
        &format!("error: account scheme not found: {}\n", aws.scheme_url()),
        "`account-scheme-url`",
    ];
    both_fail(&project, |run| run, 2, &says);
    project.edit("cdflow.yml", &aws.scheme_bucket(), "no-such-bucket");
    both_fail(
        &project,
        |run| run,
        2,
        &["s3://no-such-bucket/account-scheme.json", "NoSuchBucket", "request id"],
    );
}

#[test]
fn the_release_bucket_is_missing() {
    let (aws, project) = new("nobucket");
    aws.call(RELEASE, "s3", "delete_bucket", json!({ "Bucket": aws.release_bucket() }));
    let says = [
        &format!("s3://{}/platform/shop/", aws.release_bucket()),
        "NoSuchBucket",
        "region eu-west-1",
        "account scheme",
    ];
    both_fail(&project, |run| run, 2, &says);
}

#[test]
fn the_state_bucket_is_missing() {
    let (aws, project) = new("nostate");
    aws.call(RELEASE, "s3", "delete_bucket", json!({ "Bucket": aws.state_bucket() }));
    project.release("1");
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.fails(5).stderr_has(&format!("S3 bucket \"{}\" does not exist", aws.state_bucket()));
    tidy(&project, &output);
}

#[test]
fn the_release_is_missing() {
    let (aws, project) = new("norelease");
    for version in ["1.4.0", "1.5.0"] {
        project.release(version);
    }
    let output = project.cdflow(["deploy", "ci", "1.5.1"]).run();
    let place = format!("s3://{}/{}", aws.release_bucket(), project.release_key("1.5.1"));
    output
        .fails(2)
        .stderr_has("error: release 1.5.1 of `shop` is not published: ")
        .stderr_has(&place);
    output.stderr_has("-> use a published version, for example 1.5.0, 1.4.0\n");
    tidy(&project, &output);
    assert!(aws.keys(&aws.state_bucket()).is_empty());
}

/// S3 keeps the digest of a bundle beside it.
#[test]
fn another_bundle_under_the_name_of_a_release_is_not_deployed() {
    let (aws, project) = new("replaced");
    project.release("1");
    project.edit("config/common.json", "Hello", "Hi").commit("Another greeting");
    project.release("2");
    let (bucket, key) = (aws.release_bucket(), project.release_key("1"));
    let head = aws.head(&bucket, &key).unwrap();
    let file = project.sandbox().root().join("other.zip");
    aws.download(&bucket, &project.release_key("2"), &file);
    aws.upload(&bucket, &key, &file, &serde_json::from_value(head["Metadata"].clone()).unwrap());
    let promised = head["Metadata"]["cdflow-bundle-digest"].as_str().unwrap();
    for command in [vec!["deploy", "ci", "1"], vec!["inspect", "1"], RELEASE_1.to_vec()] {
        let output = project.cdflow(command).run();
        output.fails(9).stderr_has(promised);
        tidy(&project, &output);
    }
    assert!(aws.keys(&aws.state_bucket()).is_empty());
}

#[test]
fn there_are_no_credentials() {
    let (aws, project) = new("nokeys");
    let bare =
        |run: Runner| run.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let needed = format!("no role is attached; the account scheme is {}\n", aws.scheme_url());
    both_fail(&project, bare, 4, &["error: no AWS credentials were found", &needed]);
    let unknown = |run: Runner| bare(run).env("AWS_PROFILE", "nowhere");
    let says = [
        "error: the AWS profile `nowhere` does not exist: AWS_PROFILE names it",
        &format!("the account scheme is {}\n", aws.scheme_url()),
    ];
    both_fail(&project, unknown, 4, &says);
    let expired = "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>The \
                   token has expired</Message></Error><RequestId>7a62c49f</RequestId>\
                   </ErrorResponse>";
    aws.rule(json!({ "matching": "/? Action=GetCallerIdentity", "status": 403, "body": expired,
        "agent": format!("app/{}", aws.name()) }));
    let says = [
        "AWS STS does not identify the credentials in AWS_ACCESS_KEY_ID (GetCallerIdentity)",
        "ExpiredToken",
    ];
    // The SDK adds it to its user agent.
    let named = |run: Runner| run.env("AWS_SDK_UA_APP_ID", aws.name());
    both_fail(&project, named, 4, &says);
}

/// A role that can write releases and not read them: S3 denies both alike.
#[test]
fn a_store_that_denies_access_names_the_permission() {
    let (aws, project) = new("noread");
    aws.rule(json!({
        "matching": format!("GET /{}", aws.release_bucket()),
        "status": 403,
        "body": "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    }));
    let bucket = format!("on the bucket `{}`", aws.release_bucket());
    let listed = project.cdflow(["status"]).run();
    listed
        .fails(4)
        .stderr_has("can't be listed: AccessDenied")
        .stderr_has(&format!("-> give the role `s3:ListBucket` {bucket}"));
    let released = project.cdflow(RELEASE_1).run();
    released
        .fails(4)
        .stderr_has("can't be read: AccessDenied")
        .stderr_has("-> give the role `s3:GetObject` and `s3:ListBucket` (without the second, ")
        .stderr_has(&bucket);
    tidy(&project, &released);
}

/// A server of AWS that has no address is no passing trouble, if its region is unknown.
#[test]
fn a_region_that_does_not_exist() {
    let project = Project::local("greeting");
    project.edit_json("account-scheme.json", |scheme| {
        scheme["default-region"] = "eu-west-9".into();
        scheme["release-bucket"] = "some-bucket".into();
        let account = json!({ "id": DEV, "role": "cdflow" });
        for (_, it) in scheme["accounts"].as_object_mut().unwrap() {
            *it = account.clone();
        }
    });
    project.commit("Another region");
    let began = std::time::Instant::now();
    let output = project
        .cdflow(["status"])
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        .run();
    output
        .fails(2)
        .stderr_has("the name of the server has no address")
        .stderr_has("-> correct `default-region` of ./account-scheme.json: `eu-west-9` is not a ")
        .lacks("repeats each");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_role_must_not_be_assumed() {
    let (aws, project) = new("norole");
    let mut scheme = aws.scheme();
    scheme["accounts"]["dev"]["role"] = json!(format!("{}-dev", aws.name()));
    aws.put_scheme(&scheme);
    project.release("1");
    aws.rule(json!({
        "matching": format!("role%2F{}-dev", aws.name()),
        "status": 403,
        "body": "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not \
        authorized to perform: \
                 sts:AssumeRole</Message></Error><RequestId>7a62c49f</RequestId></ErrorResponse>",
    }));
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    let arn = format!("arn:aws:iam::{DEV}:role/{}-dev", aws.name());
    output
        .fails(4)
        .stderr_has(&format!("error: the role `{arn}` can't be assumed"))
        .stderr_has("not authorized to perform");
    output.stderr_has("trust policy").stderr_has(&format!(
        "-> or correct `accounts.dev.role` or `accounts.dev.id` in {}\n",
        aws.scheme_url()
    ));
    tidy(&project, &output);
    assert!(aws.calls(&format!("/{}/", aws.state_bucket())).is_empty());

    // STS in trouble is another matter than a role that is not for us.
    aws.rule(json!({ "matching": format!("role%2F{}-dev", aws.name()), "status": 503 }));
    let output =
        project.cdflow(["deploy", "ci", "1"]).env("CDFLOW_LIMITS", "aws-patience=2s").run();
    output.fails(10).stderr_has(&arn);
}

#[test]
fn a_role_leads_into_another_account() {
    let (aws, project) = new("wrongaccount");
    let mut scheme = aws.scheme();
    for account in ["release", "dev"] {
        scheme["accounts"][account]["role"] = json!(format!("{}-{account}", aws.name()));
    }
    aws.put_scheme(&scheme);
    project.release("1");
    aws.rule(json!({ "matching": format!("role%2F{}-dev", aws.name()), "request": [DEV,
        "444444444444"] }));
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.fails(3).stderr_has(&format!("leads into account 444444444444, not into {DEV}"));
    tidy(&project, &output);
    assert!(aws.calls(&format!("/{}/", aws.state_bucket())).is_empty());

    aws.rule(json!({ "matching": format!("role%2F{}-release", aws.name()), "request": [RELEASE,
        "444444444444"] }));
    both_fail(
        &project,
        |run| run,
        3,
        &[&format!("leads into account 444444444444, not into {RELEASE}")],
    );
}

#[test]
fn the_release_bucket_is_in_another_region() {
    let (aws, project) = new("elsewhere");
    // Moto serves every bucket in every region; this is S3's answer.
    let body = "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to \
    access must be addressed using \
                the specified endpoint.</Message></Error>";
    for method in ["GET", "HEAD", "PUT", "POST"] {
        aws.rule(json!({
            "matching": format!("{method} /{}", aws.release_bucket()), "status": 301,
            "body": if method == "HEAD" { "" } else { body },
            "headers": { "x-amz-bucket-region": "eu-central-1", "content-type": "application/xml" },
        }));
    }
    let says = ["the bucket is in region `eu-central-1`, the configured region is `eu-west-1`"];
    both_fail(&project, |run| run, 2, &says);
}

/// Nobody has to say where the account scheme is; from there on it says where things are.
#[test]
fn the_account_scheme_is_found_in_another_region() {
    let (aws, project) = new("schemeregion");
    let place = format!("GET /{}/account-scheme.json", aws.scheme_bucket());
    aws.rule(json!({
        "matching": place, "times": 1, "status": 301,
        "headers": { "content-type": "application/xml" },
        "body": "<Error><Code>PermanentRedirect</Code><Message>Elsewhere.</Message></Error>",
    }));
    project.cdflow(RELEASE_1).env_remove("AWS_REGION").run().success();
    let regions: Vec<String> =
        aws.calls(&place).iter().map(|call| call["region"].as_str().unwrap().to_owned()).collect();
    assert_eq!(regions, ["us-east-1", "eu-west-1"]);
}

#[test]
fn nobody_answers() {
    let (_aws, project) = new("silent");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let away = |run: Runner| {
        run.env("AWS_ENDPOINT_URL", &endpoint).env("CDFLOW_LIMITS", "aws-patience=2s")
    };
    both_fail(&project, away, 10, &["Connection refused"]);
}

/// Longer than any service is busy usually, and shorter than a person wonders.
#[test]
fn throttling_is_waited_for_with_one_notice() {
    let (aws, project) = new("throttled");
    let mut scheme = aws.scheme();
    for account in ["release", "dev"] {
        scheme["accounts"][account]["role"] = json!(format!("{}-{account}", aws.name()));
    }
    aws.put_scheme(&scheme);
    let throttled = |code: &str| {
        format!(
            "<ErrorResponse><Error><Code>{code}</Code><Message>Rate exceeded</Message></Error>\
                 <RequestId>busy-1</RequestId></ErrorResponse>"
        )
    };
    let release = format!("role%2F{}-release", aws.name());
    aws.rule(json!({ "matching": release, "times": 5, "status": 400,
        "body": throttled("Throttling") }));
    let bucket = format!("PUT /{}/", aws.release_bucket());
    aws.rule(json!({ "matching": bucket, "times": 5, "status": 503,
        "body": "<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>" }));
    let output = project.releasing("1").run();
    output.success();
    assert_eq!(output.stderr.matches("cdflow repeats each for up to 60 s").count(), 1, "{output}");
    // Beyond the patience, the message names the request.
    aws.rule(json!({ "matching": release, "status": 400, "body": throttled("Throttling"),
        "headers": { "x-amzn-requestid": "busy-1" } }));
    let output = project.cdflow(["status"]).env("CDFLOW_LIMITS", "aws-patience=2s").run();
    output.fails(10).stderr_has("Rate exceeded").stderr_has("request id busy-1");
}

#[test]
fn random_faults_do_not_stop_a_deploy() {
    let (aws, project) = new("shaky");
    let busy = |matching: &str, agent: &str, chance: f64, times: u32| {
        aws.rule(json!({ "matching": matching, "agent": agent, "chance": chance, "status": 503,
            "times": times,
            "body": "<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>" }));
    };
    busy(aws.name(), "aws-sdk-rust", 0.3, u32::MAX);
    // Terraform's own requests: it gives up after five tries, and waits longer after each.
    busy(&aws.state_bucket(), "Terraform/", 0.2, 4);
    for run in [project.releasing("1"), project.cdflow(["deploy", "ci", "1"])] {
        run.timeout(Duration::from_secs(300)).run().success();
    }
}

/// An STS that takes the connection and never answers.
#[test]
fn a_service_that_never_answers_has_a_limit() {
    let (_aws, project) = new("mute");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let began = std::time::Instant::now();
    let output = project
        .cdflow(["status"])
        .env("AWS_ENDPOINT_URL", &endpoint)
        .env("CDFLOW_LIMITS", "aws-answer=1s,aws-patience=2s")
        .run();
    output.fails(10).stderr_has("(the limit `aws-answer`)");
    assert!(began.elapsed() < Duration::from_secs(20), "{output}");
    tidy(&project, &output);
}

#[test]
fn an_interrupted_upload_leaves_nothing() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (aws, project) = new("cancelled");
        // Random: it stays as large as it is.
        let random = fs::File::open("/dev/urandom").unwrap();
        let mut big = fs::File::create(project.path("infra/big.bin")).unwrap();
        std::io::copy(&mut std::io::Read::take(random, 48 << 20), &mut big).unwrap();
        project.commit("Something big");
        let (bucket, key) = (aws.release_bucket(), project.release_key("1"));
        aws.rule(json!({ "matching": format!("PUT /{bucket}/{key}?"), "delay": 1 }));
        let mut release = project.cdflow(RELEASE_1).spawn();
        release.wait_until("a part on its way", |_| {
            !aws.calls(&format!("PUT /{bucket}/{key}?")).is_empty()
        });
        assert_eq!(aws.unfinished_uploads(&bucket), [key.as_str()]);
        release.signal(signal);
        let output = release.wait();
        output
            .fails(code)
            .stderr_has(&format!("upload of s3://{bucket}/{key} cancelled: it is not published"));
        tidy(&project, &output);
        assert!(aws.keys(&bucket).is_empty() && aws.unfinished_uploads(&bucket).is_empty());
        aws.rule(json!({ "matching": format!("PUT /{bucket}/{key}?"), "times": 0 }));
        project.release("1").stderr_has("Released shop 1");
        assert!(aws.unfinished_uploads(&bucket).is_empty());
    }
}

/// Cancelled while the last request is out: S3 has carried it out, and only its answer is missing.
#[test]
fn a_cancel_during_the_last_request_says_what_happened() {
    for large in [false, true] {
        let (aws, project) = new("lastput");
        if large {
            let random = fs::File::open("/dev/urandom").unwrap();
            let mut big = fs::File::create(project.path("infra/big.bin")).unwrap();
            std::io::copy(&mut std::io::Read::take(random, 9 << 20), &mut big).unwrap();
            project.commit("Something big");
        }
        let (bucket, key) = (aws.release_bucket(), project.release_key("1"));
        let last = format!("{} /{bucket}/{key}?", if large { "POST" } else { "PUT" });
        let matching = if large { format!("{last}uploadId") } else { last };
        aws.rule(json!({ "matching": matching, "hold": 1.5 }));
        let mut release = project.cdflow(RELEASE_1).spawn();
        release.wait_until("the object", |_| aws.keys(&bucket).contains(&key));
        release.signal(Signal::SIGINT);
        let output = release.wait();
        output
            .fails(130)
            .stderr_has(&format!("cancelled, but the release is published: s3://{bucket}/{key}"))
            .stderr_has("Released shop 1")
            .lacks("it is not published");
        tidy(&project, &output);
        assert!(aws.unfinished_uploads(&bucket).is_empty());
        project.release("1").stderr_has("Already released: ");
    }
}

/// No answer ever comes: cdflow asks, within its limits, and says what it does not know.
#[test]
fn a_cancel_without_any_answer_says_that_it_does_not_know() {
    let (aws, project) = new("noanswer");
    let (bucket, key) = (aws.release_bucket(), project.release_key("1"));
    aws.rule(json!({ "matching": format!("PUT /{bucket}/{key}?"), "delay": 20 }));
    let run = project.cdflow(RELEASE_1).env("CDFLOW_LIMITS", "last-answer=1s,end=1s");
    let mut release = run.spawn();
    release.wait_until("the request", |_| !aws.calls(&format!("PUT /{bucket}/{key}?")).is_empty());
    let began = std::time::Instant::now();
    release.signal(Signal::SIGINT);
    let output = release.wait();
    output
        .fails(130)
        .stderr_has("cancelled: whether it is published is unknown: the store did not answer")
        .stderr_has("-> run the release again: it publishes the version, or finds it");
    assert!(began.elapsed() < Duration::from_secs(10), "{output}");
}

/// Runs a command while AWS answers the request of `line` with 503 again and again, and cancels it
/// there.
fn cancelled_while(aws: &Aws, project: &Project, line: &str, command: &[&str]) -> Output {
    aws.rule(json!({ "matching": line, "status": 503 }));
    let before = aws.calls(line).len();
    let mut running = project.cdflow(command).spawn();
    running.wait_until("the request", |_| aws.calls(line).len() > before);
    let began = std::time::Instant::now();
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.fails(130);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}: {output}", began.elapsed());
    tidy(project, &output);
    aws.rule(json!({ "matching": line, "times": 0 }));
    output
}

#[test]
fn a_cancelled_run_does_not_wait_for_aws() {
    let (aws, project) = new("impatient");
    let (releases, states) = (aws.release_bucket(), aws.state_bucket());
    for version in ["1", "2", "3"] {
        project.release(version);
        // S3 has times in seconds, and prune deletes the oldest first.
        std::thread::sleep(Duration::from_millis(1100));
    }
    let line = format!("PUT /{releases}/platform/shop/ledger/ci/");
    cancelled_while(&aws, &project, &line, &["deploy", "ci", "1"])
        .stderr_has("cancelled while writing the start of this run to the ledger; it might be done")
        .stderr_has("-> nothing was applied");
    assert!(aws.keys(&states).is_empty());
    let copy = project.sandbox().work().join("copy.tfstate");
    let state = json!({ "version": 4, "serial": 3, "lineage": "a", "resources": [{}] });
    fs::write(&copy, state.to_string()).unwrap();
    let line = format!("PUT /{states}/platform/shop/ci/terraform.tfstate?");
    let from = format!("file:{}", copy.display());
    cancelled_while(&aws, &project, &line, &["adopt", "ci", "--from", &from])
        .stderr_has("cancelled while copying the state; it might be done");
    assert!(aws.keys(&states).is_empty());
    let lock = json!({ "ID": "5f3c", "Operation": "OperationTypeApply", "Who": "ada@build-7",
        "Version": "1.11.4", "Created": "2026-11-20T10:00:00Z", "Info": "", "Path": "" });
    let key = "platform/shop/ci/terraform.tfstate.tflock";
    aws.put(&states, key, lock.to_string().as_bytes());
    let line = format!("DELETE /{states}/{key}");
    cancelled_while(&aws, &project, &line, &["unlock", "ci", "--force", "5f3c"])
        .stderr_has("cancelled while releasing the lock; it might be done");
    project.cdflow(["unlock", "ci", "--force", "5f3c"]).run().success();
    // A plan without changes: the state is compared, and the end is recorded.
    project.deploy("live", "3");
    let line = format!("PUT /{releases}/platform/shop/ledger/live/9999999997.end");
    cancelled_while(&aws, &project, &line, &["deploy", "live", "3"])
        .stderr_has("failed to record the end of this run, so the ledger shows it as unfinished");
    project.deploy("live", "3").stderr_has("no changes");
    let line = format!("DELETE /{releases}/{}", project.release_key("2"));
    cancelled_while(&aws, &project, &line, &["prune", "--keep", "0", "--older-than", "0s"])
        .stderr_has("cancelled while deleting releases; it might be done")
        .stderr_has("-> deleted before that: 1")
        .stderr_has("-> perhaps deleted, in whole or in part: 2")
        .stderr_has("-> run it again");
    let left = aws.keys(&releases);
    let left: Vec<&String> = left.iter().filter(|key| key.ends_with(".zip")).collect();
    assert_eq!(left, [&project.release_key("2"), &project.release_key("3")], "no mark is left");
    project.deploy("ci", "2");
}

/// Conditional writes are atomic here because the tests' AWS makes them so; S3 does by itself.
#[test]
fn of_eight_releases_at_once_one_is_published() {
    let (aws, project) = new("race");
    let running: Vec<_> = (0..8).map(|_| project.cdflow(RELEASE_1).spawn()).collect();
    let outputs: Vec<Output> = running.into_iter().map(|running| running.wait()).collect();
    let winners =
        outputs.iter().filter(|output| output.success().stderr.contains("Released shop 1")).count();
    assert_eq!(winners, 1);
    for output in outputs.iter().filter(|output| !output.stderr.contains("Released shop 1")) {
        output.stderr_has("Already released: ");
    }

    let checkouts: Vec<Project> = (0..8).map(|_| Project::aws("shop", &aws)).collect();
    for (number, checkout) in checkouts.iter().enumerate() {
        checkout.edit_json("config/common.json", |config| {
            config["greeting"] = json!(format!("Number {number}"))
        });
        checkout.commit("Another");
    }
    let release = ["release", "2", "--platform-config", "platform-config"];
    let running: Vec<_> =
        checkouts.iter().map(|checkout| checkout.cdflow(release).spawn()).collect();
    let outputs: Vec<Output> = running.into_iter().map(|running| running.wait()).collect();
    assert_eq!(outputs.iter().filter(|output| output.code == 0).count(), 1);
    for output in outputs.iter().filter(|output| output.code != 0) {
        output
            .fails(3)
            .stderr_has("is already published from other sources")
            .stderr_has("config/common.json");
    }
    assert_eq!(
        aws.keys(&aws.release_bucket()),
        [project.release_key("1"), project.release_key("2")]
    );
    assert!(aws.unfinished_uploads(&aws.release_bucket()).is_empty());
}

/// The entry that is already there is recognised as the run's own.
#[test]
fn a_ledger_entry_whose_answer_is_lost_is_no_second_run() {
    let (aws, project) = new("lostentry");
    project.release("1");
    let start = format!("PUT /{}/platform/shop/ledger/ci/9999999998.start", aws.release_bucket());
    aws.rule(json!({ "matching": start, "times": 1, "lost": 500 }));
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.success();
    assert!(aws.calls(&start).len() > 1, "the request was not repeated");
    let folder = "platform/shop/ledger/ci/";
    let entries: Vec<String> = aws.keys(&aws.release_bucket());
    let entries = entries.iter().filter(|key| key.starts_with(folder)).count();
    assert_eq!(entries, 2, "a start and an end");
}

/// The end of a run is the same kind of write: an entry that is there already is its own.
#[test]
fn a_ledger_end_whose_answer_is_lost_is_no_warning() {
    let (aws, project) = new("lostend");
    project.release("1");
    let end = format!("PUT /{}/platform/shop/ledger/ci/9999999998.end", aws.release_bucket());
    aws.rule(json!({ "matching": end, "times": 1, "lost": 500 }));
    project.cdflow(["deploy", "ci", "1"]).run().success().lacks("warning");
    assert!(aws.calls(&end).len() > 1, "the request was not repeated");
    project.cdflow(["history", "ci"]).run().success().lacks("unfinished");
}

/// A list that is well-formed and lacks entries must not make a deployed environment a new one.
#[test]
fn a_ledger_list_that_lacks_entries_is_noticed() {
    let (aws, project) = new("shortlist");
    project.release("1");
    project.deploy("ci", "1");
    project.deploy("ci", "1");
    let list = format!("GET /{}/?", aws.release_bucket());
    // All entries, and only the oldest.
    for (regex, count) in [
        ("(?s)<Contents>.*</Contents>", 0),
        ("(?s)<Contents>\\s*<Key>[^<]*9999999998.*</Contents>", 2),
    ] {
        aws.rule(json!({ "matching": list, "response": [regex, ""] }));
        let counted = format!("<KeyCount>{count}</KeyCount>");
        aws.rule(json!({ "matching": format!("{list}list"),
            "response": ["<KeyCount>\\d+</KeyCount>", counted] }));
        for command in [vec!["deploy", "ci", "1"], vec!["history", "ci"]] {
            let output = project.cdflow(command).run();
            output.fails(10).stderr_has("the store's list of the ledger of `ci` lacks entries");
        }
    }
}

/// A list of ledgers that is well-formed and empty must not make a deployed release an unused one.
#[test]
fn a_list_without_ledgers_is_noticed() {
    let (aws, project) = new("noledgers");
    project.release("1");
    project.deploy("ci", "1");
    let lists = format!("/{}/?list-type=2&delimiter=", aws.release_bucket());
    for (matching, regex, text) in [
        (lists.clone(), "(?s)<CommonPrefixes>.*</CommonPrefixes>", ""),
        (format!("{lists}%2F"), "<KeyCount>\\d+</KeyCount>", "<KeyCount>0</KeyCount>"),
    ] {
        aws.rule(json!({ "matching": matching, "response": [regex, text] }));
    }
    for command in [vec!["prune", "--keep", "0", "--older-than", "0s"], vec!["status"]] {
        let output = project.cdflow(command).run();
        output.fails(10).stderr_has("the store's list of the ledgers lacks the one of `ci`");
        output.lacks("was never deployed");
    }
    assert!(aws.keys(&aws.release_bucket()).iter().any(|key| key.ends_with("-1.zip")));
}

/// Terraform repeats the write of its lock, and meets the lock that it wrote itself.
#[test]
fn a_lock_whose_answer_is_lost_is_named_as_the_runs_own() {
    let (aws, project) = new("lostlock");
    project.release("1");
    project.deploy("ci", "1");
    let lock = format!("PUT /{}/platform/shop/ci/terraform.tfstate.tflock", aws.state_bucket());
    aws.rule(json!({ "matching": lock, "times": 1, "lost": 500 }));
    let output = project.cdflow(["deploy", "ci", "1"]).run();
    output.fails(8).stderr_has("-> release the lock unless another run on this machine holds it");
    let id = output.stderr.rsplit("--force ").next().unwrap().lines().next().unwrap().to_owned();
    project.cdflow(["unlock", "ci", "--force", &id]).run().success();
    project.deploy("ci", "1");
}
