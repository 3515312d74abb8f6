//! Pushes the image of a release, and moves `latest`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    latest::may_be_latest, name::LATEST, release_image::ReleaseImage, request::SOURCE_LABEL,
};
use crate::{
    base::error::{Error, Exit, Result},
    config::scheme::ImageRegistry,
    release::artifact::function,
    services::{
        aws::ecr::{Ecr, Pullers},
        docker::engine::PushRejection,
        registry::{ImageManifest, Registry, login::Login},
    },
};

/// Seconds before each retry of a push.
const PAUSES: [u64; 3] = [1, 3, 9];

/// The image that the tag refers to after a push.
enum Pushed {
    Ours(ImageManifest),
    /// Another run pushed it first.
    Theirs(ImageManifest),
}

impl ReleaseImage<'_> {
    /// Pushes the image unless the registry has it. Returns its keys of `var.release`.
    pub(crate) async fn push(&mut self) -> Result<BTreeMap<String, String>> {
        if let Some(existing) = &self.existing {
            return Ok(self.metadata(existing));
        }
        let host = self.target.host;
        host.log.step(&format!("Push the image {}", self.name.tag()));
        let pushed = tokio::select! {
            pushed = self.push_and_ask() => pushed?,
            () = host.interrupt.arrived() => {
                let exit = host.interrupt.requested().unwrap_or(Exit::Interrupted);
                let what = format!(
                    "push of `{}` cancelled: the release is not published",
                    self.name.tag()
                );
                return Err(Error::new(exit, what)
                    .hint("run the release again: it reuses an image that was pushed completely"));
            }
        };
        let image = match pushed {
            Pushed::Ours(image) => image,
            Pushed::Theirs(image) => {
                host.log.note("another run has pushed it from the same sources");
                self.existing = Some(image.clone());
                image
            }
        };
        host.log.note(&image.digest);
        Ok(self.metadata(&image))
    }

    /// Reads what the image was made from in its own labels, which also holds for a reused image.
    fn metadata(&self, image: &ImageManifest) -> BTreeMap<String, String> {
        let mut data = self.name.metadata(&image.digest);
        if self.function.is_some() {
            data.extend(function::metadata_of(&image.labels));
        }
        data
    }

    /// Moves the tag `latest`. Only people read it, so a failure is a warning.
    pub(crate) async fn move_latest(&self, commit: &str) {
        let log = &self.target.host.log;
        let keep = |why: &str| log.note(&format!("{} is not moved: {why}", self.name.latest()));
        if self.settings.immutable_tags {
            return keep("tags are immutable");
        }
        if let Err(why) = may_be_latest(&self.target.host.environment, commit) {
            return keep(&why);
        }
        if self.existing.is_some() && !self.is_of_pull_request {
            return keep("the image was not built by this run");
        }
        let moved = async {
            if let Some(existing) = &self.existing {
                let registry = Registry::new(&self.name.host, self.login().await?)?;
                registry.tag(&self.name.path, &existing.digest, LATEST).await?;
                return Ok(());
            }
            self.engine.tag(&self.name.tag(), &self.name.repository(), LATEST).await?;
            self.push_tag(LATEST).await
        };
        match self.target.host.interrupt.or_leave("moving `latest`", moved).await {
            Ok(()) => log.note(&format!("moved {} to this image", self.name.latest())),
            Err(error) if error.exit() == Exit::Refused => keep("tags are immutable"),
            Err(error) => log.warning(&format!("failed to move {}: {error}", self.name.latest())),
        }
    }

    /// Returns the image that the tag refers to, if it was made from the same sources. Fails with
    /// `Exit::Refused` if it was made from others.
    pub(super) async fn find(&self) -> Result<Option<ImageManifest>> {
        let registry = Registry::new(&self.name.host, self.login().await?)?;
        let found = registry.manifest(&self.name.path, self.name.version.as_str()).await?;
        let Some(found) = found else { return Ok(None) };
        let existing = found.labels.get(SOURCE_LABEL).map(String::as_str);
        if existing == Some(self.source.to_string().as_str()) {
            return Ok(Some(found));
        }
        Err(Error::refused(format!("the image `{}` exists with other content", self.name.tag()))
            .why(format!(
                "its source digest is {}, the source digest of this checkout is {}; \
                 the image is {}",
                existing.unwrap_or("missing"),
                self.source,
                found.digest
            ))
            .hint("release under a new version"))
    }

    async fn push_and_ask(&self) -> Result<Pushed> {
        if let ImageRegistry::Ecr { account_id } = &self.target.registry {
            let accounts = self.target.scheme.accounts.values();
            let others: Vec<&str> = accounts.filter_map(|account| account.id.as_deref()).collect();
            let region = &self.target.scheme.default_region;
            let pullers = Pullers { owner: account_id, region, others: &others, lambda: true };
            let ecr = self.ecr(account_id)?;
            let notes =
                ecr.prepare(&self.name.path, self.settings.immutable_tags, &pullers).await?;
            notes.iter().for_each(|note| self.target.host.log.note(note));
        }
        // A build takes minutes, and another run might have pushed in that time. Moving the tag
        // would leave its image untagged, and registries delete untagged images, although a
        // release refers to it by digest.
        if let Some(image) = self.find().await? {
            return Ok(Pushed::Theirs(image));
        }
        self.push_tag(self.name.version.as_str()).await?;
        self.find().await?.map(Pushed::Ours).ok_or_else(|| {
            Error::new(
                Exit::Unavailable,
                format!("the image `{}` disappeared after the push", self.name.tag()),
            )
            .hint("find out who deletes images, then run the release again")
        })
    }

    /// Renews an expired login once, and retries after failures of the registry.
    async fn push_tag(&self, tag: &str) -> Result<()> {
        let log = &self.target.host.log;
        let repository = self.name.repository();
        let mut login = self.login().await?;
        let (mut pauses, mut is_renewed) = (PAUSES.iter(), false);
        let tagged = format!("{repository}:{tag}");
        let failed = |refusal: &PushRejection| {
            push_error(&tagged, refusal, &self.name.host, self.engine.is_podman)
        };
        loop {
            match self.engine.push(&repository, tag, &self.name.host, login.as_ref(), log).await {
                Ok(()) => return Ok(()),
                Err(PushRejection::Unauthorized(_)) if !is_renewed => {
                    is_renewed = true;
                    login = self.login().await?;
                }
                Err(PushRejection::Trouble(text)) => match pauses.next() {
                    Some(pause) => {
                        log.warning(&format!(
                            "failed to push {tagged}, retrying in {pause} s: {text}"
                        ));
                        tokio::time::sleep(Duration::from_secs(*pause)).await;
                    }
                    None => {
                        return Err(failed(&PushRejection::Trouble(text)));
                    }
                },
                Err(refusal) => return Err(failed(&refusal)),
            }
        }
    }

    /// Returns a new login each time: one of ECR expires after twelve hours, and a build is slow.
    pub(super) async fn login(&self) -> Result<Option<Login>> {
        let host = self.target.host;
        match &self.target.registry {
            ImageRegistry::Ecr { account_id } => {
                self.ecr(account_id)?.login(&host.log.redactor).await.map(Some)
            }
            ImageRegistry::Host(name) => self.logins.for_host(name, host).await,
        }
    }

    fn ecr(&self, account_id: &str) -> Result<Ecr> {
        let session = self.target.session.ok_or_else(|| {
            Error::input(format!("cannot use {} without a role", self.name.host)).hint(
                "give the release account a `role` in the account scheme, or set \
                 `image-registry` there",
            )
        })?;
        let region = self.target.scheme.default_region.clone();
        Ok(Ecr::new(&session.config, account_id.to_owned(), region))
    }
}

