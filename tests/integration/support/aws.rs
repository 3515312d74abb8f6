//! The AWS of the tests: one moto process for all of them, and in it buckets for each.

use super::helper::Helper;
use super::runner::python_path;
use super::{Sandbox, in_repository};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const REGION: &str = "eu-west-1";
/// The accounts of `Aws::scheme`. The keys of `Aws::env` belong to none of them: cdflow has to
/// assume a role.
pub(crate) const RELEASE: &str = "111111111111";
pub(crate) const DEV: &str = "222222222222";
pub(crate) const PROD: &str = "333333333333";

/// The keys of `Aws::env`. Distinctive: they are looked for, and the secret is masked wherever it
/// shows.
pub(crate) const AMBIENT_KEY: &str = "AMBIENTKEYIDAMBIENT1";
pub(crate) const AMBIENT_SECRET: &str = "ambientSecretAmbientSecretAmbientSecret1";

/// A test's share of AWS. Bucket names are its own; anything else (roles, parameters) should bear
/// `name()`.
pub(crate) struct Aws {
    server: &'static Helper,
    name: String,
}

impl Aws {
    /// `name` in lower case and hyphens, for whoever reads a failure; a number makes it unique. The
    /// three buckets exist.
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let aws = Self { server: server(), name: format!("{name}-{number}") };
        for bucket in
            [aws.scheme_bucket(), aws.release_bucket(), aws.lambda_bucket(), aws.state_bucket()]
        {
            aws.create_bucket(&bucket);
        }
        aws.put(&aws.scheme_bucket(), "account-scheme.json", aws.scheme().to_string().as_bytes());
        aws
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `http://127.0.0.1:<port>`
    pub(crate) fn endpoint(&self) -> &'static str {
        endpoint()
    }

    /// What a program needs to take moto for AWS. The address, not `localhost`, and no
    /// AWS_ENDPOINT_URL_S3: Terraform would put the bucket into the host name.
    pub(crate) fn env(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", AMBIENT_KEY),
            ("AWS_SECRET_ACCESS_KEY", AMBIENT_SECRET),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }

    pub(crate) fn scheme_bucket(&self) -> String {
        format!("{}-scheme", self.name)
    }

    pub(crate) fn scheme_url(&self) -> String {
        format!("s3://{}/account-scheme.json", self.scheme_bucket())
    }

    pub(crate) fn release_bucket(&self) -> String {
        format!("{}-releases", self.name)
    }

    pub(crate) fn lambda_bucket(&self) -> String {
        format!("{}-lambda", self.name)
    }

    pub(crate) fn state_bucket(&self) -> String {
        format!("{}-state", self.name)
    }

    /// The account scheme: `ci` and everything else in `dev`, `aslive` and `live` in `prod`. It
    /// lies at `scheme_url()`.
    pub(crate) fn scheme(&self) -> Value {
        json!({
            "accounts": {
                "release": { "id": RELEASE, "role": "cdflow-release" },
                "dev": { "id": DEV, "role": "cdflow-deploy" },
                "prod": { "id": PROD, "role": "cdflow-deploy" },
            },
            "release-account": "release",
            "default-region": REGION,
            "release-bucket": self.release_bucket(),
            "lambda-bucket": self.lambda_bucket(),
            "terraform-backend-s3-bucket": self.state_bucket(),
            "environments": { "ci": "dev", "aslive": "prod", "live": "prod", "*": "dev" },
        })
    }

    /// Puts another account scheme in the place of the first.
    pub(crate) fn put_scheme(&self, scheme: &Value) {
        self.put(&self.scheme_bucket(), "account-scheme.json", scheme.to_string().as_bytes());
    }

    /// A call of boto3: `call(DEV, "ssm", "get_parameter", json!({"Name": "/x"}))`. Bytes travel as
    /// `{"$bytes": "<base64>"}`, both ways. The error is `<code>: <message>`.
    pub(crate) fn try_call(
        &self,
        account: &str,
        service: &str,
        method: &str,
        args: Value,
    ) -> Result<Value, String> {
        self.server
            .ask(&json!({ "op": "call", "account": account, "service": service, "method": method,
                "args": args }))
    }

    #[track_caller]
    pub(crate) fn call(&self, account: &str, service: &str, method: &str, args: Value) -> Value {
        match self.try_call(account, service, method, args.clone()) {
            Ok(answer) => answer,
            Err(error) => panic!("{service} {method} {args}: {error}"),
        }
    }

    /// All pages of a listing: `list(DEV, "iam", "list_roles", "Roles", json!({}))`.
    #[track_caller]
    pub(crate) fn list(
        &self,
        account: &str,
        service: &str,
        method: &str,
        field: &str,
        args: Value,
    ) -> Vec<Value> {
        let request = json!({
            "op": "list", "account": account, "service": service, "method": method, "field": field,
            "args": args,
        });
        match self.server.ask(&request) {
            Ok(Value::Array(items)) => items,
            answer => panic!("{request}: {answer:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn create_bucket(&self, bucket: &str) {
        self.create_bucket_in(REGION, bucket);
    }

    #[track_caller]
    pub(crate) fn create_bucket_in(&self, region: &str, bucket: &str) {
        self.create_bucket_of(RELEASE, region, bucket);
    }

    #[track_caller]
    pub(crate) fn create_bucket_of(&self, account: &str, region: &str, bucket: &str) {
        let place = json!({ "LocationConstraint": region });
        let args = json!({ "Bucket": bucket, "CreateBucketConfiguration": place });
        let request = json!({
            "op": "call", "account": account, "service": "s3", "method": "create_bucket",
            "args": args, "region": region,
        });
        self.server.ask(&request).unwrap();
    }

    #[track_caller]
    pub(crate) fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let body = json!({ "$bytes": BASE64.encode(bytes) });
        self.call(
            RELEASE,
            "s3",
            "put_object",
            json!({ "Bucket": bucket, "Key": key, "Body": body }),
        );
    }

    /// The whole object; for a big one use `download`.
    #[track_caller]
    pub(crate) fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        let answer =
            self.call(RELEASE, "s3", "get_object", json!({ "Bucket": bucket, "Key": key }));
        BASE64.decode(answer["Body"]["$bytes"].as_str().unwrap()).unwrap()
    }

    #[track_caller]
    pub(crate) fn get_json(&self, bucket: &str, key: &str) -> Value {
        serde_json::from_slice(&self.get(bucket, key)).unwrap()
    }

    /// Size, metadata, ETag and checksums; None when there is no such object.
    #[track_caller]
    pub(crate) fn head(&self, bucket: &str, key: &str) -> Option<Value> {
        let args = json!({ "Bucket": bucket, "Key": key, "ChecksumMode": "ENABLED" });
        match self.try_call(RELEASE, "s3", "head_object", args) {
            Ok(answer) => Some(answer),
            Err(error) if error.starts_with("404") => None,
            Err(error) => panic!("head of {bucket}/{key}: {error}"),
        }
    }

    #[track_caller]
    pub(crate) fn delete(&self, bucket: &str, key: &str) {
        self.call(RELEASE, "s3", "delete_object", json!({ "Bucket": bucket, "Key": key }));
    }

    /// The keys of a bucket, sorted.
    #[track_caller]
    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        let objects =
            self.list(RELEASE, "s3", "list_objects_v2", "Contents", json!({ "Bucket": bucket }));
        strings(&objects, "Key")
    }

    /// The keys of multipart uploads that were begun and neither completed nor aborted.
    #[track_caller]
    pub(crate) fn unfinished_uploads(&self, bucket: &str) -> Vec<String> {
        let uploads =
            self.call(RELEASE, "s3", "list_multipart_uploads", json!({ "Bucket": bucket }));
        strings(uploads["Uploads"].as_array().unwrap_or(&Vec::new()), "Key")
    }

    #[track_caller]
    pub(crate) fn download(&self, bucket: &str, key: &str, path: &Path) {
        self.server
            .ask(&json!({ "op": "download", "bucket": bucket, "key": key, "path": path }))
            .unwrap();
    }

    #[track_caller]
    pub(crate) fn upload(
        &self,
        bucket: &str,
        key: &str,
        path: &Path,
        metadata: &BTreeMap<String, String>,
    ) {
        let request = json!({ "op": "upload", "bucket": bucket, "key": key, "path": path,
            "metadata": metadata });
        self.server.ask(&request).unwrap();
    }

    /// The names of an account's SSM parameters that contain `name()`.
    pub(crate) fn parameters(&self, account: &str) -> Vec<String> {
        self.mine(self.list(account, "ssm", "describe_parameters", "Parameters", json!({})), "Name")
    }

    /// The names of an account's roles that contain `name()`.
    pub(crate) fn roles(&self, account: &str) -> Vec<String> {
        self.mine(self.list(account, "iam", "list_roles", "Roles", json!({})), "RoleName")
    }

    /// The names of an account's Lambda functions that contain `name()`.
    pub(crate) fn functions(&self, account: &str) -> Vec<String> {
        self.mine(
            self.list(account, "lambda", "list_functions", "Functions", json!({})),
            "FunctionName",
        )
    }

    /// The requests moto answered so far whose line (`PUT /bucket/key HTTP/1.1`) contains this
    /// text.
    pub(crate) fn requests(&self, containing: &str) -> Vec<String> {
        let lines =
            self.server.ask(&json!({ "op": "requests", "containing": containing })).unwrap();
        lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// Every request so far whose line or `X-Amz-Target` contains this text: `line` (with a form's
    /// body), `sent` (bytes of the body), `key` (the access key id), `region`, `agent`, `target`,
    /// `began` (in seconds), `encryption` and `encryption-key` (what a write to S3 asks for).
    pub(crate) fn calls(&self, containing: &str) -> Vec<Value> {
        let calls = self.server.ask(&json!({ "op": "calls", "containing": containing })).unwrap();
        calls.as_array().unwrap().clone()
    }

    /// The ARN of the role of each access key that STS has given out.
    pub(super) fn roles_of_keys(&self) -> Value {
        self.server.ask(&json!({ "op": "roles" })).unwrap()
    }

    /// Makes AWS misbehave, except for requests of the tests themselves. `matching` is part of the
    /// lines (as in `calls`) that are meant; for a call in JSON, part of the line, the
    /// `X-Amz-Target` and the body. It holds a name of the test, because moto serves all of them.
    /// `agent` is part of the caller's `User-Agent`, `target` of its `X-Amz-Target`. `times` of
    /// them, or all, or by `chance`, or the one `at` this place: `delay` seconds first, or up to
    /// `random-delay`; hold the answer back for `hold` seconds; answer with `status`, `headers` and
    /// `body`; let moto answer `request: [text, other]`; change its answer by `response: [regex,
    /// other]`, in which `{now+9}` is a time; or let moto carry the call out and answer `lost`, a
    /// status.
    #[track_caller]
    pub(crate) fn rule(&self, rule: Value) {
        let matching = rule["matching"].as_str().unwrap();
        // An action alone, such as `AmazonSSM.PutParameter`, is of every test.
        let is_named = matching.contains(['/', '"', '-']);
        assert!(is_named, "`{matching}` is about the AWS of all tests");
        self.server.ask(&json!({ "op": "rule", "rule": rule })).unwrap();
    }

    /// How many requests the rule of this text has matched.
    pub(crate) fn matched(&self, matching: &str) -> usize {
        let matched = self.server.ask(&json!({ "op": "matched", "matching": matching })).unwrap();
        usize::try_from(matched.as_u64().unwrap()).unwrap()
    }

    /// A Unix socket that leads to moto.
    pub(crate) fn relay(&self, sandbox: &Sandbox) -> PathBuf {
        let path = sandbox.root().join("moto.sock");
        if !path.exists() {
            relay(&path);
        }
        path
    }

    fn mine(&self, items: Vec<Value>, field: &str) -> Vec<String> {
        strings(&items, field).into_iter().filter(|name| name.contains(&self.name)).collect()
    }
}

fn strings(items: &[Value], field: &str) -> Vec<String> {
    let mut found: Vec<_> =
        items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect();
    found.sort();
    found
}

/// aws.py.
fn server() -> &'static Helper {
    static SERVER: OnceLock<Helper> = OnceLock::new();
    SERVER.get_or_init(|| {
        let mut command = Command::new(python_path());
        command.arg("-I").arg(in_repository("tests/integration/support/aws.py")).env_clear();
        Helper::start("moto", command)
    })
}

/// Where moto listens: `http://127.0.0.1:<port>`
pub(super) fn endpoint() -> &'static str {
    server().ready.as_str().unwrap()
}

/// Makes a Unix socket that leads to moto.
pub(super) fn relay(path: &Path) {
    server().ask(&json!({ "op": "relay", "path": path })).unwrap();
}
