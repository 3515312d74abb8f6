//! preview: an environment per pull request, deployed with its commits and destroyed at its end.

mod down;
mod reap;
pub(super) mod reap_outcome;
mod up;

use crate::{base::error::Result, cli::args::PreviewCommand, context::Context, report::Report};

pub(crate) async fn run(
    context: &Context,
    command: PreviewCommand,
    report: &mut Report,
) -> Result<()> {
    match command {
        PreviewCommand::Up(inputs) => up::run(context, inputs, report).await,
        PreviewCommand::Down(inputs) => down::run(context, inputs, report).await,
        PreviewCommand::Reap(inputs) => reap::run(context, &inputs, report).await,
    }
}
