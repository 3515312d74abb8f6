//! Reads the repository's workflows, and reports what would cancel a deploy or make a step fail.

use std::path::Path;

use serde_json::Value;

use super::{
    files::names,
    report::{DoctorReport, counted},
    workflow_rules::{ACTION, Asked, judge},
};
use crate::{
    base::{document, error::Error, small_file},
    config::{comments::Comments, component::Manifest},
};

const CHECK: &str = "workflows";
const FOLDER: &str = ".github/workflows";
/// More than a repository has.
const MOST_FILES: usize = 500;
/// In bytes. GitHub accepts less.
const LARGEST: u64 = 1 << 20;

/// Checks every workflow with a step of cdflow. Says nothing about a repository without workflows.
pub(crate) fn workflows(
    report: &mut DoctorReport,
    root: Option<&Path>,
    manifest: Option<&Manifest>,
) {
    let Some(folder) = root.map(|root| root.join(FOLDER)).filter(|folder| folder.is_dir()) else {
        return;
    };
    let Some(files) = report.record_error(CHECK, names(&folder)) else { return };
    let mut files: Vec<String> = files
        .into_iter()
        .filter(|name| name.ends_with(".yml") || name.ends_with(".yaml"))
        .collect();
    if files.len() > MOST_FILES {
        let what = format!("only the first {MOST_FILES} files of {FOLDER} are checked");
        report.warning(CHECK, what, "remove unused workflows");
        files.truncate(MOST_FILES);
    }
    let asked = Asked {
        records_deployments: manifest.is_none_or(|it| it.deploy.github_deployments.unwrap_or(true)),
        reads_approvals: manifest.is_some_and(|it| it.deploy.limits().accepts_approvals_of_runs()),
    };
    let (mut jobs, mut concerns, mut comments) = (0, 0, false);
    for name in files {
        let shown = format!("{FOLDER}/{}", name.escape_debug());
        let workflow = match read(&folder.join(&name), &shown) {
            Ok(Some(workflow)) => workflow,
            Ok(None) => continue,
            Err(error) => {
                concerns += 1;
                report.warning(CHECK, format!("not checked: {}", error.story()), "correct it");
                continue;
            }
        };
        let judged = judge(&workflow, asked);
        jobs += judged.jobs;
        comments |= judged.comments;
        concerns += judged.concerns.len();
        for concern in judged.concerns {
            let what = format!("{shown}, job `{}`: {}", concern.job.escape_debug(), concern.what);
            report.warning_in(CHECK, &shown, what, concern.remedy);
        }
    }
    if !comments && manifest.is_some_and(|it| it.comments != Comments::default()) {
        concerns += 1;
        report.warning(
            CHECK,
            "cdflow.yml permits commands in comments, but no workflow runs `comment run`",
            "copy examples/workflows/comment.yml (docs/comment-commands.md), or remove `comments`",
        );
    }
    if concerns == 0 && jobs > 0 {
        let uses = if jobs == 1 { "uses" } else { "use" };
        report.ok(CHECK, format!("{} in {FOLDER} {uses} cdflow", counted(jobs, "job")));
    }
}

/// Returns the content of a workflow that names cdflow. A link is not followed: it can lead out of
/// the checkout.
fn read(path: &Path, shown: &str) -> Result<Option<Value>, Error> {
    let failed = |error| Error::io("cannot read", Path::new(shown), &error);
    let found = path.symlink_metadata().map_err(failed)?;
    if !found.is_file() {
        return Ok(None);
    }
    if found.len() > LARGEST {
        return Err(Error::input(format!("`{shown}` is larger than {} MiB", LARGEST >> 20)));
    }
    let text = small_file::text(path).map_err(failed)?;
    match text.to_lowercase().contains(ACTION) {
        true => document::from_yaml(shown, &text).map(Some),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::base::table::Screen;

    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        symlink("/etc/passwd", folder.join("cdflow.yml")).unwrap();
        let mut report = DoctorReport::default();
        workflows(&mut report, Some(root.path()), None);
        report.lines(Screen::default())
    }

    #[test]
    fn permitted_comments_need_a_workflow() {
        let manifest = |more: &str| {
            let text = format!("account-scheme-url: s.json\nteam: acme\ntype: docker\n{more}");
            document::from_yaml::<Manifest>("cdflow.yml", &text).unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join(FOLDER)).unwrap();
        let lines = |manifest: &Manifest| {
            let mut report = DoctorReport::default();
            workflows(&mut report, Some(folder.path()), Some(manifest));
            report.lines(Screen::default())
        };
        let permits = manifest("comments: { plan: [live] }\n");
        assert_eq!(lines(&manifest("")), [""; 0]);
        assert!(lines(&permits)[0].contains("no workflow runs `comment run`"));
        let run = "permissions: write-all\non: issue_comment\njobs:\n  a:\n    steps:\n      - \
                   uses: org/cdflow-action@v1\n        with: { command: comment run }\n";
        fs::write(folder.path().join(FOLDER).join("comment.yml"), run).unwrap();
        assert_eq!(lines(&permits).len(), 1);
        assert!(lines(&permits)[0].starts_with("ok "), "{:?}", lines(&permits));
    }

    const GOOD: &str = "permissions: write-all\njobs:\n  live:\n    steps:\n      - uses: \
                        org/cdflow-action@v1\n        with: { command: deploy }\n";

    #[test]
    fn each_file_is_read_alone() {
        assert_eq!(lines(&[("other.yml", "jobs: {"), ("readme.md", "cdflow")]), [""; 0]);
        let one = "ok       workflows  1 job in .github/workflows uses cdflow";
        assert_eq!(lines(&[("a.yml", GOOD), ("other.yml", "jobs: {")]), [one]);
        let bad = GOOD.replace("    steps", "    concurrency: live\n    steps");
        let found = lines(&[("a.yml", &bad), ("b.yaml", "cdflow: {"), ("c.yml", GOOD)]);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with(
            "warning  workflows  .github/workflows/a.yml, job `live`: its concurrency group has"
        ));
        assert!(found[2].contains("not checked: .github/workflows/b.yaml:"), "{found:?}");
    }

    #[test]
    fn hostile_files_are_named_and_not_expanded() {
        let deep = format!("cdflow: {}", "[".repeat(100_000));
        let aliases: String = (1..30)
            .map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1))
            .collect();
        let bomb = format!("cdflow: x\na0: &a0 [1, 2, 3]\n{aliases}");
        let large = format!("cdflow: \"{}\"", "x".repeat(2 << 20));
        for text in [&deep, &bomb, &large] {
            let began = std::time::Instant::now();
            let found = lines(&[("a.yml", text)]);
            assert!(found[0].starts_with("warning  workflows  not checked: "), "{found:?}");
            assert!(found[0].len() < 1000 && began.elapsed().as_secs() < 100, "{found:?}");
        }
        let job = GOOD.replace("  live:\n", "  \"\\u001b[2J\\n::error::\":\n    concurrency: x\n");
        let found = lines(&[("a.yml", &job)]).join("\n");
        assert!(found.contains("concurrency group") && !found.contains('\u{1b}'), "{found:?}");
    }
}
