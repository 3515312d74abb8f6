//! Loads the account scheme that cdflow.yml names, and the scheme that replaces it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::sessions::{FIRST_REGION, first_session};
use crate::{
    base::{
        error::{Error, Result},
        small_file,
        spelling::nearest,
    },
    cli::args::Global,
    config::{
        component::SchemeUrl,
        identity::Identity,
        names::{Component, Team},
        scheme::AccountScheme,
    },
    services::{aws::session::RootSession, ci::host::Host, store::S3Store},
};

/// In bytes.
const SCHEME_LIMIT: u64 = 1 << 20;

/// Which account scheme is used if the one in cdflow.yml names a successor for the component.
#[derive(Clone)]
pub(crate) enum SchemeUpgrade {
    /// The scheme names none.
    None,
    /// The successor is used instead of this old scheme.
    From(LoadedScheme),
    /// The old scheme is used because of `--old-account-scheme`; this is the successor.
    Postponed(LoadedScheme),
}

/// An account scheme, and the identity that the component has in it.
#[derive(Clone)]
pub(crate) struct LoadedScheme {
    pub(crate) url: SchemeUrl,
    pub(crate) scheme: AccountScheme,
    pub(crate) identity: Identity,
}

impl LoadedScheme {
    /// Returns the file that it was read from, if it is one.
    pub(crate) fn file(&self, folder: &Path) -> Option<PathBuf> {
        match &self.url {
            SchemeUrl::Path(path) => Some(folder.join(path)),
            SchemeUrl::S3 { .. } => None,
        }
    }
}

impl SchemeUpgrade {
    /// Returns the scheme that is not in use.
    pub(crate) fn loaded(&self) -> Option<&LoadedScheme> {
        match self {
            Self::None => None,
            Self::From(other) | Self::Postponed(other) => Some(other),
        }
    }

    /// Returns the scheme that is not used.
    pub(super) fn other(&mut self) -> Option<&mut AccountScheme> {
        match self {
            Self::None => None,
            Self::From(other) | Self::Postponed(other) => Some(&mut other.scheme),
        }
    }

    pub(super) fn log(&self, host: &Host) {
        match self {
            Self::None => {}
            Self::From(old) => {
                let to = old.scheme.moved_to.as_deref().unwrap_or_default();
                host.log.note(&format!(
                    "this component has moved from the account scheme {} to {to}",
                    old.url
                ));
            }
            Self::Postponed(new) => {
                host.log.warning(&format!(
                    "using the old account scheme, although the component has moved to {}",
                    new.url
                ));
            }
        }
    }
}

/// Reads the account scheme at `url`. A scheme in S3 is read as `root`, which is the first session.
pub(crate) async fn load(
    url: &SchemeUrl,
    folder: &Path,
    team: &Team,
    component: &Component,
    root: Option<&RootSession>,
) -> Result<LoadedScheme> {
    let scheme = read_scheme(url, folder, (team, component), root).await?;
    let identity =
        Identity { team: team.clone(), component: component.clone(), layout: scheme.layout };
    Ok(LoadedScheme { url: url.clone(), scheme, identity })
}

/// Returns the scheme to use, given the one that cdflow.yml names.
pub(crate) async fn follow_upgrade(
    named: LoadedScheme,
    global: &Global,
    folder: &Path,
    root: &mut Option<RootSession>,
    host: &Host,
) -> Result<(LoadedScheme, SchemeUpgrade)> {
    let Some(text) = &named.scheme.moved_to else {
        return match global.old_account_scheme {
            true => Err(Error::input("cannot use the old account scheme")
                .why(format!("{} names no new account scheme", named.url))
                .hint("remove --old-account-scheme")),
            false => Ok((named, SchemeUpgrade::None)),
        };
    };
    let url = resolve_new_url(&named.url, text)?;
    if root.is_none() {
        *root = first_session(&url, &global.aws, host).await?;
    }
    let Identity { team, component, .. } = &named.identity;
    let other = load(&url, folder, team, component, root.as_ref()).await?;
    if let Some(next) = &other.scheme.moved_to {
        return Err(Error::input(format!(
            "`{component}` has moved twice: from {} to {url}, and from there to {next}",
            named.url
        ))
        .why("states are migrated only from one account scheme to the next")
        .hint(format!("set `account-scheme-url` in cdflow.yml to {url}")));
    }
    Ok(match global.old_account_scheme {
        true => (named, SchemeUpgrade::Postponed(other)),
        false => (other, SchemeUpgrade::From(named)),
    })
}

