//! A component that the account scheme says has moved to another: its states move along.

use crate::classic::{rows, scheme as classic_scheme, tagged_bucket};
use crate::support::{Aws, Project, REGION};
use serde_json::{Value, json};

const OLD: &str = "ci/shop/terraform.tfstate";
const NEW: &str = "platform/shop/ci/terraform.tfstate";
const MARKER: &str = "platform/shop/ci/MIGRATED";

struct Moved {
    aws: Aws,
    project: Project,
    account: &'static str,
    /// The classic state bucket.
    old_bucket: String,
    old_state: Value,
}

/// Deployed in the classic layout by release 1; then the team is listed. Release 2, of the new
/// scheme, is the same code.
fn moved(name: &str, account: &'static str) -> Moved {
    let aws = Aws::new(name);
    aws.put_scheme(&classic_scheme(&aws, account));
    let old_bucket = tagged_bucket(&aws, account, REGION, "classic");
    let project = Project::aws("shop", &aws);
    project.release("1");
    project.deploy("ci", "1");
    let old_state = aws.get_json(&old_bucket, OLD);

    let mut new = aws.scheme();
    new["accounts"]["dev"]["id"] = json!(account);
    new["release-bucket"] = json!(new_releases(&aws));
    aws.create_bucket(&new_releases(&aws));
    aws.put(&aws.scheme_bucket(), "new.json", new.to_string().as_bytes());
    let mut old = classic_scheme(&aws, account);
    old["upgrade-account-scheme"] = json!({
        "team-whitelist": ["platform"], "component-whitelist": [],
        "new-url": format!("s3://{}/new.json", aws.scheme_bucket()),
    });
    aws.put_scheme(&old);
    Moved { aws, project, account, old_bucket, old_state }
}

fn new_releases(aws: &Aws) -> String {
    format!("{}-new-releases", aws.name())
}

impl Moved {
    fn lineage_and_serial(state: &Value) -> (Value, Value) {
        (state["lineage"].clone(), state["serial"].clone())
    }

    /// Nothing but the state and the marker at the new place, and the old one as it was; no lock is
    /// left.
    #[track_caller]
    fn has_moved(&self) {
        assert_eq!(self.aws.keys(&self.aws.state_bucket()), [MARKER, NEW]);
        assert_eq!(self.aws.get(&self.aws.state_bucket(), MARKER), b"1");
        self.has_not_changed();
    }

    #[track_caller]
    fn has_not_changed(&self) {
        assert_eq!(self.aws.keys(&self.old_bucket), [OLD]);
        assert_eq!(self.aws.get_json(&self.old_bucket, OLD), self.old_state);
        assert_eq!(rows(&self.aws, self.account), [format!("{}/{OLD}-md5", self.old_bucket)]);
        assert_eq!(self.project.sandbox().left_behind(), [""; 0]);
    }
}

#[test]
fn the_state_moves_along_with_the_first_deploy() {
    let moved = moved("moved", "420000000001");
    let Moved { aws, project, .. } = &moved;
    let output = project.release("2");
    output
        .stderr_has("this component has moved from the account scheme s3://")
        .stderr_has("set `account-scheme-url` in cdflow.yml to s3://");
    assert_eq!(aws.keys(&new_releases(aws)), [project.release_key("2")]);

    // A plan reads the state where it still is, and leaves it there.
    let output = project.cdflow(["deploy", "ci", "2", "--plan-only"]).run();
    output
        .success()
        .stderr_has("planned with the state at s3://")
        .stderr_has("Planned only: 0 to add, 1 to change");
    assert!(aws.keys(&aws.state_bucket()).is_empty());

    let output = project.deploy("ci", "2");
    output.stderr_has("Migrate the state of ci").stderr_has("which is kept but no longer used");
    output.stderr_has("Deployed shop 2 to ci: 0 added, 1 changed");
    moved.has_moved();
    let state = aws.get_json(&aws.state_bucket(), NEW);
    assert_eq!(state["lineage"], moved.old_state["lineage"]);
    assert!(state["serial"].as_u64() > moved.old_state["serial"].as_u64());

    // Once is enough, also after the state at the new place is gone with its resources.
    project.deploy("ci", "2").lacks("Migrate").stderr_has("no changes");
    let kept = project.cdflow(["deploy", "ci", "1", "--old-account-scheme"]).run();
    kept.fails(3)
        .stderr_has("the state of `ci` has moved to the new account scheme")
        .stderr_has("leave --old-account-scheme out");
    project
        .cdflow(["destroy", "ci", "--confirm", "ci"])
        .run()
        .success()
        .stderr_has("Destroyed shop in ci");
    assert_eq!(aws.keys(&aws.state_bucket()), [MARKER]);
    project.deploy("ci", "2").lacks("Migrate").stderr_has("1 added");

    // The new scheme alone has all that is needed.
    project.edit("cdflow.yml", "account-scheme.json", "new.json").commit("The new scheme");
    project.deploy("ci", "2").lacks("has moved").stderr_has("no changes");
    project
        .cdflow(["status", "--old-account-scheme"])
        .run()
        .fails(2)
        .stderr_has("names no new account scheme")
        .stderr_has("remove --old-account-scheme");
}

