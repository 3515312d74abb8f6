//! The image of a release: found in the registry, or built and pushed; then `latest`.

use std::{collections::BTreeMap, fs, time::Duration};

use serde_json::Value;

use crate::{
    base::{
        digest::Sha256,
        error::{Error, Exit, Result},
        process::Program,
        process_env::ProcessEnv,
    },
    cli::args::ReleaseInputs,
    commands::function,
    config::{component::Docker, identity::Release, scheme::ImageRegistry},
    context::Context,
    release::artifact::{
        self,
        function::{Code, Images, Profile},
        image::{self, ImageName, ImageSources, LATEST, SOURCE_LABEL},
    },
    services::{
        aws::ecr::{Ecr, Pullers},
        docker::{
            context::{Builder as FilesFor, Context as Files},
            engine::{Builder, Credentials, Endpoint, Engine, Refusal},
        },
        git::{Checkout, Git},
        registry::{
            Manifest, Registry,
            logins::{Login, Logins},
        },
    },
};

/// A registry in trouble is asked again after so many seconds.
const PAUSES: [u64; 3] = [1, 3, 9];

/// The engine, and what it is going to build from.
pub(crate) struct Parts {
    /// None only where nothing will be built.
    engine: Option<Engine>,
    settings: Docker,
    logins: Logins,
    /// Of a function: its code, and the images as they are named.
    function: Option<(Code, Images)>,
    pub(crate) sources: ImageSources,
}

impl Parts {
    /// The engine is asked first: which files it gets depends on its builder.
    pub(crate) async fn read(
        context: &Context,
        checkout: &Checkout,
        inputs: &ReleaseInputs,
    ) -> Result<Self> {
        let settings = context.manifest.docker.clone().unwrap_or_default();
        let (engine, logins) = engine_and_logins(context, inputs).await?;
        let builder = match engine.as_ref().map(|engine| engine.builder) {
            Some(Builder::Classic { .. }) => FilesFor::Classic,
            Some(Builder::BuildKit) | None => FilesFor::BuildKit,
        };
        let sources = image::sources(&settings, &context.folder, &checkout.root, builder)?;
        Ok(Self { engine, settings, logins, function: None, sources })
    }

    pub(crate) async fn read_function(context: &Context, inputs: &ReleaseInputs) -> Result<Self> {
        let settings = context.manifest.function.clone().unwrap_or_default();
        let (folder, environment) = (&context.folder, &context.host.environment);
        let images =
            Images::choose(Profile::Release, &inputs.build.images, folder, &settings, environment)?;
        let code = Code::find(folder)?;
        let sources = image::of_function(&code, &images, folder)?;
        let (engine, logins) = engine_and_logins(context, inputs).await?;
        Ok(Self {
            engine,
            settings: Docker::default(),
            logins,
            function: Some((code, images)),
            sources,
        })
    }

    pub(crate) async fn show(&self, context: &Context, release: &Release) -> Result<()> {
        let log = &context.host.log;
        if let Some((code, images)) = &self.function {
            log.output(&format!(
                "{:<22} {}",
                "image",
                ImageName::new(host(context)?, release)?.tag()
            ));
            for base in
                function::found(images, self.engine.as_ref(), &self.logins, &context.host).await
            {
                log.output(&base);
            }
            code.dockerfile(Profile::Release, images)
                .lines()
                .for_each(|line| log.output(&format!("Dockerfile    {line}")));
            return Ok(());
        }
        let line = |what: &str, value: &str| log.output(&format!("{what:<22} {value}"));
        line("image", &ImageName::new(host(context)?, release)?.tag());
        line("Dockerfile", &self.sources.context.dockerfile);
        self.sources.bases.iter().for_each(|base| line("built from", base));
        self.settings.target.iter().for_each(|target| line("target", target));
        self.settings.platforms.iter().for_each(|platform| line("platform", &platform.0));
        self.settings.build_args.keys().for_each(|name| line("build argument", name));
        self.settings.secrets.iter().for_each(|name| line("build secret", &name.0));
        Ok(())
    }
}

