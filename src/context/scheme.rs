//! Reads the account scheme that cdflow.yml names, and the one to which the component has moved.

use std::{fs, path::Path};

use super::sessions::{FIRST_REGION, first_session};
use crate::{
    base::error::{Error, Result},
    cli::args::Global,
    config::{
        component::SchemeUrl,
        identity::Identity,
        names::{Component, Team},
        scheme::AccountScheme,
    },
    services::{aws::session::RootSession, ci::host::Host, store::S3Store},
};

const SCHEME_LIMIT: u64 = 1 << 20;

/// Which of two account schemes is used, where the one that cdflow.yml names says that the component has moved to another.
#[derive(Clone)]
pub(crate) enum SchemeUpgrade {
    /// It has not.
    None,
    /// The other is used; this one is left.
    From(LoadedScheme),
    /// `--old-account-scheme`: the other, which is this, is not used yet.
    Postponed(LoadedScheme),
}

/// An account scheme, and the component as its keys have it.
#[derive(Clone)]
pub(crate) struct LoadedScheme {
    pub(crate) url: SchemeUrl,
    pub(crate) scheme: AccountScheme,
    pub(crate) identity: Identity,
}

impl SchemeUpgrade {
    pub(super) fn other(&mut self) -> Option<&mut AccountScheme> {
        match self {
            Self::None => None,
            Self::From(side) | Self::Postponed(side) => Some(&mut side.scheme),
        }
    }

    pub(super) fn log(&self, host: &Host) {
        match self {
            Self::None => {}
            Self::From(old) => {
                let to = old.scheme.moved_to.as_deref().unwrap_or_default();
                host.log.note(&format!(
                    "the account scheme {} says that this component has moved to {to}",
                    old.url
                ));
            }
            Self::Postponed(new) => {
                host.log.warning(&format!(
                    "the old account scheme is used, although the component has moved to {}",
                    new.url
                ));
            }
        }
    }
}

/// `root` is the first session, by which a scheme in S3 is read.
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

/// The side that is to be used, where `named` is cdflow.yml's.
pub(crate) async fn follow_upgrade(
    named: LoadedScheme,
    global: &Global,
    folder: &Path,
    root: &mut Option<RootSession>,
    host: &Host,
) -> Result<(LoadedScheme, SchemeUpgrade)> {
    let Some(text) = &named.scheme.moved_to else {
        return match global.old_account_scheme {
            true => Err(Error::input(format!(
                "there is no old account scheme: {} says of no new one",
                named.url
            ))
            .hint("leave --old-account-scheme out")),
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
            "`{component}` has moved twice: from {} to {url}, and on to {next}",
            named.url
        ))
        .why("states are migrated from one account scheme to the next only")
        .hint(format!("set `account-scheme-url` in cdflow.yml to {url}")));
    }
    Ok(match global.old_account_scheme {
        true => (named, SchemeUpgrade::Postponed(other)),
        false => (other, SchemeUpgrade::From(named)),
    })
}

/// A path is relative to the scheme that says it.
fn resolve_new_url(old: &SchemeUrl, text: &str) -> Result<SchemeUrl> {
    let refused = |why: String| {
        Error::input(format!(
            "`new-url` of the account scheme {old} can't be used: `{}`",
            text.escape_debug()
        ))
        .why(why)
    };
    match (old, text.parse::<SchemeUrl>().map_err(refused)?) {
        (SchemeUrl::Path(old), SchemeUrl::Path(path)) => {
            Ok(SchemeUrl::Path(old.parent().unwrap_or(Path::new("")).join(path)))
        }
        (SchemeUrl::S3 { .. }, SchemeUrl::Path(_)) => {
            Err(refused("a scheme in S3 has no folder".to_owned()))
        }
        (_, url) => Ok(url),
    }
}

async fn read_scheme(
    url: &SchemeUrl,
    folder: &Path,
    (team, component): (&Team, &Component),
    root: Option<&RootSession>,
) -> Result<AccountScheme> {
    match url {
        SchemeUrl::Path(path) => {
            let path = folder.join(path);
            let text = fs::read_to_string(&path).map_err(|error| {
                Error::io("can't read the account scheme", &path, &error)
                    .hint("check `account-scheme-url` in cdflow.yml")
            })?;
            let beside = path.parent().unwrap_or(folder);
            AccountScheme::parse(&url.to_string(), Some(beside), &text, team, component)
                .map_err(|error| error.below(folder))
        }
        SchemeUrl::S3 { bucket, key } => {
            let root = root.ok_or_else(|| {
                Error::internal("there is no identity to read the account scheme with")
            })?;
            let region = root.config().region().map_or(FIRST_REGION, |region| region.as_ref());
            // Whose bucket it is, is not known yet: the scheme says so.
            let store =
                |region: &str| S3Store::new(root.config(), bucket.clone(), region.to_owned(), None);
            let text = match store(region).get(key, SCHEME_LIMIT).await {
                Err(error) => {
                    match store(region).real_region().await.filter(|real| real != region) {
                        Some(real) => store(&real).get(key, SCHEME_LIMIT).await?,
                        None => {
                            return Err(error
                                .hint("the scheme's place is `account-scheme-url` in cdflow.yml"));
                        }
                    }
                }
                read => read?,
            };
            let text = text.ok_or_else(|| {
                Error::input(format!("there is no account scheme at {url}"))
                    .hint("check `account-scheme-url` in cdflow.yml")
            })?;
            let text = String::from_utf8(text)
                .map_err(|_| Error::input(format!("the account scheme at {url} is not UTF-8")))?;
            AccountScheme::parse(&url.to_string(), None, &text, team, component)
        }
    }
}
