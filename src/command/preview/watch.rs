//! Whether a run for a pull request is still the one that counts: asked at its beginning, and once more before it applies.

use crate::{ci::short, command::context::Context, github::Api};

/// The commit that a run is for.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(super) number: u64,
    pub(super) sha: String,
}

impl Watch {
    /// Why the run does not count any more. Trouble with GitHub stops nobody: the next run, or `reap`, puts it right.
    pub(crate) async fn overtaken(&self, context: &Context) -> Option<String> {
        let asked = async {
            let api = Api::of(&context.host, context.github_token.as_ref())?;
            api.pull_request(self.number).await
        };
        let found = tokio::select! {
            found = asked => found,
            () = context.host.interrupt.arrived() => return None,
        };
        match found {
            Ok(found) => self.judge(&found.state, &found.head.sha),
            Err(trouble) => {
                context.host.log.warning(&format!("whether this is the newest commit is not known: {trouble}"));
                None
            }
        }
    }

    pub(super) fn judge(&self, state: &str, head: &str) -> Option<String> {
        let number = self.number;
        if state != "open" {
            return Some(format!("pull request #{number} is closed"));
        }
        (head != self.sha).then(|| {
            format!("{} is the newest commit of pull request #{number}, not {}", short(head), short(&self.sha))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_commit_of_an_open_pull_request_counts() {
        let watch = Watch { number: 7, sha: "aaaaaaaaaa".into() };
        assert_eq!(watch.judge("open", "aaaaaaaaaa"), None);
        assert_eq!(watch.judge("closed", "aaaaaaaaaa").unwrap(), "pull request #7 is closed");
        assert!(watch.judge("open", "bbbbbbbbbb").unwrap().starts_with("bbbbbbb is the newest commit"));
    }
}
