//! What a plan is made from: the code of a release, and the words in which two releases of the same
//! content differ.

use super::approval::WITHOUT_REVIEW;
use crate::{
    base::{
        digest::{Hasher, Sha256},
        error::{Error, Result},
    },
    deploy::{order::Order, prepare::Prepared},
    terraform::{Plan, output::effects::Words},
};

/// Returns the digest of the files that decide what a plan and its apply do. None for a bundle of
/// the original cdflow: it has no digests that its files were checked against.
pub(super) fn code(prepared: &Prepared) -> Option<Sha256> {
    let manifest = prepared.bundle.manifest.as_ref()?;
    let mut hasher = Hasher::default();
    for (name, file) in manifest.code() {
        hasher.update(format!("{} {} {name}\n", file.sha256, file.executable).as_bytes());
    }
    Some(hasher.finish())
}

/// Returns the digest of the code. Refuses a release without one: two unverified releases would
/// count as the same code, whatever is in them.
pub(super) fn comparable_code(order: &Order<'_>, prepared: &Prepared) -> Result<Sha256> {
    code(prepared).ok_or_else(|| {
        let version = order.version();
        Error::refused(format!("release {version} cannot be compared with what was reviewed"))
            .why("its bundle has no manifest.json, so its code is not verified")
            .hint("release the same commit again with this program, under a new version")
            .hint(WITHOUT_REVIEW)
    })
}

/// Returns what two releases of the same content differ in. A stored plan has its own words.
pub(super) fn words(order: &Order<'_>, prepared: &Prepared, planned: &Plan) -> Words {
    match &planned.stored {
        Some(from) => from.words.clone(),
        None => words_of_run(order, prepared),
    }
}

pub(super) fn words_of_run(order: &Order<'_>, prepared: &Prepared) -> Words {
    let deployed = order.subject.recorded.as_ref();
    let plan = deployed.and_then(|start| start.reviewed.as_ref()?.plan.as_ref());
    let deployed = deployed.map(|it| names(Some(it.version.as_str()), it.commit.as_deref()));
    // What a stored plan has applied shows the words of its own release.
    let plan = plan.map(|it| names(Some(it.version.as_str()), it.commit.as_deref()));
    let before = deployed.into_iter().chain(plan).flatten().collect();
    Words::new(names_of(prepared), before)
}

/// Returns the words of the release alone.
pub(super) fn words_of(prepared: &Prepared) -> Words {
    Words::new(names_of(prepared), Vec::new())
}

fn names_of(prepared: &Prepared) -> Vec<String> {
    names(prepared.facts.text("version"), prepared.facts.commit())
}

/// Returns the version, the build number in it, and the commit in full and in usual lengths.
fn names(version: Option<&str>, commit: Option<&str>) -> Vec<String> {
    let number = version.and_then(|version| version.split_once('-')).map(|(number, _)| number);
    let number = number.filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
    let short = [7, 8, 10, 12].map(|length| commit.and_then(|commit| commit.get(..length)));
    let names = [version, number, commit].into_iter().chain(short);
    names.flatten().map(str::to_owned).collect()
}
