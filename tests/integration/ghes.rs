//! GitHub Enterprise Server in a company: another host and path, a certificate of the company's own
//! authority, behind a proxy; and which programs trust that authority.

use crate::support::github::{GitHub, TOKEN};
use crate::support::{
    Aws, Company, Issuer, Job, Lab, MirrorServer, Project, RELEASE, Runner, Sandbox, archive,
    entries, git, pull_request_event,
};
use std::fs;
use std::path::PathBuf;

const NUMBER: u64 = 7;
const UNKNOWN: &str = "the certificate of `ghes.test` is signed by an unknown authority";

fn server() -> GitHub {
    let github = GitHub::with_prefix("/api/v3");
    github.world().seen_at("https://ghes.test/api/v3");
    github
}

/// A step of a pull request, whose job's token is an input.
fn step(project: &Project, github: &GitHub, company: &Company, arguments: &[&str]) -> Runner {
    let event = pull_request_event(NUMBER, &project.head(), "open", &[]);
    company.on(project.for_pull_request(github, &event, 77, arguments)).env("NO_COLOR", "1")
}

/// As a step of the Action instead of a command.
fn inputs(runner: Runner, given: &[(&str, &str)]) -> Runner {
    runner.envs(given.iter().map(|(name, value)| (format!("INPUT_{name}"), *value)))
}

