//! Checks of the component's folder: Terraform code, configuration, the function's code, git.

use std::path::{Path, PathBuf};

use super::report::{DoctorReport, counted};
use crate::{
    base::{
        error::{Error, Result},
        printable,
    },
    config::{
        component::Manifest, names::Component, scheme::AccountScheme, settings::FunctionImages,
    },
    release::{
        artifact::{
            function::{Code, Images, Profile},
            lambda_files,
        },
        namesakes::{self, Own},
        source::config_files,
    },
    services::{
        ci::host::Host,
        git::{Difference, Git},
    },
    terraform::code::{
        declarations::Declarations,
        files::{self, Dialect, Role},
        variables::read_layer,
    },
};

/// Returns what infra/ declares; None if it has a problem.
pub(crate) fn code(
    report: &mut DoctorReport,
    folder: &Path,
    dialect: Dialect,
) -> Option<Declarations> {
    let infra = folder.join("infra");
    let advice = "put the Terraform code into infra/, next to cdflow.yml";
    let missing = |what: &str| Error::input(format!("{what} `{}`", infra.display())).hint(advice);
    if !infra.is_dir() {
        return report.record_error("infra/", Err(missing("missing folder")));
    }
    let files = report.record_error("infra/", files::list(&infra, dialect))?;
    match files.iter().filter(|file| file.role != Role::Values).count() {
        0 => return report.record_error("infra/", Err(missing("no Terraform code in"))),
        count => report.ok("infra/", format!("{} of Terraform code", counted(count, "file"))),
    }
    report.record_error("infra/", Declarations::read(&infra, "infra", dialect))
}

/// Each JSON file of config/ must be an object of values that infra/ declares.
pub(crate) fn config(report: &mut DoctorReport, folder: &Path, declared: Option<&Declarations>) {
    let config = folder.join("config");
    if !config.is_dir() {
        return report.ok("config/", "not present, and not needed");
    }
    let Some(files) = report.record_error("config/", names(&config)) else { return };
    let mut good = Vec::new();
    for file in &files {
        let name = format!("config/{file}");
        let is_read = report.record_error("config/", config_files::check_format(&name));
        if is_read.is_none() || !file.ends_with(".json") {
            continue;
        }
        let Some(layer) = report.record_error("config/", read_layer(folder, &name)) else {
            continue;
        };
        good.push(file.as_str());
        let keys = layer.iter().flat_map(|layer| layer.keys().map(String::as_str));
        let unused = declared.and_then(|it| config_files::undeclared(&name, keys, it));
        unused.iter().for_each(|it| report.warning("config/", &it.what, &it.remedy));
    }
    if !good.is_empty() {
        report.ok("config/", good.join(", "));
    }
}

/// Reports the files of config/ that no environment of the scheme reads.
pub(crate) fn config_of(report: &mut DoctorReport, folder: &Path, scheme: &AccountScheme) {
    let files = names(&folder.join("config")).unwrap_or_default();
    for unread in config_files::without_environment(files.iter().map(String::as_str), scheme) {
        report.warning("config/", unread.what, unread.remedy);
    }
}

/// Reports other components of the checkout with the same name.
pub(crate) async fn namesakes(report: &mut DoctorReport, own: &Own<'_>, host: &Host) {
    let found = report.record_error("component", namesakes::find(host, own).await);
    for said in found.unwrap_or_default() {
        report.warning("component", said, namesakes::REMEDY);
    }
}

/// Returns the root of the checkout.
pub(crate) async fn checkout(
    report: &mut DoctorReport,
    folder: &Path,
    host: &Host,
) -> Option<PathBuf> {
    let git = report.record_error("git", Git::find(host))?;
    let checkout = report.record_error("git", git.checkout(folder).await)?;
    let commit = checkout.commit.get(..7).unwrap_or(&checkout.commit);
    match report.record_error("git", git.compare(folder).await)? {
        Difference::Same => report.ok("git", format!("commit {commit}, no uncommitted changes")),
        Difference::Unknown(why) => report.warning(
            "git",
            format!("cannot compare the files with commit {commit}: git status failed: {why}"),
            "check the repository out again",
        ),
        Difference::Changed(files) => report.warning(
            "git",
            format!("uncommitted changes on top of commit {commit}: {}", printable::few(&files)),
            "commit them: a release records its commit",
        ),
    }
    Some(checkout.root)
}

/// Checks the code of a component of type `function`, and the images that it is built with.
pub(crate) fn rust_function(
    report: &mut DoctorReport,
    manifest: &Manifest,
    folder: &Path,
    host: &Host,
) {
    let settings = manifest.function.clone().unwrap_or_default();
    let given = FunctionImages::default();
    let images = Images::choose(Profile::Release, &given, folder, &settings, &host.environment);
    let found = images
        .and_then(|images| Code::find(folder)?.context(Profile::Release, &images).map(|_| images));
    if let Some(Images { build, runtime, .. }) = report.record_error("function", found) {
        report.ok("function", format!("functions.rs, compiled in {build}, to run in {runtime}"));
    }
}

/// Checks the code of a component of type `lambda`.
pub(crate) fn lambda_function(
    report: &mut DoctorReport,
    manifest: &Manifest,
    component: &Component,
    folder: &Path,
    root: Option<&Path>,
) {
    let read = lambda_files::files(manifest, component, folder, root.unwrap_or(folder));
    let Some(read) = report.record_error("function", read) else { return };
    report.ok("function", format!("{} of code", counted(read.files.len(), "file")));
    for pattern in read.unused {
        let what = format!("`lambda.exclude`: `{}` matches no file", pattern.escape_debug());
        report.warning("function", what, lambda_files::UNUSED_PATTERN);
    }
}

/// Returns the names in `folder`, sorted, without those that are not UTF-8.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io("cannot read", folder, &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}