async fn engine_and_logins(
    context: &Context,
    inputs: &ReleaseInputs,
) -> Result<(Option<Engine>, Logins)> {
    let host = &context.host;
    context.identity.component.check_as_image()?;
    let logins = Logins::gather(&inputs.build.registries, &host.environment, &host.log.redactor)?;
    let connecting = Engine::connect(host);
    match host.interrupt.or_cancel("asking the Docker engine", connecting).await {
        Ok(engine) => Ok((Some(engine), logins)),
        Err(absent) if inputs.dry_run && absent.exit() == Exit::Input => {
            host.log.note(&absent.to_string());
            Ok((None, logins))
        }
        Err(absent) => Err(absent),
    }
}

/// An image on its way into the registry.
pub(crate) struct Image<'a> {
    context: &'a Context,
    engine: Engine,
    registry: ImageRegistry,
    settings: Docker,
    logins: Logins,
    function: Option<(Code, Images)>,
    name: ImageName,
    source: Sha256,
    /// Set when the registry has it already.
    there: Option<Manifest>,
}

/// What has the tag.
enum Pushed {
    Ours(Manifest),
    /// Somebody was faster.
    Theirs(Manifest),
}

impl<'a> Image<'a> {
    /// Adopts what an earlier try has pushed, or builds and runs the hook; nothing is pushed yet.
    pub(crate) async fn prepare(
        context: &'a Context,
        release: &Release,
        checkout: &Checkout,
        parts: Parts,
        source: Sha256,
    ) -> Result<Self> {
        let engine =
            parts.engine.ok_or_else(|| Error::internal("there is no engine to build with"))?;
        let (registry, name) =
            (context.scheme.image_registry()?, ImageName::new(host(context)?, release)?);
        let mut image = Self {
            context,
            engine,
            registry,
            settings: parts.settings,
            logins: parts.logins,
            function: parts.function,
            name,
            source,
            there: None,
        };
        let interrupt = &context.host.interrupt;
        image.there = interrupt.or_cancel("asking the registry", image.find()).await?;
        if let Some(there) = &image.there {
            context.host.log.step(&format!("Take over the image {}", image.name.tag()));
            context.host.log.note(&format!(
                "an earlier try has pushed it, from the same sources: {}",
                there.digest
            ));
            return Ok(image);
        }
        image.build(release, checkout, &parts.sources.hook, parts.sources.context).await?;
        Ok(image)
    }

    /// Afterwards the registry has it. What Terraform is told of it.
    pub(crate) async fn push(&mut self) -> Result<BTreeMap<String, String>> {
        if let Some(there) = &self.there {
            return Ok(self.metadata(there));
        }
        let host = &self.context.host;
        host.log.step(&format!("Push the image {}", self.name.tag()));
        let pushed = tokio::select! {
            pushed = self.push_and_ask() => pushed?,
            () = host.interrupt.arrived() => {
                let exit = host.interrupt.requested().unwrap_or(Exit::Interrupted);
                let what = format!("cancelled while `{}` was pushed: the release is not published", self.name.tag());
                return Err(Error::new(exit, what).hint("release again: what is in the registry by then is taken over"));
            }
        };
        let image = match pushed {
            Pushed::Ours(image) => image,
            Pushed::Theirs(image) => {
                host.log.note("another run has pushed it meanwhile, from the same sources");
                self.there = Some(image.clone());
                image
            }
        };
        host.log.note(&image.digest);
        Ok(self.metadata(&image))
    }

    /// The image itself says what it was made from, so that this is true also of one that is taken over.
    fn metadata(&self, image: &Manifest) -> BTreeMap<String, String> {
        let mut data = self.name.metadata(&image.digest);
        if self.function.is_some() {
            data.extend(artifact::function::metadata_of(&image.labels));
        }
        data
    }