#[test]
fn a_pull_request_lives_on_a_server_of_ones_own() {
    let project = Project::local("checkout");
    let github = server();
    github.world().pull_request(NUMBER, &project.head());
    let company = Company::start(project.sandbox(), github.url());
    let plain = |arguments: &[&str]| step(&project, &github, &company, arguments);
    let (pem, file) = (company.pem(), company.authority());

    // As text, in a step.
    let release = [
        ("COMMAND", "release"),
        ("VERSION", "1"),
        ("PLATFORM-CONFIG", "platform-config"),
        ("CA-CERTIFICATES", &pem),
    ];
    let output = inputs(plain(&[]), &release).run();
    output.success().stdout_has("Released checkout 1").lacks("::warning::");
    let zip = fs::read(project.bundle("1")).unwrap();
    let name = b"ca-certificates";
    assert!(!zip.windows(name.len()).any(|window| window == name));
    assert!(entries(&project.bundle("1")).values().all(|it| !it.bytes.starts_with(b"-----BEGIN")));

    // As a file, by the flag.
    let deploy = ["deploy", "ci", "1"];
    let output = plain(&deploy).arg("--ca-certificates").arg(&file).run();
    output.success().stdout_has("Deployed checkout 1 to ci").lacks("::warning::").lacks(TOKEN);
    let comment = {
        let world = github.world();
        assert_eq!(world.comments.len(), 1, "{output}");
        world.comments.values().next().unwrap().body.clone()
    };
    assert!(comment.contains("(https://ghes.test/acme/checkout/actions/runs/77)"), "{comment}");
    assert!(!comment.contains("github.com"), "{comment}");
    let statuses = github.exchanges("POST /repos/acme/checkout/deployments/");
    assert!(!statuses.is_empty());
    for status in &statuses {
        let url = status.body["log_url"].as_str().unwrap();
        assert!(url.starts_with("https://ghes.test/acme/checkout/"), "{url}");
    }
    assert!(company.asked().iter().all(|host| host == "ghes.test:443"), "{:?}", company.asked());

    // SSL_CERT_FILE, relative to the folder of the step.
    project.write("certs/company.pem", &pem);
    let asked = github.exchanges("").len();
    let output = plain(&["deploy", "ci", "1"]).env("SSL_CERT_FILE", "certs/company.pem").run();
    output.success().lacks("::warning::");
    assert!(github.exchanges("").len() > asked, "{output}");

    // Without it: a failure of GitHub does not fail a deploy, and the message names the fix. Only
    // one attempt is made.
    let (asked, before) = (github.exchanges("").len(), company.asked().len());
    let output = plain(&["deploy", "ci", "1"]).run();
    output.success().stdout_has("::warning::").stdout_has(UNKNOWN);
    output.stdout_has("the input `ca-certificates` (--ca-certificates FILE)");
    output.lacks("githubstatus");
    assert_eq!(github.exchanges("").len(), asked, "{output}");
    let attempts = company.asked().len() - before;
    let warnings = output.stdout.matches(UNKNOWN).count();
    assert!(attempts <= warnings + 2, "{attempts} connections\n{output}");
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

#[test]
fn doctor_names_the_server_and_what_is_wrong_with_its_certificate() {
    let project = Project::local("checkout");
    let github = server();
    github.world().pull_request(NUMBER, &project.head());
    let company = Company::start(project.sandbox(), github.url());
    let doctor = || step(&project, &github, &company, &["doctor"]);
    let good = doctor().arg("--ca-certificates").arg(company.authority()).run();
    good.success().stdout_has("certificates").stdout_has("1 added by `ca-certificates`");
    good.stdout_has("GitHub Enterprise Server (ghes.test), API https://ghes.test/api/v3, issuer");
    good.stdout_has("https://ghes.test/_services/token").stdout_has("authenticated as");
    let bad = doctor().run();
    bad.success().stdout_has(UNKNOWN).stdout_has("-> if the server is your company's");
}

/// Terraform's own downloads, git, and what Terraform starts at deploy.
#[test]
fn programs_trust_it_too() {
    let project = Project::local("greeting");
    let site = project.sandbox().work().join("site");
    fs::create_dir(&site).unwrap();
    let module = "output \"word\" {\n  value = \"hello\"\n}\n";
    fs::write(site.join("module.zip"), archive("main.tf", module)).unwrap();
    let source = project.sandbox().work().join("module");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("main.tf"), module).unwrap();
    let in_module = |arguments: &[&str]| {
        git(project.sandbox(), &source, arguments).run().success();
    };
    in_module(&["init", "--quiet", "--initial-branch", "main"]);
    in_module(&["add", "--all"]);
    in_module(&["commit", "--quiet", "--message", "A module"]);
    in_module(&["clone", "--quiet", "--bare", ".", site.join("module.git").to_str().unwrap()]);
    git(project.sandbox(), site.join("module.git"), ["update-server-info"]).run().success();
    let files = MirrorServer::start(site);
    let company = Company::start(project.sandbox(), files.address());

    let call =
        |name: &str, from: &str| format!("module \"{name}\" {{\n  source = \"{from}\"\n}}\n");
    let zip = call("zip", "https://ghes.test/module.zip");
    project.write("infra/zip.tf", &zip).commit("A module by https");
    let releasing = |version: &str| company.on(project.releasing(version));
    let unknown = releasing("1").run();
    unknown.fails(10).stderr_has("does not trust a server's certificate");
    unknown.stderr_has("-> if the server is your company's, add the certificate");
    let cloned = call("cloned", "git::https://ghes.test/module.git?ref=main");
    project.remove("infra/zip.tf").write("infra/git.tf", &cloned).commit("A module by git");
    releasing("1").run().fails(10).stderr_has("does not trust a server's certificate");

    // SSL_CERT_FILE counts for git too, which does not read it.
    releasing("1").env("SSL_CERT_FILE", company.authority()).run().success();
    // What Terraform starts gets the public authorities and the company's.
    let probe = "resource \"terraform_data\" \"probe\" {\n  provisioner \"local-exec\" {\n    \
        command = \"for name in SSL_CERT_FILE GIT_SSL_CAINFO AWS_CA_BUNDLE CURL_CA_BUNDLE \
        REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS; do eval file=\\\\$$name; cp \\\"$file\\\" \
        '${OUT}'/$name; done\"\n  }\n}\n";
    let out = project.sandbox().work().join("seen");
    fs::create_dir(&out).unwrap();
    let probe = probe.replace("${OUT}", out.to_str().unwrap());
    project.write("infra/zip.tf", &zip).write("infra/probe.tf", &probe).commit("Both, and a probe");
    let trusting = |runner: Runner| runner.arg("--ca-certificates").arg(company.authority());
    trusting(releasing("2")).run().success();
    let bundle = entries(&project.bundle("2"));
    assert!(bundle.contains_key("modules/zip/main.tf"), "{:?}", bundle.keys());
    assert!(bundle.contains_key("modules/cloned/main.tf"), "{:?}", bundle.keys());
    let own = company.on(project.cdflow(["deploy", "ci", "2"])).env("AWS_CA_BUNDLE", "own.pem");
    project.write("own.pem", "of the user");
    trusting(own.env("AWS_CA_BUNDLE", project.path("own.pem"))).run().success();
    let seen = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let all = seen("SSL_CERT_FILE");
    assert!(all.ends_with(&company.pem()), "{all}");
    let machine = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap();
    let count = |text: &str| text.matches("-----BEGIN CERTIFICATE-----").count();
    assert_eq!(count(&all), count(&machine) + 1);
    for name in ["GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        assert_eq!(seen(name), all, "{name}");
    }
    // What the user has set stays.
    assert_eq!(seen("AWS_CA_BUNDLE"), "of the user");
    assert_eq!(project.sandbox().left_behind(), [""; 0]);
}

