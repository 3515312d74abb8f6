//! What a scheme accepts and rejects.

use std::path::Path;

use super::{
    encryption::FileEncryption,
    file::{FileAccount, FileBackend, SchemeFile, UpgradeKeys},
    plan_encryption::FilePlanEncryption,
    *,
};
use crate::{
    base::error::Result,
    config::{
        defaults::{Defaults, DeployDefaults},
        guards::EnvironmentGuards,
        identity::Layout,
        names::Environment,
        notify::Notify,
        policy::PolicyFile,
        preview::Preview,
        schema::has_keys_of,
    },
};

pub(super) const AWS: &str = r#"{
  "accounts": {
    "prod": {"id": "012345678901", "role": "cdflow-{team}"},
    "dev": {"id": "123456789012", "role": "cdflow", "region": "eu-central-1",
      "plan-role": "cdflow-plan"}
  },
  "release-account": "dev",
  "release-bucket": "acme-{team}-releases",
  "lambda-bucket": "acme-lambdas",
  "default-region": "eu-west-1",
  "environments": {"live": "prod", "*": "dev"},
  "terraform-backend-s3-bucket": "acme-state",
  "terraform-backend-s3-dynamodb-table": "locks"
}"#;

fn parse(text: &str) -> Result<AccountScheme> {
    let (team, component) = ("platform".parse().unwrap(), "checkout".parse().unwrap());
    AccountScheme::parse("scheme.json", Some(Path::new("/org")), text, &team, &component)
}

fn message(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

pub(super) fn environment(name: &str) -> Environment {
    name.parse().unwrap()
}

#[test]
fn team_region_and_star() {
    let scheme = parse(AWS).unwrap();
    assert_eq!(scheme.release_bucket, Storage::Bucket("acme-platform-releases".into()));
    let (live, matched) = scheme.account_of(&environment("live")).unwrap();
    assert_eq!(
        (live.role.as_deref(), live.region.as_str(), matched),
        (Some("cdflow-platform"), "eu-west-1", Matched::ByName)
    );
    assert_eq!(live.id.as_deref(), Some("012345678901"));
    let (ci, matched) = scheme.account_of(&environment("ci")).unwrap();
    assert_eq!(
        (ci.alias.as_str(), ci.region.as_str(), matched),
        ("dev", "eu-central-1", Matched::ByDefault)
    );
    assert!(scheme.raw.contains("{team}"));
}

#[test]
fn team_in_keys() {
    let text = AWS.replace("\"live\": \"prod\", \"*\": \"dev\"", "\"{team}-live\": \"prod\"");
    let scheme = parse(&text).unwrap();
    assert!(scheme.account_of(&environment("platform-live")).is_ok());
    let unknown = scheme.account_of(&environment("platform-liev")).unwrap_err().to_string();
    assert!(unknown.contains("did you mean `platform-live`?"), "{unknown}");
}

#[test]
fn account_ids_keep_their_zeros() {
    let number = message(&AWS.replace("\"123456789012\"", "12345678901"));
    assert!(
        number.contains("`12345678901` is not 12 digits") && number.contains("quotes"),
        "{number}"
    );
    assert!(message(&AWS.replace("\"012345678901\"", "012345678901")).contains("not valid JSON"));
}

#[test]
fn contradictions() {
    for (from, to, says) in [
        ("acme-lambdas", "acme-{team}-releases", "same place"),
        (
            "\"terraform-backend-s3-bucket\": \"acme-state\",",
            "",
            "`terraform-backend-s3-bucket` is required",
        ),
        ("\"release-account\": \"dev\"", "\"release-account\": \"devv\"", "did you mean `dev`?"),
        ("\"live\": \"prod\"", "\"li.ve\": \"prod\"", "invalid environment `li.ve`"),
        ("\"role\": \"cdflow\", ", "", "account `dev` has no `role`"),
        (
            "acme-lambdas",
            "Acme Lambdas",
            "`lambda-bucket`: `Acme Lambdas` is not a storage location: expected a bucket name",
        ),
        (
            "acme-state",
            "../acme state",
            "`terraform-backend-s3-bucket`: `../acme state` is not a bucket name: expected 3 to 63",
        ),
        (
            "\"locks\"",
            "\"a\\n[x]\"",
            "s3-dynamodb-table`: `a\\n[x]` is not a table name: expected 3 to 255",
        ),
        ("eu-west-1", "eu west", "`default-region`: `eu west` is not a region"),
        ("\"role\": \"cdflow\"", "\"role\": \"cd flow\"", "`cd flow` is not the name of a role"),
        (
            "\"lambda-bucket\"",
            "\"lambda-bukcet\"",
            "scheme.json:9:3: unknown key `lambda-bukcet`\n  -> did you mean `lambda-bucket`?",
        ),
    ] {
        let refused = message(&AWS.replace(from, to));
        assert!(refused.contains(says), "{refused}");
    }
    let both = AWS.replacen(
        '{',
        r#"{"classic-metadata-handling": true,
            "terraform-backend": {"type": "local", "path": "file:s"},"#,
        1,
    );
    assert!(message(&both).contains("both `classic-metadata-handling` and `terraform-backend`"));
}

#[test]
fn listed_teams_and_components_move() {
    let moved_to = |lists: &str| {
        let upgrade =
            format!("{{\"upgrade-account-scheme\": {{{lists} \"new-url\": \"s3://new/x.json\"}},");
        parse(&AWS.replacen('{', &upgrade, 1)).unwrap().moved_to
    };
    for lists in ["\"team-whitelist\": [\"platform\"],", "\"component-whitelist\": [\"checkout\"],"]
    {
        assert_eq!(moved_to(lists).as_deref(), Some("s3://new/x.json"), "{lists}");
    }
    assert_eq!(
        moved_to("\"team-whitelist\": [\"checkout\"], \"component-whitelist\": [\"platform\"],"),
        None
    );
}

#[test]
fn a_classic_scheme_needs_no_state_bucket() {
    let without = AWS.replace(
        "\"terraform-backend-s3-bucket\": \"acme-state\",",
        "\"classic-metadata-handling\": true,",
    );
    let scheme = parse(&without).unwrap();
    assert_eq!(
        (scheme.backend, scheme.layout),
        (StateBackend::Classic { use_lockfile: None }, Layout::Classic)
    );
    assert_eq!(parse(AWS).unwrap().layout, Layout::ByTeam);
}

#[test]
fn a_local_scheme_needs_no_ids() {
    let local = r#"{"accounts": {"local": {}}, "release-account": "local",
            "release-bucket": "file:store",
        "lambda-bucket": "file:/lambdas", "default-region": "local", "environments": {"*": "local"},
        "terraform-backend": {"type": "local", "path": "file:state"}}"#;
    let scheme = parse(local).unwrap();
    assert_eq!(scheme.release_bucket, Storage::Directory("/org/store".into()));
    assert_eq!(scheme.lambda_bucket, Some(Storage::Directory("/lambdas".into())));
    assert_eq!(scheme.backend, StateBackend::Local { directory: "/org/state".into() });
    assert!(message(&local.replace("file:store", "bucket")).contains("has no `id`"));
}