    /// For people; nothing in cdflow reads it, so that trouble with it is no reason to fail.
    pub(crate) async fn move_latest(&self, commit: &str) {
        let log = &self.context.host.log;
        let stays = |why: &str| log.note(&format!("{} stays as it is: {why}", self.name.latest()));
        if self.settings.immutable_tags {
            return stays("tags are immutable");
        }
        if let Err(why) = may_be_latest(&self.context.host.environment, commit) {
            return stays(&why);
        }
        if self.there.is_some() {
            return stays("the image was not built by this run");
        }
        let moved = async {
            self.engine.tag(&self.name.tag(), &self.name.repository(), LATEST).await?;
            self.push_tag(LATEST).await
        };
        match self.context.host.interrupt.or_cancel("moving `latest`", moved).await {
            Ok(()) => log.note(&format!("{} is this image now", self.name.latest())),
            Err(error) if error.exit() == Exit::Refused => stays("tags are immutable"),
            Err(error) => log.warning(&format!("{} was not moved: {error}", self.name.latest())),
        }
    }

    /// What the tag stands for, if that was made from the same sources.
    async fn find(&self) -> Result<Option<Manifest>> {
        let registry = Registry::new(&self.name.host, self.login().await?)?;
        let Some(found) = registry.manifest(&self.name.path, self.name.version.as_str()).await?
        else {
            return Ok(None);
        };
        let there = found.labels.get(SOURCE_LABEL).map(String::as_str);
        if there == Some(self.source.to_string().as_str()) {
            return Ok(Some(found));
        }
        Err(Error::refused(format!("the image `{}` exists with other content", self.name.tag()))
            .why(format!(
                "its source digest is {}, this checkout's is {}; the image is {}",
                there.unwrap_or("not said"),
                self.source,
                found.digest
            ))
            .hint("release under a new version"))
    }

    async fn build(
        &self,
        release: &Release,
        checkout: &Checkout,
        hook: &Option<std::path::PathBuf>,
        files: Files,
    ) -> Result<()> {
        let host = &self.context.host;
        host.log.step(&format!("Build the image {}", self.name.tag()));
        let secrets = image::secrets(&self.settings.secrets, &host.environment, &host.log)?;
        let own = self.login().await?.map(|login| (self.name.host.clone(), login));
        // Of two logins for one registry the first counts: ours is the newest.
        let credentials = Credentials::new(own.into_iter().chain(self.logins.all(host).await?));
        let git = Git::find(&host.environment.for_programs(), &host.log, &host.interrupt)?;
        let origin = git.origin(&self.context.folder).await?;
        let labels = image::labels(release, &checkout.commit, origin.as_deref(), self.source);
        let (files, of_bases) = self.based(files).await?;
        let labels = labels.into_iter().chain(of_bases).collect();
        let build = image::build(&self.name, &self.settings, &files, labels, secrets, credentials);
        let building = self.engine.build_from(&build, files, &host.log);
        host.interrupt.or_cancel("building the image", building).await?;
        match hook {
            Some(hook) => self.run_hook(hook).await,
            None => Ok(()),
        }
    }

    /// A function is built from its base images as they are now, and says which.
    async fn based(&self, files: Files) -> Result<(Files, BTreeMap<String, String>)> {
        let Some((code, images)) = &self.function else { return Ok((files, BTreeMap::new())) };
        let host = &self.context.host;
        let asking = function::pinned(images, &self.engine, &self.logins, host);
        let pinned = host.interrupt.or_cancel("asking for the base images", asking).await?;
        Ok((
            code.context(Profile::Release, &pinned.images)?,
            artifact::function::labels(&pinned.records),
        ))
    }

    async fn run_hook(&self, hook: &std::path::Path) -> Result<()> {
        let host = &self.context.host;
        host.log.step("Run on-docker-build");
        let mut env = host.environment.for_docker();
        let engine = || Endpoint::find(&host.environment).map(|engine| engine.to_string().into());
        if host.environment.get("DOCKER_HOST").is_none() {
            env.insert("DOCKER_HOST".into(), engine()?);
        }
        let program = Program::new(hook, &self.context.folder, &env).args([self.name.tag()]);
        let ended =
            program.relay(&host.log, &host.interrupt, &mut |line| host.log.output(line)).await?;
        host.interrupt.check("pushing the image")?;
        match ended.code {
            0 => Ok(()),
            code => Err(Error::new(
                Exit::BuildFailed,
                format!("`{}` failed with exit code {code}", hook.display()),
            )
            .why("nothing was pushed")
            .hint("its output stands above; run it by hand with the image's name as its argument")),
        }
    }

