//! inspect: shows the contents of a published release without downloading all of it.

use serde_json::{Value, json};

use crate::{
    base::{
        error::Result,
        printable,
        table::{Screen, labelled},
        units::bytes_text,
    },
    cli::args::InspectInputs,
    context::Context,
    release::{
        bundle::BundleManifest,
        facts::ReleaseFacts,
        published::{self, ProviderPackage, Published},
    },
};

/// The width of the first column.
const LABEL: usize = 18;
/// The digits of a SHA-256, and those that a narrow terminal shows.
const DIGEST: usize = 64;
const DIGITS: usize = 16;

/// Prints the release as a table or as JSON.
pub(crate) async fn run(context: &Context, inputs: &InspectInputs) -> Result<()> {
    let release = context.release(inputs.version.clone());
    let Some(published) = Published::open(&context.store, &release).await? else {
        return Err(published::missing(&context.store, &release).await);
    };
    let facts = published.facts().await?;
    let place = context.store.describe(&release.key());
    let document = document(&place, &published, &facts);
    match inputs.json {
        true => context.host.log.json(&document),
        // Others could have written the bundle.
        false => {
            let lines = table(&document, &published.providers(), context.host.screen());
            lines.iter().for_each(|line| context.host.log.output(&printable::line(line)));
        }
    }
    Ok(())
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

/// Returns the release as JSON, the format of `inspect --json`.
fn document(place: &str, published: &Published<'_>, facts: &ReleaseFacts) -> Value {
    let manifest = published.manifest.as_ref();
    let files = published.index.files().iter().map(|file| {
        let recorded = manifest.and_then(|(_, manifest)| manifest.files.get(&file.name));
        json!({
            "name": file.name,
            "size": file.size,
            "executable": file.executable,
            "sha256": recorded.map(|recorded| recorded.sha256),
        })
    });
    let terraform = manifest.map(|(_, BundleManifest { terraform, .. })| {
        json!({
            "name": terraform.name,
            "version": terraform.version,
            "platform": terraform.platform,
            "sha256": terraform.sha256,
        })
    });
    let time = published.found.modified;
    json!({
        "object": place,
        "size": published.found.size,
        "published": time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        "bundle_digest": manifest.map(|(digest, _)| digest),
        "source_digest": manifest.map(|(_, manifest)| manifest.source_digest),
        "terraform": terraform,
        "platforms": manifest.and_then(|(_, manifest)| manifest.provider_platforms()),
        "providers": published.providers(),
        "release": facts.values(),
        "files": files.collect::<Vec<_>>(),
    })
}

/// Returns the lines of the table; files that are executable are marked with `*`. A terminal that
/// is too narrow for digests gets their first digits.
fn table(document: &Value, providers: &[ProviderPackage], screen: Screen) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| {
        lines.extend(labelled(
            &format!("{name:<LABEL$} "),
            &with_short_digest(&value, screen),
            screen,
        ));
    };
    line("object", text(&document["object"]));
    line("size", bytes_text(document["size"].as_u64().unwrap_or(0)));
    for key in ["published", "bundle_digest", "source_digest"] {
        let value = &document[key];
        line(&key.replace('_', " "), if value.is_null() { "-".to_owned() } else { text(value) });
    }
    if document["bundle_digest"].is_null() {
        line("content", "not verified: the bundle has no manifest.json".to_owned());
    }
    if let (Some(name), Some(version)) =
        (document["terraform"]["name"].as_str(), document["terraform"]["version"].as_str())
    {
        line("initialised with", format!("{name} {version}"));
    }
    if let Some(platforms) = document["platforms"].as_array() {
        line("deploys on", platforms.iter().map(text).collect::<Vec<_>>().join(", "));
    }
    providers.iter().for_each(|provider| line("provider", provider.to_string()));
    for (key, value) in document["release"].as_object().into_iter().flatten() {
        line(&format!("release.{key}"), text(value));
    }
    for file in document["files"].as_array().into_iter().flatten() {
        let mark = if file["executable"] == true { " *" } else { "" };
        let size = format!("{:>18} ", bytes_text(file["size"].as_u64().unwrap_or(0)));
        lines.extend(labelled(&size, &format!("{}{mark}", text(&file["name"])), screen));
    }
    lines
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
