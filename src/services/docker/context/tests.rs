//! Compares what cdflow sends with what Docker's own command line sends for the same files to a
//! fake engine. BuildKit's client is not part of that command line, so its rules are written out
//! here.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ffi::OsStr,
    os::unix::{ffi::OsStrExt, fs::symlink},
    sync::{Arc, Mutex},
};

use futures_util::TryStreamExt;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

use super::*;

/// Takes contexts as an engine does.
struct Engine {
    folder: tempfile::TempDir,
    context: Arc<Mutex<Vec<u8>>>,
}

impl Engine {
    fn start() -> Self {
        let (folder, context) = (tempfile::tempdir().unwrap(), Arc::default());
        let socket = UnixListener::bind(folder.path().join("engine")).unwrap();
        let keep: Arc<Mutex<Vec<u8>>> = Arc::clone(&context);
        tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let keep = Arc::clone(&keep);
                let answer = service_fn(move |request| answer(request, Arc::clone(&keep)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        Self { folder, context }
    }

    /// The names in the tar of `docker build`.
    #[expect(
        clippy::disallowed_methods,
        reason = "Docker is what we are compared with, not a program that cdflow runs"
    )]
    async fn sent_by_docker(&self, root: &Path, dockerfile: &Path) -> Vec<String> {
        let built = tokio::process::Command::new("docker")
            .args([
                OsStr::new("build"),
                OsStr::new("--file"),
                dockerfile.as_os_str(),
                root.as_os_str(),
            ])
            .env("DOCKER_BUILDKIT", "0")
            .env("DOCKER_CONFIG", self.folder.path())
            .env("DOCKER_HOST", format!("unix://{}/engine", self.folder.path().display()))
            .output()
            .await
            .expect("the docker command line is missing: `tests/prepare` says how to get it");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let mut sent = self.context.lock().unwrap().clone();
        // With a Dockerfile from outside it does not write the end of the tar.
        sent.extend([0; 1024]);
        names(&sent)
    }
}

