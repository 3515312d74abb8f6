//! inspect: shows the contents of a published release without downloading all of it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    base::{
        at_once::at_once,
        digest::Sha256,
        error::Result,
        printable,
        table::{Screen, labelled},
        units::{bytes_text, whole_second},
    },
    cli::args::InspectInputs,
    context::Context,
    release::{
        facts::ReleaseFacts,
        published::{self, ProviderPackage, Published},
        shared_segments::segment_key,
    },
};

/// The width of the first column.
const LABEL: usize = 18;
/// The digits of a SHA-256, and those that a narrow terminal shows.
const DIGEST: usize = 64;
const DIGITS: usize = 16;

/// The contents of a release.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "cdflow inspect --json")]
pub(super) struct InspectDocument<'a> {
    /// The object of the bundle.
    object: String,
    /// The size of the object in bytes, without shared segments.
    size: u64,
    /// The time of publication, in UTC. Null: the store does not have it.
    published: Option<Timestamp>,
    /// The bundle digest. Null: the bundle has no manifest.
    bundle_digest: Option<Sha256>,
    /// The source digest. Null: the bundle has no manifest.
    source_digest: Option<Sha256>,
    /// The program that made the release. Null: the bundle has no manifest.
    terraform: Option<ProgramDocument<'a>>,
    /// The platforms that the release has providers for. Null: it has no providers, or the bundle
    /// has no manifest.
    platforms: Option<Vec<String>>,
    /// The shared segments that the object needs.
    shared_segments: Vec<SegmentDocument>,
    /// The providers, one per platform.
    providers: Vec<ProviderPackage>,
    /// Terraform's variable `release`: version, commit, component, team, the artifact and the
    /// release data.
    release: &'a Map<String, Value>,
    /// The files of the bundle.
    files: Vec<FileDocument<'a>>,
}

/// A shared segment.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "segment")]
struct SegmentDocument {
    /// Its object.
    object: String,
    /// The size of the object in bytes. Null: it does not exist, so the release cannot be deployed.
    size: Option<u64>,
}

/// A program.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "program")]
struct ProgramDocument<'a> {
    /// Which program: `terraform` or `opentofu`.
    name: &'a str,
    /// Its version.
    version: &'a str,
    /// Its platform. Null: a bundle of cdflow 0.1 does not have it.
    platform: Option<&'a str>,
    /// The SHA-256 of the program.
    sha256: Sha256,
}

/// A file.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "file")]
struct FileDocument<'a> {
    /// Its path in the bundle.
    name: &'a str,
    /// Its size in bytes.
    size: u64,
    /// Whether it can be executed.
    executable: bool,
    /// Its SHA-256. Null: the bundle has no manifest, or the file is the manifest itself.
    sha256: Option<Sha256>,
}

/// Prints the release as a table or as JSON.
pub(crate) async fn run(context: &Context, inputs: &InspectInputs) -> Result<()> {
    let release = context.release(inputs.version.clone());
    let Some(published) = Published::open(&context.store, &release).await? else {
        return Err(published::missing(&context.store, &release).await);
    };
    let facts = published.facts().await?;
    let place = context.store.describe(&release.key());
    let segments = segments(context, &published).await?;
    let document = InspectDocument::of(place, &published, &facts, segments);
    match inputs.json {
        true => context.host.log.json(&document),
        // Others could have written the bundle.
        false => {
            let lines = table(&document, context.host.screen());
            lines.iter().for_each(|line| context.host.log.output(&printable::line(line)));
        }
    }
    Ok(())
}

async fn segments(context: &Context, published: &Published<'_>) -> Result<Vec<SegmentDocument>> {
    let asking = published.index().map().left_out().iter().map(async |segment| {
        let key = segment_key(&segment.sha256);
        let found = context.store.head(&key).await?;
        let size = found.map(|found| found.size);
        Ok(SegmentDocument { object: context.store.describe(&key), size })
    });
    at_once(asking).await
}

