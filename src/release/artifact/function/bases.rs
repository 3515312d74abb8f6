//! The base images of a function as a registry or the engine has them now.

use super::Images;
use crate::{
    base::{error::Result, units::bytes_text},
    services::{
        ci::host::Host,
        docker::{
            base_images,
            context::{BuildContext, EntryKind},
            engine::Engine,
        },
        registry::logins::Logins,
    },
};

/// The images, named by digest.
pub(crate) struct PinnedBases {
    pub(crate) images: Images,
    /// Name and digest of the build image and of the runtime image.
    pub(crate) records: [String; 2],
}

/// Finds the digest of both images and logs it.
pub(crate) async fn pin_bases(
    images: &Images,
    engine: &Engine,
    logins: &Logins,
    host: &Host,
) -> Result<PinnedBases> {
    let find = |image| base_images::find(image, Some(engine), logins, host);
    let (build, runtime) = futures_util::try_join!(find(&images.build), find(&images.runtime))?;
    for base in [&build, &runtime] {
        host.log.note(&format!("from {}", base.record));
    }
    let images =
        Images { build: build.from, runtime: runtime.from, named_by: images.named_by.clone() };
    Ok(PinnedBases { images, records: [build.record, runtime.record] })
}

/// Logs the files of the build context with their sizes, and the base images.
pub(crate) async fn log_inputs(
    images: &Images,
    context: &BuildContext,
    engine: Option<&Engine>,
    logins: &Logins,
    host: &Host,
) {
    for entry in &context.entries {
        let size = match &entry.kind {
            EntryKind::File { size, .. } => *size,
            EntryKind::Text(text) => text.len() as u64,
            EntryKind::Link { .. } | EntryKind::Folder => 0,
        };
        host.log.note(&format!("{:<16} {:>10}  {}", "build context", bytes_text(size), entry.name));
    }
    let bases = describe_bases(images, engine, logins, host).await;
    bases.iter().for_each(|line| host.log.note(line));
}

/// Returns a line per base image: its digest, and which setting names it.
pub(crate) async fn describe_bases(
    images: &Images,
    engine: Option<&Engine>,
    logins: &Logins,
    host: &Host,
) -> [String; 2] {
    let describe = async |what: &str, image, named_by| {
        let found = match base_images::find(image, engine, logins, host).await {
            Ok(base) => base.record,
            Err(error) => format!("{image} (digest unknown: {})", error.cause()),
        };
        format!("{what:<22} {found}, by {named_by}")
    };
    let [build_by, runtime_by] = &images.named_by;
    let build = describe("build image", &images.build, build_by);
    let runtime = describe("runtime image", &images.runtime, runtime_by);
    futures_util::join!(build, runtime).into()
}