/// Parses `new-url`. A path is relative to the folder of the old scheme.
fn resolve_new_url(old: &SchemeUrl, text: &str) -> Result<SchemeUrl> {
    let rejected = |why: String| {
        Error::input(format!(
            "invalid `new-url` in the account scheme {old}: `{}`",
            text.escape_debug()
        ))
        .why(why)
    };
    match (old, text.parse::<SchemeUrl>().map_err(rejected)?) {
        (SchemeUrl::Path(old), SchemeUrl::Path(path)) => {
            Ok(SchemeUrl::Path(old.parent().unwrap_or(Path::new("")).join(path)))
        }
        (SchemeUrl::S3 { .. }, SchemeUrl::Path(_)) => {
            Err(rejected("a path needs a folder, which a scheme in S3 does not have".to_owned()))
        }
        (_, url) => Ok(url),
    }
}

/// Returns the name of a file in the same folder that was probably meant.
fn near(path: &Path) -> Option<String> {
    let typed = path.file_name()?.to_str()?;
    let files = fs::read_dir(path.parent()?).ok()?.filter_map(Result::ok);
    let names: Vec<String> = files.filter_map(|it| it.file_name().into_string().ok()).collect();
    let schemes = names.iter().map(String::as_str).filter(|name| name.ends_with(".json"));
    Some(path.with_file_name(nearest(typed, schemes)?).display().to_string())
}

async fn read_scheme(
    url: &SchemeUrl,
    folder: &Path,
    (team, component): (&Team, &Component),
    root: Option<&RootSession>,
) -> Result<AccountScheme> {
    match url {
        SchemeUrl::Path(path) => {
            // Without `.` in its middle, which messages would show.
            let path: PathBuf = folder.join(path).components().collect();
            let text = small_file::text(&path).map_err(|error| {
                let unread = Error::io("cannot read the account scheme", &path, &error);
                match (error.kind(), near(&path)) {
                    (ErrorKind::NotFound, Some(near)) => unread.hint(format!(
                        "did you mean `{near}`? Correct `account-scheme-url` in cdflow.yml"
                    )),
                    _ => unread.hint("check `account-scheme-url` in cdflow.yml"),
                }
            })?;
            let base = path.parent().unwrap_or(folder);
            AccountScheme::parse(&url.to_string(), Some(base), &text, team, component)
                .map_err(|error| error.below(folder))
        }
        SchemeUrl::S3 { bucket, key } => {
            let root = root.ok_or_else(|| {
                Error::internal("no AWS identity to read the account scheme with")
            })?;
            let region = root.config().region().map_or(FIRST_REGION, |region| region.as_ref());
            // The owner of the bucket is not known before the scheme has been read.
            let store =
                |region: &str| S3Store::new(root.config(), bucket.clone(), region.to_owned(), None);
            let text = match store(region).get(key, SCHEME_LIMIT).await {
                Err(error) => {
                    match store(region).real_region().await.filter(|real| real != region) {
                        Some(real) => store(&real).get(key, SCHEME_LIMIT).await?,
                        None => {
                            return Err(error.hint("check `account-scheme-url` in cdflow.yml"));
                        }
                    }
                }
                read => read?,
            };
            let text = text.ok_or_else(|| {
                Error::input(format!("account scheme not found: {url}"))
                    .hint("check `account-scheme-url` in cdflow.yml")
            })?;
            let text = String::from_utf8(text)
                .map_err(|_| Error::input(format!("the account scheme at {url} is not UTF-8")))?;
            AccountScheme::parse(&url.to_string(), None, &text, team, component)
        }
    }
}
