//! Base images: the digest that a name refers to now.

use super::engine::Engine;
use crate::{
    base::error::{Error, Exit, Result},
    config::names::Image,
    services::{
        ci::host::Host,
        registry::{Registry, logins::Logins},
    },
};

/// A base image, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseImage {
    /// For `FROM`: by its digest, so that exactly these bytes are used, and pulled only where the
    /// engine has not got them.
    pub(crate) from: Image,
    /// For people and for the record: name and digest.
    pub(crate) record: String,
}

impl BaseImage {
    fn as_named(image: &Image) -> Self {
        Self { from: image.clone(), record: image.to_string() }
    }
}

/// By the registry; where that does not know the image or can't be asked, by the engine's own copy.
pub(crate) async fn find(
    image: &Image,
    engine: Option<&Engine>,
    logins: &Logins,
    host: &Host,
) -> Result<BaseImage> {
    if image.is_scratch() || image.has_digest() {
        return Ok(BaseImage::as_named(image));
    }
    let asked = ask(image, logins, host).await;
    if let Ok(Some(digest)) = &asked {
        return Ok(BaseImage::as_named(&image.at(digest)?));
    }
    let local = match engine {
        Some(engine) => engine.image(image.as_str()).await?,
        None => None,
    };
    let why = match &asked {
        Ok(_) => format!("the registry {} has no such image", image.host()),
        Err(error) => error.cause().to_owned(),
    };
    match (local, asked) {
        (Some(local), _) => {
            host.log.warning(&format!(
                "the engine's own copy of the base image `{image}` is used: {why}"
            ));
            // An image that was never pushed has no digest; its id identifies it on this engine
            // only.
            let by = local
                .digests
                .iter()
                .find_map(|known| known.split_once('@'))
                .map_or(local.id.as_str(), |(_, it)| it);
            Ok(BaseImage { from: image.clone(), record: image.at(by)?.to_string() })
        }
        (None, Ok(_)) => Err(missing(image, Exit::Input, &why).hint("check its name and tag")),
        (None, Err(failure)) => {
            let error = missing(image, failure.exit(), &why);
            Err(failure.hints().iter().fold(error, |error, hint| error.hint(hint.clone())))
        }
    }
}

async fn ask(image: &Image, logins: &Logins, host: &Host) -> Result<Option<String>> {
    let login = logins.for_host(image.host(), host).await?;
    Registry::new(image.host(), login)?.digest(image.path(), image.reference()).await
}

fn missing(image: &Image, exit: Exit, why: &str) -> Error {
    Error::new(exit, format!("base image `{image}` not found")).why(why)
}