#[test]
fn the_old_scheme_is_used_where_that_is_said() {
    let moved = moved("held-back", "420000000002");
    let output = moved.project.cdflow(["deploy", "ci", "1", "--old-account-scheme"]).run();
    output.success().stderr_has("warning: using the old account scheme").stderr_has("no changes");
    moved
        .project
        .cdflow(["status", "--old-account-scheme"])
        .run()
        .success()
        .stdout_has("ci           1");
    moved
        .project
        .cdflow(["status"])
        .run()
        .success()
        .stdout_has("was never deployed")
        .stderr_has("status --old-account-scheme");
    assert!(moved.aws.keys(&moved.aws.state_bucket()).is_empty());
}

#[test]
fn a_migration_that_breaks_off_is_taken_up_again() {
    let moved = moved("broken-off", "420000000003");
    let Moved { aws, project, .. } = &moved;
    project.release("2");
    let denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    // The copy can't be written; then it is there, and the marker can't be.
    for (object, keys) in [(NEW, vec![]), (MARKER, vec![NEW])] {
        let line = format!("PUT /{}/{object}?", aws.state_bucket());
        aws.rule(json!({ "matching": line, "times": 1, "status": 403, "body": denied }));
        let output = project.cdflow(["deploy", "ci", "2"]).run();
        output.fails(4).stderr_has(&format!("`s3://{}/{object}`", aws.state_bucket()));
        assert_eq!(aws.keys(&aws.state_bucket()), keys);
        moved.has_not_changed();
    }
    let state = aws.get_json(&aws.state_bucket(), NEW);
    assert_eq!(Moved::lineage_and_serial(&state), Moved::lineage_and_serial(&moved.old_state));
    project.deploy("ci", "2").stderr_has("is already at s3://").stderr_has("0 added, 1 changed");
    moved.has_moved();
}

/// The lock is written, and then it can't be read: nobody would ever release it.
#[test]
fn a_lock_is_not_left_by_a_copy_that_could_not_begin() {
    let moved = moved("half-locked", "420000000006");
    let Moved { aws, project, .. } = &moved;
    project.release("2");
    let lock = format!("GET /{}/{NEW}.tflock", aws.state_bucket());
    let denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    aws.rule(json!({ "matching": lock, "times": 1, "status": 403, "body": denied }));
    project.cdflow(["deploy", "ci", "2"]).run().fails(4).lacks("might still be held");
    assert!(aws.keys(&aws.state_bucket()).is_empty());
    moved.has_not_changed();
    // Where it can't be seen to it, it is named.
    aws.rule(json!({ "matching": lock, "status": 403, "body": denied }));
    let output = project.cdflow(["deploy", "ci", "2"]).run();
    output.fails(4).stderr_has(&format!(
        "the lock at `s3://{}/{NEW}.tflock` might still be held",
        aws.state_bucket()
    ));
}

