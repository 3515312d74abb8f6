//! What lies in the component's folder and what git says of it.

use std::path::{Path, PathBuf};

use super::findings::{Report, counted};
use crate::{
    base::error::{Error, Result},
    config::settings::FunctionImages,
    config::{component::Manifest, names::Component},
    release::artifact::{
        function::{Code, Images, Profile},
        lambda,
    },
    services::{ci::host::Host, git::Git},
    terraform::code::{
        declarations::{Declarations, is_code},
        variables::read_layer,
    },
};

/// What infra/ declares; None where there is none.
pub(crate) fn code(report: &mut Report, folder: &Path) -> Option<Declarations> {
    let infra = folder.join("infra");
    let advice = "a component keeps its Terraform code in infra/, beside cdflow.yml";
    let missing = |what: &str| Error::input(format!("{what} `{}`", infra.display())).hint(advice);
    if !infra.is_dir() {
        return report.take("infra/", Err(missing("there is no folder")));
    }
    let files = report.take("infra/", names(&infra))?;
    match files.iter().filter(|name| is_code(name)).count() {
        0 => return report.take("infra/", Err(missing("there is no Terraform code in"))),
        count => report.ok("infra/", format!("{} of Terraform code", counted(count, "file"))),
    }
    report.take("infra/", Declarations::read(&infra, "infra"))
}

/// Each file of config/ must be an object of values.
pub(crate) fn config(report: &mut Report, folder: &Path) {
    let config = folder.join("config");
    if !config.is_dir() {
        return report.ok("config/", "there is none, and none is needed");
    }
    let Some(files) = report.take("config/", names(&config)) else { return };
    let mut good = Vec::new();
    for name in files.iter().filter(|name| name.ends_with(".json")) {
        let read = read_layer(folder, &format!("config/{name}"));
        good.extend(report.take("config/", read).map(|_| name.as_str()));
    }
    if !good.is_empty() {
        report.ok("config/", good.join(", "));
    }
}

/// The checkout's root.
pub(crate) async fn checkout(report: &mut Report, folder: &Path, host: &Host) -> Option<PathBuf> {
    let environment = host.environment.for_programs();
    let git = report.take("git", Git::find(&environment, &host.log, &host.interrupt))?;
    let checkout = report.take("git", git.checkout(folder).await)?;
    let commit = checkout.commit.get(..7).unwrap_or(&checkout.commit);
    match report.take("git", git.is_changed(folder).await)? {
        false => report.ok("git", format!("commit {commit}, nothing uncommitted")),
        true => report.warning(
            "git",
            format!("uncommitted changes on top of commit {commit}"),
            "commit them: a release says that it is the commit",
        ),
    }
    Some(checkout.root)
}

/// The file of a function, and the images that it is made with.
pub(crate) fn functions(report: &mut Report, manifest: &Manifest, folder: &Path, host: &Host) {
    let settings = manifest.function.clone().unwrap_or_default();
    let given = FunctionImages::default();
    let images = Images::choose(Profile::Release, &given, folder, &settings, &host.environment);
    let found = images
        .and_then(|images| Code::find(folder)?.context(Profile::Release, &images).map(|_| images));
    if let Some(Images { build, runtime, .. }) = report.take("function", found) {
        report.ok("function", format!("functions.rs, compiled in {build}, to run in {runtime}"));
    }
}

/// The code of a function.
pub(crate) fn function(
    report: &mut Report,
    manifest: &Manifest,
    component: &Component,
    folder: &Path,
    root: Option<&Path>,
) {
    let files = lambda::files(manifest, component, folder, root.unwrap_or(folder));
    if let Some(files) = report.take("function", files) {
        report.ok("function", format!("{} of code", counted(files.len(), "file")));
    }
}

pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io("can't read", folder, &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}