    async fn push_and_ask(&self) -> Result<Pushed> {
        if let ImageRegistry::Ecr { account_id } = &self.registry {
            let accounts = self.context.scheme.accounts.values();
            let others: Vec<&str> = accounts.filter_map(|account| account.id.as_deref()).collect();
            let region = &self.context.scheme.default_region;
            let pullers = Pullers { owner: account_id, region, others: &others, lambda: true };
            let ecr = self.ecr(account_id)?;
            let notes =
                ecr.prepare(&self.name.path, self.settings.immutable_tags, &pullers).await?;
            notes.iter().for_each(|note| self.context.host.log.note(note));
        }
        // Building takes minutes. Under our tag another run's image would lose its own, and with that its life: its release
        // names it by the digest.
        if let Some(image) = self.find().await? {
            return Ok(Pushed::Theirs(image));
        }
        self.push_tag(self.name.version.as_str()).await?;
        self.find().await?.map(Pushed::Ours).ok_or_else(|| {
            Error::new(
                Exit::Unavailable,
                format!("the image `{}` was pushed, and is not there", self.name.tag()),
            )
            .hint("somebody deletes images; try again")
        })
    }

    /// A login that has run out is renewed once, trouble is waited for a little.
    async fn push_tag(&self, tag: &str) -> Result<()> {
        let log = &self.context.host.log;
        let repository = self.name.repository();
        let mut login = self.login().await?;
        let (mut pauses, mut is_renewed) = (PAUSES.iter(), false);
        loop {
            match self.engine.push(&repository, tag, &self.name.host, login.as_ref(), log).await {
                Ok(()) => return Ok(()),
                Err(Refusal::Unauthorized(_)) if !is_renewed => {
                    is_renewed = true;
                    login = self.login().await?;
                }
                Err(Refusal::Trouble(text)) => match pauses.next() {
                    Some(pause) => {
                        log.warning(&format!(
                            "pushing {repository}:{tag} failed, again in {pause} s: {text}"
                        ));
                        tokio::time::sleep(Duration::from_secs(*pause)).await;
                    }
                    None => return Err(refused(&repository, tag, &Refusal::Trouble(text))),
                },
                Err(refusal) => return Err(refused(&repository, tag, &refusal)),
            }
        }
    }

    /// Fresh each time: ECR's is good for twelve hours, and a build may have taken some.
    async fn login(&self) -> Result<Option<Login>> {
        match &self.registry {
            ImageRegistry::Ecr { account_id } => {
                self.ecr(account_id)?.login(&self.context.host.log.redactor).await.map(Some)
            }
            ImageRegistry::Host(host) => self.logins.for_host(host, &self.context.host).await,
        }
    }

    fn ecr(&self, account_id: &str) -> Result<Ecr> {
        let session = self.context.release_session.as_ref().ok_or_else(|| {
            Error::input(format!("{} can't be reached without a role", self.name.host))
                .hint("give the release account a `role` in the account scheme, or name an `image-registry` there")
        })?;
        Ok(Ecr::new(
            &session.config,
            account_id.to_owned(),
            self.context.scheme.default_region.clone(),
        ))
    }
}

fn host(context: &Context) -> Result<String> {
    let region = &context.scheme.default_region;
    Ok(match context.scheme.image_registry()? {
        ImageRegistry::Host(host) => host,
        ImageRegistry::Ecr { account_id } => {
            let domain =
                if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("{account_id}.dkr.ecr.{region}.{domain}")
        }
    })
}