/// A company whose proxy opens TLS signs for AWS with its own authority; and the issuer of ID
/// tokens is the server itself.
#[test]
fn aws_and_the_issuer_of_tokens() {
    let (aws, issuer) = (Aws::new("ghes"), Issuer::start());
    let project = Project::aws("greeting", &aws);
    let tokens = issuer.env()[0].1.to_owned();
    let company = Company::with_direct(project.sandbox(), &tokens, Some(aws.endpoint()));
    let role = format!("arn:aws:iam::{RELEASE}:role/{}-ci-runner", aws.name());
    let path = tokens.split_once("/idtoken").unwrap().1;
    let step = |arguments: &[&str]| {
        let runner =
            company.on(project.cdflow(arguments)).env("AWS_ENDPOINT_URL", company.direct());
        runner
            .env("GITHUB_ACTIONS", "true")
            .env("NO_COLOR", "1")
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .envs(issuer.env())
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("https://ghes.test/idtoken{path}"))
            .args(["--aws-role-to-assume", &role, "--aws-audience", "https://ghes.test/acme"])
    };
    let trusting =
        |arguments: &[&str]| step(arguments).arg("--ca-certificates").arg(company.authority());
    trusting(&["release", "1", "--platform-config", "platform-config"]).run().success();
    // Terraform's backend uses the endpoint too.
    trusting(&["deploy", "ci", "1"]).run().success().stdout_has("Deployed greeting 1 to ci");
    let asked = issuer.asked();
    let audience = "audience=https%3A%2F%2Fghes.test%2Facme ";
    assert!(asked.iter().all(|line| line.contains(audience)), "{asked:?}");
    let untrusted = step(&["status"]).run();
    untrusted
        .fails(10)
        .stdout_has("the certificate of the issuer is signed by an unknown authority");
    assert_eq!(issuer.asked().len(), asked.len());
    let keys = project.cdflow(["status"]).env("AWS_ENDPOINT_URL", company.direct());
    let untrusted = keys.run();
    untrusted.fails(10).stderr_has("the certificate of the AWS endpoint is signed by an unknown");
    // Not after a minute of attempts.
    assert!(untrusted.elapsed.as_secs() < 20, "{untrusted}");
    let refusal = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized \
        </Message></Error><RequestId>r1</RequestId></ErrorResponse>";
    aws.rule(serde_json::json!({ "matching": format!("{}-ci-runner", aws.name()), "times": 1,
        "status": 403, "body": refusal }));
    let refused = trusting(&["status"]).run();
    refused.fails(4).stdout_has("it must name the provider ghes.test/_services/token");
    refused.stdout_has("the audience https://ghes.test/acme");
}

