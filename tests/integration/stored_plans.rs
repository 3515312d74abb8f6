//! The plan that a pull request showed is stored, encrypted, and `deploy --reviewed=exact` applies
//! it without a new one.

use crate::reviewed::{Change, NUMBER, refuses};
use crate::support::{Aws, Output, PROD, Project, Runner, tool};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A key of `age-keygen`, and its public half.
const IDENTITY: &str = include_str!("../fixtures/age/key.txt");
pub(crate) const RECIPIENT: &str = "age1747n4zhs4m5lgq5wazp5nckkzmzzhy6yxmx6w9hnsax5s89eld6qwt88kz";
/// Another one.
const OTHER: &str = "AGE-SECRET-KEY-1GQPQQJXQQ";

const SECRET: &str = "hunter22-of-live";
const LOGIN: &str = "resource \"terraform_data\" \"login\" {\n  \
                     input = sensitive(\"hunter22-of-live\")\n}\n";

/// A pull request whose plan is stored and approved, and that is merged and released.
fn stored() -> Change {
    let mut change = Change::new();
    change.plan();
    land(&change);
    change
}

fn land(change: &Change) {
    change.review("grace", "APPROVED");
    change.merge();
    change.release_main();
}

pub(crate) fn exact(change: &Change) -> Runner {
    change.on_main(&["deploy", "live", "2-bbbbbbb", "--reviewed=exact", "-vv"])
}

/// Fails with this exit code and these words, before Terraform applies or plans anything.
#[track_caller]
fn is_refused(change: &Change, code: i32, says: &[&str]) -> Output {
    let refused = refuses(exact(change), code, says);
    refused.lacks("::group::Plan");
    refused
}

/// The files of the stored plans, oldest first.
fn plans(change: &Change) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(change.reviews().join("live")).into_iter();
    let files = files.filter_map(|entry| Some(entry.ok()?.into_path()));
    let mut plans: Vec<PathBuf> =
        files.filter(|path| path.to_string_lossy().ends_with(".plan.age")).collect();
    plans.sort();
    plans
}

/// The arguments of the Terraform programs that a run started.
fn started(output: &Output) -> Vec<String> {
    let lines = output.stdout.lines().chain(output.stderr.lines());
    let word = |line: &str| {
        let (_, rest) = line.split_once(&format!("/{} ", tool::program()))?;
        rest.split(' ').next().map(str::to_owned)
    };
    lines.filter_map(word).collect()
}

