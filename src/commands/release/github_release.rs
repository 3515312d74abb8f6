//! Creates or completes the GitHub release of a tag after the release is published. Problems are
//! warnings.

use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
    },
    config::identity::Release,
    context::Context,
    release::{
        bundle::BundleManifest,
        published::{self, Published},
    },
    services::github::{self, Api, GitHubError, NewRelease, Section},
};

/// Another component's run might change the text between the read and the write.
const TRIES: usize = 3;

/// The keys of release.json that identify the artifact, with their labels.
const ARTIFACT: [(&str, &str); 4] = [
    ("commit", "commit"),
    ("image_id", "image"),
    ("s3_key", "Lambda zip"),
    ("source_code_hash", "its SHA-256, base64"),
];

/// Does nothing if the run is not for a tag.
pub(crate) async fn complete(context: &Context, release: &Release) {
    let log = &context.host.log;
    let run = context.host.run.as_deref();
    let Some(tag) = run.and_then(|run| run.tag.clone().filter(|_| run.github.is_some())) else {
        log.note("no GitHub release: the run is not for a tag");
        return;
    };
    log.step(&format!("GitHub release {tag}"));
    let completing = create_or_complete(context, release, &tag);
    match context.host.interrupt.or_leave("creating the GitHub release", completing).await {
        Ok(url) => log.note(&url),
        Err(error) => log.warning(&format!(
            "{} is released, but its GitHub release is incomplete: {error}",
            release.version
        )),
    }
}

async fn create_or_complete(context: &Context, release: &Release, tag: &str) -> Result<String> {
    let Some(published) = Published::open(&context.store, release).await? else {
        return Err(published::missing(&context.store, release).await);
    };
    let manifest = published.manifest.as_ref();
    let (digest, manifest) =
        manifest.ok_or_else(|| Error::integrity("the bundle has no manifest.json"))?;
    let section = section(context, release, &published, *digest, manifest).await?;
    let api =
        Api::of(&context.host, context.github_token.as_ref()).map_err(GitHubError::into_error)?;
    let on_github =
        with_section(&api, release, tag, &section).await.map_err(GitHubError::into_error)?;
    let name = format!("{}-{}.manifest.json", release.identity.component, release.version);
    put_asset(&api, &on_github, &name, manifest.to_bytes()?, *digest)
        .await
        .map_err(GitHubError::into_error)?;
    Ok(on_github.html_url)
}

async fn section<'r>(
    context: &Context,
    release: &'r Release,
    published: &Published<'_>,
    digest: Sha256,
    manifest: &BundleManifest,
) -> Result<Section<'r>> {
    let facts = published.facts().await?;
    let artifact =
        ARTIFACT.iter().filter_map(|(key, name)| Some((*name, facts.text(key)?.to_owned())));
    let mut rows = vec![("version", release.version.to_string())];
    rows.extend(artifact);
    // Only the key: a GitHub release can be public, and the bucket's name is internal.
    rows.push(("bundle", release.key()));
    rows.push(("bundle digest", digest.to_string()));
    rows.push(("made with", format!("{} {}", manifest.terraform.name, manifest.terraform.version)));
    rows.extend(
        published.providers().into_iter().map(|provider| ("provider", provider.to_string())),
    );
    let masked = |text: String| context.host.log.redactor.apply(&text).into_owned();
    let rows = rows.into_iter().map(|(name, value)| (name.to_owned(), masked(value))).collect();
    Ok(Section { component: &release.identity.component, rows })
}

/// Creates the release, or adds the section to the text of the existing one. Idempotent.
async fn with_section(
    api: &Api,
    release: &Release,
    tag: &str,
    section: &Section<'_>,
) -> Result<github::GitHubRelease, GitHubError> {
    let mut found = match api.release_by_tag(tag).await? {
        Some(found) => found,
        None => {
            // Generated notes are optional.
            let body = section.with_notes(&api.generate_notes(tag).await.unwrap_or_default());
            let prerelease = semver::Version::parse(release.version.as_str())
                .is_ok_and(|version| !version.pre.is_empty());
            api.create_release(&NewRelease { tag_name: tag, name: tag, body: &body, prerelease })
                .await?
        }
    };
    for _ in 0..TRIES {
        let body = found.body.as_deref().unwrap_or_default();
        let wanted = section.put_into(body);
        if wanted == body {
            break;
        }
        api.update_release(found.id, &wanted).await?;
        found = api.release_by_tag(tag).await?.unwrap_or(found);
    }
    Ok(found)
}

/// Uploads a file. GitHub keeps one asset per name, and an incomplete upload blocks the next one,
/// so a different asset is deleted first.
async fn put_asset(
    api: &Api,
    release: &github::GitHubRelease,
    name: &str,
    bytes: Vec<u8>,
    digest: Sha256,
) -> Result<(), GitHubError> {
    let existing = api.assets(release.id).await?.into_iter().find(|asset| asset.name == name);
    if let Some(asset) = existing {
        if asset.state == "uploaded" && asset.digest == Some(format!("sha256:{digest}")) {
            return Ok(());
        }
        api.delete_asset(asset.id).await?;
    }
    api.upload_asset(release, name, "application/json", bytes.into()).await.map(drop)
}
