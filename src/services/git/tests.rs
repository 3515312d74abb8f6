//! Real repositories, honest and hostile: what is read, and that nothing of them is run.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    base::{
        interrupt::Interrupt, log::Log, process_env::ProcessEnv, redact::Redactor, run_as::RunAs,
    },
    services::github::Pace,
};

struct Repository {
    folder: tempfile::TempDir,
    host: Host,
}

impl Repository {
    /// Has one commit with the files `tracked.tf`, `sub/run.sh` and the link `link.tf`.
    fn new(init: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("work/sub")).unwrap();
        fs::create_dir(path("tmp")).unwrap();
        let path_variable = ["/usr/local/bin", "/usr/bin", "/bin"].join(":");
        let environment = ProcessEnv::new(
            [("PATH", path_variable.as_str()), ("TMPDIR", path("tmp").to_str().unwrap())]
                .map(|(name, value)| (name.into(), value.into())),
        );
        let interrupt = Interrupt::never();
        let host = Host {
            environment,
            log: Log::new(Redactor::default(), 0, true, false),
            pace: Pace::new(interrupt.clone()),
            interrupt,
            run: None,
            run_as: RunAs::Ourselves,
        };
        let it = Self { folder, host };
        it.git(&[&["init", "--quiet"], init].concat());
        it.write("tracked.tf", "one\ntwo\n").write("sub/run.sh", "#!/bin/sh\n");
        fs::set_permissions(it.path("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("sub/run.sh", it.path("link.tf")).unwrap();
        it.commit();
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path().join("work")).unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        self
    }

    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    #[expect(clippy::disallowed_methods, reason = "the test's own git")]
    fn git(&self, arguments: &[&str]) -> String {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(arguments)
            .current_dir(self.path(""))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn changed(&self) -> Vec<String> {
        let (_, changed) = self.tree().await.unwrap();
        changed.iter().map(|name| name.display().to_string()).collect()
    }

    async fn tree(&self) -> Result<(Tree, Vec<PathBuf>)> {
        let tree = Git::find(&self.host)?.tree(&self.path("")).await?;
        Ok(tree.expect("a commit"))
    }

    async fn is_changed(&self) -> bool {
        let found = Git::find(&self.host).unwrap().compare(&self.path("")).await.unwrap();
        assert!(!matches!(found, Difference::Unknown(_)), "{found:?}");
        matches!(found, Difference::Changed(_))
    }
}

#[tokio::test]
async fn files_of_a_commit() {
    for format in ["sha1", "sha256"] {
        let repository = Repository::new(&["--object-format", format]);
        let (tree, changed) = repository.tree().await.unwrap();
        assert_eq!(changed, Vec::<PathBuf>::new());
        repository.write("foreign.tf", "x").write("ignored/x.tf", "").write(".gitignore", "*");
        symlink("tracked.tf", repository.path("foreign-link.tf")).unwrap();
        symlink("sub", repository.path("foreign-folder")).unwrap();
        let check = |name: &str| tree.check_file(&repository.path(name));
        for good in ["tracked.tf", "sub/run.sh", "link.tf", "sub/../tracked.tf"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for foreign in [
            "foreign.tf",
            "ignored/x.tf",
            "foreign-link.tf",
            "foreign-folder/run.sh",
            "none.tf",
            "sub",
            "../outside",
            ".git/config",
        ] {
            assert_eq!(check(foreign), Err(Foreign::NotInCommit), "{foreign}");
        }
        assert_eq!(tree.check_link(&repository.path("link.tf")), Ok(()));
        for name in ["foreign-link.tf", "tracked.tf"] {
            assert_eq!(tree.check_link(&repository.path(name)), Err(Foreign::NotInCommit));
        }
    }
}

/// Whatever the index says: its flags hide changes, and its times can be forged.
#[tokio::test]
async fn every_kind_of_change_is_seen() {
    type Change = fn(&Repository);
    let changes: [(&str, Change); 7] = [
        ("tracked.tf", |it| {
            it.write("tracked.tf", "one\nTWO\n");
        }),
        ("tracked.tf", |it| fs::remove_file(it.path("tracked.tf")).unwrap()),
        ("sub/run.sh", |it| {
            fs::set_permissions(it.path("sub/run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("link.tf", |it| {
            fs::remove_file(it.path("link.tf")).unwrap();
            symlink("tracked.tf", it.path("link.tf")).unwrap();
        }),
        ("link.tf", |it| {
            fs::remove_file(it.path("link.tf")).unwrap();
            it.write("link.tf", "sub/run.sh");
        }),
        ("sub/run.sh", |it| {
            fs::rename(it.path("sub"), it.path("other")).unwrap();
            symlink("other", it.path("sub")).unwrap();
        }),
        ("tracked.tf", |it| {
            fs::remove_file(it.path("tracked.tf")).unwrap();
            symlink("/dev/zero", it.path("tracked.tf")).unwrap();
        }),
    ];
    for (at, (name, change)) in changes.iter().enumerate() {
        let repository = Repository::new(&[]);
        repository.git(&["update-index", "--assume-unchanged", "tracked.tf", "sub/run.sh"]);
        repository.git(&["update-index", "--skip-worktree", "link.tf"]);
        change(&repository);
        assert_eq!(repository.changed().await, [*name], "change {at}");
    }
}

#[tokio::test]
async fn what_git_converts_at_checkout_is_unchanged() {
    let repository = Repository::new(&[]);
    let content = "large\n".repeat(1000);
    let digest = crate::base::digest::Sha256::of(content.as_bytes());
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 6000\n");
    repository.write("model.bin", &pointer).write(".gitattributes", "*.bin filter=lfs\n");
    repository.commit();
    repository.write("model.bin", &content).write("tracked.tf", "one\r\ntwo\r\n");
    repository.git(&["config", "core.autocrlf", "input"]);
    assert_eq!(repository.changed().await, Vec::<String>::new());
    assert!(!repository.is_changed().await);
    repository.write("model.bin", &(content + "more"));
    assert_eq!(repository.changed().await, ["model.bin"]);
    assert!(repository.is_changed().await);
}

#[tokio::test]
async fn what_the_index_hides_is_a_change() {
    let repository = Repository::new(&[]);
    let compare = || async {
        let git = Git::find(&repository.host).unwrap();
        git.compare(&repository.path("")).await.unwrap()
    };
    let changed =
        |names: &[&str]| Difference::Changed(names.iter().map(|name| (*name).to_owned()).collect());
    for flag in ["assume-unchanged", "skip-worktree"] {
        repository.git(&["update-index", &format!("--{flag}"), "tracked.tf"]);
        assert_eq!(compare().await, Difference::Same);
        repository.write("tracked.tf", "other\n");
        assert_eq!(compare().await, changed(&["tracked.tf"]), "{flag}");
        repository.write("tracked.tf", "one\ntwo\n");
        repository.git(&["update-index", &format!("--no-{flag}"), "tracked.tf"]);
    }
    repository.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/sub"]);
    assert_eq!(compare().await, changed(&["sub/run.sh (left out by the sparse checkout)"]));
    repository.git(&["sparse-checkout", "disable"]);
    assert_eq!(compare().await, Difference::Same);
}

#[tokio::test]
async fn changes_of_submodules_are_changes() {
    let (repository, other) = (Repository::new(&[]), Repository::new(&[]));
    let git = Git::find(&repository.host).unwrap();
    let changed = || async {
        match git.compare(&repository.path("")).await.unwrap() {
            Difference::Changed(names) => names.join(", "),
            other => format!("{other:?}"),
        }
    };
    let url = other.path("").display().to_string();
    let file = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "module"];
    repository.git(&file);
    repository.commit();
    assert_eq!(changed().await, "Same");
    repository.write("module/tracked.tf", "other\n");
    assert_eq!(changed().await, "module/tracked.tf");
    repository.write("module/tracked.tf", "one\ntwo\n").write("module/new.tf", "");
    assert_eq!(changed().await, "module/new.tf");
    // What only this clone of the submodule ignores, unlike what its commit ignores.
    repository.write(".git/modules/module/info/exclude", "new.tf\n");
    assert_eq!(changed().await, "module/new.tf");
    fs::remove_file(repository.path("module/new.tf")).unwrap();
    let first = other.git(&["rev-parse", "HEAD"]);
    other.write("tracked.tf", "three\n").commit();
    let in_module = ["-C", "module"];
    repository.git(&[&in_module[..], &["fetch", "--quiet"]].concat());
    repository.git(&[&in_module[..], &["checkout", "--quiet", "FETCH_HEAD"]].concat());
    assert!(changed().await.ends_with(&format!(", not {})", &first[..7])), "{}", changed().await);
    let link = repository.path("module/.git");
    let kept = fs::read(&link).unwrap();
    fs::remove_file(&link).unwrap();
    assert_eq!(changed().await, "module (a submodule without its repository)");
    fs::write(&link, kept).unwrap();
    // One that is not checked out has no files that a release could contain.
    repository.git(&["submodule", "--quiet", "deinit", "--force", "module"]);
    assert_eq!(changed().await, "Same");
}

#[tokio::test]
async fn untracked_files_are_changes_unless_they_are_ignored() {
    let repository = Repository::new(&[]);
    assert!(!repository.is_changed().await);
    repository.write(".git/info/exclude", "*.o\n").write("x.o", "");
    assert!(!repository.is_changed().await);
    repository.write("x.tf", "");
    assert!(repository.is_changed().await);
}

/// A pack with other content under a trusted name: git itself would not notice.
#[tokio::test]
async fn a_forged_object_is_refused() {
    let repository = Repository::new(&[]);
    let tree = repository.git(&["rev-parse", "HEAD^{tree}"]);
    let object = |id: &str| repository.path(&format!(".git/objects/{}/{}", &id[..2], &id[2..]));
    repository.write("evil.tf", "evil");
    repository.git(&["add", "--all"]);
    let evil = repository.git(&["write-tree"]);
    fs::remove_file(object(&tree)).unwrap();
    fs::copy(object(&evil), object(&tree)).unwrap();
    let refused = repository.tree().await.unwrap_err();
    assert_eq!(refused.exit(), Exit::Integrity);
    // A replacement is ignored.
    let other = Repository::new(&[]);
    let head = other.git(&["rev-parse", "HEAD"]);
    other.write("evil.tf", "evil");
    let evil = other.commit();
    other.git(&["reset", "--quiet", "--hard", &head]);
    other.git(&["replace", &head, &evil]);
    let (tree, _) = other.tree().await.unwrap();
    other.write("evil.tf", "evil");
    assert_eq!(tree.check_file(&other.path("evil.tf")), Err(Foreign::NotInCommit));
}

/// All that git knows to start when it reads a repository.
#[tokio::test]
async fn nothing_of_the_checkout_is_run() {
    let repository = Repository::new(&[]);
    let mark = repository.folder.path().join("run");
    let touch = format!("touch {}; false", mark.display());
    repository.write(".gitattributes", "* filter=x diff=x merge=x\n").commit();
    for setting in [
        "core.fsmonitor",
        "core.sshCommand",
        "core.gitProxy",
        "core.askPass",
        "core.editor",
        "core.pager",
        "core.alternateRefsCommand",
        "credential.helper",
        "diff.external",
        "diff.x.textconv",
        "diff.x.command",
        "filter.x.clean",
        "filter.x.smudge",
        "filter.x.process",
        "gpg.program",
        "pager.status",
        "alias.status",
        "alias.rev-parse",
        "remote.origin.uploadpack",
        "remote.origin.vcs",
        "uploadpack.packObjectsHook",
        "trace2.eventTarget",
    ] {
        repository.git(&["config", setting, &touch]);
    }
    let hooks = repository.path("hooks");
    for hook in ["post-index-change", "pre-commit", "reference-transaction", "fsmonitor-watchman"] {
        repository.write(&format!("hooks/{hook}"), &format!("#!/bin/sh\n{touch}\n"));
        fs::set_permissions(hooks.join(hook), fs::Permissions::from_mode(0o755)).unwrap();
    }
    repository.write("included", &format!("[core]\n\tfsmonitor = {touch:?}\n"));
    for (setting, value) in [
        ("core.hooksPath", hooks.to_str().unwrap()),
        ("include.path", "../included"),
        ("filter.x.required", "true"),
        ("core.repositoryformatversion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", "ssh://example.com/x"),
    ] {
        repository.git(&["-c", "core.fsmonitor=false", "config", setting, value]);
    }
    let _ = fs::remove_file(&mark);
    // Looks changed to git, which would run the filter, and lacks what it would fetch.
    repository.write("tracked.tf", "one\nTWO\n");
    for entry in fs::read_dir(repository.path(".git/objects")).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.is_dir());
        for object in fs::read_dir(&path).unwrap() {
            let object = object.unwrap().path();
            if is_blob(&repository, &object) {
                fs::remove_file(object).unwrap();
            }
        }
    }
    let _ = fs::remove_file(&mark);
    let git = Git::find(&repository.host).unwrap();
    let root = repository.path("");
    let head = git.head(&root).await.unwrap().unwrap();
    assert_eq!(git.checkout(&root).await.unwrap().commit, head.commit);
    assert_eq!(git.origin(&root).await.unwrap().as_deref(), Some("ssh://example.com/x"));
    assert!(matches!(git.compare(&root).await.unwrap(), Difference::Changed(_)));
    assert!(git.is_of(&root, &[&head.commit], |_| true).await.unwrap());
    let (_, changed) = git.tree(&root).await.unwrap().unwrap();
    assert_eq!(changed, [PathBuf::from("tracked.tf")]);
    assert!(!mark.exists());
}

/// Repositories inside the checkout have settings too: a submodule's, and one that was committed or
/// unpacked there.
#[tokio::test]
async fn nothing_of_a_repository_inside_is_run() {
    let repository = Repository::new(&[]);
    let mark = repository.folder.path().join("run");
    for inner in ["submodule", "unpacked"] {
        repository.git(&["init", "--quiet", inner]);
        repository.write(&format!("{inner}/x"), "x");
        repository.git(&["-C", inner, "add", "--all"]);
        repository.git(&["-C", inner, "commit", "--quiet", "--message", "x"]);
    }
    repository.git(&["add", "submodule"]);
    repository.git(&["commit", "--quiet", "--message", "Submodule"]);
    for inner in ["submodule", "unpacked"] {
        let touch = format!("touch {}; false", mark.display());
        for setting in ["core.fsmonitor", "filter.x.clean", "core.sshCommand"] {
            repository.git(&["-C", inner, "config", setting, &touch]);
        }
        repository.write(&format!("{inner}/.gitattributes"), "* filter=x\n");
        repository.write(&format!("{inner}/x"), "y");
    }
    fs::remove_file(&mark).ok();
    let git = Git::find(&repository.host).unwrap();
    assert!(matches!(git.compare(&repository.path("")).await.unwrap(), Difference::Changed(_)));
    let (tree, changed) = repository.tree().await.unwrap();
    assert_eq!(changed, Vec::<PathBuf>::new());
    for file in ["submodule/x", "unpacked/x"] {
        assert_eq!(tree.check_file(&repository.path(file)), Err(Foreign::NotInCommit));
    }
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_commit_that_does_not_exist_is_an_error() {
    let repository = Repository::new(&[]);
    let git = Git::find(&repository.host).unwrap();
    let (commit, other) = (repository.git(&["rev-parse", "HEAD"]), "a".repeat(40));
    repository.git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(git.checkout(&repository.path("")).await.unwrap().commit, commit);
    let blob = repository.git(&["hash-object", "-w", ".git/HEAD"]);
    for unknown in [&other, &blob] {
        fs::write(repository.path(".git/HEAD"), format!("{unknown}\n")).unwrap();
        let error = git.checkout(&repository.path("")).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Input);
        assert!(error.to_string().contains(&format!("lacks its commit `{unknown}`")), "{error}");
    }
}

#[tokio::test]
async fn a_comparison_that_fails_says_why() {
    let repository = Repository::new(&[]);
    let git = Git::find(&repository.host).unwrap();
    fs::write(repository.path(".git/index"), "damaged").unwrap();
    let Difference::Unknown(why) = git.compare(&repository.path("")).await.unwrap() else {
        panic!("git read a damaged index")
    };
    assert!(why.contains("index") && !why.contains("cdflow-run-"), "{why}");
}

/// Other layouts of `.git`: a linked checkout, references in another format, a split index.
#[tokio::test]
async fn other_layouts() {
    let repository = Repository::new(&[]);
    let linked = repository.folder.path().join("linked");
    let commit = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["worktree", "add", "--quiet", "--detach", linked.to_str().unwrap()]);
    repository.git(&["remote", "add", "origin", "https://github.com/acme/x"]);
    repository.git(&["update-index", "--split-index"]);
    let git = Git::find(&repository.host).unwrap();
    for folder in [linked.join("sub"), repository.path("sub")] {
        assert_eq!(git.head(&folder).await.unwrap().unwrap().commit, commit);
        assert_eq!(git.origin(&folder).await.unwrap().unwrap(), "https://github.com/acme/x");
        assert_eq!(git.compare(&folder).await.unwrap(), Difference::Same);
        assert_eq!(git.tree(&folder).await.unwrap().unwrap().1, Vec::<PathBuf>::new());
    }
    // git before 2.45 knows no other format of references, and then the checkout has none.
    if repository.git(&["help", "--config-for-completion"]).contains("extensions.refStorage") {
        let other = Repository::new(&["--ref-format", "reftable"]);
        assert_eq!(other.changed().await, Vec::<String>::new());
        assert!(!other.is_changed().await);
    }
}