/// Returns the error for a registry without TLS. Docker's engine uses HTTP for loopback addresses,
/// podman for none.
fn plain_http(image: &str, registry: &str, is_podman: bool) -> Error {
    let engine = if is_podman { "Podman" } else { "the Docker engine" };
    let error = Error::input(format!("cannot push the image `{image}`"))
        .why(format!("the registry `{registry}` uses HTTP, and {engine} expects HTTPS"));
    match is_podman {
        true => error.hint(format!(
            "to allow HTTP, add this to registries.conf of Podman: `[[registry]]`, \
             `location = \"{registry}\"`, `insecure = true`"
        )),
        false => error.hint(format!(
            "to allow HTTP, add `{registry}` to `insecure-registries` in daemon.json, and restart \
             the engine"
        )),
    }
    .hint("or give the registry a certificate")
}

fn push_error(image: &str, refusal: &PushRejection, registry: &str, is_podman: bool) -> Error {
    let (exit, hint) = match refusal {
        PushRejection::Unauthorized(_) => {
            (Exit::Credentials, "give cdflow a login for this registry")
        }
        PushRejection::Denied(_) => {
            (Exit::Credentials, "allow this identity to push to the repository")
        }
        PushRejection::Missing(_) => {
            (Exit::Input, "create the repository, or correct the component's name")
        }
        PushRejection::Immutable(_) => (Exit::Refused, "release under a new version"),
        PushRejection::PlainHttp(_) => return plain_http(image, registry, is_podman),
        PushRejection::Trouble(_) => {
            (Exit::Unavailable, "try again later: the release reuses an image that was pushed")
        }
    };
    Error::new(exit, format!("cannot push the image `{image}`")).why(refusal.text()).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_a_failed_push() {
        let exit = |refusal| push_error("r:1", &refusal, "r", true).exit();
        let text = String::new;
        assert_eq!(exit(PushRejection::Unauthorized(text())), Exit::Credentials);
        assert_eq!(exit(PushRejection::Denied(text())), Exit::Credentials);
        assert_eq!(exit(PushRejection::Missing(text())), Exit::Input);
        assert_eq!(exit(PushRejection::Immutable(text())), Exit::Refused);
        assert_eq!(exit(PushRejection::Trouble(text())), Exit::Unavailable);
        assert_eq!(exit(PushRejection::PlainHttp(text())), Exit::Input);
    }

    #[test]
    fn a_registry_without_tls_needs_a_setting_of_the_engine() {
        let error = |is_podman| {
            let rejection = PushRejection::PlainHttp("x".to_owned());
            push_error("r.example:5000/a:1", &rejection, "r.example:5000", is_podman).to_string()
        };
        let podman = error(true);
        assert!(podman.contains("the registry `r.example:5000` uses HTTP, and Podman"), "{podman}");
        assert!(podman.contains("`location = \"r.example:5000\"`, `insecure = true`"), "{podman}");
        let docker = error(false);
        let says = "add `r.example:5000` to `insecure-registries` in daemon.json";
        assert!(docker.contains(says) && !docker.contains("registries.conf"), "{docker}");
    }
}