async fn answer(
    request: Request<Incoming>,
    keep: Arc<Mutex<Vec<u8>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_build = request.uri().path().ends_with("/build");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if is_build {
        *keep.lock().unwrap() = body.to_vec();
    }
    let said = if is_build { r#"{"stream":"Successfully built 0123456789ab\n"}"# } else { "OK" };
    let response = Response::builder().header("Api-Version", "1.43").header("Ostype", "linux");
    Ok(response.header("Content-Type", "application/json").body(Full::from(said)).unwrap())
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let names = archive.entries().unwrap().map(|entry| {
        let name = entry.unwrap().path().unwrap().into_owned();
        let name = name.to_str().unwrap();
        // One from outside has a random name there, and a name of its content here.
        if name.starts_with(".dockerfile.") {
            ".dockerfile.*".to_owned()
        } else {
            name.trim_end_matches('/').to_owned()
        }
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

async fn tar(context: BuildContext) -> Vec<u8> {
    let (stream, task) = context.tar();
    let sent = stream.try_fold(Vec::new(), |mut all, piece| async move {
        assert!(piece.len() <= PIECE);
        all.extend_from_slice(&piece);
        Ok(all)
    });
    let sent = sent.await.unwrap();
    task.await.unwrap().unwrap();
    sent
}

async fn sent_by_us(root: &Path, dockerfile: &Path) -> Vec<String> {
    names(&tar(BuildContext::read(root, dockerfile, IgnoreDialect::Classic, &[]).unwrap()).await)
}

const FILES: &[&str] = &[
    "Dockerfile",
    "Dockerfile.dev",
    "README.md",
    "main.go",
    "go.mod",
    "a.log",
    "b.log",
    "x",
    "#hash",
    " space",
    "a b",
    "[brackets]",
    "star*",
    "!bang",
    "back\\slash",
    "a^b",
    "ünïcode.txt",
    "Zz",
    "-dash",
    "a.b+c(d)|{e}$",
    ".env",
    ".git/config",
    ".git/objects/aa/bb",
    "docker/Dockerfile",
    "docker/entry.sh",
    "docker/Dockerfile.dockerignore",
    "src/main.go",
    "src/a.log",
    "src/foo.txt",
    "src/afoo.txt",
    "src/pkg/a.go",
    "src/pkg/a_test.go",
    "src/pkg/deep/er/b.go",
    "src/pkg/deep/er/b.log",
    "src/build",
    "build/keep/y",
    "build/keep/z.log",
    "build/out/a.o",
    "build/out/b.o",
    "node_modules/a/index.js",
    "sub/node_modules/b/index.js",
    "sub/foo.txt",
    "foo.txt",
    "foo",
    "foobar",
    "dir/foo",
    "dir/foobar/x",
    "dir/sub/foo/y",
    "dir1/a",
    "dir2/a",
    "dir3/a",
    "dirx/a",
    "logs/2024/01/a.log",
    "logs/2024/02/a.log",
    "logs/2025/01/a.log",
];

/// All that a context may hold.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let path = |name: &str| tree.path().join(name);
    for name in FILES {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), format!("FROM scratch\n# {name}\n")).unwrap();
    }
    for name in ["empty", "build/hollow", "src/empty/er"] {
        fs::create_dir_all(path(name)).unwrap();
    }
    for (link, target) in [
        ("link", "foo"),
        ("src/link", "../foo"),
        ("dead", "nowhere"),
        ("dirlink", "dir"),
        ("out", "/etc"),
    ] {
        symlink(target, path(link)).unwrap();
    }
    fs::set_permissions(path("docker/entry.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let long = format!("long/{}/{}", "n".repeat(120), "m".repeat(120));
    fs::create_dir_all(path(&long)).unwrap();
    fs::write(path(&format!("{long}/file")), "long").unwrap();
    symlink("t".repeat(150), path("long/link")).unwrap();
    tree
}

const RULES: &[&str] = &[
    "",
    "*",
    "**",
    ".",
    "/",
    "..",
    "../foo",
    "foo",
    "/foo",
    "//foo/",
    "./foo",
    "dir/../foo",
    "foo/",
    "dir/",
    "dir/foo*",
    "*.log",
    "*/*.log",
    "**/*.log",
    "**.log",
    "**/foo",
    "**foo",
    "**/foo.txt",
    "**foo.txt",
    "**/foo*",
    "foo**",
    "src/**",
    "src/**/*.go",
    "src/**/b.go",
    "src**",
    "s**c",
    "**/**",
    "**/node_modules",
    "**/node_modules/**",
    "node_modules",
    "dir?",
    "dir[12]",
    "dir[^12]",
    "dir[1-3]/a",
    "[a-z]",
    "?",
    "*/foo.txt",
    "*/*/foo",
    ".git",
    ".*",
    "**/.*",
    "Dockerfile*",
    "docker",
    "docker/Dockerfile\n.dockerignore",
    "# comment\n#hash\nfoo",
    " #hash",
    "\\#hash",
    "\u{feff}# comment after a mark\nfoo",
    "\u{feff}foo\r\nbuild\r\n",
    "  foo  \n\n\t\n  build\t",
    "a b",
    "\\[brackets\\]",
    "[[]brackets\\]",
    "star\\*",
    "\\!bang",
    "back\\\\slash",
    "a^b",
    "a^*",
    "^foo*",
    "ün?code*",
    "a.b+c(d)|{e}$",
    "a.b+c(d)|{e}?",
    "\\-dash",
    "*\n!foo",
    "*\n!src",
    "*\n!src/main.go",
    "*\n!src/pkg",
    "*\n!src/**/*.go",
    "*\n!**/*.go",
    "*\n!*.go",
    "**\n!src/pkg/a.go",
    "**\n!**/a.go",
    "build\n!build/keep",
    "build/**\n!build/keep",
    "build/*\n!build/keep",
    "build\n!build/keep\nbuild/keep/y",
    "build/*\n!build/keep/**\n**/*.log",
    "!foo\nfoo",
    "foo\n!foo",
    "foo\n! /foo ",
    "src\n!src\nsrc/pkg\n!src/pkg/deep",
    "logs/**/*.log\n!logs/2024/**",
    "logs\n!logs/*/01",
    "dir\n!dir/foo*",
    "*\n!dir*\ndir/sub",
    "link",
    "dirlink/foo",
    "dead\nout",
    "long/**/file",
    "empty\nbuild/hollow\nsrc/empty/*",
    "!!bang",
    "**/a*b*c*d*e*f*g",
    "*o*",
    "*/*",
];

#[tokio::test]
async fn the_same_as_docker_sends() {
    let (engine, tree) = (Engine::start(), tree());
    let (inside, sub) = (tree.path().join("Dockerfile"), tree.path().join("docker/Dockerfile"));
    for rules in RULES {
        fs::write(tree.path().join(".dockerignore"), rules).unwrap();
        for dockerfile in [&inside, &sub] {
            let (docker, us) = (
                engine.sent_by_docker(tree.path(), dockerfile).await,
                sent_by_us(tree.path(), dockerfile).await,
            );
            assert_eq!(us, docker, "{rules:?} with {}", dockerfile.display());
        }
    }
}

#[tokio::test]
async fn a_dockerfile_from_outside_goes_along() {
    let (engine, tree, outside) = (Engine::start(), tree(), tempfile::tempdir().unwrap());
    let dockerfile = outside.path().join("Dockerfile");
    fs::write(&dockerfile, "FROM scratch\n").unwrap();
    for rules in [None, Some("foo"), Some("*"), Some(".dockerignore\n.dockerfile*")] {
        if let Some(rules) = rules {
            fs::write(tree.path().join(".dockerignore"), rules).unwrap();
        }
        let docker = engine.sent_by_docker(tree.path(), &dockerfile).await;
        assert_eq!(sent_by_us(tree.path(), &dockerfile).await, docker, "{rules:?}");
    }
    let context =
        BuildContext::read(tree.path(), &dockerfile, IgnoreDialect::Classic, &[]).unwrap();
    let files = contents(context);
    let (name, content) = files.iter().find(|(name, _)| name.starts_with(".dockerfile.")).unwrap();
    assert_eq!(content, "FROM scratch\n");
    assert_eq!(files[".dockerignore"], format!(".dockerignore\n.dockerfile*\n{name}\n"));
}

fn contents(context: BuildContext) -> BTreeMap<String, String> {
    let texts = context.entries.into_iter().filter_map(|entry| match entry.kind {
        EntryKind::Text(text) => Some((entry.name, String::from_utf8(text).unwrap())),
        _ => None,
    });
    texts.collect()
}

fn listed(root: &Path, dialect: IgnoreDialect, always: &[&str]) -> Vec<String> {
    let context = BuildContext::read(root, &root.join("Dockerfile"), dialect, always).unwrap();
    context.entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn exceptions_with_wildcards_reach_everywhere_with_buildkit() {
    let tree = tree();
    let sent = |rules: &str| {
        fs::write(tree.path().join(".dockerignore"), rules).unwrap();
        listed(tree.path(), IgnoreDialect::BuildKit, &[])
    };
    let deep = ["Dockerfile", "src", "src/pkg", "src/pkg/a.go"];
    assert_eq!(sent("**\n!**/a.go"), deep);
    assert_eq!(sent("*\n!src/pkg/a.go"), deep);
    assert_eq!(
        sent("*\n!docker/*"),
        [
            "Dockerfile",
            "docker",
            "docker/Dockerfile",
            "docker/Dockerfile.dockerignore",
            "docker/entry.sh"
        ]
    );
    // The file of rules that bears the Dockerfile's name is asked alone.
    fs::write(tree.path().join("Dockerfile.dockerignore"), "*\n!foo").unwrap();
    assert_eq!(sent("*\n!x"), ["Dockerfile", "foo"]);
    assert_eq!(
        listed(tree.path(), IgnoreDialect::Classic, &[]),
        [".dockerignore", "Dockerfile", "x"]
    );
}

#[test]
fn what_is_always_ignored_can_not_be_taken_back() {
    let tree = tree();
    for name in [".env.live", "src/.env", "src/.envs/a"] {
        fs::create_dir_all(tree.path().join(name).parent().unwrap()).unwrap();
        fs::write(tree.path().join(name), "KEY=1").unwrap();
    }
    fs::write(tree.path().join(".dockerignore"), "!.env\n!src/.envs/a\n!**/.env*").unwrap();
    for dialect in [IgnoreDialect::Classic, IgnoreDialect::BuildKit] {
        assert!(listed(tree.path(), dialect, &[]).iter().any(|name| name.contains(".env")));
        assert!(
            !listed(tree.path(), dialect, &["**/.env*"]).iter().any(|name| name.contains(".env"))
        );
    }
}

#[tokio::test]
async fn the_tar_depends_on_what_is_in_it_alone() {
    let (one, two) = (tree(), tree());
    fs::set_permissions(two.path().join("foo"), fs::Permissions::from_mode(0o600)).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    File::options().write(true).open(two.path().join("foo")).unwrap().set_modified(old).unwrap();
    let read = |tree: &tempfile::TempDir| {
        BuildContext::read(
            tree.path(),
            &tree.path().join("Dockerfile"),
            IgnoreDialect::Classic,
            &[],
        )
        .unwrap()
    };
    let tars = [tar(read(&one)).await, tar(read(&two)).await];
    assert!(tars[0] == tars[1]);
    let mut archive = tar::Archive::new(tars[0].as_slice());
    let mut seen = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!(
            (header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()),
            (0, 0, 0)
        );
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let link = entry.link_name().unwrap().map(|target| target.to_str().unwrap().to_owned());
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        seen.insert(name, (header.mode().unwrap(), link, content));
    }
    assert_eq!(
        seen["docker/entry.sh"],
        (0o755, None, "FROM scratch\n# docker/entry.sh\n".to_owned())
    );
    assert_eq!(seen["foo"].0, 0o644);
    assert_eq!(seen["docker/"].0, 0o755);
    assert_eq!(seen["src/link"], (0o777, Some("../foo".to_owned()), String::new()));
    assert_eq!(seen["long/link"].1, Some("t".repeat(150)));
    assert_eq!(seen[&format!("long/{}/{}/file", "n".repeat(120), "m".repeat(120))].2, "long");
}

/// A context of a Dockerfile and `name`, read before `change` is made, and then sent.
async fn changed_by(change: impl FnOnce(&Path)) -> (String, Error) {
    let tree = tempfile::tempdir().unwrap();
    let (dockerfile, file) = (tree.path().join("Dockerfile"), tree.path().join("file"));
    fs::write(&dockerfile, "FROM scratch").unwrap();
    fs::write(&file, vec![b'a'; 1 << 20]).unwrap();
    let context =
        BuildContext::read(tree.path(), &dockerfile, IgnoreDialect::BuildKit, &[]).unwrap();
    change(&file);
    let (stream, task) = context.tar();
    let ended = stream.try_for_each(|_| async { Ok(()) }).await.unwrap_err();
    (ended.to_string(), task.await.unwrap().unwrap_err())
}

#[tokio::test]
async fn a_file_that_changes_on_the_way_ends_it() {
    let changes: [fn(&Path); 5] = [
        |file| fs::write(file, vec![b'b'; 1 << 20]).unwrap(),
        |file| fs::write(file, "short").unwrap(),
        |file| fs::write(file, vec![b'a'; 2 << 20]).unwrap(),
        |file| fs::remove_file(file).unwrap(),
        |file| {
            fs::remove_file(file).unwrap();
            symlink("/etc/passwd", file).unwrap();
        },
    ];
    for change in changes {
        let (ended, error) = changed_by(change).await;
        assert!(
            ended.contains("has changed while")
                && error.to_string().contains("/file` has changed while"),
            "{error}"
        );
        assert_eq!(error.exit(), crate::base::error::Exit::Input);
    }
}

#[tokio::test]
async fn a_dropped_stream_ends_the_task() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("Dockerfile"), vec![b'a'; 4 << 20]).unwrap();
    let context = BuildContext::read(
        tree.path(),
        &tree.path().join("Dockerfile"),
        IgnoreDialect::BuildKit,
        &[],
    )
    .unwrap();
    let (stream, task) = context.tar();
    drop(stream);
    task.await.unwrap().unwrap();
}

#[test]
fn what_can_not_be_sent_is_named() {
    let read = |prepare: fn(&Path)| {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("Dockerfile"), "FROM scratch").unwrap();
        prepare(tree.path());
        let first = BuildContext::read(
            tree.path(),
            &tree.path().join("Dockerfile"),
            IgnoreDialect::BuildKit,
            &[],
        );
        // Ignored files are not checked.
        fs::write(tree.path().join(".dockerignore"), "bad*").unwrap();
        BuildContext::read(
            tree.path(),
            &tree.path().join("Dockerfile"),
            IgnoreDialect::BuildKit,
            &[],
        )
        .unwrap();
        first.unwrap_err().to_string()
    };
    let error =
        read(|root| nix::unistd::mkfifo(&root.join("bad"), nix::sys::stat::Mode::S_IRWXU).unwrap());
    assert!(error.contains("/bad` is neither a file, a link nor a folder"), "{error}");
    let error = read(|root| fs::write(root.join(OsStr::from_bytes(b"bad\xff")), "").unwrap());
    assert!(error.contains("bad\u{fffd}` is not UTF-8"), "{error}");
    let error = read(|root| symlink(OsStr::from_bytes(b"\xff"), root.join("bad")).unwrap());
    assert!(error.contains("the target of the link"), "{error}");
    let missing = BuildContext::read(
        Path::new("/"),
        Path::new("/no/Dockerfile"),
        IgnoreDialect::BuildKit,
        &[],
    )
    .unwrap_err();
    assert!(missing.to_string().contains("`/no/Dockerfile`"), "{missing}");
}

#[test]
fn rules_that_mean_nothing_are_refused() {
    for (rules, why) in [
        ("a\n[", "line 2: `[`"),
        ("[]", "must be written `\\]`"),
        ("[a-", "not closed"),
        ("[b-a]", "in the wrong order"),
        ("[a*]", "something else"),
        ("[[:alpha:]]", "named classes"),
        ("a\\", "expected a character after"),
        ("src\\dir", "separated by `/`"),
        ("!", "expected a pattern after `!`"),
        ("!/", "expected a pattern after `!`"),
    ] {
        let error = Ignore::parse(".dockerignore", rules).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(".dockerignore"), "{rules}: {error}");
    }
}