fn is_blob(repository: &Repository, object: &Path) -> bool {
    let folder = object.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let id = format!("{folder}{}", object.file_name().unwrap().to_str().unwrap());
    id.len() == 40
        && repository.git(&["-c", "core.fsmonitor=false", "cat-file", "-t", &id]) == "blob"
}

#[tokio::test]
async fn commits_of_branches_and_tags() {
    let repository = Repository::new(&[]);
    let git = Git::find(&repository.host).unwrap();
    let root = repository.path("");
    let base = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["remote", "add", "origin", "https://github.com/acme/checkout"]);
    let head = repository.write("tracked.tf", "fork\n").commit();
    let is_of =
        async |commits: &[&str], ours: bool| git.is_of(&root, commits, |_| ours).await.unwrap();
    assert!(!is_of(&[&base, "--all", "HEAD"], true).await);
    assert!(is_of(&[&base, &head], false).await);
    repository.git(&["update-ref", "refs/remotes/pull/7/head", &head]);
    assert!(!is_of(&[&base], true).await);
    repository.git(&["update-ref", "refs/remotes/origin/topic", &head]);
    assert_eq!([is_of(&[&base], true).await, is_of(&[&base], false).await], [true, false]);
    // An ancestor of the commit of the run.
    repository.git(&["update-ref", "-d", "refs/remotes/origin/topic"]);
    repository.git(&["checkout", "--quiet", &base]);
    assert!(is_of(&[&head], false).await);
}