/// Returns a value with the first digits of the digest at its end, if it does not fit next to its
/// label.
fn with_short_digest(value: &str, screen: Screen) -> String {
    let room = screen.width.map(|width| width.saturating_sub(LABEL + 1));
    let start = value.len().saturating_sub(DIGEST);
    let digest = value
        .get(start..)
        .filter(|end| end.len() == DIGEST && end.bytes().all(|byte| byte.is_ascii_hexdigit()));
    match (digest, room) {
        (Some(digest), Some(room)) if value.chars().count() > room => {
            format!("{}{}…", &value[..start], &digest[..DIGITS])
        }
        _ => value.to_owned(),
    }
}

impl<'a> InspectDocument<'a> {
    fn of(
        object: String,
        published: &'a Published<'_>,
        facts: &'a ReleaseFacts,
        shared_segments: Vec<SegmentDocument>,
    ) -> Self {
        let digest = published.manifest.as_ref().map(|(digest, _)| *digest);
        let manifest = published.manifest.as_ref().map(|(_, manifest)| manifest);
        let files = published.index().files().iter().map(|file| {
            let recorded = manifest.and_then(|manifest| manifest.files.get(&file.name));
            FileDocument {
                name: &file.name,
                size: file.size,
                executable: file.executable,
                sha256: recorded.map(|recorded| recorded.sha256),
            }
        });
        let terraform = manifest.map(|manifest| ProgramDocument {
            name: &manifest.terraform.name,
            version: &manifest.terraform.version,
            platform: manifest.terraform.platform.as_deref(),
            sha256: manifest.terraform.sha256,
        });
        Self {
            object,
            size: published.found().size,
            published: published.found().modified.map(whole_second),
            bundle_digest: digest,
            source_digest: manifest.map(|manifest| manifest.source_digest),
            terraform,
            platforms: manifest.and_then(|manifest| manifest.provider_platforms()),
            shared_segments,
            providers: published.providers(),
            release: facts.values(),
            files: files.collect(),
        }
    }
}

/// Returns the lines of the table; files that are executable are marked with `*`. A terminal that
/// is too narrow for digests gets their first digits.
fn table(document: &InspectDocument<'_>, screen: Screen) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| {
        lines.extend(labelled(
            &format!("{name:<LABEL$} "),
            &with_short_digest(&value, screen),
            screen,
        ));
    };
    line("object", document.object.clone());
    line("size", bytes_text(document.size));
    line("published", or_dash(document.published));
    line("bundle digest", or_dash(document.bundle_digest));
    line("source digest", or_dash(document.source_digest));
    if document.bundle_digest.is_none() {
        line("content", "not verified: the bundle has no manifest.json".to_owned());
    }
    if let Some(ProgramDocument { name, version, .. }) = &document.terraform {
        line("initialised with", format!("{name} {version}"));
    }
    if let Some(platforms) = &document.platforms {
        line("deploys on", platforms.join(", "));
    }
    for SegmentDocument { object, size } in &document.shared_segments {
        let size = size.map_or_else(|| "does not exist".to_owned(), bytes_text);
        line("shared segment", format!("{object}, {size}"));
    }
    document.providers.iter().for_each(|provider| line("provider", provider.to_string()));
    for (key, value) in document.release {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line(&format!("release.{key}"), text);
    }
    for file in &document.files {
        let mark = if file.executable { " *" } else { "" };
        let size = format!("{:>18} ", bytes_text(file.size));
        lines.extend(labelled(&size, &format!("{}{mark}", file.name), screen));
    }
    lines
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_fits_its_line() {
        let digest = "0123456789abcdef".repeat(4);
        let on = |value: &str, width| with_short_digest(value, Screen { width, has_links: false });
        assert_eq!(on(&digest, Some(80)), "0123456789abcdef…");
        assert_eq!(on(&digest, Some(83)), digest);
        assert_eq!(on(&digest, None), digest);
        let image = format!("registry.example/shop@sha256:{digest}");
        assert_eq!(on(&image, Some(80)), "registry.example/shop@sha256:0123456789abcdef…");
        for other in
            ["", "é", "registry.terraform.io/hashicorp/aws 6.0.0 linux_amd64", &digest[1..]]
        {
            assert_eq!(on(other, Some(20)), other);
        }
    }
}