#[test]
fn another_state_at_the_new_place_is_refused() {
    let moved = moved("other-lineage", "420000000004");
    let Moved { aws, project, .. } = &moved;
    project.release("2");
    let mut other = moved.old_state.clone();
    other["lineage"] = json!("another");
    aws.put(&aws.state_bucket(), NEW, other.to_string().as_bytes());
    let output = project.cdflow(["deploy", "ci", "2"]).run();
    output.fails(3).stderr_has(&format!(
        "another state already exists at `s3://{}/{NEW}`: its lineage is another",
        aws.state_bucket()
    ));
    assert_eq!(aws.get_json(&aws.state_bucket(), NEW), other);
    // Of the same lineage, but older: somebody has gone on with the old one.
    other["lineage"] = moved.old_state["lineage"].clone();
    other["serial"] = json!(0);
    aws.put(&aws.state_bucket(), NEW, other.to_string().as_bytes());
    project.cdflow(["deploy", "ci", "2"]).run().fails(3).stderr_has("have diverged");
    assert_eq!(aws.keys(&aws.state_bucket()), [NEW]);
    moved.has_not_changed();
}

#[test]
fn a_lock_on_either_side_is_respected() {
    let moved = moved("locked-sides", "420000000005");
    let Moved { aws, project, .. } = &moved;
    project.release("2");
    let info = json!({ "ID": "5f3c8b9a", "Operation": "OperationTypeApply", "Who": "ada@build-7",
        "Created": "2026-11-20T10:00:00Z" })
    .to_string();
    for (bucket, key) in [(moved.old_bucket.clone(), OLD), (aws.state_bucket(), NEW)] {
        let lock = format!("{key}.tflock");
        aws.put(&bucket, &lock, info.as_bytes());
        let output = project.cdflow(["deploy", "ci", "2"]).run();
        output
            .fails(8)
            .stderr_has(&format!("the state is locked at `s3://{bucket}/{lock}`"))
            .stderr_has("ada@build-7");
        project
            .cdflow(["unlock", "ci"])
            .run()
            .success()
            .stdout_has(&format!("s3://{bucket}/{lock}"));
        aws.delete(&bucket, &lock);
    }
    let row =
        json!({ "LockID": { "S": format!("{}/{OLD}", moved.old_bucket) }, "Info": { "S": info } });
    let table = "terraform_locks";
    aws.call(moved.account, "dynamodb", "put_item", json!({ "TableName": table, "Item": row }));
    project
        .cdflow(["deploy", "ci", "2"])
        .run()
        .fails(8)
        .stderr_has("the state is locked at `DynamoDB table terraform_locks");
    project.cdflow(["unlock", "ci", "--force", "5f3c8b9a"]).run().success();
    moved.has_not_changed();
    assert!(aws.keys(&aws.state_bucket()).is_empty());
    project.deploy("ci", "2").stderr_has("Migrate the state of ci");
    moved.has_moved();
}

#[test]
fn a_local_scheme_is_left_as_well() {
    let project = Project::local("greeting");
    project.append("cdflow.yml", "tfstate-filename: my.tfstate\n").commit("Named");
    project.release("1");
    project.deploy("ci", "1");
    let scheme = project.read("account-scheme.json");
    project.write("schemes/new.json", &scheme.replace("../store", "../../store/new"));
    project.edit_json("account-scheme.json", |old| {
        old["upgrade-account-scheme"] =
            json!({ "component-whitelist": ["greeting"], "new-url": "schemes/new.json" });
    });
    project.commit("Move");
    project.release("2");
    project
        .deploy("ci", "2")
        .stderr_has("Migrate the state of ci")
        .stderr_has("0 added, 1 changed");
    let stored = project.stored();
    for file in [
        "new/state/platform/greeting/ci/terraform.tfstate",
        "new/state/platform/greeting/ci.MIGRATED",
    ] {
        assert!(stored.contains(&file.to_owned()), "{stored:?}");
    }
    project.cdflow(["destroy", "ci", "--confirm", "ci"]).run().success().stderr_has("1 destroyed");
    // What was destroyed does not come back by the old state.
    project.deploy("ci", "2").lacks("Migrate").stderr_has("1 added");
}