fn refused(repository: &str, tag: &str, refusal: &Refusal) -> Error {
    let (exit, hint) = match refusal {
        Refusal::Unauthorized(_) => (Exit::Credentials, "give cdflow a login for this registry"),
        Refusal::Denied(_) => {
            (Exit::Credentials, "this identity must be allowed to push to the repository")
        }
        Refusal::Missing(_) => {
            (Exit::Input, "make the repository, or correct the component's name")
        }
        Refusal::Immutable(_) => (Exit::Refused, "release under a new version"),
        Refusal::Trouble(_) => {
            (Exit::Unavailable, "try again later: what is in the registry by then is taken over")
        }
    };
    Error::new(exit, format!("the image `{repository}:{tag}` can't be pushed"))
        .why(refusal.text())
        .hint(hint)
}

/// Else the reason why not.
fn may_be_latest(environment: &ProcessEnv, commit: &str) -> Result<(), String> {
    if environment.get("GITHUB_ACTIONS").is_none() {
        return match environment.get("CI") {
            None => Ok(()),
            Some(_) => {
                Err("in CI it is moved on GitHub Actions only, where the default branch is known"
                    .to_owned())
            }
        };
    }
    let is_request =
        environment.get("GITHUB_EVENT_NAME").is_some_and(|event| event.starts_with("pull_request"));
    let named = environment.get("GITHUB_REF_NAME").unwrap_or_default();
    if is_request || named.is_empty() {
        return Err("this is no release of the default branch".to_owned());
    }
    if environment.get("GITHUB_REF_TYPE") == Some("tag") {
        return Ok(());
    }
    let event = environment.get("GITHUB_EVENT_PATH").and_then(|path| fs::read(path).ok());
    let event =
        event.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()).unwrap_or_default();
    match event["repository"]["default_branch"].as_str() {
        // An event that runs on the default branch, such as a comment, may have checked out a pull request.
        Some(default) if default == named && environment.get("GITHUB_SHA") != Some(commit) => {
            Err(format!("checked out is another commit than that of the run on `{default}`"))
        }
        Some(default) if default == named => Ok(()),
        Some(default) => Err(format!("`{named}` is not the default branch `{default}`")),
        None => Err("the event does not say which branch is the default one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_latest() {
        let folder = tempfile::tempdir().unwrap();
        let event = folder.path().join("event.json");
        fs::write(&event, r#"{"repository": {"default_branch": "main"}}"#).unwrap();
        let may = |variables: &[(&str, &str)]| {
            let event = ("GITHUB_EVENT_PATH", event.to_str().unwrap());
            let all = variables
                .iter()
                .chain([&event])
                .map(|(name, value)| ((*name).into(), (*value).into()));
            may_be_latest(&ProcessEnv::new(all), "abc").is_ok()
        };
        let actions = ("GITHUB_ACTIONS", "true");
        assert!(may(&[]));
        assert!(!may(&[("CI", "true")]));
        let main = [actions, ("GITHUB_REF_NAME", "main"), ("GITHUB_REF_TYPE", "branch")];
        let started_for = |commit| [&main[..], &[("GITHUB_SHA", commit)]].concat();
        assert!(may(&started_for("abc")));
        assert!(
            !may(&started_for("def")) && !may(&main),
            "a comment's run that has checked out a pull request"
        );
        assert!(may(&[actions, ("GITHUB_REF_NAME", "v1"), ("GITHUB_REF_TYPE", "tag")]));
        assert!(!may(&[actions, ("GITHUB_REF_NAME", "feature"), ("GITHUB_REF_TYPE", "branch")]));
        assert!(!may(&[
            actions,
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_EVENT_NAME", "pull_request_target")
        ]));
        assert!(!may(&[actions]));
    }

    #[test]
    fn what_a_refused_push_means() {
        let exit = |refusal| refused("r", "1", &refusal).exit();
        let text = String::new;
        assert_eq!(exit(Refusal::Unauthorized(text())), Exit::Credentials);
        assert_eq!(exit(Refusal::Denied(text())), Exit::Credentials);
        assert_eq!(exit(Refusal::Missing(text())), Exit::Input);
        assert_eq!(exit(Refusal::Immutable(text())), Exit::Refused);
        assert_eq!(exit(Refusal::Trouble(text())), Exit::Unavailable);
    }
}