#[test]
fn where_images_go() {
    let with = |registry: &str| {
        parse(&AWS.replacen('{', &format!("{{\"image-registry\": \"{registry}\","), 1))
    };
    assert_eq!(
        parse(AWS).unwrap().image_registry().unwrap(),
        ImageRegistry::Ecr { account_id: "123456789012".into() }
    );
    for good in ["localhost:5000", "localhost", "registry.acme.com", "ghcr.io:443"] {
        assert_eq!(with(good).unwrap().image_registry().unwrap(), ImageRegistry::Host(good.into()));
    }
    for bad in [
        "",
        "acme",
        "http://localhost:5000",
        "localhost:",
        "localhost:0",
        "ghcr.io/acme",
        "Acme.com",
    ] {
        assert!(with(bad).unwrap_err().to_string().contains("is not a registry"), "{bad}");
    }
}

#[test]
fn what_is_encrypted_and_how() {
    const ID: &str = "1234abcd-12ab-34cd-96ef-1234567890ab";
    const MRK: &str = "mrk-1234abcd12ab34cd56ef1234567890ab";
    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-96ef-1234567890ab";
    let with = |encryption: &str| {
        parse(&AWS.replacen('{', &format!("{{\"encryption\": {encryption},"), 1))
    };
    let kms = |id: &str| Some(Encryption::Kms { key: KEY.replace(ID, id) });
    assert_eq!(parse(AWS).unwrap().encryption_of("acme-state"), None);
    let aes = with(r#"{"type": "AES256"}"#).unwrap();
    assert_eq!(aes.encryption_of("acme-state"), Some(Encryption::Aes256));
    let mrk = KEY.replace(ID, MRK);
    let keys = format!(
        r#"{{"type": "aws:kms", "key": "{KEY}", "keys": {{"acme-{{team}}-releases": "{mrk}"}}}}"#
    );
    let scheme = with(&keys).unwrap();
    assert_eq!(scheme.encryption_of("acme-platform-releases"), kms(MRK));
    for bucket in ["acme-state", "acme-lambdas"] {
        assert_eq!(scheme.encryption_of(bucket), kms(ID), "{bucket}");
    }
    for (encryption, says) in [
        (r#"{"type": "aws:kmss"}"#.to_owned(), "unknown value `aws:kmss`"),
        (r#"{"type": "aws:kms"}"#.to_owned(), "type `aws:kms` needs a `key`"),
        (format!(r#"{{"type": "AES256", "key": "{KEY}"}}"#), "type `AES256` has no key"),
        (
            r#"{"type": "aws:kms", "key": "alias/acme"}"#.to_owned(),
            "`encryption.key`: `alias/acme` is not the ARN of a KMS key: expected arn:aws:kms:",
        ),
        (
            keys.replace("acme-{team}", "acme"),
            "`encryption.keys`: `acme-releases` is not a bucket of this account scheme",
        ),
        (keys.replace("-12ab", "-12aB"), "is not the ARN of a KMS key"),
        (keys.replace("keys", "kesys"), "unknown key `kesys`"),
    ] {
        let refused = with(&encryption).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn the_key_of_stored_plans() {
    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-96ef-1234567890ab";
    const RECIPIENT: &str = "age1747n4zhs4m5lgq5wazp5nckkzmzzhy6yxmx6w9hnsax5s89eld6qwt88kz";
    let with = |encryption: &str| {
        parse(&AWS.replacen('{', &format!("{{\"plan-encryption\": {encryption},"), 1))
    };
    assert_eq!(parse(AWS).unwrap().plan_encryption, None);
    let kms = with(&format!(r#"{{"type": "aws:kms", "key": "{KEY}"}}"#)).unwrap();
    assert_eq!(kms.plan_encryption, Some(PlanEncryption::Kms(KEY.to_owned())));
    let age = with(&format!(r#"{{"type": "age", "recipient": "{RECIPIENT}"}}"#)).unwrap();
    let Some(PlanEncryption::Age(recipient)) = age.plan_encryption else { panic!("no key") };
    assert_eq!(recipient.to_string(), RECIPIENT);
    for (encryption, says) in [
        (r#"{"type": "age"}"#.to_owned(), "type `age` needs a `recipient`"),
        (format!(r#"{{"type": "age", "key": "{KEY}"}}"#), "type `age` needs a `recipient`"),
        (r#"{"type": "age", "recipient": "age1x"}"#.to_owned(), "`age1x` is not a public key"),
        (format!(r#"{{"type": "age", "recipient": "{RECIPIENT}x"}}"#), "is not a public key"),
        (r#"{"type": "age", "recipient": "AGE-SECRET-KEY-1X"}"#.to_owned(), "is a private key"),
        (r#"{"type": "aws:kms", "key": "alias/a"}"#.to_owned(), "is not the ARN of a KMS key"),
        (r#"{"type": "aws:kms"}"#.to_owned(), "type `aws:kms` needs a `key`"),
        (r#"{"type": "pgp"}"#.to_owned(), "unknown value `pgp`"),
    ] {
        let refused = with(&encryption).unwrap_err().to_string();
        assert!(refused.starts_with("scheme.json") && refused.contains(says), "{refused}");
    }
}

#[test]
fn the_role_for_plans_in_the_release_account() {
    let with = |role: &str| AWS.replacen('{', &format!("{{\"release-plan-role\": {role},"), 1);
    let scheme = parse(AWS).unwrap();
    assert_eq!(
        (scheme.release_role(true), scheme.release_role(false)),
        (Some("cdflow"), Some("cdflow"))
    );
    let scheme = parse(&with("\"cdflow-read-{team}\"")).unwrap();
    assert_eq!(
        (scheme.release_role(true), scheme.release_role(false)),
        (Some("cdflow-read-platform"), Some("cdflow"))
    );
    let refused = message(&with("\"a b\""));
    assert!(refused.starts_with("scheme.json: `release-plan-role`: "), "{refused}");
    let local = r#"{"accounts": {"local": {}}, "release-account": "local", "release-plan-role": "x",
        "release-bucket": "file:a", "terraform-backend": {"type": "local", "path": "file:b"},
        "default-region": "eu-west-1", "environments": {"*": "local"}}"#;
    assert!(message(local).contains("the account `local` has no `id`"), "{}", message(local));
}

#[test]
fn the_schema_for_editors_has_every_key() {
    let schema = include_str!("../../../docs/schema/account-scheme.schema.json");
    let schema = serde_json::from_str(schema).unwrap();
    has_keys_of::<SchemeFile>(&schema, "");
    has_keys_of::<FileAccount>(&schema, "/properties/accounts/additionalProperties");
    has_keys_of::<FileBackend>(&schema, "/properties/terraform-backend");
    has_keys_of::<FileEncryption>(&schema, "/properties/encryption");
    has_keys_of::<FilePlanEncryption>(&schema, "/properties/plan-encryption");
    has_keys_of::<UpgradeKeys>(&schema, "/properties/upgrade-account-scheme");
    has_keys_of::<PolicyFile>(&schema, "/properties/policy");
    has_keys_of::<Defaults>(&schema, "/properties/defaults");
    has_keys_of::<DeployDefaults>(&schema, "/properties/defaults/properties/deploy");
    has_keys_of::<Preview>(&schema, "/properties/defaults/properties/preview");
    has_keys_of::<Notify>(&schema, "/$defs/notify");
    has_keys_of::<EnvironmentGuards>(&schema, "/$defs/guards");
}