#[test]
fn certificates_that_are_none() {
    let project = Project::local("greeting");
    let sandbox = project.sandbox();
    let certificate = pem_of(sandbox);
    let at = |name: &str, content: &[u8]| -> PathBuf {
        let path = sandbox.work().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let given = |text: &str| {
        inputs(project.cdflow([""; 0]), &[("COMMAND", "status"), ("CA-CERTIFICATES", text)])
    };
    let refused = |text: &str, says: &[&str]| {
        project.refuses_run(given(text), 2, says).lacks("c2VjcmV0");
    };
    let key = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0IHNlY3JldCBzZWNyZXQ=\n-----END EC PRIVATE \
        KEY-----\n";
    let both = format!("{certificate}{key}");
    refused(&both, &["`ca-certificates` contains a private key", "-> remove the key"]);
    let file = at("both.pem", both.as_bytes());
    refused(file.to_str().unwrap(), &["both.pem` (`ca-certificates`) contains a private key"]);
    refused(&certificate[..certificate.len() - 30], &["an incomplete certificate on line 1"]);
    let damaged = certificate.replace("MII", "!!!");
    refused(&damaged, &["has a damaged certificate on line 1", "not base64"]);
    let other = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----";
    refused(&format!("{certificate}{other}"), &["certificate 2 is invalid"]);
    let kind = other.replace("CERTIFICATE", "PKCS7");
    refused(&kind, &["a `PKCS7` block instead of a `CERTIFICATE` on line 1"]);
    refused("certs/none.pem", &["cannot read the file of `ca-certificates`, `certs/none.pem`"]);
    refused("one\ntwo", &["neither certificates nor the path of a file"]);
    let binary = at("ca.der", &[0x30, 0x82, 0xff, 0xfe]);
    refused(binary.to_str().unwrap(), &["contains no certificate", "-inform der"]);
    let environment = |value: PathBuf, says: &[&str]| {
        project.refuses_run(project.cdflow(["status"]).env("SSL_CERT_FILE", value), 2, says);
    };
    environment(PathBuf::new(), &["SSL_CERT_FILE is empty", "-> remove it"]);
    environment("/nowhere/ca.pem".into(), &["cannot read the file of SSL_CERT_FILE"]);
    environment(binary, &["contains no certificate"]);
    // What is empty is not given, as with every input.
    given(" \n").run().success();
    // A list as companies keep it: with comments, and Windows' ends of lines.
    let list = format!("# The company's\r\n{}", certificate.replace('\n', "\r\n"));
    given(&list).run().success();
    project
        .cdflow(["status"])
        .arg("--ca-certificates")
        .arg(at("list.pem", list.as_bytes()))
        .run()
        .success();
}

fn pem_of(sandbox: &Sandbox) -> String {
    let company = Company::start(sandbox, "http://127.0.0.1:9");
    company.pem()
}

/// In the container Terraform runs as another user, who must be able to read the file.
#[test]
fn the_action_in_its_container() {
    let (lab, github) = (Lab::get(), server());
    let project = Project::local("checkout");
    let company = Company::start(project.sandbox(), github.url());
    lab.relay(company.proxy());
    let probe = "resource \"terraform_data\" \"probe\" {\n  provisioner \"local-exec\" {\n    \
        command = \"tail -n 2 \\\"$SSL_CERT_FILE\\\" | grep -q 'END CERTIFICATE'\"\n  }\n}\n";
    project.write("certs/company.pem", &company.pem()).write("infra/probe.tf", probe);
    // The store is beside the checkout, which alone is in the container.
    project.edit_json("account-scheme.json", |scheme| {
        for key in ["release-bucket", "lambda-bucket"] {
            scheme[key] = format!("file:store/{key}").into();
        }
        scheme["terraform-backend"]["path"] = "file:store/state".into();
    });
    project.write(".gitignore", "store\n").commit("The company's authority");
    let head = project.head();
    github.world().pull_request(NUMBER, &head);
    let event = pull_request_event(NUMBER, &head, "open", &[]);
    let proxy = format!("http://127.0.0.1:{}", company.proxy());
    let job = Job::new(lab, &project).event(
        "pull_request",
        "refs/pull/7/merge",
        "branch",
        "7/merge",
        event,
    );
    let job = job.env([("HTTPS_PROXY", proxy.as_str()), ("NO_PROXY", "127.0.0.1")]);
    let job = job.env(Company::ADDRESSES);
    let trust = ("ca-certificates", "certs/company.pem");
    let release =
        [("command", "release"), ("version", "1"), ("platform-config", "platform-config")];
    job.step(&[&release[..], &[trust]].concat()).run().success();
    let deploy =
        [("command", "deploy"), ("environment", "ci"), ("version", "1"), ("github-token", TOKEN)];
    let output = job.step(&[&deploy[..], &[trust]].concat()).run();
    output.success().stdout_has("Deployed checkout 1 to ci");
    // The local account scheme is in the folder of this job.
    output.stdout_has("::warning::the account scheme is local: ");
    assert_eq!(output.stdout.matches("::warning::").count(), 1, "{output}");
    assert_eq!(github.world().comments.len(), 1, "{output}");
    assert!(job.summary().contains("https://ghes.test/acme/checkout"), "{}", job.summary());
    let output = job.step(&deploy).run();
    output.success().stdout_has(UNKNOWN);
}