/// Returns the serial of the stored plan, and that of the state now, as the error says them.
fn serials(output: &Output) -> (u64, u64) {
    let number = |before: &str| {
        let (_, rest) = output.stdout.split_once(before).unwrap();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    (number("stored: serial "), number("now: serial "))
}

fn replaced(file: &PathBuf, bytes: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

#[test]
fn the_stored_plan_is_applied_without_a_new_one() {
    let mut change = Change::new();
    change.project.append("infra/main.tf", LOGIN);
    change.push("A login");
    change.on_pull_request(&["release"]).run().success();
    let shown = change.on_pull_request(&["deploy", "live", "--plan-only"]).run();
    shown.success().stdout_has("the plan is stored for --reviewed=exact, encrypted");
    assert_eq!(change.project.sandbox().left_behind(), [""; 0]);
    let [plan] = plans(&change).try_into().unwrap();
    assert!(fs::read(plan).unwrap().starts_with(b"age-encryption.org/v1\n"));
    for file in walkdir::WalkDir::new(change.reviews()) {
        let file = file.unwrap();
        if file.file_type().is_file() {
            let bytes = fs::read(file.path()).unwrap();
            let finds = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
            assert!(!finds(SECRET) && !finds("AGE-SECRET-KEY"), "{}", file.path().display());
        }
    }
    let key = change.project.sandbox().work().join("store/releases.plan-key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    land(&change);
    let deployed = exact(&change).run();
    let version = format!("pr-{NUMBER}-");
    let said = format!("The plan is the one that pull request #7 stored for {version}");
    deployed.success().stdout_has(&said).stdout_has("approved by grace").lacks(SECRET);
    deployed.stdout_has("will be updated in-place");
    let key = fs::read_to_string(key).unwrap();
    deployed.lacks(key.lines().last().unwrap());
    let programs = started(&deployed);
    let count = |name: &str| programs.iter().filter(|it| *it == name).count();
    assert_eq!((count("plan"), count("apply"), count("show")), (0, 1, 2), "{programs:?}");
    let (start, end) = &change.project.ledger_entries("live")[1];
    assert_eq!(start["version"], "2-bbbbbbb");
    let applied = &start["reviewed"]["plan"];
    assert!(applied["version"].as_str().unwrap().starts_with(&version), "{start}");
    assert_eq!(end.as_ref().unwrap()["outcome"], "succeeded");
    assert_eq!(change.project.sandbox().left_behind(), [""; 0]);
    // The job runs again.
    let again = exact(&change).run();
    again.success().stdout_has("the stored plan was applied by an earlier run");
    // The words of the stored plan's release are those of a release for the next plan.
    let next = change.project.cdflow(["deploy", "live", "2-bbbbbbb", "--plan-only"]).run();
    next.success().stderr_has("Only the version, the commit or the build number");
}

#[test]
fn a_state_that_has_changed_is_refused_with_both_serials() {
    let change = stored();
    let shell = ["shell", "live", "1-aaaaaaa", "--", "terraform", "state", "rm"];
    let forgotten = [&shell[..], &["terraform_data.queue[\"b\"]"]].concat();
    change.project.cdflow(forgotten).run().success();
    let refused = is_refused(
        &change,
        3,
        &[
            "the stored plan of pull request #7 for `live` cannot be applied",
            "the state has changed since: stored: serial ",
            ", lineage",
            "deploy with --reviewed",
        ],
    );
    let serials = serials(&refused);
    assert!(serials.1 == serials.0 + 1, "{refused}");
}

/// Terraform finds it under the lock of the state.
#[test]
fn a_state_that_changes_during_the_deploy_is_refused() {
    let mut change = Change::new();
    change.project.append("cdflow.yml", "hooks: {on-plan: [hooks/slow.sh]}\n");
    change.project.write("hooks/slow.sh", "#!/bin/sh\necho planned\nsleep 4\n");
    let hook = change.project.path("hooks/slow.sh");
    fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
    change.push("A hook");
    change.plan();
    land(&change);
    let mut running = exact(&change).spawn();
    running.wait_for("planned");
    let shell = ["shell", "live", "1-aaaaaaa", "--", "terraform", "state", "rm"];
    let forgotten = [&shell[..], &["terraform_data.queue[\"b\"]"]].concat();
    change.project.cdflow(forgotten).run().success();
    let output = running.wait();
    output.fails(3).stdout_has("another run has changed the state just now: stored: serial ");
    let serials = serials(&output);
    assert!(serials.1 == serials.0 + 1, "{output}");
}

/// The stored plan has the version of the pull request's release, which the ledger then names.
#[test]
fn the_release_of_the_stored_plan_must_exist() {
    let change = stored();
    let head = change.github.world().pull_requests[&NUMBER].head_sha.clone();
    let version = format!("pr-{NUMBER}-{}", &head[..7]);
    fs::remove_file(change.project.bundle(&version)).unwrap();
    let deleted = format!("release {version}, from which it was made, was deleted");
    let what = "the stored plan of pull request #7 for `live` cannot be applied";
    is_refused(&change, 3, &[what, &deleted, "deploy with --reviewed"]);
    // Its record is enough for a new plan.
    change.on_main(&["deploy", "live", "2-bbbbbbb", "--reviewed"]).run().success();
}

#[test]
fn a_plan_that_is_not_the_recorded_one_is_refused() {
    let mut change = Change::new();
    change.plan();
    change.plan();
    land(&change);
    let [older, newest] = plans(&change).try_into().unwrap();
    let bytes = fs::read(&newest).unwrap();
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    replaced(&newest, &damaged);
    let changed = "it was changed after cdflow wrote it, or is that of another plan";
    is_refused(&change, 9, &["the stored plan is not valid", changed]);
    replaced(&newest, &bytes[..bytes.len() - 1]);
    is_refused(&change, 9, &["it has another size than its record says"]);
    // The same plan once more, with a key of its own.
    let other = fs::read(&older).unwrap();
    replaced(&newest, &other);
    let code = if other.len() == bytes.len() { changed } else { "it has another size" };
    is_refused(&change, 9, &[code]);
    fs::remove_file(&newest).unwrap();
    is_refused(&change, 3, &["the stored plan of pull request #7 is missing", "`cdflow prune`"]);
    fs::write(&newest, &bytes).unwrap();
    // The record says which plan it is.
    let record = change.records().pop().unwrap();
    let text = fs::read_to_string(&record).unwrap();
    replaced(&record, text.replace("\"has_changes\":true", "\"has_changes\":false").as_bytes());
    is_refused(&change, 9, &["it was changed after cdflow wrote it"]);
    replaced(&record, text.as_bytes());
    exact(&change).run().success();
}

#[test]
fn old_plans_are_pruned_with_their_records() {
    let mut change = Change::new();
    change.plan();
    change.plan();
    let [older, newest] = plans(&change).try_into().unwrap();
    let old = SystemTime::now() - Duration::from_secs(100 * 86400);
    for file in [&older, &change.records()[0]] {
        fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
    }
    change.project.cdflow(["prune"]).run().success();
    assert_eq!(plans(&change), [newest]);
    assert_eq!(change.records().len(), 1);
    land(&change);
    exact(&change).run().success();
    // What the stored plan has created belongs to the release of the pull request.
    let version = format!("pr-{NUMBER}-");
    let prune = ["prune", "--keep", "0", "--older-than", "0d"];
    change.project.cdflow(prune).run().success();
    let kept = change.project.stored();
    assert!(kept.iter().any(|key| key.contains(&version)), "{kept:?}");
}

#[test]
fn values_that_have_changed_are_refused_by_name() {
    let mut change = Change::new();
    let release = |tier: &str| ["release".to_owned(), format!("--release-data=tier={tier}")];
    let first = release("first-of-all");
    change.on_pull_request(&[&first[0], &first[1]]).run().success();
    change.on_pull_request(&["deploy", "live", "--plan-only"]).run().success();
    change.review("grace", "APPROVED");
    change.merge();
    let second = release("second");
    change.on_main(&["release", "2-bbbbbbb", &second[1]]).run().success();
    let says = ["the values of variables have changed: `release.tier`"];
    is_refused(&change, 3, &says).lacks("first-of-all");
}

/// A plan has neither the values of ephemeral variables nor the code of other files.
#[test]
fn modules_and_ephemeral_variables() {
    let mut change = Change::new();
    let code = "module \"net\" {\n  source = \"./net\"\n}\n\nvariable \"greeting\" {\n  \
                type      = string\n  ephemeral = true\n}\n";
    change.project.append("infra/main.tf", code);
    change.project.write("infra/net/main.tf", "resource \"terraform_data\" \"net\" {}\n");
    change.push("A module");
    change.plan();
    land(&change);
    exact(&change).run().success().stdout_has("module.net.terraform_data.net");
}

#[test]
fn other_code_is_refused_before_anything_runs() {
    let mut change = Change::new();
    change.plan();
    change.review("grace", "APPROVED");
    change.project.append("infra/main.tf", "\n# The same plan.\n");
    change.merge();
    change.release_main();
    is_refused(&change, 3, &["the code has changed: stored: "]);
}

/// They judge the stored plan as any other.
#[test]
fn guards_and_hooks_hold() {
    let mut change = Change::new();
    change.project.append(
        "cdflow.yml",
        "hooks: {on-plan: [hooks/no.sh]}\ndeploy: { environments: { live: { max-destroy: 1 } } }\n",
    );
    change.project.write("hooks/no.sh", "#!/bin/sh\ngrep -q terraform_data.queue \"$1\"\nexit 4\n");
    let hook = change.project.path("hooks/no.sh");
    fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
    change.push("Guards");
    change.plan();
    land(&change);
    is_refused(&change, 3, &["2 resources", "`deploy.environments.live.max-destroy`"]);
    let allow = [
        "--allow-destroy=terraform_data.queue[\"a\"]",
        "--allow-destroy=terraform_data.queue[\"b\"]",
    ];
    refuses(exact(&change).args(allow), 3, &["hooks/no.sh"]);
    // An approval that was withdrawn.
    change.review("grace", "DISMISSED");
    is_refused(&change, 3, &["pull request #7 was not approved"]);
}

#[test]
fn plans_are_not_stored_where_nobody_wants_them() {
    for (manifest, flag, says) in [
        ("deploy: { store-plans: false }\n", "--plan-only", "has no recorded plan for `live`"),
        ("", "--store-plan=false", "the plan of pull request #7 for `live` is not stored"),
    ] {
        let mut change = Change::new();
        change.project.append("cdflow.yml", manifest);
        change.push("Not stored");
        change.on_pull_request(&["release"]).run().success();
        let plan = ["deploy", "live", "-p", flag];
        let plan = if flag == "--plan-only" { &plan[..3] } else { &plan[..] };
        change.on_pull_request(plan).run().success();
        assert!(plans(&change).is_empty());
        land(&change);
        is_refused(&change, 3, &[says]);
    }
    // The flag overrides cdflow.yml, and needs a pull request.
    let mut change = Change::new();
    change.project.append("cdflow.yml", "deploy: { store-plans: false }\n");
    change.push("Not stored");
    change.on_pull_request(&["release"]).run().success();
    let plan = ["deploy", "live", "--plan-only", "--store-plan"];
    change.on_pull_request(&plan).run().success();
    assert_eq!(plans(&change).len(), 1);
    let refused =
        change.project.cdflow(["deploy", "live", "1-aaaaaaa", "-p", "--store-plan"]).run();
    refused.fails(2).stderr_has("the run is not for a pull request of this repository on GitHub");
}

fn with_key(encryption: &Value) -> Change {
    let mut change = Change::new();
    set_key(&change, encryption);
    change.push("A key");
    change
}

fn set_key(change: &Change, encryption: &Value) {
    change.project.edit_json("account-scheme.json", |scheme| {
        scheme["plan-encryption"] = encryption.clone();
    });
}

#[test]
fn a_key_of_age_encrypts_and_another_place_has_the_private_one() {
    let mut change = with_key(&json!({ "type": "age", "recipient": RECIPIENT }));
    change.plan();
    land(&change);
    assert!(!change.project.sandbox().work().join("store/releases.plan-key").exists());
    is_refused(&change, 2, &["there is no key for it", "`age-identity`"]);
    let file = change.project.sandbox().work().join("key.txt");
    let with = |key: &str| {
        fs::write(&file, key).unwrap();
        exact(&change).arg("--age-identity").arg(&file)
    };
    refuses(with(OTHER), 2, &["`age-identity` is not a private key of age"]).lacks(OTHER);
    let local = {
        let mut change = Change::new();
        change.plan();
        fs::read_to_string(change.project.sandbox().work().join("store/releases.plan-key")).unwrap()
    };
    refuses(with(&local), 3, &["it is encrypted to `age1747n4", "but the key belongs to `age1"]);
    // The input of a step contains it.
    let step = change.on_main(&[]).env("GITHUB_ACTIONS", "true").env("INPUT_COMMAND", "deploy");
    let step = step.env("INPUT_ENVIRONMENT", "live").env("INPUT_VERSION", "2-bbbbbbb");
    let step = step.env("INPUT_REVIEWED", "exact").env("INPUT_AGE-IDENTITY", IDENTITY);
    let deployed = step.run();
    let key = IDENTITY.lines().last().unwrap();
    deployed.success().stdout_has("The plan is the one that pull request #7 stored").lacks(key);
}

#[test]
fn a_key_that_was_replaced_is_refused() {
    let mut change = with_key(&json!({ "type": "age", "recipient": RECIPIENT }));
    change.plan();
    land(&change);
    let file = change.project.sandbox().work().join("key.txt");
    fs::write(&file, IDENTITY).unwrap();
    let other = "age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqm";
    set_key(&change, &json!({ "type": "age", "recipient": other }));
    let deploy = exact(&change).arg("--age-identity").arg(&file);
    let says = ["its key was replaced", "it is encrypted to `age1747n4", "now names `age1cy0su9"];
    refuses(deploy, 3, &says);
    // A local key that is lost.
    let change = stored();
    fs::remove_file(change.project.sandbox().work().join("store/releases.plan-key")).unwrap();
    is_refused(&change, 3, &["the stored plan cannot be decrypted", "its key is missing"]);
}

#[test]
fn a_key_that_cannot_be_one_is_named() {
    for (encryption, says) in [
        (json!({ "type": "age" }), "type `age` needs a `recipient`"),
        (json!({ "type": "age", "recipient": "age1x" }), "`age1x` is not a public key of age"),
        (json!({ "type": "age", "recipient": IDENTITY.lines().last().unwrap() }), "a private key"),
        (json!({ "type": "aws:kms", "key": "alias/x" }), "is not the ARN of a KMS key"),
        (json!({ "type": "pgp" }), "unknown value `pgp`"),
    ] {
        let change = Change::new();
        set_key(&change, &encryption);
        let refused = change.project.cdflow(["deploy", "live", "1-aaaaaaa", "-p"]).run();
        refused.fails(2).stderr_has("account-scheme.json").stderr_has(says);
        refused.lacks("AGE-SECRET-KEY-1S5NM");
    }
}

/// Without a key, a bucket has no stored plan; with one of KMS, the role of the deploy decrypts it.
#[test]
fn a_key_of_kms_encrypts_each_plan() {
    let aws = Aws::new("stored-plans");
    let mut change = Change::of(Project::aws("greeting", &aws));
    change.on_pull_request(&["release"]).run().success();
    let shown = change.on_pull_request(&["deploy", "live", "--plan-only"]).run();
    shown.success().stdout_has("the plan is not stored for --reviewed=exact, because there is no");
    let asked = change.on_pull_request(&["deploy", "live", "--plan-only", "--store-plan"]).run();
    asked.fails(2).stdout_has("run `age-keygen`, and set `plan-encryption`");
    let key = aws.call(PROD, "kms", "create_key", json!({}))["KeyMetadata"]["Arn"].clone();
    let mut scheme = aws.scheme();
    scheme["plan-encryption"] = json!({ "type": "aws:kms", "key": key });
    aws.put_scheme(&scheme);
    let stored = change.on_pull_request(&["deploy", "live", "--plan-only", "--store-plan"]).run();
    stored.success().stdout_has("the plan is stored for --reviewed=exact, encrypted");
    change.project.cdflow(["doctor", "live"]).run().stdout_has("; the deploy role can use it");
    let keys = aws.keys(&aws.release_bucket());
    let plans: Vec<&String> = keys.iter().filter(|key| key.ends_with(".plan.age")).collect();
    assert_eq!(plans.len(), 1, "{keys:?}");
    land(&change);
    let other = aws.call(PROD, "kms", "create_key", json!({}))["KeyMetadata"]["Arn"].clone();
    scheme["plan-encryption"]["key"] = other;
    aws.put_scheme(&scheme);
    is_refused(&change, 3, &["its key was replaced"]);
    let arn = key.as_str().unwrap();
    scheme["plan-encryption"]["key"] = json!(format!("{}0000", &arn[..arn.len() - 4]));
    aws.put_scheme(&scheme);
    let doctor = change.project.cdflow(["doctor", "live"]).run();
    doctor.stdout_has("cannot make a key for the plan with");
    scheme["plan-encryption"]["key"] = key;
    aws.put_scheme(&scheme);
    exact(&change).run().success().stdout_has("The plan is the one that pull request #7 stored");
}
