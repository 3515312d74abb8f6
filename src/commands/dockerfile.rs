//! dockerfile: what a function's image is made by, to look at or to keep.

use std::{fs::File, io, io::Write};

use super::function::Component;
use crate::{
    base::error::{Error, Result},
    cli::args::{DockerfileInputs, Global},
    release::artifact::function::{Code, Profile, log_inputs},
    services::{ci::host::Host, docker::engine::Engine, registry::logins::Logins},
};

const FILE: &str = "Dockerfile";

pub(crate) async fn run(global: &Global, inputs: &DockerfileInputs, host: &Host) -> Result<()> {
    let component = Component::open(global)?;
    let images = component.images(Profile::Release, &inputs.images, host)?;
    let code = Code::find(&component.folder)?;
    // What a release would refuse is refused here too.
    let context = code.context(Profile::Release, &images)?;
    let text = code.dockerfile(Profile::Release, &images);
    if inputs.write {
        write(&code, &text)?;
        host.log.done(&format!("Wrote `{}`", code.folder.join(FILE).display()));
        return Ok(());
    }
    text.lines().for_each(|line| host.log.output(line));
    let engine = Engine::connect(host).await.ok();
    let logins = Logins::gather(&[], &host.environment, &host.log.redactor)?;
    log_inputs(&images, &context, engine.as_ref(), &logins, host).await;
    Ok(())
}

/// Somebody may have changed the one that is there.
fn write(code: &Code, text: &str) -> Result<()> {
    let path = code.folder.join(FILE);
    let mut file = File::create_new(&path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::input(format!("`{}` exists already", path.display()))
                .why("no Dockerfile is overwritten")
                .hint("look at the new one (`cdflow dockerfile`), or remove the old one first")
        }
        _ => Error::io("can't write", &path, &error),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| Error::io("can't write", &path, &error))
}
